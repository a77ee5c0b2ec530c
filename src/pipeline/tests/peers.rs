//! Real programs at the other end: FFmpeg, and servers made with GStreamer.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::process::{Child, Command};

use super::super::{Event, Job, init, trial::TestMedia};
use crate::pipeline::{Error, Variables, job::JobSetup};

/// Longest run of a program that ends by itself.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(40);

/// A folder that is removed with everything in it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("aerial-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Names of the files with this ending, in order.
    pub(super) fn files(&self, ending: &str) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Waits until a peer has opened its port, of UDP or TCP.
pub(super) async fn opened(port: u16) {
    let suffix = format!(":{port:04X}");
    let is_open = || {
        ["udp", "udp6", "tcp", "tcp6"].iter().any(|protocol| {
            let table = std::fs::read_to_string(format!("/proc/net/{protocol}"));
            // Behind the number: the local address, and the remote one, which is none.
            table.is_ok_and(|table| {
                table.lines().any(|line| {
                    let mut fields = line.split_whitespace().skip(1);
                    let is_local = fields.next().is_some_and(|local| local.ends_with(&suffix));
                    is_local
                        && fields
                            .next()
                            .is_some_and(|remote| remote.ends_with(":0000"))
                })
            })
        })
    };
    let end = tokio::time::Instant::now() + PROGRAM_TIMEOUT;
    while !is_open() {
        assert!(tokio::time::Instant::now() < end, "port {port} stays shut");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A ready-made file's text.
pub(super) fn file(name: &str) -> String {
    let path = format!("{}/pipelines/{name}.launch", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Starts a program that is killed when it is dropped.
pub(super) fn spawn(program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Waits for a program to end well and returns what it wrote.
pub(super) async fn finish(child: Child) -> String {
    let output = tokio::time::timeout(PROGRAM_TIMEOUT, child.wait_with_output()).await;
    let output = output.expect("ends in time").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

pub(super) async fn ffmpeg(arguments: &str) {
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    finish(spawn(
        "ffmpeg",
        &[&["-v", "error", "-nostdin", "-y"], &arguments[..]].concat(),
    ))
    .await;
}

/// Six seconds of H.264 and AAC, as MP4.
pub(super) async fn clip(folder: &Folder) -> String {
    let clip = folder.file("clip.mp4");
    ffmpeg(&format!(
        "-f lavfi -i testsrc=size=320x180:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 \
         -t 6 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -profile:v baseline -g 25 -c:a aac {clip}"
    ))
    .await;
    clip
}

/// What FFmpeg finds in a file: codec, width, height and frames decoded, of each stream.
pub(super) async fn probe(file: &str) -> Vec<(String, u32, u32, u32)> {
    let entries = "stream=index,codec_name,width,height,nb_read_frames";
    let text = finish(spawn(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            entries,
            "-of",
            "csv=p=0",
            file,
        ],
    ))
    .await;
    let mut streams: Vec<_> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields: Vec<_> = line.split(',').collect();
            let number = |at: usize| {
                fields
                    .get(at)
                    .and_then(|field| field.parse().ok())
                    .unwrap_or(0)
            };
            let frames = fields
                .iter()
                .rev()
                .find_map(|word| word.parse().ok())
                .unwrap_or(0);
            let video = fields.len() > 3;
            let (width, height) = if video {
                (number(2), number(3))
            } else {
                (0, 0)
            };
            (
                fields.get(1).copied().unwrap_or("").to_owned(),
                width,
                height,
                frames,
            )
        })
        .collect();
    streams.sort();
    streams.dedup();
    streams
}

/// Runs an output file on test media for a time and stops it cleanly. `Err` if it failed.
pub(super) async fn output(
    name: &str,
    variables: Variables,
    length: Duration,
) -> Result<(), String> {
    output_of(MEDIA, name, variables, length).await
}

/// The same on other media.
pub(super) async fn output_of(
    media: &str,
    name: &str,
    variables: Variables,
    length: Duration,
) -> Result<(), String> {
    init().unwrap();
    let media = TestMedia::start_as(media).await.unwrap();
    let result = run_output(name, variables, length, &media).await;
    media.stop().await;
    result
}

pub(super) async fn run_output(
    name: &str,
    variables: Variables,
    length: Duration,
    media: &TestMedia,
) -> Result<(), String> {
    let mut setup = JobSetup::new(name, file(name));
    setup.variables = variables;
    setup.inputs = media.streams.clone();
    let (sender, mut events) = tokio::sync::mpsc::channel(16);
    let job = Job::start(setup, sender)
        .await
        .map_err(|error: Error| error.to_string())?;
    let fault = async {
        loop {
            match events.recv().await {
                Some(Event::FileFinished(_)) => {}
                event => return event,
            }
        }
    };
    let event = tokio::time::timeout(length, fault).await;
    let figures = job.figures();
    job.stop().await;
    match event {
        Ok(Some(Event::Failed(reason))) => Err(reason),
        Ok(event) => Err(format!("{event:?}")),
        Err(_) => {
            assert!(
                figures.inputs.iter().all(|input| input.frames > 20),
                "{figures:?}"
            );
            Ok(())
        }
    }
}

/// Small, so that a busy machine keeps up.
pub(super) const MEDIA: &str = "
    videotestsrc is-live=true horizontal-speed=2
      ! video/x-raw,format=I420,width=320,height=180,framerate=25/1
      ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=300 key-int-max=25 bframes=0
      ! video/x-h264,profile=constrained-baseline ! appsink name=video
    audiotestsrc is-live=true volume=0.1 samplesperbuffer=960
      ! audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20 ! appsink name=audio";

/// As small, through this video encoder.
pub(super) fn media(encoder: &str) -> String {
    format!(
        "videotestsrc is-live=true horizontal-speed=2
           ! video/x-raw,format=I420,width=320,height=180,framerate=15/1
           ! {encoder} ! appsink name=video
         audiotestsrc is-live=true volume=0.1 samplesperbuffer=960
           ! audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20 ! appsink name=audio"
    )
}

/// H.265 without delay.
pub(super) const H265: &str =
    "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h265parse";

/// An RTMP server: nginx with its RTMP module. (GStreamer's RTMP elements and FFmpeg's `-listen`
/// do not understand each other.)
pub(super) async fn rtmp_server(folder: &Folder) -> (Child, u16) {
    let port = free_port();
    let text = include_str!("../../../tests/peers/rtmp.conf")
        .replace("FOLDER", folder.path().to_str().unwrap())
        .replace("PORT", &port.to_string());
    let configuration = folder.file("nginx.conf");
    std::fs::write(&configuration, text).unwrap();
    let server = spawn("/usr/sbin/nginx", &["-c", &configuration]);
    opened(port).await;
    (server, port)
}

/// GStreamer's own RTSP server, which plays or records this.
pub(super) async fn rtsp_server(launch: &str, records: bool) -> (Child, String) {
    let port = free_port();
    let mode = if records { "records" } else { "plays" };
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rtsp_server.py");
    let arguments = [server, &port.to_string(), launch, mode];
    let child = spawn("/usr/bin/python3", &arguments);
    opened(port).await;
    (child, format!("rtsp://127.0.0.1:{port}/x"))
}
