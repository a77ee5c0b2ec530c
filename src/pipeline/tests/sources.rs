//! The ready-made sources, each fed by a real peer.

use std::{process::Stdio, time::Duration};

use tokio::sync::mpsc;

use super::{
    super::{Event, Source, TrackSinks, Variables, init},
    SeenFrames,
    peers::{Folder, H265, clip, ffmpeg, file, free_port, opened, rtmp_server, rtsp_server, spawn},
    sink,
};
use crate::media::{Codec, Kind};

/// What a source has to make.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    tracks: &'a [Kind],
    /// The codec of the video.
    codec: Codec,
    /// Frames of each track.
    count: usize,
}

/// Runs a ready-made source until each track has this many frames, the video in H.264.
pub(super) async fn frames(name: &str, variables: &[(&str, &str)], tracks: &[Kind], count: usize) {
    let wanted = Wanted {
        tracks,
        codec: Codec::H264,
        count,
    };
    make(name, variables, wanted).await;
}

/// Runs a ready-made source until it has made what is wanted; tries again while its peer is not up
/// yet.
async fn make(name: &str, variables: &[(&str, &str)], wanted: Wanted<'_>) {
    init().unwrap();
    let mut said = String::new();
    for _ in 0..10 {
        match attempt(name, variables, wanted).await {
            Ok(()) => return,
            Err(error) => said = error,
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{name}: {said}");
}

async fn attempt(name: &str, variables: &[(&str, &str)], wanted: Wanted<'_>) -> Result<(), String> {
    let Wanted {
        tracks,
        codec: expected,
        count,
    } = wanted;
    let (video, audio) = (SeenFrames::default(), SeenFrames::default());
    let sinks = TrackSinks {
        transcode: true,
        ..TrackSinks::new(sink(&video), sink(&audio))
    };
    let (sender, mut events) = mpsc::channel(16);
    let values: Variables = variables.iter().copied().collect();
    let source = Source::with_variables("test", &file(name), values, sinks, sender).await;
    let source = source.map_err(|error| error.to_string())?;
    let enough = || {
        tracks.iter().all(|kind| {
            let seen = if *kind == Kind::Video { &video } else { &audio };
            seen.lock().unwrap().len() >= count
        })
    };
    let mut outcome = Err("too slow".to_owned());
    for _ in 0..400 {
        if enough() {
            outcome = Ok(());
            break;
        }
        match tokio::time::timeout(Duration::from_millis(50), events.recv()).await {
            Ok(Some(Event::Track(kind, codec))) => {
                let is_expected = match kind {
                    Kind::Video => codec == expected,
                    Kind::Audio => codec == Codec::Opus,
                };
                assert!(is_expected, "{name}: {codec}");
            }
            Ok(Some(Event::Transcoded { .. })) | Err(_) => {}
            Ok(event) => {
                outcome = Err(format!("{event:?}"));
                break;
            }
        }
    }
    source.stop().await;
    if outcome.is_ok() && tracks.contains(&Kind::Video) {
        let video = video.lock().unwrap();
        assert!(video.iter().any(|(.., frame)| frame.keyframe), "{name}");
        let backwards = video
            .windows(2)
            .find(|pair| pair[1].2.timestamp <= pair[0].2.timestamp);
        assert!(backwards.is_none(), "{name}");
    }
    outcome
}

pub(super) const BOTH: &[Kind] = &[Kind::Video, Kind::Audio];

/// 6 s long, played for 8: the end joins the beginning.
#[tokio::test]
async fn file_loops() {
    let folder = Folder::new();
    let clip = clip(&folder).await;
    let short = folder.file("short.mp4");
    ffmpeg(&format!("-i {clip} -t 2 -c copy {short}")).await;
    frames("file", &[("file", &short)], BOTH, 90).await;
}

#[tokio::test]
async fn rtmp_is_pulled() {
    let folder = Folder::new();
    let clip = clip(&folder).await;
    let (_server, port) = rtmp_server(&folder).await;
    let url = format!("rtmp://127.0.0.1:{port}/live/x");
    let arguments = format!("-v error -nostdin -re -stream_loop 5 -i {clip} -c copy -f flv {url}");
    let _peer = spawn("ffmpeg", &arguments.split_whitespace().collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_secs(1)).await;
    frames("rtmp", &[("url", &url)], BOTH, 40).await;
}

#[tokio::test]
async fn srt_is_pulled() {
    let folder = Folder::new();
    let clip = clip(&folder).await;
    let (_peer, url) = srt_listener(&clip).await;
    frames("srt", &[("url", &url)], BOTH, 40).await;
}

#[tokio::test]
async fn mpeg_2_over_srt_is_made_h264() {
    let folder = Folder::new();
    let (clip, old) = (clip(&folder).await, folder.file("old.ts"));
    ffmpeg(&format!(
        "-i {clip} -c:v mpeg2video -g 25 -bf 2 -b:v 1M -c:a mp2 {old}"
    ))
    .await;
    let (_peer, url) = srt_listener(&old).await;
    frames("srt", &[("url", &url)], BOTH, 40).await;
}

#[tokio::test]
async fn h265_over_srt_passes_through() {
    let folder = Folder::new();
    let (clip, encoded) = (clip(&folder).await, folder.file("h265.ts"));
    ffmpeg(&format!(
        "-i {clip} -c:v libx265 -preset ultrafast -x265-params keyint=25:bframes=0:log-level=none -c:a aac {encoded}"
    ))
    .await;
    let (_peer, url) = srt_listener(&encoded).await;
    let wanted = Wanted {
        tracks: BOTH,
        codec: Codec::H265,
        count: 40,
    };
    make("srt", &[("url", &url)], wanted).await;
}

#[tokio::test]
async fn srt_is_received() {
    let folder = Folder::new();
    let clip = clip(&folder).await;
    let port = free_port();
    // it listens only once the source runs, so the sender keeps trying
    let push = format!(
        "for i in 1 2 3 4 5 6 7 8; do ffmpeg -v quiet -nostdin -re -stream_loop 5 -i {clip} -c copy \
         -f mpegts srt://127.0.0.1:{port}; sleep 0.5; done"
    );
    let _peer = spawn("sh", &["-c", &push]);
    let url = format!("srt://127.0.0.1:{port}?mode=listener");
    frames("srt", &[("url", &url)], BOTH, 40).await;
}

/// A file, an RTMP stream, an SRT stream and a camera without sound are live with their picture.
#[tokio::test]
async fn sources_without_sound_are_live() {
    let folder = Folder::new();
    let (clip, silent) = (clip(&folder).await, folder.file("silent.mp4"));
    ffmpeg(&format!("-i {clip} -c copy -an {silent}")).await;
    frames("file", &[("file", &silent)], &[Kind::Video], 40).await;

    let (_server, port) = rtmp_server(&folder).await;
    let url = format!("rtmp://127.0.0.1:{port}/live/x");
    let _rtmp = send(&silent, "flv", &url);
    tokio::time::sleep(Duration::from_secs(1)).await;
    frames("rtmp", &[("url", &url)], &[Kind::Video], 40).await;

    let (_srt, url) = srt_listener(&silent).await;
    frames("srt", &[("url", &url)], &[Kind::Video], 40).await;

    let launch = "( videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1
        ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 )";
    let (_camera, url) = rtsp_server(launch, false).await;
    frames("rtsp", &[("url", &url)], &[Kind::Video], 40).await;
}

/// A stream whose sound is announced and never comes is live with its picture.
#[tokio::test]
async fn rtmp_without_its_announced_sound_is_live() {
    let folder = Folder::new();
    let clip = clip(&folder).await;
    let (_server, port) = rtmp_server(&folder).await;
    let url = format!("rtmp://127.0.0.1:{port}/live/x");
    // The header of the sound, and none of its packets.
    let silent = "flv -bsf:a noise=drop=1 -max_interleave_delta 1";
    let _peer = send(&clip, silent, &url);
    tokio::time::sleep(Duration::from_secs(1)).await;
    frames("rtmp", &[("url", &url)], &[Kind::Video], 40).await;
}

/// Waits for whoever pulls over SRT, and sends a file over and over, unchanged.
async fn srt_listener(file: &str) -> (tokio::process::Child, String) {
    let port = free_port();
    let url = format!("srt://127.0.0.1:{port}");
    let peer = send(file, "mpegts", &format!("{url}?mode=listener"));
    opened(port).await;
    (peer, url)
}

/// Sends a file over and over, unchanged.
fn send(file: &str, format: &str, url: &str) -> tokio::process::Child {
    let arguments =
        format!("-v error -nostdin -re -stream_loop 9 -i {file} -c copy -f {format} {url}");
    spawn("ffmpeg", &arguments.split_whitespace().collect::<Vec<_>>())
}

#[tokio::test]
async fn rtsp_is_pulled() {
    let launch = "( videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1
        ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0
        audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac
        ! rtpmp4gpay name=pay1 )";
    let (_peer, url) = rtsp_server(launch, false).await;
    frames("rtsp", &[("url", &url)], BOTH, 40).await;
    frames("rtsp-video", &[("url", &url)], &[Kind::Video], 40).await;
}

