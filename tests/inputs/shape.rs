//! The ways in which publishers send.

use std::time::Duration;

use super::{
    encode::{self, PAY_H264, Packet, x264},
    picture::Size,
};
use crate::rtc::raw::Scripted;

pub(super) const VIDEO: u8 = 96;
pub(super) const AUDIO: u8 = 111;
const VIDEO_SSRC: u32 = 0x1111;
const AUDIO_SSRC: u32 = 0x2222;
/// Pictures in most shapes: two seconds and a half.
pub(super) const PICTURES: u16 = 75;
/// Seconds of sound.
const SOUND: u32 = 3;

/// What a publisher offers and sends, and what viewers must see.
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) offer: String,
    pub(super) packets: Vec<Scripted>,
    pub(super) expected: Expected,
    /// Whether viewers on webrtcbin watch it, too.
    pub(super) watched: bool,
}

impl Shape {
    /// The same shape, for viewers on webrtcbin, too.
    pub(super) fn watched(self) -> Self {
        Self {
            watched: true,
            ..self
        }
    }
}

/// What must be seen and heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The number of the last picture, which may lack only if no other one lacks.
    pub(super) last: u16,
    /// How many pictures may lack in between.
    pub(super) missing: usize,
    /// How many of the first pictures may be garbled.
    pub(super) unclean: usize,
    /// Milliseconds of tone.
    pub(super) tone: usize,
    /// Whether the publisher must be asked for a keyframe.
    pub(super) asked: bool,
}

/// One stream: where its numbers begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) clock: u32,
    /// When it begins.
    pub(super) from: Duration,
}

impl Stream {
    pub(super) const VIDEO: Self = Self {
        payload_type: VIDEO,
        ssrc: VIDEO_SSRC,
        sequence: 1000,
        timestamp: 5000,
        clock: 90_000,
        from: Duration::ZERO,
    };
    pub(super) const AUDIO: Self = Self {
        payload_type: AUDIO,
        ssrc: AUDIO_SSRC,
        sequence: 2000,
        timestamp: 7000,
        clock: 48_000,
        from: Duration::ZERO,
    };

    /// The packets at their pace, and in this order.
    pub(super) fn send(&self, packets: Vec<Packet>) -> Vec<Scripted> {
        let mut latest = Duration::ZERO;
        let packets = (self.sequence..).zip(packets).map(|(sequence, packet)| {
            let micros = u64::from(packet.timestamp) * 1_000_000 / u64::from(self.clock);
            latest = latest.max(Duration::from_micros(micros));
            Scripted {
                at: self.from + latest,
                sequence,
                ssrc: self.ssrc,
                payload_type: self.payload_type,
                timestamp: self.timestamp.wrapping_add(packet.timestamp),
                marker: packet.marker,
                elements: Vec::new(),
                payload: packet.payload,
                padding: 0,
            }
        });
        packets.collect()
    }
}

/// An offer of these video formats (the text after `a=rtpmap:`, and parameters) and Opus.
pub(super) fn offer(formats: &[(u8, &str, &str)]) -> String {
    let mut lines = vec![
        "v=0".to_owned(),
        "o=- 1 1 IN IP4 127.0.0.1".to_owned(),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        "a=group:BUNDLE 0 1".to_owned(),
    ];
    let transport = "c=IN IP4 0.0.0.0\na=ice-ufrag:x\na=ice-pwd:x\na=fingerprint:x\n\
        a=setup:actpass\na=sendonly\na=rtcp-mux";
    lines.push(format!("m=audio 9 UDP/TLS/RTP/SAVPF {AUDIO}"));
    lines.extend(transport.lines().map(str::to_owned));
    lines.push("a=mid:0".to_owned());
    lines.push(format!("a=rtpmap:{AUDIO} opus/48000/2"));
    lines.push(format!("a=fmtp:{AUDIO} stereo=1;sprop-stereo=1"));
    let numbers = formats.iter().map(|(number, ..)| number.to_string());
    let numbers = numbers.collect::<Vec<_>>().join(" ");
    lines.push(format!("m=video 9 UDP/TLS/RTP/SAVPF {numbers}"));
    lines.extend(transport.lines().map(str::to_owned));
    lines.push("a=mid:1".to_owned());
    for (number, name, parameters) in formats {
        lines.push(format!("a=rtpmap:{number} {name}/90000"));
        lines.push(format!("a=rtcp-fb:{number} nack"));
        lines.push(format!("a=rtcp-fb:{number} nack pli"));
        if !parameters.is_empty() {
            lines.push(format!("a=fmtp:{number} {parameters}"));
        }
    }
    lines.join("\r\n") + "\r\n"
}

pub(super) const H264_PARAMETERS: &str =
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

/// A well-behaved publisher's sound.
pub(super) fn tone() -> Vec<Scripted> {
    tone_of(SOUND)
}

/// As long a sound.
pub(super) fn tone_of(seconds: u32) -> Vec<Scripted> {
    Stream::AUDIO.send(encode::tone(seconds, "20", ""))
}

/// A shape whose sound is as usual.
pub(super) fn h264(name: &str, video: Vec<Scripted>) -> Shape {
    shape(name, offer(&[(VIDEO, "H264", H264_PARAMETERS)]), video)
}

pub(super) fn shape(name: &str, offer: String, video: Vec<Scripted>) -> Shape {
    Shape {
        name: name.to_owned(),
        offer,
        packets: [video, tone()].concat(),
        expected: Expected {
            last: PICTURES - 1,
            missing: 0,
            unclean: 0,
            tone: 1200,
            asked: false,
        },
        watched: false,
    }
}

/// The usual pictures in H.264.
pub(super) fn usual(options: &str, payloader: &str) -> Vec<Packet> {
    encode::pictures(0..PICTURES, Size::SMALL, &x264(options), payloader)
}

/// A publisher with nothing unusual.
pub(super) fn plain() -> Shape {
    h264("plain", Stream::VIDEO.send(usual("", PAY_H264)))
}
