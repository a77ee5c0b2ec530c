//! The worker: does one piece of work, and passes on what the server sends and the work makes.
//!
//! The first thread does nothing but read and write the socket; a second one does the work, because
//! a broken element may hold whoever asks it something.

mod frames;
mod inputs;
mod pipeline;
mod receiver;
mod viewers;

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
    time::timeout,
};

use self::{
    inputs::LocalInputs,
    pipeline::HostedPipeline,
    receiver::HostedReceiver,
    viewers::{HostedViewers, PlayoutThread, ViewersInput},
};
use super::{
    connection::{self, Inbox},
    limits::{Options, take_stdin},
    log,
    note::{CheckSetup, Preparation, ToServer, ToWorker, ViewerCommand, WorkerSetup},
    queue::Outbox,
    sandbox,
    wire::{VERSION, WireMessage},
};
use crate::{
    awake,
    pipeline::{
        self as text, Error,
        check::{self, has_elements},
        clock,
        sandbox::SandboxState,
    },
    stream::EncodedStreams,
    webrtcbin::{element, publisher::ReceiverSetup},
};

/// Notes from the server that may wait for the job.
const COMMANDS_MAX: usize = 256;
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

/// The role of the worker.
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
        let Some(WireMessage::Note(ToWorker::Prepare(preparation))) = incoming.next().await? else {
            return Err(io::Error::other("the server says nothing"));
        };
        let _signals = match host {
            Host::Process => {
                log::install(&preparation.log, &outbox);
                ignored_signals()?
            }
            #[cfg(test)]
            Host::Thread => Vec::new(),
        };
        // Before the first thread: those that follow inherit it.
        let sandbox = match preparation.sandbox.as_ref().map(sandbox::enter) {
            Some(Err(error)) => {
                tell(&outbox, &ToServer::Refused(error));
                outbox.close();
                tasks.join_next().await;
                return Ok(());
            }
            Some(Ok(state)) => Some(state),
            None => None,
        };
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (work, begins) = oneshot::channel();
        let (done, over) = oneshot::channel();
        let hosted = Hosted {
            outbox: Arc::clone(&outbox),
            sandbox,
            work: begins,
            commands: received,
        };
        thread::Builder::new()
            .name("job".to_owned())
            .spawn(move || {
                hosted.run(&preparation);
                // Err: the server is gone.
                let _ = done.send(());
            })?;
        let mut reader = Reader {
            outbox: Arc::clone(&outbox),
            inputs: Inputs::None,
            work: Some(work),
            commands: commands.clone(),
        };
        let result = tokio::select! {
            read = reader.read(&mut incoming) => read,
            written = tasks.join_next() => match written {
                Some(Ok(Err(error))) => Err(error),
                // Everything has been written.
                _ => return Ok(()),
            },
        };
        // However the server went: one that dies with unread bytes resets the connection.
        if finishes {
            // Err: it hangs.
            let _ = timeout(FINISH_TIMEOUT, finish(&commands, over)).await;
        }
        result
    })
}

