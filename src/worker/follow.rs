//! The task that follows a worker: takes what it sends, and kills it when it breaks the rules.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{self, MissedTickBehavior, interval},
};

use super::{
    connection::Inbox,
    log, monotonic,
    note::{LogLevel, LogLine, ToServer, ToWorker, WorkerSetup, track_of},
    process::{self, LastWords, Process},
    queue::{AgeGate, FrameFate, Outbox, OutgoingFrame},
    shared::{Shared, lock, tell},
    usage::UsageEntry,
    wire::{SentFrame, VERSION, WireMessage},
};
use crate::{
    awake,
    media::{FrameSink, KeyframeRequests, Kind, TokenBucket},
    notices::Notices,
    pipeline::{
        Error, Event, TrackOutlet,
        job::{Flood, ProcessFigures, Stalls},
    },
    stream::{EncodedStream, EncodedStreams, StreamSubscription},
};

/// How often the counters are checked.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// How much later than the worker itself this side notices that nothing comes out.
const STALL_GRACE: Duration = Duration::from_secs(1);
/// A pipeline that has made nothing yet may take this many times longer.
const FIRST_FACTOR: u32 = 3;
/// A worker that has sent no figures for this long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a worker whose socket has ended may take to end itself, so that its own reason is seen.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);
/// How often the kernel is asked what a worker uses.
const PROCESS_INTERVAL: Duration = Duration::from_secs(1);
/// Notes that a worker may send at once, and per second in the long run.
const NOTES_BURST: f64 = 5000.0;
const NOTES_PER_SECOND: f64 = 500.0;

/// Where the frames of an appsink go.
pub(super) struct Outlet {
    appsink: String,
    kind: Kind,
    frames: FrameSink,
    flood: Flood,
    ages: AgeGate,
    requests: KeyframeRequests,
}

impl Outlet {
    pub(super) fn new(appsink: &str, outlet: TrackOutlet) -> Self {
        let kind = if appsink.starts_with(Kind::Audio.name()) {
            Kind::Audio
        } else {
            Kind::Video
        };
        Self {
            appsink: appsink.to_owned(),
            kind,
            frames: outlet.frames,
            flood: Flood::new(kind, Instant::now()),
            ages: AgeGate::default(),
            requests: KeyframeRequests::default(),
        }
    }

    /// Passes a frame on, unless it is too old or builds on one that was: then it requests a
    /// keyframe through `outbox`.
    fn take(&mut self, sent: SentFrame, outbox: &Outbox) -> Result<(), String> {
        if sent.frame.codec.kind() != self.kind {
            return Err(format!(
                "its process sends {} as {}",
                sent.frame.codec, self.kind
            ));
        }
        self.flood.note(&sent.frame, Instant::now())?;
        let passes = self
            .ages
            .pass(&sent.frame, sent.sent, monotonic())
            .is_some();
        if passes {
            (self.frames)(sent.frame);
        } else if self.ages.is_closed() && self.requests.admits(awake::now()) {
            let appsink = self.appsink.clone();
            tell(outbox, &ToWorker::ForceKeyframe { appsink });
        }
        Ok(())
    }
}

/// Follows a worker until it has ended.
pub(super) struct Follower {
    pub(super) process: Process,
    pub(super) words: LastWords,
    /// Reads its standard error.
    pub(super) talking: JoinSet<()>,
    pub(super) incoming: Inbox<ToServer>,
    pub(super) writer: JoinSet<io::Result<()>>,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) outlets: Vec<Outlet>,
    pub(super) events: mpsc::Sender<Event>,
    /// Told when the pipeline runs, or does not start.
    pub(super) started: Option<oneshot::Sender<Result<(), Error>>>,
    pub(super) over: watch::Sender<bool>,
    pub(super) stall: Duration,
    pub(super) usage: UsageEntry,
    pub(super) inputs: EncodedStreams,
    /// Send the inputs' frames, once the worker is there.
    pub(super) feeding: JoinSet<()>,
}

/// How it went so far.
struct Progress {
    /// Frames that have come out.
    made: u64,
    /// Frames that the pipeline has taken.
    taken: u64,
    stalls: Stalls,
    /// When the worker last showed that it works.
    heard: Instant,
    notes: TokenBucket,
    lines: Notices,
    measured: Instant,
    measuring: Option<JoinHandle<io::Result<ProcessFigures>>>,
    process: Option<ProcessFigures>,
    /// Nothing more is reported.
    ended: bool,
}

