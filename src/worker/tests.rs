//! Jobs whose workers are threads of the test: the same messages, without processes.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, time::timeout};

use super::{
    fault::WorkerFault,
    note::ToServer,
    process::Process,
    spawn::Spawned,
    starting::Turn,
    wire::{Packed, VERSION, WireError},
    *,
};
use crate::{
    media::{Codec, Frame, Kind},
    pipeline::{
        self, Error, Event, LossCause, ProcessLoss, TrackOutlet,
        job::{Flood, JobSetup, STALL_DEFAULT},
    },
    stream::StreamSubscriptions,
};

const SOURCE: &str = "# adjustable: enc.bitrate (100..2000) kbit/s\n\
    videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=30/1 \
    ! x264enc name=enc tune=zerolatency speed-preset=ultrafast key-int-max=300 \
    ! video/x-h264,profile=constrained-baseline ! appsink name=video";

type Seen = Arc<Mutex<Vec<Frame>>>;

fn setup(text: &str, seen: &Seen) -> JobSetup {
    pipeline::init().unwrap();
    let seen = Arc::clone(seen);
    let outlet = TrackOutlet::new(move |frame| seen.lock().unwrap().push(frame));
    let mut setup = JobSetup::new("test", text);
    setup.outlets = [("video".to_owned(), outlet)].into();
    setup.stall = STALL_DEFAULT;
    setup
}

