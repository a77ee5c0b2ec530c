//! Peer connections that a pipeline file makes by itself, such as those of `whipsink`.

use gst::prelude::*;
use gstreamer as gst;

use crate::pipeline::elements;

/// Addresses that candidates are gathered on: each costs a socket.
const ADDRESSES_MAX: usize = 16;

/// Candidates are UDP, on the addresses of this machine, loopback included: the other server may
/// be here. `upnp` is off: its discovery costs 200 ms and more.
pub(super) fn set_up(pipeline: &gst::Pipeline) {
    for webrtcbin in elements::of_factory(pipeline, "webrtcbin") {
        let ice = webrtcbin.property::<glib::Object>("ice-agent");
        let agent = ice.property::<glib::Object>("agent");
        agent.set_property("upnp", false);
        agent.set_property("ice-tcp", false);
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let usable = interfaces.iter().filter(|it| !it.is_link_local());
        for interface in usable.take(ADDRESSES_MAX) {
            let address = interface.ip().to_string();
            if !ice.emit_by_name::<bool>("add-local-ip-address", &[&address]) {
                tracing::debug!(address, "cannot gather candidates on this address");
            }
        }
    }
}