/// What cameras and servers send besides H.264. GStreamer 1.22 cannot serve AV1.
#[tokio::test]
async fn other_codecs_over_rtsp_pass_through() {
    let pull = |codec, encoder: &str| {
        let launch = format!(
            "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=15/1
               ! {encoder} name=pay0 )"
        );
        async move {
            let (_peer, url) = rtsp_server(&launch, false).await;
            let wanted = Wanted {
                tracks: &[Kind::Video],
                codec,
                count: 40,
            };
            make("rtsp-video", &[("url", &url)], wanted).await;
        }
    };
    tokio::join!(
        pull(Codec::H265, &format!("{H265} ! rtph265pay")),
        pull(
            Codec::Vp8,
            "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15 ! rtpvp8pay"
        ),
        pull(
            Codec::Vp9,
            "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=15 ! rtpvp9pay",
        ),
    );
}

/// `BroadVoice`, which nothing decodes.
#[tokio::test]
async fn a_camera_with_strange_sound_is_live() {
    let launch = "( videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1
        ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0
        fakesrc sizetype=fixed sizemax=40 filltype=random format=time datarate=2000
        ! audio/x-bv,mode=16 ! rtpbvpay name=pay1 )";
    let (_peer, url) = rtsp_server(launch, false).await;
    frames("rtsp", &[("url", &url)], &[Kind::Video], 60).await;
}