/// Sends a stream's frames to a worker.
async fn forward(
    stream: EncodedStream,
    mut subscription: StreamSubscription,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
) {
    let kind = stream.kind();
    let track = track_of(kind);
    let mut requests = KeyframeRequests::default();
    while let Some(next) = subscription.next().await {
        let outgoing = OutgoingFrame {
            track,
            gap: next.discontinuous,
            frame: next.frame,
        };
        shared.offered.fetch_add(1, Relaxed);
        if outbox.frame(outgoing, monotonic()) == FrameFate::Dropped {
            shared.lost.get(kind).fetch_add(1, Relaxed);
        }
        if outbox.waits_for_keyframe(track) && requests.admits(awake::now()) {
            stream.want_keyframe();
        }
    }
}

/// Why a worker is no longer followed.
enum Parting {
    /// It has ended.
    Gone,
    /// It has broken a rule, and is killed.
    Fault(String),
}

impl Follower {
    /// Sends the setup when the worker is there, and follows it to its end.
    pub(super) async fn run(mut self, setup: WorkerSetup) {
        let mut setup = Some(setup);
        let now = awake::now();
        let mut progress = Progress {
            made: 0,
            taken: 0,
            stalls: Stalls::default(),
            heard: now,
            notes: TokenBucket::new(NOTES_PER_SECOND, NOTES_BURST, now),
            lines: log::limit(),
            measured: now,
            measuring: None,
            process: None,
            ended: false,
        };
        let mut tick = interval(WATCH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let parting = loop {
            let done = tokio::select! {
                message = self.incoming.next() => match message {
                    Ok(Some(WireMessage::Frame(sent))) => self.frame(sent, &mut progress),
                    Ok(Some(WireMessage::Note(note))) => self.note(note, &mut setup, &mut progress),
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        Err(Parting::Fault(format!("its process does not make sense: {error}")))
                    }
                    Ok(None) | Err(_) => Err(Parting::Gone),
                },
                _ = tick.tick() => self.watch(&mut progress).await,
                Some(written) = self.writer.join_next() => match written {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Other => {
                        Err(Parting::Fault("its process reads nothing".to_owned()))
                    }
                    // It has ended, but its last words may still be on their way.
                    _ => Ok(()),
                },
            };
            if let Err(parting) = done {
                break parting;
            }
        };
        self.part(parting, progress.ended).await;
    }

    fn frame(&mut self, sent: SentFrame, progress: &mut Progress) -> Result<(), Parting> {
        progress.made += 1;
        let outlet = self.outlets.get_mut(usize::from(sent.track));
        let outlet = outlet
            .ok_or_else(|| Parting::Fault("its process sends an unknown track".to_owned()))?;
        outlet.take(sent, &self.outbox).map_err(Parting::Fault)
    }

    fn note(
        &mut self,
        note: ToServer,
        setup: &mut Option<WorkerSetup>,
        progress: &mut Progress,
    ) -> Result<(), Parting> {
        let fault = |what: &str| Err(Parting::Fault(what.to_owned()));
        if !progress.notes.take(1.0, Instant::now()) {
            return fault("its process sends too many messages");
        }
        match note {
            ToServer::Hello { version: VERSION } => {
                let Some(setup) = setup.take() else {
                    return fault("its process starts twice");
                };
                tell(&self.outbox, &ToWorker::Setup(Box::new(setup)));
                return self.feed();
            }
            ToServer::Hello { version } => {
                return Err(Parting::Fault(format!(
                    "its process speaks version {version}"
                )));
            }
            ToServer::Started => {
                progress.heard = awake::now();
                self.tell_start(Ok(()));
            }
            ToServer::Refused(error) => self.tell_start(Err(error)),
            ToServer::Event(event) => {
                progress.ended |= matches!(event, Event::Failed(_) | Event::Ended);
                if self.events.try_send(event).is_err() {
                    return fault("its process reports too many events");
                }
            }
            ToServer::KeyframeWanted(kind) => {
                if let Some(stream) = self.inputs.of(kind) {
                    stream.want_keyframe();
                }
            }
            ToServer::Figures { figures, taken } => {
                progress.heard = awake::now();
                progress.taken = taken;
                let mut figures = figures;
                figures.process = progress.process;
                for input in &mut figures.inputs {
                    input.dropped += self.shared.lost.get(input.kind).load(Relaxed);
                }
                *lock(&self.shared.figures) = figures;
            }
            ToServer::Answer { id, answer } => {
                if let Some(reply) = lock(&self.shared.answers).remove(&id) {
                    // Err: nobody waits any more.
                    let _ = reply.send(answer);
                }
            }
            ToServer::Log(line) => self.log(&line, &progress.lines),
            // Nothing follows, asked or not: the end of the events says so.
            ToServer::Stopped => {
                progress.ended = true;
                return Err(Parting::Gone);
            }
        }
        Ok(())
    }

