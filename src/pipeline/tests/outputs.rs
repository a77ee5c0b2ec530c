//! The ready-made outputs, each against a real peer or read back by FFmpeg.

use std::time::{Duration, Instant};

use super::{
    super::{Event, Job, Variables, init, job::JobSetup, trial::TestMedia},
    peers::{
        Folder, H265, MEDIA, ffmpeg, file, finish, free_port, media, opened, output, output_of,
        probe, rtmp_server, rtsp_server, run_output, spawn,
    },
};
use crate::{
    media::Kind,
    stream::{EncodedStream, EncodedStreams},
};

const RUN: Duration = Duration::from_secs(4);

fn into(folder: &Folder) -> Variables {
    Variables::of_broadcast("demo").with("directory", folder.path().display().to_string())
}

/// Decodes a whole file: no error, and about this many pictures.
async fn check(file: &str, codecs: [&str; 2], pictures: std::ops::Range<u32>) {
    let streams = probe(file).await;
    let found: Vec<_> = streams.iter().map(|stream| stream.0.as_str()).collect();
    assert_eq!(found, codecs, "{file}");
    let video = streams.iter().find(|stream| stream.1 > 0).unwrap();
    assert_eq!((video.1, video.2), (320, 180), "{file}");
    assert!(pictures.contains(&video.3), "{file}: {streams:?}");
    ffmpeg(&format!("-xerror -i {file} -f null -")).await;
}

#[tokio::test]
async fn mkv_recording_plays() {
    let folder = Folder::new();
    output("record-mkv", into(&folder), RUN).await.unwrap();
    let files = folder.files(".mkv");
    assert!(
        files.len() == 1 && files[0].starts_with("demo-20"),
        "{files:?}"
    );
    check(&folder.file(&files[0]), ["h264", "opus"], 80..130).await;
}

#[tokio::test]
async fn mp4_recording_is_cut_by_time_and_begins_at_zero() {
    let folder = Folder::new();
    output("record-mp4", into(&folder).with("segment", "2"), RUN)
        .await
        .unwrap();
    let files = folder.files(".mp4");
    assert!(files.len() >= 2, "{files:?}");
    for name in files.iter().take(2) {
        check(&folder.file(name), ["h264", "opus"], 40..80).await;
        let entry = [
            "-v",
            "error",
            "-show_entries",
            "format=start_time,duration",
            "-of",
            "csv=p=0",
        ];
        let text = finish(spawn(
            "ffprobe",
            &[&entry[..], &[&folder.file(name)]].concat(),
        ))
        .await;
        let times: Vec<f64> = text
            .trim()
            .split(',')
            .map(|text| text.parse().unwrap())
            .collect();
        assert!(times[0] < 0.2 && times[1] < 3.5, "{name}: {times:?}");
    }
}

/// A track that the broadcast lacks does not keep the other one from being recorded.
#[tokio::test]
async fn recording_without_sound() {
    init().unwrap();
    let folder = Folder::new();
    let media = TestMedia::start_as(MEDIA).await.unwrap();
    for name in ["record-mkv", "record-mp4"] {
        let mut setup = JobSetup::new(name, file(name));
        setup.variables = into(&folder);
        setup.inputs.video = media.streams.video.clone();
        let (sender, mut events) = tokio::sync::mpsc::channel(4);
        let job = Job::start(setup, sender).await.unwrap();
        let event = tokio::time::timeout(Duration::from_secs(3), events.recv()).await;
        assert!(event.is_err(), "{name}: {event:?}");
        job.stop().await;
        let ending = name.trim_start_matches("record-");
        let recorded = folder.file(&folder.files(ending)[0]);
        let streams = probe(&recorded).await;
        assert!(
            streams
                .iter()
                .any(|stream| stream.0 == "h264" && stream.3 > 50),
            "{name}: {streams:?}"
        );
    }
    media.stop().await;
}

/// The child of the test below.
#[tokio::test]
#[ignore = "runs in a process of its own, until it is killed"]
async fn record_until_killed() {
    let Ok(directory) = std::env::var("AERIAL_TEST_DIRECTORY") else {
        return;
    };
    init().unwrap();
    let media = TestMedia::start_as(MEDIA).await.unwrap();
    let variables = Variables::of_broadcast("demo").with("directory", directory);
    let variables = variables.with("fragment", "1");
    let other = variables.clone();
    let length = Duration::from_mins(1);
    let _ = tokio::join!(
        run_output("record-mp4", variables, length, &media),
        run_output("record-mkv", other, length, &media),
    );
}

