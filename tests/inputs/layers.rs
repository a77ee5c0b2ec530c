//! Temporal and spatial layers, as browsers send them: viewers get all of them.

use aerial::for_tests::{Vp8Descriptor, Vp9Descriptor};

use super::{
    check,
    encode::{self, FRAME_RATE, Packet},
    picture::Size,
    shape::{PICTURES, Shape, Stream, VIDEO, offer, shape},
};

/// Ticks between two pictures.
const PICTURE: u32 = 90_000 / FRAME_RATE;
/// In the first byte of a VP9 frame: it shows the picture in slot 0 again.
const SHOWS_EXISTING: u8 = 0x88;

/// What the descriptors of one picture say.
struct Labels {
    picture_id: [u8; 2],
    /// Every other picture is of the upper temporal layer.
    temporal_layer: u8,
    base_index: u8,
}

impl Labels {
    fn of(packet: &Packet) -> Self {
        let number = u16::try_from(packet.timestamp / PICTURE).unwrap();
        let [high, low] = (5000 + number).to_be_bytes();
        Self {
            picture_id: [0x80 | high, low],
            temporal_layer: u8::from(number % 2 == 1),
            base_index: u8::try_from((250 + number / 2) & 0xff).unwrap(),
        }
    }
}

fn in_vp8(packet: &Packet) -> Packet {
    let labels = Labels::of(packet);
    let descriptor = Vp8Descriptor::read(&packet.payload).unwrap();
    let start = if descriptor.begins_partition { 0x10 } else { 0 };
    let layer = labels.temporal_layer << 6 | labels.temporal_layer << 5;
    let mut payload = vec![0x80 | start | descriptor.partition, 0xe0];
    payload.extend(labels.picture_id);
    payload.extend([labels.base_index, layer]);
    payload.extend_from_slice(&packet.payload[descriptor.bytes..]);
    Packet {
        payload,
        ..packet.clone()
    }
}

/// A payload of VP9 in one spatial layer.
fn in_vp9(packet: &Packet, spatial_layer: u8, descriptor: &Vp9Descriptor, body: &[u8]) -> Vec<u8> {
    let labels = Labels::of(packet);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let ends = flag(descriptor.begins, 8) | flag(descriptor.ends, 4);
    let mut payload = vec![0xa0 | flag(descriptor.predicted, 0x40) | ends];
    payload.extend(labels.picture_id);
    let inter_layer = u8::from(spatial_layer > 0);
    payload.push(labels.temporal_layer << 5 | spatial_layer << 1 | inter_layer);
    payload.push(labels.base_index);
    payload.extend_from_slice(body);
    payload
}

/// A picture in two spatial layers: the upper one only shows the lower one.
fn in_layers(mut packet: Packet) -> Vec<Packet> {
    let descriptor = Vp9Descriptor::read(&packet.payload).unwrap();
    let body = packet.payload.split_off(descriptor.bytes);
    let lower = Packet {
        marker: false,
        payload: in_vp9(&packet, 0, &descriptor, &body),
        ..packet
    };
    if !packet.marker {
        return vec![lower];
    }
    let whole = Vp9Descriptor {
        begins: true,
        ends: true,
        ..descriptor
    };
    let payload = in_vp9(&packet, 1, &whole, &[SHOWS_EXISTING]);
    vec![lower, Packet { payload, ..packet }]
}

fn encoded(encoder: &str, payloader: &str) -> Vec<Packet> {
    let encoder = format!("{encoder} deadline=1 cpu-used=8 keyframe-max-dist=15");
    encode::pictures(0..PICTURES, Size::SMALL, &encoder, payloader)
}

fn named(name: &str, codec: &str, packets: Vec<Packet>) -> Shape {
    let offer = offer(&[(VIDEO, codec, "")]);
    shape(name, offer, Stream::VIDEO.send(packets))
}

#[test]
fn layers_of_one_stream_stay_together() {
    let vp8 = encoded("vp8enc", "rtpvp8pay mtu=600");
    let vp8: Vec<Packet> = vp8.iter().map(in_vp8).collect();
    let vp9 = encoded("vp9enc lag-in-frames=0", "rtpvp9pay mtu=600");
    let vp9: Vec<Packet> = vp9.into_iter().flat_map(in_layers).collect();
    check(
        "layers",
        &[
            named("vp8-temporal", "VP8", vp8).watched(),
            named("vp9-spatial", "VP9", vp9),
        ],
    );
}
