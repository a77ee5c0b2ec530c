//! Video encoded once by GStreamer and played in a loop by every publisher of the tests.

use std::sync::{Arc, LazyLock};

use aerial::for_tests::packets::{self, RtpPacket};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;
use str0m::{
    format::{CodecConfig, FormatParams},
    media::{Frequency, Pt},
};

/// Frames per second; a keyframe every [`GOP`] frames.
pub(crate) const FRAME_RATE: u32 = 30;
pub(crate) const GOP: usize = 30;
const FRAMES: usize = 2 * GOP;
pub(crate) const VIDEO: u8 = 96;
const VIDEO_RTX: u8 = 97;
pub(crate) const AUDIO: u8 = 111;
/// What is seen, unless it is said.
const SMPTE: &str = "smpte";
/// Twenty milliseconds of silence.
pub(crate) const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// Encoded video: the RTP payloads of each frame.
pub(crate) struct Clip {
    codec: str0m::format::Codec,
    parameters: &'static str,
    pub(crate) frames: Vec<Vec<Arc<[u8]>>>,
}

pub(crate) static H264: LazyLock<Clip> = LazyLock::new(|| Clip {
    codec: str0m::format::Codec::H264,
    parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    frames: h264(180, "constrained-baseline", "bitrate=400 bframes=0", ""),
});
/// Twice as large.
pub(crate) static H264_LARGE: LazyLock<Clip> = LazyLock::new(|| Clip {
    codec: str0m::format::Codec::H264,
    parameters: H264.parameters,
    frames: h264(360, "constrained-baseline", "bitrate=900 bframes=0", ""),
});
/// As OBS makes it: High profile announced as Constrained Baseline, and a constant bitrate, so that
/// filler NAL units (type 12) take up what the picture does not need.
pub(crate) static H264_HIGH: LazyLock<Clip> = LazyLock::new(|| Clip {
    codec: str0m::format::Codec::H264,
    parameters: H264.parameters,
    // The encoder announces the profile that it uses.
    frames: h264(
        180,
        "high",
        "cabac=true dct8x8=true pass=cbr bitrate=2500",
        "nal-hrd=cbr:",
    ),
});
/// Accepted by a viewer that decodes High.
pub(crate) static H264_TO_HIGH: Clip = Clip {
    codec: str0m::format::Codec::H264,
    parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
    frames: Vec::new(),
};
/// Accepted by a viewer that decodes no level above 3.1.
pub(crate) static H264_LIMITED: Clip = Clip {
    codec: str0m::format::Codec::H264,
    parameters: "level-asymmetry-allowed=0;packetization-mode=1;profile-level-id=42e01f",
    frames: Vec::new(),
};
/// Noise, which compresses badly: about 20 Mbit/s.
pub(crate) static H264_SNOW: LazyLock<Clip> = LazyLock::new(|| Clip {
    codec: str0m::format::Codec::H264,
    parameters: H264.parameters,
    frames: h264_of(
        "snow",
        180,
        "constrained-baseline",
        "pass=quant quantizer=5 bframes=0",
        "",
    ),
});
pub(crate) static VP8: LazyLock<Clip> = LazyLock::new(|| Clip {
    codec: str0m::format::Codec::Vp8,
    parameters: "",
    frames: encode(
        SMPTE,
        180,
        &format!(
            "vp8enc deadline=1 cpu-used=8 target-bitrate=400000 keyframe-max-dist={GOP}
         ! rtpvp8pay mtu=1200 picture-id-mode=15-bit"
        ),
    ),
});

impl Clip {
    /// Offers the clip's codec, and Opus.
    pub(crate) fn configure(&self, config: &mut CodecConfig) {
        self.configure_as(config, Some(Pt::from(VIDEO_RTX)));
    }

    /// As [`Clip::configure`], without retransmission.
    pub(crate) fn configure_without_rtx(&self, config: &mut CodecConfig) {
        self.configure_as(config, None);
    }

    fn configure_as(&self, config: &mut CodecConfig, rtx: Option<Pt>) {
        let format = FormatParams::parse_line(self.parameters);
        let clock = Frequency::NINETY_KHZ;
        config.add_config(VIDEO.into(), rtx, self.codec, clock, None, format);
        config.enable_opus(true, false);
    }
}

fn h264(height: u32, profile: &str, rate: &str, options: &str) -> Vec<Vec<Arc<[u8]>>> {
    h264_of(SMPTE, height, profile, rate, options)
}

fn h264_of(
    pattern: &str,
    height: u32,
    profile: &str,
    rate: &str,
    options: &str,
) -> Vec<Vec<Arc<[u8]>>> {
    encode(
        pattern,
        height,
        &format!(
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={GOP} {rate}
             option-string={options}scenecut=0
         ! video/x-h264,profile={profile}
         ! rtph264pay mtu=1200 config-interval=-1 aggregate-mode=zero-latency"
        ),
    )
}

#[test]
fn the_clip_of_obs_has_filler() {
    let count = |clip: &Clip| {
        clip.frames
            .iter()
            .flatten()
            .filter(|payload| packets::has_filler(payload))
            .count()
    };
    assert!(count(&H264_HIGH) >= FRAMES / 2, "{}", count(&H264_HIGH));
    assert_eq!(count(&H264), 0);
}

fn encode(pattern: &str, height: u32, description: &str) -> Vec<Vec<Arc<[u8]>>> {
    gst::init().unwrap();
    let width = height * 16 / 9;
    let description = format!(
        "videotestsrc num-buffers={FRAMES} pattern={pattern} horizontal-speed=3
         ! video/x-raw,format=I420,width={width},height={height},framerate={FRAME_RATE}/1
         ! {description} ! appsink name=sink sync=false max-buffers=0"
    );
    let pipeline = gst::parse::launch(&description).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut frames = vec![Vec::new()];
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().unwrap().map_readable().unwrap();
        let packet = RtpPacket::read(&buffer).unwrap();
        frames.last_mut().unwrap().push(packet.payload.into());
        if packet.marker {
            frames.push(Vec::new());
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    frames.pop();
    assert_eq!(frames.len(), FRAMES);
    frames
}
