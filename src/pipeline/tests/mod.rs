//! Real encoders feed the packetizer, and sources start from text.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

mod arrivals;
mod bitstreams;
mod framing;
mod outputs;
mod peers;
mod renditions;
mod sources;
mod transport;

use tokio::sync::mpsc;

use super::*;
use crate::media::{
    Frame, FrameSink, format,
    nal::{Payload, UnitKind},
};

type SeenFrames = Arc<Mutex<Vec<(Instant, Duration, Frame)>>>;

fn sink(seen: &SeenFrames) -> FrameSink {
    let seen = seen.clone();
    Arc::new(move |frame| {
        seen.lock()
            .unwrap()
            .push((Instant::now(), running_time(), frame));
    })
}

/// Runs a source until it ends or has produced `count` frames of each given kind.
async fn run(text: &str, count: usize) -> (SeenFrames, SeenFrames, Vec<Event>) {
    init().unwrap();
    let (video, audio) = (SeenFrames::default(), SeenFrames::default());
    let sinks = TrackSinks {
        transcode: true,
        ..TrackSinks::new(sink(&video), sink(&audio))
    };
    let (sender, mut events) = mpsc::channel(16);
    let PipelineRole::Source { tracks } = PipelineRole::of(text).unwrap() else {
        panic!("no source")
    };
    let source = Source::start("test", text, sinks, sender).await.unwrap();
    let mut heard = Vec::new();
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(20), events.recv()).await {
            let Some(event) = event else { break };
            let over = matches!(event, Event::Failed(_) | Event::Ended);
            heard.push(event);
            if over {
                break;
            }
        }
        let enough = |kind| {
            let seen = if kind == Kind::Video { &video } else { &audio };
            seen.lock().unwrap().len() >= count
        };
        if tracks.iter().copied().all(enough) {
            break;
        }
    }
    source.stop().await;
    (video, audio, heard)
}

fn payloads(frame: &Frame) -> impl Iterator<Item = &[u8]> {
    frame.ranges().map(|range| &frame.data[range])
}

/// Every 10th of 25 live pictures is a keyframe, no frame waits for the next, and packets fit.
async fn check_video(codec: Codec, encoder: &str) {
    let text = format!(
        "videotestsrc is-live=true pattern=smpte horizontal-speed=3 num-buffers=25
           ! video/x-raw,format=I420,width=640,height=360,framerate=15/1
           ! {encoder} ! appsink name=video"
    );
    let (video, _, events) = run(&text, usize::MAX).await;
    assert_eq!(events, [Event::Track(Kind::Video, codec), Event::Ended]);
    let video = video.lock().unwrap();
    assert_eq!(video.len(), 25, "{codec}");
    let keyframes: Vec<_> = video.iter().map(|(.., frame)| frame.keyframe).collect();
    let expected: Vec<_> = (0..25).map(|n| n % 10 == 0).collect();
    assert_eq!(keyframes, expected, "{codec}");
    for window in video.windows(2) {
        let step = window[1].2.timestamp - window[0].2.timestamp;
        assert!((5999..=6001).contains(&step), "{codec}: {step}");
    }
    for (_, _, frame) in video.iter() {
        assert_eq!(frame.codec, codec);
        assert_eq!(
            frame.ends.last().copied().unwrap() as usize,
            frame.data.len()
        );
        assert!(payloads(frame).all(|payload| (1..=1188).contains(&payload.len())));
    }
    // A busy machine may be late, but not with every frame.
    let delays = video
        .iter()
        .map(|(_, now, frame)| now.saturating_sub(frame.pts));
    let delay = delays.min().unwrap();
    assert!(delay < Duration::from_secs(2), "{codec}: {delay:?}");
    let format = format::in_payloads(codec, payloads(&video[0].2)).unwrap();
    assert_eq!((format.width, format.height), (640, 360), "{codec}");
    assert!(format.profile.is_some(), "{codec}");
    assert!(
        video[0].2.ends.len() > 1,
        "{codec}: a keyframe needs several packets"
    );
}

#[tokio::test]
async fn h264_to_frames() {
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=800";
    check_video(Codec::H264, encoder).await;
}

#[tokio::test]
async fn h264_in_avc_format_to_frames() {
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=800
        ! video/x-h264,stream-format=avc,alignment=au,profile=main";
    check_video(Codec::H264, encoder).await;
}

#[tokio::test]
async fn h265_to_frames() {
    let encoder = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=800
        option-string=repeat-headers=0:bframes=0";
    check_video(Codec::H265, encoder).await;
}

#[tokio::test]
async fn vp8_to_frames() {
    let encoder = "vp8enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=10
        target-bitrate=800000";
    check_video(Codec::Vp8, encoder).await;
}

