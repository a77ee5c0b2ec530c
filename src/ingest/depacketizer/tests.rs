//! Packets framed the way all kinds of senders do: each picture becomes one whole frame.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::*;
use crate::{
    media::{
        Frame,
        nal::{self, UnitKind},
    },
    testing::{H264Packets, RtpPacket, packets},
};

/// Pictures that the senders send.
const PICTURES: usize = 12;

/// The frames that a depacketizer makes of these packets.
async fn frames(packets: Vec<RtpPacket>) -> Vec<Frame> {
    let made = Arc::<Mutex<Vec<Frame>>>::default();
    let frames = Arc::clone(&made);
    let outlet = TrackOutlet::new(move |frame| frames.lock().unwrap().push(frame));
    let (events, mut reports) = mpsc::channel(8);
    let (depacketizer, sink) = Depacketizer::start(Codec::H264, outlet, events, || {})
        .await
        .unwrap();
    let first = packets[0].timestamp;
    let count = packets.len();
    for (sequence, packet) in (0..).zip(packets) {
        let ticks = u64::from(packet.timestamp.wrapping_sub(first));
        sink(Packet {
            pts: Duration::from_millis(1000 + ticks / 90),
            sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            gap: false,
            restart: false,
            payload: packet.payload.into(),
        });
    }
    let all = async {
        while made.lock().unwrap().len() < PICTURES - 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(20);
    let arrived = tokio::time::timeout(limit, all).await;
    // Without markers, a picture ends only when the next one begins.
    tokio::time::sleep(Duration::from_millis(50)).await;
    depacketizer.stop().await;
    let made = made.lock().unwrap().clone();
    let failed = reports.try_recv();
    assert!(arrived.is_ok(), "{} of {count} {failed:?}", made.len());
    made
}

/// Each frame has its own time, and as many slices as a picture of the sender.
fn assert_whole(frames: &[Frame], slices: usize) {
    assert!(
        (PICTURES - 1..=PICTURES).contains(&frames.len()),
        "{}",
        frames.len()
    );
    assert!(frames[0].keyframe);
    for (index, frame) in frames.iter().enumerate() {
        let due = 1000 + index as u128 * 1000 / 30;
        assert!(
            frame.pts.as_millis().abs_diff(due) <= 1,
            "{index}: {:?}",
            frame.pts
        );
        assert_eq!(slices_of(frame), slices, "frame {index}");
    }
}

/// The slices that begin in a frame.
fn slices_of(frame: &Frame) -> usize {
    let payloads = frame.ranges().map(|range| &frame.data[range]);
    let begun = payloads.flat_map(|payload| match nal::Payload::read(Codec::H264, payload) {
        nal::Payload::Fragment(fragment) => {
            vec![fragment.begins && fragment.kind.is_slice()]
        }
        nal::Payload::Units(units) => units
            .map(|range| UnitKind::of(Codec::H264, &payload[range]).is_slice())
            .collect(),
    });
    begun.filter(|begins| *begins).count()
}

#[tokio::test]
async fn parameter_sets_with_markers_are_no_frames() {
    let mut packets = H264Packets::new(PICTURES, 1);
    packets::mark_parameter_sets(&mut packets.all);
    assert_whole(&frames(packets.all).await, 1);
}

#[tokio::test]
async fn parameter_sets_with_the_time_of_the_picture_before() {
    let mut packets = H264Packets::new(PICTURES, 1);
    packets::mark_parameter_sets(&mut packets.all);
    packets::date_parameter_sets_back(&mut packets.all);
    assert_whole(&frames(packets.all).await, 1);
}

#[tokio::test]
async fn pictures_without_markers_end_where_the_next_one_begins() {
    let mut packets = H264Packets::new(PICTURES, 3);
    for packet in &mut packets.all {
        packet.marker = false;
    }
    assert_whole(&frames(packets.all).await, 3);
}

#[tokio::test]
async fn pictures_with_a_marker_on_every_slice_stay_whole() {
    let mut packets = H264Packets::new(PICTURES, 3);
    packets::mark_slices(&mut packets.all);
    assert_whole(&frames(packets.all).await, 3);
}