    /// Sends the worker what its inputs bring from now on. It keeps that until its pipeline runs.
    fn feed(&mut self) -> Result<(), Parting> {
        for stream in Kind::ALL
            .into_iter()
            .filter_map(|kind| self.inputs.of(kind))
        {
            let subscription = stream.subscribe().ok_or_else(|| {
                Parting::Fault(format!(
                    "too many pipelines take the {} track",
                    stream.kind()
                ))
            })?;
            let forward = forward(
                stream.clone(),
                subscription,
                Arc::clone(&self.outbox),
                Arc::clone(&self.shared),
            );
            self.feeding.spawn(forward);
        }
        Ok(())
    }

    fn tell_start(&mut self, started: Result<(), Error>) {
        if let Some(waiting) = self.started.take() {
            // Err: nobody waits any more.
            let _ = waiting.send(started);
        }
    }

    fn log(&self, line: &LogLine, lines: &Notices) {
        let text = line.text();
        if line.level <= LogLevel::Warn {
            self.words.push(&line.words());
        }
        if let Some(left_out) = lines.line() {
            line.emit(&text, left_out);
        }
    }

    /// Whether the worker still works. Only its media proves that: it may hang and answer.
    async fn watch(&mut self, progress: &mut Progress) -> Result<(), Parting> {
        if self.started.is_some() || progress.ended {
            return Ok(());
        }
        let now = awake::now();
        if now.saturating_duration_since(progress.heard) >= SILENCE_MAX {
            return Err(Parting::Fault(format!(
                "its process has not answered for {SILENCE_MAX:?}"
            )));
        }
        let made = if self.outlets.is_empty() {
            progress.taken
        } else {
            progress.made
        };
        let factor = if made == 0 { FIRST_FACTOR } else { 1 };
        let limit = self
            .stall
            .saturating_mul(factor)
            .saturating_add(STALL_GRACE);
        let offered = self.shared.offered.load(Relaxed);
        let event = progress.stalls.look(now, offered, made, limit);
        if let Some(event) = event {
            // Err: nobody listens any more.
            let _ = self.events.try_send(event);
        }
        self.measure(progress, now).await;
        Ok(())
    }

    /// Asks the kernel what the worker uses, from time to time.
    async fn measure(&self, progress: &mut Progress, now: Instant) {
        if progress
            .measuring
            .as_ref()
            .is_some_and(JoinHandle::is_finished)
            && let Some(measuring) = progress.measuring.take()
            && let Ok(Ok(figures)) = measuring.await
        {
            progress.process = Some(figures);
            self.usage.set(figures);
            lock(&self.shared.figures).process = Some(figures);
        }
        let due = now.saturating_duration_since(progress.measured) >= PROCESS_INTERVAL;
        if due && progress.measuring.is_none() {
            let pid = self.process.pid();
            progress.measured = now;
            progress.measuring = Some(tokio::task::spawn_blocking(move || process::figures(pid)));
        }
    }

    /// Ends the worker, and says why if that is news.
    async fn part(mut self, parting: Parting, ended: bool) {
        self.outbox.close();
        let reason = match parting {
            Parting::Gone => {
                let how = self.process.end(time::Instant::now() + LAST_TIMEOUT).await;
                // Err: something that it has started goes on talking.
                let _ = time::timeout(LAST_TIMEOUT, self.talking.join_next()).await;
                self.words.explain(&how)
            }
            Parting::Fault(reason) => {
                self.process.kill();
                self.process.end(time::Instant::now()).await;
                reason
            }
        };
        lock(&self.shared.answers).clear();
        if let Some(waiting) = self.started.take() {
            let _ = waiting.send(Err(Error::Failed(reason)));
        } else if !ended {
            tracing::debug!(reason, "worker ended");
            let report = self.events.send(Event::Failed(reason));
            let _ = time::timeout(LAST_TIMEOUT, report).await;
        }
        let _ = self.over.send(true);
    }
}
