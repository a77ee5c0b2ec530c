//! The worker: hosts one pipeline, and passes on what the server sends and the pipeline makes.
//!
//! The first thread does nothing but read and write the socket; a second one runs the job, because
//! a broken element may hold whoever asks it something.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{self, SignalKind},
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    connection::{self, Inbox},
    limits::{Options, take_stdin},
    log, monotonic,
    note::{Answer, InputSetup, OutletSetup, Request, ToServer, ToWorker, WorkerSetup},
    queue::{AgeGate, FrameFate, Outbox, OutgoingFrame},
    wire::{SentFrame, VERSION, WireMessage},
};
use crate::{
    awake,
    media::{ByKind, Frame, KeyframeRequests},
    pipeline::{
        self, Error, Event, TrackOutlet,
        job::{Control, Job, JobSetup},
    },
    stream::{EncodedStream, EncodedStreams, StreamWriter},
};

/// Notes from the server that may wait for the job.
const COMMANDS_MAX: usize = 256;
/// Events that may wait: one per rendition of a file, and an end.
const EVENTS_MAX: usize = 64;
/// Requests of operators that are answered at once.
const REQUESTS_MAX: usize = 16;
/// How often the server gets figures.
const FIGURES_INTERVAL: Duration = Duration::from_millis(500);
/// How long an output may complete its files when the server is gone.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Sent when a file would become larger than the limit of the process (`ulimit -f`).
const SIGXFSZ: i32 = 25;

/// Runs a worker, whose standard input is the socket. Call it before any thread is started.
pub fn run(options: &Options) -> ExitCode {
    let limits = options.limits;
    let done = limits
        .apply()
        .and_then(|()| serve(take_stdin()?.into(), limits.finishes(), Host::Process));
    if let Err(error) = done {
        // Err: nobody listens.
        let _ = writeln!(io::stderr(), "aerial worker: {error}");
    }
    // Not by returning: the destructors of C libraries would run beside streaming threads.
    let _ = kill_process(getpid(), Signal::KILL);
    ExitCode::FAILURE
}

/// What the worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Process,
    /// A thread of a test.
    #[cfg(test)]
    Thread,
}

