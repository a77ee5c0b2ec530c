//! Senders that mark or separate their parameter sets, on the way into sources and packetizers.

use std::net::UdpSocket;

use gst::prelude::*;
use gstreamer as gst;
use tokio::task::JoinSet;

use super::{
    super::{
        packetizer,
        running::{blocking, set_state},
    },
    peers::free_port,
    *,
};
use crate::{
    media::rtp::RtpHeader,
    testing::{H264Packets, RtpPacket, packets},
};

const LIMIT: Duration = Duration::from_secs(10);

/// A camera over RTSP: its packets reach a depayloader that the pipeline file made.
#[tokio::test]
async fn a_camera_that_marks_its_parameter_sets_is_live() {
    init().unwrap();
    let mut packets = H264Packets::new(40, 1);
    packets::mark_parameter_sets(&mut packets.all);
    packets::date_parameter_sets_back(&mut packets.all);
    let port = free_port();
    let text = format!(
        "udpsrc address=127.0.0.1 port={port}
           caps=application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96
         ! rtpjitterbuffer ! parsebin ! appsink name=video"
    );
    let mut sending = JoinSet::new();
    sending.spawn(send(packets.all, port));
    let (video, _, events) = run(&text, 30).await;
    sending.shutdown().await;
    assert_eq!(events, [Event::Track(Kind::Video, Codec::H264)]);
    let video = video.lock().unwrap();
    let begins = video.iter().position(|(.., frame)| frame.keyframe);
    assert!(begins.is_some(), "{} frames", video.len());
}

/// Sends the packets again and again, at their pace.
async fn send(packets: Vec<RtpPacket>, port: u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let length = 40 * 3000;
    let mut sequence = 0;
    for round in 0.. {
        for packet in &packets {
            let mut bytes = Vec::new();
            let header = RtpHeader {
                marker: packet.marker,
                payload_type: 96,
                sequence,
                timestamp: packet.timestamp.wrapping_add(round * length),
                ssrc: 7,
            };
            header.write(&mut bytes, &[]);
            bytes.extend_from_slice(&packet.payload);
            // Err: the source is not listening yet.
            let _ = socket.send_to(&bytes, ("127.0.0.1", port));
            sequence = sequence.wrapping_add(1);
            if packet.marker {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Access units that hold parameter sets alone come from some demuxers and hardware encoders.
#[tokio::test]
async fn parameter_sets_in_buffers_of_their_own_join_their_picture() {
    init().unwrap();
    let (sender, mut frames) = mpsc::channel(64);
    let deliver = move |frame| sender.try_send(frame).unwrap();
    let bin = packetizer::bin(Codec::H264, deliver).unwrap();
    set_state(&bin, gst::State::Playing, LIMIT).await.unwrap();
    let pad = gst::Pad::builder(gst::PadDirection::Src).build();
    pad.set_active(true).unwrap();
    pad.link(&bin.static_pad("sink").unwrap()).unwrap();
    let units = H264Packets::new(11, 1).units();
    let push = move || {
        let caps = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au");
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        pad.push_event(gst::event::StreamStart::new("picture"));
        pad.push_event(gst::event::Caps::new(&caps.build()));
        pad.push_event(gst::event::Segment::new(&segment));
        for (timestamp, unit) in units {
            let mut buffer = gst::Buffer::from_slice([&[0, 0, 0, 1][..], &unit].concat());
            let pts = gst::ClockTime::from_useconds(u64::from(timestamp) * 100 / 9);
            buffer.get_mut().unwrap().set_pts(pts);
            pad.push(buffer).unwrap();
        }
    };
    blocking("pushing", LIMIT, push).await.unwrap();
    set_state(&bin, gst::State::Null, LIMIT).await.unwrap();
    let mut made = Vec::new();
    while let Ok(frame) = frames.try_recv() {
        made.push(frame);
    }
    let keyframes: Vec<bool> = made.iter().map(|frame: &Frame| frame.keyframe).collect();
    let expected: Vec<bool> = (0..11).map(|count| count % 5 == 0).collect();
    assert_eq!(keyframes, expected);
}
