//! Peer connections that a pipeline file opens itself, such as those of `whipsink`.

use gst::prelude::*;
use gstreamer as gst;

use crate::pipeline::elements;

/// Most addresses on which candidates are gathered: each costs a socket.
const ADDRESSES_MAX: usize = 16;

/// Gathers UDP candidates on the addresses of this machine, including loopback, because the other
/// server may run here. Turns `upnp` off, whose discovery takes 200 ms or more.
pub(super) fn set_up(pipeline: &gst::Pipeline) {
    for webrtcbin in elements::of_factory(pipeline.upcast_ref(), "webrtcbin") {
        let ice = webrtcbin.property::<glib::Object>("ice-agent");
        let agent = ice.property::<glib::Object>("agent");
        agent.set_property("upnp", false);
        agent.set_property("ice-tcp", false);
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let usable = interfaces
            .iter()
            .filter(|interface| !interface.is_link_local());
        for interface in usable.take(ADDRESSES_MAX) {
            let address = interface.ip().to_string();
            if !ice.emit_by_name::<bool>("add-local-ip-address", &[&address]) {
                tracing::debug!(address, "no candidates on this address");
            }
        }
    }
}