/// Serves until the job has ended or the server is gone.
pub(super) fn serve(socket: UnixStream, finishes: bool, host: Host) -> io::Result<()> {
    runtime()?.block_on(async {
        socket.set_nonblocking(true)?;
        let (reading, writing) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let outbox = Arc::new(Outbox::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(connection::write(writing, Arc::clone(&outbox)));
        tell(&outbox, &ToServer::Hello { version: VERSION });
        let mut incoming = Inbox::new(reading);
        let Some(WireMessage::Note(ToWorker::Setup(setup))) = incoming.next().await? else {
            return Err(io::Error::other("the server says nothing"));
        };
        let _signals = match host {
            Host::Process => {
                log::install(&setup.log, &outbox);
                ignored_signals()?
            }
            #[cfg(test)]
            Host::Thread => Vec::new(),
        };
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (done, mut over) = oneshot::channel();
        let mut inputs = LocalInputs::new(&setup.inputs, &outbox);
        let hosted = Hosted {
            outbox: Arc::clone(&outbox),
            streams: inputs.streams.clone(),
            commands: received,
            keyframe_wanted: Arc::default(),
        };
        thread::Builder::new()
            .name("job".to_owned())
            .spawn(move || {
                hosted.run(*setup);
                // Err: the server is gone.
                let _ = done.send(());
            })?;
        let result = tokio::select! {
            read = read(&mut incoming, &mut inputs, &commands) => read,
            written = tasks.join_next() => match written {
                Some(Ok(Err(error))) => Err(error),
                // Everything has been written.
                _ => return Ok(()),
            },
        };
        // However the server went: one that dies with unread bytes resets the connection.
        if finishes {
            let finish = async {
                // Err: the job has ended.
                let _ = commands.send(ToWorker::Stop).await;
                let _ = (&mut over).await;
            };
            // Err: it hangs.
            let _ = timeout(FINISH_TIMEOUT, finish).await;
        }
        result
    })
}

/// Signals that do not end a worker, while this is held: the server decides when it ends, and a limit
/// on the size of files makes writing fail.
fn ignored_signals() -> io::Result<Vec<unix::Signal>> {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::from_raw(SIGXFSZ),
    ];
    kinds.into_iter().map(unix::signal).collect()
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn tell(outbox: &Outbox, note: &ToServer) {
    if let Err(error) = outbox.note(note) {
        tracing::warn!(%error, "not sent");
    }
}

/// Passes on what the server sends, until it is gone.
async fn read(
    incoming: &mut Inbox<ToWorker>,
    inputs: &mut LocalInputs,
    commands: &mpsc::Sender<ToWorker>,
) -> io::Result<()> {
    while let Some(message) = incoming.next().await? {
        match message {
            WireMessage::Note(note) => {
                if commands.try_send(note).is_err() {
                    return Err(io::Error::other("the job takes no commands"));
                }
            }
            WireMessage::Frame(sent) => inputs.push(&sent),
        }
    }
    Ok(())
}

/// The streams of the worker's own, which the pipeline takes its inputs from.
struct LocalInputs {
    streams: EncodedStreams,
    writers: ByKind<Option<StreamWriter>>,
    ages: ByKind<AgeGate>,
    outbox: Arc<Outbox>,
}

impl LocalInputs {
    fn new(setup: &[InputSetup], outbox: &Arc<Outbox>) -> Self {
        let stream = |kind| {
            let input = setup.iter().find(|input| input.kind == kind)?;
            let outbox = Arc::clone(outbox);
            let wanted = move || tell(&outbox, &ToServer::KeyframeWanted(kind));
            let stream = EncodedStream::new(kind, wanted);
            if let Some(codec) = input.codec {
                stream.expect(codec, input.stereo);
            }
            Some(stream)
        };
        let streams = EncodedStreams::from_fn(stream);
        Self {
            writers: ByKind::from_fn(|kind| streams.of(kind).map(EncodedStream::writer)),
            streams,
            ages: ByKind::default(),
            outbox: Arc::clone(outbox),
        }
    }

    /// Hands a frame to the pipeline.
    fn push(&mut self, sent: &SentFrame) {
        let kind = sent.frame.codec.kind();
        let ages = self.ages.get_mut(kind);
        let gap = ages.pass(&sent.frame, sent.sent, monotonic());
        if ages.is_closed() {
            tell(&self.outbox, &ToServer::KeyframeWanted(kind));
        }
        let (Some(gap), Some(stream)) = (gap, self.streams.of(kind)) else {
            return;
        };
        let writer = self.writers.get_mut(kind);
        if gap || sent.gap {
            // What follows does not continue what came before.
            *writer = Some(stream.writer());
        }
        if let Some(writer) = writer {
            writer.push(&sent.frame);
        }
    }
}

/// The job's half.
struct Hosted {
    outbox: Arc<Outbox>,
    streams: EncodedStreams,
    commands: mpsc::Receiver<ToWorker>,
    keyframe_wanted: Arc<Notify>,
}

impl Hosted {
    fn run(mut self, setup: WorkerSetup) {
        match runtime() {
            Ok(runtime) => runtime.block_on(async {
                let mut clock = JoinSet::new();
                clock.spawn(awake::beat());
                self.host(setup).await;
            }),
            Err(error) => self.refuse(Error::Failed(error.to_string())),
        }
        self.outbox.close();
    }

    fn tell(&self, note: &ToServer) {
        tell(&self.outbox, note);
    }

    fn refuse(&self, error: Error) {
        self.tell(&ToServer::Refused(error));
    }

    async fn host(&mut self, setup: WorkerSetup) {
        for (name, value) in &setup.secrets {
            pipeline::remember(name, value);
        }
        pipeline::clock::set_base_time(setup.base_time);
        if let Err(error) = pipeline::init() {
            return self.refuse(error);
        }
        let video = setup.outlets.iter().map(|outlet| outlet.appsink.clone());
        let video: Vec<_> = video.filter(|name| name.starts_with("video")).collect();
        let (events, mut happened) = mpsc::channel(EVENTS_MAX);
        let job = match Job::start(self.setup(setup), events).await {
            Ok(job) => job,
            Err(error) => return self.refuse(error),
        };
        self.tell(&ToServer::Started);
        self.follow(&job, &mut happened, &video).await;
        job.stop().await;
        self.tell(&ToServer::Stopped);
    }

    fn setup(&self, setup: WorkerSetup) -> JobSetup {
        let WorkerSetup {
            name,
            text,
            variables,
            stall,
            outlets,
            ..
        } = setup;
        let outlets = (0..).zip(outlets).map(|(track, outlet)| {
            let OutletSetup { appsink, transcode } = outlet;
            let (outbox, wanted) = (Arc::clone(&self.outbox), Arc::clone(&self.keyframe_wanted));
            let send = move |frame: Frame| {
                let outgoing = OutgoingFrame {
                    track,
                    gap: false,
                    frame: Arc::new(frame),
                };
                let fate = outbox.frame(outgoing, monotonic());
                if fate == FrameFate::Dropped || outbox.waits_for_keyframe(track) {
                    wanted.notify_one();
                }
            };
            let outlet = TrackOutlet {
                transcode,
                ..TrackOutlet::new(send)
            };
            (appsink, outlet)
        });
        JobSetup {
            variables,
            stall,
            outlets: outlets.collect(),
            inputs: self.streams.clone(),
            ..JobSetup::new(name, text)
        }
    }

    /// Serves a running job until it shall stop.
    async fn follow(&mut self, job: &Job, happened: &mut mpsc::Receiver<Event>, video: &[String]) {
        let mut figures = interval(FIGURES_INTERVAL);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keyframes = KeyframeRequests::default();
        let mut requests = JoinSet::new();
        loop {
            tokio::select! {
                Some(event) = happened.recv() => self.tell(&ToServer::Event(event)),
                command = self.commands.recv() => match command {
                    Some(ToWorker::ForceKeyframe { appsink }) => {
                        job.force_keyframe(&appsink);
                    }
                    Some(ToWorker::Request { id, request }) => {
                        if requests.len() >= REQUESTS_MAX {
                            requests.join_next().await;
                        }
                        requests.spawn(answer(Arc::clone(&self.outbox), job.control(), id, request));
                    }
                    Some(ToWorker::Setup(_)) => {}
                    Some(ToWorker::Stop) | None => return,
                },
                () = self.keyframe_wanted.notified(), if keyframes.is_due(awake::now()) => {
                    keyframes.note(awake::now());
                    for appsink in video {
                        job.force_keyframe(appsink);
                    }
                }
                _ = figures.tick() => self.tell(&ToServer::Figures {
                    figures: job.figures(),
                    taken: job.taken(),
                }),
                Some(_) = requests.join_next() => {}
            }
        }
    }
}

async fn answer(outbox: Arc<Outbox>, control: Control, id: u64, request: Request) {
    let answer = match request {
        Request::Properties => control.properties().await.map(Answer::Properties),
        Request::Adjust(changes) => control.adjust(changes).await.map(|()| Answer::Adjusted),
        Request::Dot(figures) => control.dot(&figures).await.map(Answer::Dot),
    };
    tell(&outbox, &ToServer::Answer { id, answer });
}
