//! Asks a publisher on webrtcbin for a lower bit rate: REMB (draft-alvestrand-rmcat-remb-03 §2.2),
//! which GStreamer 1.22 does not send. Browsers take it as an upper limit, also beside
//! transport-wide congestion control.

use std::sync::{Arc, Mutex, PoisonError};

use gst::{glib, prelude::*};
use gstreamer as gst;

use crate::webrtcbin::element;

/// The size of a packet about one stream, in bytes.
const PACKET_BYTES: usize = 24;
/// The largest mantissa: 18 bits.
const MANTISSA_MAX: u64 = (1 << 18) - 1;

/// Appends REMB packets to the RTCP that webrtcbin sends.
#[derive(Debug, Default)]
pub(super) struct BitrateRequests {
    /// The packet that goes out with the next RTCP. Held only to set or to take it.
    next: Arc<Mutex<Option<[u8; PACKET_BYTES]>>>,
}

impl BitrateRequests {
    /// Watches the RTCP of every session, once they exist.
    pub(super) fn attach(&self, webrtcbin: &gst::Element) {
        for session in element::rtp_sessions(webrtcbin) {
            let Some(pad) = session.static_pad("send_rtcp_src") else {
                continue;
            };
            let next = Arc::downgrade(&self.next);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(next) = next.upgrade()
                    && let Some(gst::PadProbeData::Buffer(rtcp)) = &mut info.data
                    && let Some(packet) = next.lock().unwrap_or_else(PoisonError::into_inner).take()
                {
                    rtcp.make_mut()
                        .append_memory(gst::Memory::from_slice(packet));
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Asks for at most this many bit/s, of all streams together. `media` is the SSRC of one.
    pub(super) fn ask(&self, webrtcbin: &gst::Element, media: u32, bitrate: u64) {
        let packet = remb(media, bitrate);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(packet);
        for session in element::rtp_sessions(webrtcbin) {
            let internal: glib::Object = session.property("internal-session");
            internal.emit_by_name::<()>("send-rtcp", &[&0_u64]); // without waiting
        }
    }
}

/// A REMB packet. The sender's SSRC is not looked at.
fn remb(media: u32, bitrate: u64) -> [u8; PACKET_BYTES] {
    let mut exponent = 0_u8;
    while bitrate >> exponent > MANTISSA_MAX {
        exponent += 1;
    }
    let mantissa = (bitrate >> exponent).to_be_bytes();
    let [.., high, middle, low] = mantissa;
    let media = media.to_be_bytes();
    let mut packet = [0; PACKET_BYTES];
    // Version 2, format 15 (application), type 206 (payload-specific feedback), 5 more words.
    packet[..4].copy_from_slice(&[0x8f, 206, 0, 5]);
    packet[4..8].copy_from_slice(&1_u32.to_be_bytes());
    packet[12..16].copy_from_slice(b"REMB");
    packet[16..20].copy_from_slice(&[1, exponent << 2 | high, middle, low]);
    packet[20..].copy_from_slice(&media);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_mantissa_and_exponent() {
        let packet = remb(0x0102_0304, 900_000);
        // 900 000 = 225 000 << 2
        let expected = [1, 2 << 2 | 3, 0x6e, 0xe8, 1, 2, 3, 4];
        assert_eq!(packet[16..], expected);
        assert_eq!(packet[..4], [0x8f, 206, 0, 5]);
        assert_eq!(remb(0, 262_143)[17..20], [3, 0xff, 0xff]);
        assert_eq!(remb(0, 262_144)[17..20], [1 << 2 | 2, 0, 0]);
    }
}
