//! The task that follows a worker: takes what it sends, and kills it when it breaks the rules.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{self, MissedTickBehavior, interval},
};
use tracing::Span;

use super::{
    connection::{self, Inbox},
    fault::WorkerFault,
    log,
    note::{LogLevel, LogLine, ToServer},
    prepared::Prepared,
    process::{LastWords, Process, ProcessEnd},
    queue::Outbox,
    starting::Turn,
    wire::{SentFrame, VERSION, WireMessage},
};
use crate::{
    awake,
    media::TokenBucket,
    notices::Notices,
    pipeline::{LossCause, ProcessLoss, sandbox::SandboxState},
    resources::ProcessFigures,
};

/// How often the counters are checked.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// How long a worker whose socket has ended may take to end itself, so that its own reason is seen.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);
/// How often the kernel is asked what a worker uses.
const PROCESS_INTERVAL: Duration = Duration::from_secs(1);
/// Notes that a worker may send at once, and per second in the long run.
const NOTES_BURST: f64 = 5000.0;
const NOTES_PER_SECOND: f64 = 500.0;

/// What a worker does, seen from the server. An error is a rule that the worker has broken: it is
/// killed.
pub(super) trait WorkerTask: Send + 'static {
    /// Whether it takes datagrams of strangers, who can make it complain.
    const SERVES_STRANGERS: bool;

    /// The worker is there: gives it its work.
    fn begin(&mut self) -> Result<(), WorkerFault>;
    /// Takes a frame that it has made.
    fn frame(&mut self, sent: SentFrame) -> Result<(), WorkerFault>;
    /// Takes what else it says.
    fn note(&mut self, note: ToServer) -> Result<(), WorkerFault>;
    /// The span that a line of its log belongs to, if it is not the worker's.
    fn span(&self, _line: &LogLine) -> Option<Span> {
        None
    }
    /// How much of its sandbox the kernel enforces.
    fn confined(&mut self, _sandbox: SandboxState) {}
    /// Takes the resources that it uses, according to the kernel.
    fn measured(&mut self, figures: ProcessFigures);
    /// Whether it must show that it works.
    fn is_running(&self) -> bool;
    /// Whether it still works. Only its media proves that: it may hang and answer.
    fn watch(&mut self, now: Instant) -> Result<(), WorkerFault>;
    /// It is gone.
    fn end(self, loss: ProcessLoss) -> impl Future<Output = ()> + Send;
}

/// Follows a worker until it has ended.
pub(super) struct Follower<W> {
    process: Process,
    words: LastWords,
    /// Reads its standard error.
    talking: JoinSet<()>,
    incoming: Inbox<ToServer>,
    writer: JoinSet<io::Result<()>>,
    outbox: Arc<Outbox>,
    /// A worker that has sent no figures for this long hangs.
    silence: Duration,
    over: watch::Sender<bool>,
    /// `None` once the worker is ready for its work.
    turn: Option<Turn>,
    work: W,
}

/// Its progress.
struct Progress {
    /// It has said which version it speaks.
    greeted: bool,
    /// When the worker last showed that it works.
    heard: Instant,
    notes: TokenBucket,
    lines: Notices,
    measured: Instant,
    measuring: Option<JoinHandle<io::Result<ProcessFigures>>>,
}

/// Why a worker is no longer followed.
enum Parting {
    /// It has ended.
    Gone,
    /// It has broken a rule, and is killed.
    Fault(WorkerFault),
}

impl From<WorkerFault> for Parting {
    fn from(fault: WorkerFault) -> Self {
        Self::Fault(fault)
    }
}

/// Follows a worker on a task of its own, and kills it when it is silent for so long. The watch becomes
/// true when it has ended.
pub(super) fn follow<W: WorkerTask>(
    name: &str,
    worker: Prepared,
    silence: Duration,
    outbox: &Arc<Outbox>,
    work: W,
) -> (
    impl Future<Output = ()> + Send + use<W>,
    watch::Receiver<bool>,
) {
    let Prepared {
        process,
        words,
        talking,
        incoming,
        writing,
        greeted,
        turn,
    } = worker;
    let mut writer = JoinSet::new();
    writer.spawn(connection::write(writing, Arc::clone(outbox)));
    let (over, ended) = watch::channel(false);
    process.begin(name, outbox);
    let follower = Follower {
        process,
        words,
        talking,
        incoming,
        writer,
        outbox: Arc::clone(outbox),
        silence,
        over,
        turn,
        work,
    };
    (follower.run(greeted), ended)
}