#[tokio::test]
async fn killed_recorder_leaves_files_that_play() {
    let folder = Folder::new();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "pipeline::tests::outputs::record_until_killed",
        ])
        .env("AERIAL_TEST_DIRECTORY", folder.path())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    child.kill().await.unwrap(); // SIGKILL
    let mut pictures = Vec::new();
    for ending in [".mp4", ".mkv"] {
        let recorded = folder.file(&folder.files(ending)[0]);
        let streams = probe(&recorded).await;
        let video = streams.iter().find(|stream| stream.0 == "h264").unwrap();
        assert!(video.3 > 70, "{recorded}: {streams:?}");
        assert!(
            streams
                .iter()
                .any(|stream| stream.0 == "opus" && stream.3 > 100),
            "{streams:?}"
        );
        pictures.push(video.3);
    }
    // 25 of them are a second, from keyframe to keyframe and in a fragment. A second was lost on a
    // quiet machine, two on a busy one; the other file lacks at most half a second.
    assert!(pictures[0] + 75 >= pictures[1], "{pictures:?}");
}

#[tokio::test]
async fn hls_plays() {
    let folder = Folder::new();
    output("hls", into(&folder).with("target", "1"), RUN)
        .await
        .unwrap();
    let streams = probe(&folder.file("index.m3u8")).await;
    let codecs: Vec<_> = streams.iter().map(|stream| stream.0.as_str()).collect();
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(streams[1].3 > 70 && streams[0].3 > 100, "{streams:?}");
    assert!(folder.files(".m4s").len() >= 6);
}

/// Readers of a playlist never see half of it, and a full disk does not empty it.
#[tokio::test]
async fn playlists_are_replaced_at_once() {
    let folder = Folder::new();
    let playlists = ["index.m3u8", "video.m3u8", "audio.m3u8"];
    let begun = playlists.map(|name| {
        let path = folder.file(name);
        std::fs::write(&path, "old").unwrap();
        std::fs::File::open(path).unwrap()
    });
    output("hls", into(&folder).with("target", "1"), RUN)
        .await
        .unwrap();
    for (name, open) in playlists.into_iter().zip(begun) {
        assert_ne!(std::fs::read_to_string(folder.file(name)).unwrap(), "old");
        // Whoever has it open goes on reading the old one.
        let still = std::io::read_to_string(open).unwrap();
        assert_eq!(still, "old", "{name} has been overwritten in place");
    }
}

#[tokio::test]
async fn snapshot_is_a_picture() {
    let folder = Folder::new();
    let variables = into(&folder).with("every", "1").with("width", "160");
    output("snapshot", variables, RUN).await.unwrap();
    let files = folder.files(".jpg");
    assert_eq!(files.len(), 1, "{files:?}");
    let streams = probe(&folder.file(&files[0])).await;
    assert_eq!(streams, [("mjpeg".to_owned(), 160, 90, 1)]);
}

/// An output that pushes, and who takes it.
struct Push<'a> {
    name: &'a str,
    media: &'a str,
    url: &'a str,
    /// How FFmpeg gets it there.
    peer: &'a str,
    /// Where FFmpeg listens, if it does: the output does not wait for it.
    listens: Option<u16>,
    /// What FFmpeg finds.
    codecs: [&'a str; 2],
}

/// Runs FFmpeg on a place while an output pushes there, and checks what it gets.
async fn check_push(push: Push<'_>) {
    let Push {
        name,
        media,
        url,
        peer,
        listens,
        codecs,
    } = push;
    let folder = Folder::new();
    let received = folder.file("received.mkv");
    let mut arguments = vec!["-v", "error", "-nostdin", "-y"];
    arguments.extend(peer.split_whitespace());
    arguments.extend(["-c", "copy", "-t", "2", &received]);
    let receive = async {
        if listens.is_none() {
            // A server needs media first.
            tokio::time::sleep(Duration::from_millis(2500)).await;
        }
        finish(spawn("ffmpeg", &arguments)).await
    };
    let send = async {
        if let Some(port) = listens {
            opened(port).await;
        }
        let variables = Variables::of_broadcast("demo").with("url", url);
        output_of(media, name, variables, Duration::from_secs(9)).await
    };
    // the peer leaves when it has enough, which may well be the end of the output
    let (_, pushed) = tokio::join!(receive, send);
    let streams = probe(&received).await;
    let found: Vec<_> = streams.iter().map(|stream| stream.0.as_str()).collect();
    assert_eq!(found, codecs, "{pushed:?}");
    assert!(
        streams.iter().all(|stream| stream.3 > 20),
        "{streams:?} {pushed:?}"
    );
}

#[tokio::test]
async fn rtmp_push_arrives() {
    let folder = Folder::new();
    let (_server, port) = rtmp_server(&folder).await;
    let url = format!("rtmp://127.0.0.1:{port}/live/demo");
    check_push(Push {
        name: "rtmp-push",
        media: MEDIA,
        url: &url,
        peer: &format!("-i {url}"),
        listens: None,
        codecs: ["aac", "h264"],
    })
    .await;
}

async fn check_srt_push(media: &str, codec: &str) {
    let port = free_port();
    check_push(Push {
        name: "srt-push",
        media,
        url: &format!("srt://127.0.0.1:{port}"),
        peer: &format!("-i srt://127.0.0.1:{port}?mode=listener"),
        listens: Some(port),
        codecs: ["aac", codec],
    })
    .await;
}

#[tokio::test]
async fn srt_push_arrives() {
    let h265 = media(H265);
    tokio::join!(check_srt_push(MEDIA, "h264"), check_srt_push(&h265, "hevc"));
}