async fn until(seen: &Seen, enough: impl Fn(&[Frame]) -> bool) {
    let reached = async {
        while !enough(&seen.lock().unwrap()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), reached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_feeds_its_outlet_and_takes_commands() {
    let seen = Seen::default();
    let (events, mut happened) = mpsc::channel(64);
    let job = WorkerJob::start(setup(SOURCE, &seen), WorkerLimits::new(1 << 32), events)
        .await
        .unwrap();
    until(&seen, |frames| frames.len() > 5).await;
    let first = happened.recv().await.unwrap();
    assert_eq!(first, Event::Track(Kind::Video, Codec::H264));
    let keyframes = |frames: &[Frame]| frames.iter().filter(|frame| frame.keyframe).count();
    let before = keyframes(&seen.lock().unwrap());
    job.force_keyframe("video");
    until(&seen, |frames| keyframes(frames) > before).await;
    {
        let frames = seen.lock().unwrap();
        assert!(frames.windows(2).all(|pair| pair[0].pts < pair[1].pts));
        let age = pipeline::running_time().saturating_sub(frames.last().unwrap().pts);
        assert!(age < Duration::from_secs(5), "the same clock: {age:?}");
    }

    let control = job.control();
    let changes = |value: &str| vec![("enc.bitrate".to_owned(), value.to_owned())];
    control.adjust(changes("700")).await.unwrap();
    let properties = control.properties().await.unwrap();
    assert_eq!(properties[0].value, 700);
    let refused = control.adjust(changes("7")).await.unwrap_err();
    assert!(matches!(refused, Error::Text(_)), "{refused}");
    let dot = control.dot(&job.figures()).await.unwrap();
    assert!(dot.contains("GstX264Enc"), "{dot}");
    let figures = async {
        loop {
            let figures = job.figures();
            if figures.process.is_some() && figures.outputs.iter().any(|out| out.frames > 0) {
                return figures;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let figures = timeout(Duration::from_secs(20), figures).await.unwrap();
    assert!(figures.process.unwrap().threads > 1);
    job.stop().await;
    let gone = control.properties().await.unwrap_err();
    assert!(matches!(gone, Error::Failed(_)), "{gone}");
}

#[tokio::test]
async fn a_pipeline_that_does_not_start_names_the_cause() {
    for (text, expected) in [
        ("nosuchelement ! appsink name=video", "nosuchelement"),
        ("videotestsrc ! appsink name=video ${missing}", "missing"),
    ] {
        let (events, _happened) = mpsc::channel(64);
        let started = WorkerJob::start(
            setup(text, &Seen::default()),
            WorkerLimits::new(1 << 32),
            events,
        )
        .await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_pipeline_that_fails_reports_it_once() {
    let text = "videotestsrc num-buffers=3 ! identity error-after=2 ! x264enc ! appsink name=video";
    let (events, mut happened) = mpsc::channel(64);
    let job = WorkerJob::start(
        setup(text, &Seen::default()),
        WorkerLimits::new(1 << 32),
        events,
    )
    .await;
    let job = job.unwrap();
    let failed = async {
        loop {
            if let Event::Failed(reason) = happened.recv().await.unwrap() {
                return reason;
            }
        }
    };
    let reason = timeout(Duration::from_secs(20), failed).await.unwrap();
    assert!(reason.contains("identity"), "{reason}");
    job.stop().await;
    assert_eq!(happened.recv().await, None);
}

/// The test's own program is not a worker: it does not know the command.
#[tokio::test]
async fn a_process_that_ends_is_explained_in_its_own_words() {
    let spawned = spawn::spawn_process("test", WorkerLimits::new(1 << 32), Turn::wait().await)
        .await
        .unwrap();
    let words = process::LastWords::default();
    process::read_stderr(spawned.stderr.unwrap(), words.clone()).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let reason = words.explain(&spawned.process.end(deadline).await.how);
    assert!(reason.contains("Unrecognized option"), "{reason}");
}

fn packed(note: &ToServer) -> Packed {
    Packed::note(note).unwrap()
}

/// A worker that has ended by itself.
pub(super) fn crash() -> ProcessLoss {
    ProcessLoss {
        cause: LossCause::Crashed,
        reason: String::new(),
    }
}

/// A keyframe of one small payload.
pub(super) fn small_frame(codec: Codec) -> Frame {
    Frame {
        codec,
        keyframe: true,
        pts: Duration::ZERO,
        timestamp: 0,
        data: vec![0; 10].into(),
        ends: vec![10],
    }
}

fn frame(track: u16, codec: Codec) -> Packed {
    Packed::frame(track, false, monotonic(), &small_frame(codec)).unwrap()
}

/// How a worker is lost that sends this once it has started, and then waits.
async fn verdict(messages: Vec<Packed>) -> Option<ProcessLoss> {
    let (socket, mut theirs) = UnixStream::pair().unwrap();
    let work = move || {
        let begin = [
            packed(&ToServer::Hello { version: VERSION }),
            packed(&ToServer::Started),
        ];
        for Packed { head, data } in begin.iter().chain(&messages) {
            // Err: the server has had enough.
            let _ = theirs.write_all(&[&head[..], data].concat());
        }
        let _ = theirs.read_to_end(&mut Vec::new());
    };
    let worker = thread::Builder::new().spawn(work).unwrap();
    let spawned = Spawned {
        process: Process::of_thread(),
        stderr: None,
        socket,
        turn: Turn::wait().await,
    };
    let (events, mut happened) = mpsc::channel(64);
    let (setup, held) = (
        setup(SOURCE, &Seen::default()),
        StreamSubscriptions::default(),
    );
    let job = WorkerJob::start_in(spawned, setup, held, WorkerLimits::new(1 << 32), events).await;
    let verdict = async {
        loop {
            match happened.recv().await {
                Some(Event::Lost(loss)) => return Some(loss),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let loss = timeout(Duration::from_secs(20), verdict).await.unwrap();
    job.unwrap().stop().await;
    worker.join().unwrap();
    loss
}

#[tokio::test]
async fn a_worker_that_breaks_the_rules_is_parted_with() {
    let nonsense = Packed {
        head: vec![9; 8].into(),
        data: vec![].into(),
    };
    let hello = packed(&ToServer::Hello { version: VERSION });
    let keyframe = packed(&ToServer::KeyframeWanted(Kind::Video));
    let track = packed(&ToServer::Event(Event::Track(Kind::Video, Codec::H264)));
    let now = Instant::now();
    let mut flood = Flood::new(Kind::Video, now);
    let mut floods = (0..20_000).map(|_| flood.note(&small_frame(Codec::Vp8), now));
    let flood = floods.find_map(Result::err).unwrap();
    for (messages, fault) in [
        (
            vec![nonsense],
            WorkerFault::InvalidMessage(WireError::Kind(9).to_string()),
        ),
        (vec![hello], WorkerFault::StartsTwice),
        (vec![frame(7, Codec::Vp8)], WorkerFault::UnknownTrack),
        (
            vec![frame(0, Codec::Opus)],
            WorkerFault::WrongCodec(Codec::Opus, Kind::Video),
        ),
        (
            vec![frame(0, Codec::Vp8); 20_000],
            WorkerFault::Flood(flood),
        ),
        (vec![keyframe; 20_000], WorkerFault::TooManyMessages),
        (vec![track; 200], WorkerFault::TooManyEvents),
    ] {
        assert_eq!(verdict(messages).await, Some(fault.into()));
    }
}
