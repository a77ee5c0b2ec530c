//! Codecs besides H.264, as they are without layers. VP8 and VP9 with layers are in
//! [`super::layers`], those of H.264 and AV1 in [`super::scalable`].

use super::{
    check,
    encode::{self, FRAME_RATE, Packet},
    picture::Size,
    shape::{PICTURES, Shape, Stream, VIDEO, offer, shape},
};

/// The first picture of a group, in the middle of the stream.
const MIDDLE: u16 = 30;

fn named(name: &str, codec: &str, packets: Vec<Packet>) -> Shape {
    let offer = offer(&[(VIDEO, codec, "")]);
    shape(name, offer, Stream::VIDEO.send(packets))
}

fn h265() -> Shape {
    let encoder = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15
        option-string=bframes=0";
    let payloader = "rtph265pay mtu=600 config-interval=-1 aggregate-mode=zero-latency";
    let packets = encode::pictures(0..PICTURES, Size::SMALL, encoder, payloader);
    named("h265", "H265", packets)
}

fn av1() -> Shape {
    // Faster, it leaves out small changes, such as numbers.
    let encoder = "av1enc usage-profile=realtime cpu-used=7 lag-in-frames=0 end-usage=cbr
        min-quantizer=2 max-quantizer=30 target-bitrate=3000 keyframe-max-dist=15 ! av1parse";
    let packets = encode::pictures(0..PICTURES, Size::SMALL, encoder, "rtpav1pay mtu=600");
    named("av1", "AV1", packets)
}

/// A window that grows while it is shared: another encoder goes on with a keyframe.
fn growing_vp8() -> Shape {
    let encoded = |numbers, size| {
        let encoder = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15";
        encode::pictures(numbers, size, encoder, "rtpvp8pay mtu=600")
    };
    let mut packets = encoded(0..MIDDLE, Size::SMALL);
    let mut larger = encoded(MIDDLE..PICTURES, Size::LARGE);
    for packet in &mut larger {
        packet.timestamp += u32::from(MIDDLE) * 90_000 / FRAME_RATE;
    }
    packets.extend(larger);
    named("growing-vp8", "VP8", packets)
}

#[test]
fn every_codec_arrives() {
    check("codecs", &[h265(), av1().watched(), growing_vp8()]);
}
