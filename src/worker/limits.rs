//! What a worker may use. The server decides; the worker sets it on itself before it starts a
//! thread.

use std::{fs, io, os::fd::OwnedFd, process, time::Duration};

use rustix::process::{
    Signal, getppid, getpriority_process, set_parent_process_death_signal, setpriority_process,
};

/// Bytes of memory of a worker, unless the configuration says otherwise.
pub const MEMORY_DEFAULT: u64 = 4 << 30;
/// How long a worker may show no sign of life, unless the configuration says otherwise.
const SILENCE_DEFAULT: Duration = Duration::from_secs(10);
/// File descriptors of a worker.
const FILES_MAX: u64 = 1024;
/// The lowest priority.
const NICE_MAX: i32 = 19;
/// The name in lists of processes.
const NAME: &str = "aerial-worker";
/// When the system runs out of memory, workers go before the server.
const OOM_SCORE: &str = "500";

/// The command line of a worker.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The pipeline's name, for lists of processes
    #[arg(long)]
    name: String,
    #[command(flatten)]
    pub(super) limits: WorkerLimits,
}

impl Options {
    pub(super) fn new(name: &str, limits: WorkerLimits) -> Self {
        Self {
            name: name.to_owned(),
            limits,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// These options as arguments.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--name={}", self.name)];
        arguments.extend(self.limits.arguments());
        arguments
    }
}

/// What a worker may use, and what happens to it when the server is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct WorkerLimits {
    /// The server's process: a worker does not outlive it
    #[arg(long)]
    parent: u32,
    /// Whether it may complete its files first when the server is gone
    #[arg(long)]
    finishes: bool,
    /// Priority, from 0 to 19: the higher, the less of a busy machine it gets
    #[arg(long, default_value_t = 0)]
    nice: u8,
    /// Bytes of memory
    #[arg(long)]
    memory: u64,
    /// How long it may show no sign of life before the server kills it. It does not know that itself
    #[arg(skip)]
    silence: Duration,
}

impl WorkerLimits {
    /// For a worker of this process, with this many bytes of memory.
    pub fn new(memory: u64) -> Self {
        Self {
            parent: process::id(),
            finishes: false,
            nice: 0,
            memory,
            silence: SILENCE_DEFAULT,
        }
    }

    /// How long it may show no sign of life.
    #[must_use]
    pub fn killed_after(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// How long it may show no sign of life before it is killed.
    pub(super) fn silence(self) -> Duration {
        self.silence
    }

    /// It may complete its files when the server is gone.
    #[must_use]
    pub fn finishing(self) -> Self {
        Self {
            finishes: true,
            ..self
        }
    }

    /// The priority.
    #[must_use]
    pub fn nice(self, nice: u8) -> Self {
        Self { nice, ..self }
    }

    /// Bytes of memory.
    pub(super) fn memory(self) -> u64 {
        self.memory
    }

    /// Whether it may complete its files when the server is gone.
    pub(super) fn finishes(self) -> bool {
        self.finishes
    }

    fn arguments(self) -> Vec<String> {
        let mut arguments = vec![
            format!("--parent={}", self.parent),
            format!("--nice={}", self.nice),
            format!("--memory={}", self.memory),
        ];
        arguments.extend(self.finishes.then(|| "--finishes".to_owned()));
        arguments
    }

    /// Sets them on this process, which has no threads yet.
    ///
    /// # Errors
    /// If the server is gone already, or the system refuses.
    pub(super) fn apply(self) -> io::Result<()> {
        if !self.finishes {
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
        if parent != Some(self.parent) {
            return Err(io::Error::other("the server is gone"));
        }
        // A core dump takes longer than a new start, and holds what viewers must not see.
        rlimit::setrlimit(rlimit::Resource::CORE, 0, 0)?;
        let (_, memory) = rlimit::getrlimit(rlimit::Resource::DATA)?;
        let memory = memory.min(self.memory);
        rlimit::setrlimit(rlimit::Resource::DATA, memory, memory)?;
        let (_, files) = rlimit::getrlimit(rlimit::Resource::NOFILE)?;
        let files = files.min(FILES_MAX);
        rlimit::setrlimit(rlimit::Resource::NOFILE, files, files)?;
        // Relative to the server's: only the privileged may go below that.
        let own = getpriority_process(None)?;
        setpriority_process(None, (own + i32::from(self.nice)).min(NICE_MAX))?;
        // Lists of processes otherwise show the name of the link that it was started from.
        let _ = fs::write("/proc/self/comm", NAME);
        // Err: the system has no such file, or has set a higher score itself.
        let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
        Ok(())
    }
}

/// The socket, which is this process's standard input. Nothing else gets to read it.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    use std::os::fd::AsFd as _;

    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    Ok(socket)
}