impl<W: WorkerTask> Follower<W> {
    /// Gives the worker its work when it is there, and follows it to its end.
    async fn run(mut self, greeted: bool) {
        let now = awake::now();
        let mut progress = Progress {
            greeted,
            heard: now,
            notes: TokenBucket::new(NOTES_PER_SECOND, NOTES_BURST, now),
            lines: log::limit(),
            measured: now,
            measuring: None,
        };
        let mut tick = interval(WATCH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done = if greeted {
            self.work.begin().map_err(Parting::from)
        } else {
            Ok(())
        };
        let parting = loop {
            if let Err(parting) = done {
                break parting;
            }
            done = tokio::select! {
                message = self.incoming.next() => match message {
                    Ok(Some(WireMessage::Frame(sent))) => {
                        self.work.frame(sent).map_err(Parting::from)
                    }
                    Ok(Some(WireMessage::Note(note))) => self.note(note, &mut progress),
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        Err(WorkerFault::InvalidMessage(error.to_string()).into())
                    }
                    Ok(None) | Err(_) => Err(Parting::Gone),
                },
                _ = tick.tick() => self.watch(&mut progress).await,
                Some(written) = self.writer.join_next() => match written {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Other => {
                        Err(WorkerFault::Unread.into())
                    }
                    // It has ended, but its last words may still be on their way.
                    _ => Ok(()),
                },
            };
        };
        self.part(parting).await;
    }

    fn note(&mut self, note: ToServer, progress: &mut Progress) -> Result<(), Parting> {
        if !progress.notes.take(1.0, Instant::now()) {
            return Err(WorkerFault::TooManyMessages.into());
        }
        let works = matches!(
            note,
            ToServer::Started
                | ToServer::Answered(_)
                | ToServer::Figures { .. }
                | ToServer::Received(_)
                | ToServer::Served { .. }
        );
        if works {
            progress.heard = awake::now();
        }
        match note {
            ToServer::Hello { version: VERSION } => {
                if std::mem::replace(&mut progress.greeted, true) {
                    return Err(WorkerFault::StartsTwice.into());
                }
                Ok(self.work.begin()?)
            }
            ToServer::Hello { version } => Err(WorkerFault::Version(version).into()),
            ToServer::Ready { sandbox } => {
                self.turn = None;
                if let Some(sandbox) = sandbox {
                    self.work.confined(sandbox);
                }
                Ok(())
            }
            ToServer::Log(line) => {
                self.log(&line, &progress.lines);
                Ok(())
            }
            note => {
                let stopped = matches!(note, ToServer::Stopped);
                self.work.note(note)?;
                if stopped { Err(Parting::Gone) } else { Ok(()) }
            }
        }
    }

    fn log(&self, line: &LogLine, lines: &Notices) {
        let text = line.text();
        if line.level <= LogLevel::Warn {
            self.words.push(&line.words());
        }
        let lines = if W::SERVES_STRANGERS && line.is_of_glib() {
            log::of_strangers()
        } else {
            lines
        };
        if let Some(left_out) = lines.line() {
            let emit = || line.emit(&text, left_out);
            match self.work.span(line) {
                Some(span) => span.in_scope(emit),
                None => emit(),
            }
        }
    }

    async fn watch(&mut self, progress: &mut Progress) -> Result<(), Parting> {
        if !self.work.is_running() {
            return Ok(());
        }
        let now = awake::now();
        let silence = self.silence;
        if now.saturating_duration_since(progress.heard) >= silence {
            return Err(WorkerFault::Silent(silence).into());
        }
        self.work.watch(now)?;
        self.measure(progress, now).await;
        Ok(())
    }

    /// Asks the kernel what the worker uses, from time to time.
    async fn measure(&mut self, progress: &mut Progress, now: Instant) {
        if progress
            .measuring
            .as_ref()
            .is_some_and(JoinHandle::is_finished)
            && let Some(measuring) = progress.measuring.take()
            && let Ok(Ok(figures)) = measuring.await
        {
            self.process.measured(figures);
            self.work.measured(figures);
        }
        let due = now.saturating_duration_since(progress.measured) >= PROCESS_INTERVAL;
        if due && progress.measuring.is_none() {
            let pid = self.process.pid();
            progress.measured = now;
            progress.measuring = Some(tokio::task::spawn_blocking(move || ProcessFigures::of(pid)));
        }
    }

    /// Ends the worker, and says why if that is news.
    async fn part(mut self, parting: Parting) {
        self.outbox.close();
        let (loss, figures) = match parting {
            Parting::Gone => {
                let ending = self.process.end(time::Instant::now() + LAST_TIMEOUT);
                let ProcessEnd { how, figures } = ending.await;
                // Err: something that it has started goes on talking.
                let _ = time::timeout(LAST_TIMEOUT, self.talking.join_next()).await;
                let loss = ProcessLoss {
                    cause: LossCause::Crashed,
                    reason: self.words.explain(&how),
                };
                (loss, figures)
            }
            Parting::Fault(fault) => {
                self.process.kill();
                let end = self.process.end(time::Instant::now()).await;
                (fault.into(), end.figures)
            }
        };
        if let Some(figures) = figures {
            self.work.measured(figures);
        }
        self.work.end(loss).await;
        let _ = self.over.send(true);
    }
}