/// Pushes to an RTSP server that takes the video with `depayloader`, and checks what arrives.
async fn check_rtsp_push(media: &str, depayloader: &str, codecs: [&str; 2]) {
    let folder = Folder::new();
    let received = folder.file("received.mkv");
    let (first, rest) = depayloader.split_once(' ').unwrap();
    let launch = format!(
        // rtspclientsink announces its last pad first
        "( rtpopusdepay name=depay0 ! opusparse ! queue ! matroskamux name=m
           ! filesink location={received} {first} name=depay1 {rest} ! queue ! m. )"
    );
    let (_server, url) = rtsp_server(&launch, true).await;
    let variables = Variables::default().with("url", url);
    let pushed = output_of(media, "rtsp-push", variables, RUN).await;
    pushed.unwrap_or_else(|error| panic!("{depayloader}: {error}"));
    let streams = probe(&received).await;
    let found: Vec<_> = streams.iter().map(|stream| stream.0.as_str()).collect();
    assert_eq!(found, codecs);
    assert!(streams.iter().all(|stream| stream.3 > 20), "{streams:?}");
}

/// Every codec but AV1, for which GStreamer 1.22 has no depayloader at the other end.
#[tokio::test]
async fn rtsp_push_arrives() {
    let h265 = media(H265);
    let vp8 = media("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15");
    let vp9 = media("vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=15");
    tokio::join!(
        check_rtsp_push(MEDIA, "rtph264depay ! h264parse", ["h264", "opus"]),
        check_rtsp_push(&h265, "rtph265depay ! h265parse", ["hevc", "opus"]),
        check_rtsp_push(&vp8, "rtpvp8depay ! identity", ["opus", "vp8"]),
        check_rtsp_push(&vp9, "rtpvp9depay ! vp9parse", ["opus", "vp9"]),
    );
}

/// A FIFO without a reader: the output stalls, reports it, loses frames; a recorder of the same
/// stream loses none.
#[tokio::test]
async fn stalled_output_disturbs_nobody() {
    init().unwrap();
    let folder = Folder::new();
    let fifo = folder.file("fifo");
    finish(spawn("mkfifo", &[&fifo])).await;
    let reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    let media = TestMedia::start_as(&MEDIA.replace("bitrate=300", "bitrate=4000"))
        .await
        .unwrap();
    let text = format!("appsrc name=video ! filesink buffer-mode=unbuffered location={fifo}");
    let mut setup = JobSetup::new("stuck", text);
    setup.inputs.video = media.streams.video.clone();
    setup.stall = Duration::from_secs(1);
    let (sender, mut events) = tokio::sync::mpsc::channel(4);
    let stuck = Job::start(setup, sender).await.unwrap();
    let recorded = run_output("record-mkv", into(&folder), Duration::from_secs(4), &media);
    let (stalled, recorded) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(10), events.recv()),
        recorded
    );
    recorded.unwrap();
    assert_eq!(stalled, Ok(Some(Event::Stalled)));
    let file = folder.file(&folder.files(".mkv")[0]);
    check(&file, ["h264", "opus"], 80..130).await;
    let begin = Instant::now();
    drop(reader); // writing fails now: the stop below would wait for its limit
    stuck.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(12));
    media.stop().await;
}

/// An output that cannot start or fails says why; the stream continues.
#[tokio::test]
async fn failing_output_is_explained() {
    init().unwrap();
    let media = TestMedia::start_as(MEDIA).await.unwrap();
    let nowhere = Variables::of_broadcast("demo").with("directory", "/nowhere/at/all");
    let failed = run_output("record-mkv", nowhere, RUN, &media)
        .await
        .unwrap_err();
    assert!(failed.contains("/nowhere/at/all"), "{failed}");
    let nobody = Variables::of_broadcast("x").with("url", "rtmp://127.0.0.1:1/live/x");
    let failed = run_output("rtmp-push", nobody, RUN, &media)
        .await
        .unwrap_err();
    assert!(failed.to_lowercase().contains("connect"), "{failed}");
    let video = media.streams.video.clone().unwrap();
    let before = video.frames();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(video.frames() > before && video.subscribers() == 0);
    media.stop().await;
}

/// Without a publisher, an output waits, and stops cleanly.
#[tokio::test]
async fn output_waits_for_a_publisher() {
    init().unwrap();
    let folder = Folder::new();
    let mut setup = JobSetup::new("waiting", file("record-mkv"));
    setup.variables = into(&folder);
    setup.inputs = EncodedStreams {
        video: Some(EncodedStream::new(Kind::Video, || ())),
        audio: Some(EncodedStream::new(Kind::Audio, || ())),
    };
    let (sender, mut events) = tokio::sync::mpsc::channel(4);
    let job = Job::start(setup, sender).await.unwrap();
    let event = tokio::time::timeout(Duration::from_millis(500), events.recv()).await;
    assert!(event.is_err(), "{event:?}");
    let begin = Instant::now();
    job.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(6));
}