#[tokio::test]
async fn vp9_to_frames() {
    let encoder = "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=10
        target-bitrate=800000";
    check_video(Codec::Vp9, encoder).await;
}

#[tokio::test]
async fn av1_to_frames() {
    let encoder = "av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0 keyframe-max-dist=10
        target-bitrate=800";
    check_video(Codec::Av1, encoder).await;
}

#[tokio::test]
async fn parameter_sets_are_in_front_of_every_h264_keyframe() {
    let text = "videotestsrc is-live=true num-buffers=25
        ! video/x-raw,format=I420,width=320,height=180,framerate=30/1
        ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10
        ! video/x-h264,stream-format=avc,alignment=au ! appsink name=video";
    let (video, ..) = run(text, usize::MAX).await;
    let video = video.lock().unwrap();
    for (.., frame) in video.iter().filter(|(.., frame)| frame.keyframe) {
        let first = payloads(frame).next().unwrap();
        let Payload::Units(units) = Payload::read(Codec::H264, first) else {
            panic!("a fragment: {first:?}");
        };
        let kinds: Vec<_> = units
            .map(|range| UnitKind::of(Codec::H264, &first[range]))
            .collect();
        let expected = [UnitKind::Delimiter, UnitKind::SequenceParameters];
        assert_eq!(kinds[..2], expected, "{kinds:?}");
    }
}

#[tokio::test]
async fn opus_packets_follow_each_other_exactly() {
    let text = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2
        ! opusenc frame-size=20 ! appsink name=audio";
    let (_, audio, events) = run(text, 40).await;
    assert_eq!(events, [Event::Track(Kind::Audio, Codec::Opus)]);
    let audio = audio.lock().unwrap();
    assert!(
        audio
            .windows(2)
            .all(|w| w[1].2.timestamp - w[0].2.timestamp == 960)
    );
    assert!(
        audio
            .iter()
            .all(|(.., frame)| frame.keyframe && frame.ends.len() == 1)
    );
}

/// A frame must leave before the next one enters: a delay of one picture would be 500 ms here.
#[tokio::test]
async fn frame_does_not_wait_for_the_next() {
    let encoders = [
        "x264enc tune=zerolatency speed-preset=ultrafast",
        "x265enc tune=zerolatency speed-preset=ultrafast option-string=bframes=0",
        "vp8enc deadline=1 cpu-used=8 lag-in-frames=0",
        "vp9enc deadline=1 cpu-used=8 lag-in-frames=0",
        "av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0",
    ];
    for encoder in encoders {
        let text = format!(
            "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=90,framerate=2/1
               ! {encoder} ! appsink name=video"
        );
        let (video, ..) = run(&text, 3).await;
        let video = video.lock().unwrap();
        let delay = video
            .iter()
            .map(|(_, now, frame)| now.saturating_sub(frame.pts))
            .min();
        assert!(
            delay.unwrap() < Duration::from_millis(200),
            "{encoder}: {delay:?}"
        );
    }
}

#[tokio::test]
async fn demo_plays_in_sync() {
    let text = expand(include_str!("../../../pipelines/demo.launch"), |name| {
        (name == "name").then_some("a \"demo\" ! fakesink")
    })
    .unwrap();
    let (video, audio, events) = run(&text, 70).await;
    assert_eq!(events.len(), 2, "{events:?}");
    let (video, audio) = (video.lock().unwrap(), audio.lock().unwrap());
    let keyframes: Vec<_> = video.iter().map(|(.., frame)| frame.keyframe).collect();
    assert!(keyframes[0] && keyframes[60] && !keyframes[1..60].contains(&true));
    // what is due at the same time arrives at about the same time
    let delay = |seen: &[(Instant, Duration, Frame)]| {
        seen.iter()
            .map(|(_, now, frame)| now.saturating_sub(frame.pts))
            .min()
            .unwrap()
    };
    assert!(delay(&video).abs_diff(delay(&audio)) < Duration::from_millis(250));
    let bits: usize = video.iter().map(|(.., frame)| frame.data.len() * 8).sum();
    let rate = bits * 30 / video.len();
    assert!((1_500_000..3_500_000).contains(&rate), "{rate} bit/s");
}

/// Media of a source that is not live is passed on when due, not as fast as it can be read; that of
/// another codec, too, which is transcoded first.
#[tokio::test]
async fn file_plays_at_its_own_pace() {
    init().unwrap();
    for (encoder, codec) in [
        ("vp8enc deadline=1 cpu-used=8 lag-in-frames=0", Codec::Vp8),
        ("jpegenc", Codec::H264),
        ("mpeg2enc format=3 ! mpegvideoparse", Codec::H264),
    ] {
        let begun = running_time();
        let text = format!(
            "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=96,framerate=30/1
               ! {encoder} ! appsink name=video"
        );
        let (video, _, events) = run(&text, usize::MAX).await;
        let expected = [Event::Track(Kind::Video, codec), Event::Ended];
        let heard: Vec<_> = events
            .into_iter()
            .filter(|event| !matches!(event, Event::Transcoded { .. }))
            .collect();
        assert_eq!(heard, expected, "{encoder}");
        assert_paced(&video.lock().unwrap(), begun, Duration::from_millis(800));
    }
}