#[tokio::test]
async fn motion_jpeg_over_rtsp_is_made_h264() {
    let launch =
        "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=25/1
        ! jpegenc ! rtpjpegpay name=pay0 )";
    let (_peer, url) = rtsp_server(launch, false).await;
    frames("rtsp-video", &[("url", &url)], &[Kind::Video], 40).await;
}

/// The encoder behind the appsink gets the request.
#[tokio::test]
async fn motion_jpeg_has_a_keyframe_when_asked() {
    init().unwrap();
    let text = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,\
                framerate=25/1 ! jpegenc ! appsink name=video";
    let video = SeenFrames::default();
    let sinks = TrackSinks {
        transcode: true,
        ..TrackSinks::new(sink(&video), sink(&SeenFrames::default()))
    };
    let (sender, _events) = mpsc::channel(16);
    let source = Source::start("test", text, sinks, sender).await.unwrap();
    let wait_for = async |count| {
        for _ in 0..400 {
            if video.lock().unwrap().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("too slow");
    };
    wait_for(5).await;
    source.request_keyframe();
    wait_for(50).await;
    source.stop().await;
    let seen = video.lock().unwrap();
    let keyframes = seen.iter().take(50).filter(|(.., frame)| frame.keyframe);
    assert_eq!(keyframes.count(), 2, "by itself it makes one in 60");
}

#[tokio::test]
async fn hls_is_pulled() {
    let folder = Folder::new();
    let clip = clip(&folder).await;
    ffmpeg(&format!(
        "-i {clip} -c copy -hls_time 2 -hls_list_size 0 {}",
        folder.file("x.m3u8")
    ))
    .await;
    let port = free_port().to_string();
    let directory = folder.path().display().to_string();
    let serve = [
        "-m",
        "http.server",
        &port,
        "-b",
        "127.0.0.1",
        "-d",
        &directory,
    ];
    let _peer = tokio::process::Command::new("/usr/bin/python3")
        .args(serve)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    frames(
        "hls-pull",
        &[("url", &format!("http://127.0.0.1:{port}/x.m3u8"))],
        BOTH,
        40,
    )
    .await;
}

/// A screen without a monitor.
#[tokio::test]
async fn screen_is_captured() {
    let display = format!(":{}", 1000 + u32::from(free_port()) % 50_000);
    let arguments = [
        display.as_str(),
        "-screen",
        "0",
        "320x240x24",
        "-nolisten",
        "tcp",
    ];
    let _peer = spawn("Xvfb", &arguments);
    tokio::time::sleep(Duration::from_millis(700)).await;
    frames("screen", &[("display", &display)], &[Kind::Video], 20).await;
}

/// A build machine has no camera: the text is right, and the failure is explained.
#[tokio::test]
async fn missing_camera_is_explained() {
    init().unwrap();
    let nowhere = [("device", "/dev/video-none")];
    let wanted = Wanted {
        tracks: &[Kind::Video],
        codec: Codec::H264,
        count: 1,
    };
    let said = attempt("v4l2", &nowhere, wanted).await.unwrap_err();
    assert!(said.contains("v4l2src") || said.contains("pulse"), "{said}");
}