/// Lets the job complete its files.
async fn finish(commands: &mpsc::Sender<ToWorker>, over: oneshot::Receiver<()>) {
    // Err: the job has ended.
    let _ = commands.send(ToWorker::Stop).await;
    let _ = over.await;
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

/// The work of a worker.
enum Assignment {
    Pipeline(Box<WorkerSetup>, EncodedStreams),
    Receive(Box<ReceiverSetup>),
    ServeViewers(PlayoutThread),
    Check(CheckSetup),
}

/// Where the server's frames go.
enum Inputs {
    /// Nowhere: the work is not known, or needs none.
    None,
    Pipeline(LocalInputs),
    Viewers(ViewersInput),
}

/// Passes on what the server sends.
struct Reader {
    outbox: Arc<Outbox>,
    inputs: Inputs,
    /// `None` once the work is known.
    work: Option<oneshot::Sender<Assignment>>,
    commands: mpsc::Sender<ToWorker>,
}

impl Reader {
    /// Reads until the server is gone.
    async fn read(&mut self, incoming: &mut Inbox<ToWorker>) -> io::Result<()> {
        while let Some(message) = incoming.next().await? {
            match message {
                WireMessage::Note(ToWorker::Setup(setup)) => {
                    let inputs = LocalInputs::new(&setup.inputs, &self.outbox);
                    let streams = inputs.streams.clone();
                    self.inputs = Inputs::Pipeline(inputs);
                    self.assign(Assignment::Pipeline(setup, streams));
                }
                WireMessage::Note(ToWorker::Receive(setup)) => {
                    self.assign(Assignment::Receive(setup));
                }
                WireMessage::Note(ToWorker::Check(setup)) => {
                    self.assign(Assignment::Check(setup));
                }
                WireMessage::Note(ToWorker::ServeViewers) => {
                    let playout = PlayoutThread::start(&self.outbox)?;
                    self.inputs = Inputs::Viewers(ViewersInput::new(playout.clone()));
                    self.assign(Assignment::ServeViewers(playout));
                }
                WireMessage::Note(ToWorker::BeginRendition {
                    track,
                    rendition,
                    backlog,
                }) => {
                    if let Inputs::Viewers(input) = &mut self.inputs {
                        input.begin(track, rendition, backlog).await;
                    }
                }
                WireMessage::Note(ToWorker::Viewer {
                    viewer,
                    command: ViewerCommand::Switch(to),
                }) => {
                    if let Inputs::Viewers(input) = &mut self.inputs {
                        input.switch(viewer, to).await;
                    }
                }
                WireMessage::Note(ToWorker::EndRendition { track }) => {
                    if let Inputs::Viewers(input) = &mut self.inputs {
                        input.end(track).await;
                    }
                }
                WireMessage::Note(note) => {
                    if self.commands.try_send(note).is_err() {
                        return Err(io::Error::other("the job takes no commands"));
                    }
                }
                WireMessage::Frame(sent) => match &mut self.inputs {
                    Inputs::None => {}
                    Inputs::Pipeline(inputs) => inputs.push(&sent),
                    Inputs::Viewers(input) => input.frame(sent).await,
                },
            }
        }
        Ok(())
    }

    fn assign(&mut self, assignment: Assignment) {
        if let Some(work) = self.work.take() {
            // Err: it could not prepare itself, and the server knows.
            let _ = work.send(assignment);
        }
    }
}

/// The half that works.
struct Hosted {
    outbox: Arc<Outbox>,
    /// How much of it the kernel enforces.
    sandbox: Option<SandboxState>,
    work: oneshot::Receiver<Assignment>,
    commands: mpsc::Receiver<ToWorker>,
}

impl Hosted {
    fn run(self, preparation: &Preparation) {
        let outbox = Arc::clone(&self.outbox);
        match runtime() {
            Ok(runtime) => runtime.block_on(async {
                let mut clock = JoinSet::new();
                clock.spawn(awake::beat());
                self.host(preparation).await;
            }),
            Err(error) => tell(
                &outbox,
                &ToServer::Refused(Error::Failed(error.to_string())),
            ),
        }
        outbox.close();
    }

    async fn host(self, preparation: &Preparation) {
        clock::set_base_time(preparation.base_time);
        if let Err(error) = text::init() {
            return tell(&self.outbox, &ToServer::Refused(error));
        }
        if preparation.webrtcbin {
            element::prepare();
        }
        let Self {
            outbox,
            sandbox,
            work,
            mut commands,
        } = self;
        tell(&outbox, &ToServer::Ready { sandbox });
        // Err: the server is gone.
        let Ok(work) = work.await else { return };
        let keyframe_wanted = Arc::<Notify>::default();
        match work {
            Assignment::Pipeline(setup, streams) => {
                let hosted = HostedPipeline {
                    outbox,
                    streams,
                    keyframe_wanted,
                };
                hosted.run(*setup, &mut commands).await;
            }
            Assignment::Receive(setup) => {
                let hosted = HostedReceiver {
                    outbox,
                    keyframe_wanted,
                };
                hosted.run(*setup, &mut commands).await;
            }
            Assignment::ServeViewers(playout) => {
                let hosted = HostedViewers { outbox, playout };
                hosted.run(&mut commands).await;
            }
            Assignment::Check(setup) => check(&setup, &outbox, &mut commands).await,
        }
    }
}

/// Creates the elements of pipeline files, and starts none.
async fn check(setup: &CheckSetup, outbox: &Outbox, commands: &mut mpsc::Receiver<ToWorker>) {
    for (name, value) in &setup.secrets {
        text::remember(name, value);
    }
    while let Some(command) = commands.recv().await {
        match command {
            ToWorker::CheckFile(file) => tell(outbox, &ToServer::Checked(check::check(&file))),
            ToWorker::FindCodecs(file) => {
                tell(outbox, &ToServer::Codecs(check::video_codecs(&file)));
            }
            ToWorker::FindElements(text) => {
                tell(outbox, &ToServer::Searched(has_elements(&text).err()));
            }
            ToWorker::Stop => return,
            // For other work.
            _ => {}
        }
    }
}