/// Checks that frames span at least this much media time on the server's clock, and that none came
/// more than a picture before its time. How late they come is up to the machine.
fn assert_paced(seen: &[(Instant, Duration, Frame)], begun: Duration, span: Duration) {
    let due = |(.., frame): &(Instant, Duration, Frame)| frame.pts;
    let (first, last) = (due(seen.first().unwrap()), due(seen.last().unwrap()));
    assert!(first > begun, "{first:?} {begun:?}");
    let seen_span = last.saturating_sub(first);
    assert!(seen_span > span, "{seen_span:?}");
    for (_, now, frame) in seen {
        let early = frame.pts.saturating_sub(*now);
        assert!(early <= Duration::from_millis(40), "{early:?}");
    }
}

#[tokio::test]
async fn source_that_fails_says_which_element_and_why() {
    init().unwrap();
    let none: FrameSink = Arc::new(|_| {});
    let sinks = TrackSinks::new(none.clone(), none);
    let start = async |text: &str| {
        let (sender, mut events) = mpsc::channel(4);
        match Source::start("x", text, sinks.clone(), sender).await {
            Err(error) => error.to_string(),
            Ok(source) => {
                let event = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
                source.stop().await;
                format!("{event:?}")
            }
        }
    };
    let said = start("filesrc name=film location=/nowhere ! h264parse ! appsink name=video").await;
    assert!(said.contains("film") && said.contains("/nowhere"), "{said}");
    let said = start("videotestsrc ! x265encc ! appsink name=video").await;
    assert!(said.contains("x265encc"), "{said}");
    let said = start("videotestsrc ! fakesink").await;
    assert!(said.contains("appsink"), "{said}");
    let said = start("videotestsrc is-live=true ! appsink caps=video/x-raw name=video").await;
    assert!(said.contains("video/x-raw"), "{said}");
    let said = start("videotestsrc num-buffers=3 ! x264enc ! appsink name=video").await;
    assert!(said.contains("Track") || said.contains("Ended"), "{said}");
}

const PICTURE: &str = "videotestsrc is-live=true
    ! video/x-raw,width=160,height=90,framerate=15/1 ! vp8enc deadline=1 ! appsink name=video";

/// A camera whose sound nothing here decodes.
#[tokio::test]
async fn a_source_goes_on_without_a_track_that_nothing_decodes() {
    init().unwrap();
    let video = SeenFrames::default();
    let sinks = TrackSinks::new(sink(&video), sink(&SeenFrames::default()));
    let text = format!(
        "{PICTURE} fakesrc sizetype=fixed sizemax=99 ! audio/x-nonsense ! queue ! decodebin
           ! audioconvert ! opusenc ! appsink name=audio"
    );
    let (sender, mut events) = mpsc::channel(4);
    let source = Source::start("x", &text, sinks, sender).await.unwrap();
    let begin = Instant::now();
    while video.lock().unwrap().len() < 40 {
        assert!(begin.elapsed() < Duration::from_secs(20), "too slow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let heard: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert_eq!(heard, [Event::Track(Kind::Video, Codec::Vp8)]);
    source.stop().await;
}

#[tokio::test]
async fn a_track_that_fails_is_named_with_what_plays_the_other_one() {
    let text = format!(
        "{PICTURE} audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2
           ! identity error-after=5 ! opusenc ! appsink name=audio"
    );
    let (.., events) = run(&text, usize::MAX).await;
    let Some(Event::Failed(reason)) = events.last() else {
        panic!("{events:?}");
    };
    for name in ["identity", "`appsink name=audio`"] {
        assert!(reason.contains(name), "{name}: {reason}");
    }
}

/// Starting and stopping leaves nothing behind.
#[tokio::test]
async fn dropped_source_stops() {
    init().unwrap();
    let seen = SeenFrames::default();
    let sinks = TrackSinks::new(sink(&seen), sink(&seen));
    let (sender, mut events) = mpsc::channel(4);
    let text = "videotestsrc is-live=true ! vp8enc deadline=1 ! appsink name=video";
    let source = Source::start("x", text, sinks, sender).await.unwrap();
    assert_eq!(
        events.recv().await,
        Some(Event::Track(Kind::Video, Codec::Vp8))
    );
    drop(source);
    assert_eq!(events.recv().await, None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let count = seen.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen.lock().unwrap().len(), count);
}
