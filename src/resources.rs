//! Open files, threads and memory: what the system allows this process, how much is left, and what a process uses.
//!
//! `GLib` ends the process when it cannot make a pipe or a thread, and the kernel when memory runs out. Whatever opens
//! something on behalf of a client therefore asks here first, and refuses the client instead. GStreamer's elements open
//! what they like, so use is read from the system, and grants since are added. Limits of memory are read each time.

mod groups;
mod process;
mod system;
mod usage;

use std::{
    fmt,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use self::system::sample;
pub use self::{process::ProcessFigures, usage::usage};

/// How long a reading of the system stays valid. With many open files it costs a millisecond.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// Shortest time between two lines in the log about refusals.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// The part of a limit that is held back: one in this many.
const RESERVE_SHARE: u64 = 8;
/// Smallest and largest number held back.
const RESERVE: std::ops::RangeInclusive<u64> = 48..=1024;
/// Smallest and largest part of the memory held back, in bytes.
const MEMORY_RESERVE: std::ops::RangeInclusive<u64> = 16 << 20..=512 << 20;
/// The server's own needs, without any clients.
const OWN: Amount = Amount {
    files: 64,
    threads: 32,
    memory: 64 << 20,
};

/// Files, threads and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// File descriptors.
    pub files: u64,
    /// Threads.
    pub threads: u64,
    /// Memory in bytes. A request for none is never refused for lack of it.
    pub memory: u64,
}

impl Amount {
    /// A connection.
    pub const CONNECTION: Self = Self {
        files: 1,
        threads: 0,
        memory: 0,
    };
    /// A viewer on the direct engine.
    pub const VIEWER: Self = Self {
        files: 0,
        threads: 0,
        memory: 512 << 10,
    };
    /// A publisher, or a viewer on webrtcbin: two sockets on loopback, pipes, and streaming threads.
    pub const SESSION: Self = Self {
        files: 10,
        threads: 6,
        memory: 2 << 20,
    };
    /// A worker: its socket, its messages, its memory, and its threads, for which the limits of
    /// user and control group apply as well.
    pub const WORKER: Self = Self {
        files: 4,
        threads: 12,
        memory: 16 << 20,
    };
    /// A pipeline in a process of its own; those that use the network need most.
    pub const PIPELINE: Self = Self {
        files: 12,
        threads: 12,
        memory: 16 << 20,
    };

    fn plus(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            threads: self.threads.saturating_add(other.threads),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_sub(other.files),
            threads: self.threads.saturating_sub(other.threads),
            memory: self.memory.saturating_sub(other.memory),
        }
    }

    fn times(self, count: usize) -> Self {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            files: self.files.saturating_mul(count),
            threads: self.threads.saturating_mul(count),
            memory: self.memory.saturating_mul(count),
        }
    }

    /// The first of them that is smaller than in `other`.
    fn short_of(self, other: Self) -> Option<Short> {
        if self.files < other.files {
            Some(Short::Files)
        } else if self.threads < other.threads {
            Some(Short::Threads)
        } else if self.memory < other.memory {
            Some(Short::Memory)
        } else {
            None
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: u64, of: &str| match number {
            u64::MAX => format!("any {of}"),
            number => format!("{number} {of}"),
        };
        let (files, threads) = (number(self.files, "files"), number(self.threads, "threads"));
        let memory = match self.memory {
            u64::MAX => u64::MAX,
            bytes => bytes >> 20,
        };
        write!(f, "\"{files}, {threads}, {}\"", number(memory, "MiB"))
    }
}

/// What has run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// File descriptors.
    Files,
    /// Threads.
    Threads,
    /// Memory.
    Memory,
}

impl Short {
    /// What the operator can raise.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "open files",
            Self::Threads => "threads",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit of {} is nearly reached", self.name())
    }
}

/// What asks. Each leaves part of the reserve to those listed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client that will stay: a session, an event stream.
    Client,
    /// A connection, on which a refusal can at least be sent.
    Connection,
    /// A pipeline of something that already runs.
    Pipeline,
}

impl Asker {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Connection => "connection",
            Self::Pipeline => "pipeline",
        }
    }

    /// How much of the whole reserve must be left.
    fn share(self, reserve: u64) -> u64 {
        match self {
            Self::Client => reserve,
            Self::Connection => reserve / 2,
            Self::Pipeline => reserve / 4,
        }
    }
}

/// A grant, valid for as long as it is held. After that, the system's own count includes it.
#[derive(Debug)]
pub struct Permit(Amount);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut ledger = ledger();
        ledger.held = ledger.held.minus(self.0);
        ledger.released = ledger.released.plus(self.0);
    }
}

/// Grants this much, if enough is left.
///
/// # Errors
/// What has run short.
pub fn reserve(asker: Asker, amount: Amount) -> Result<Permit, Short> {
    let mut ledger = ledger();
    let now = Instant::now();
    ledger.refresh(now);
    let granted = ledger.grant(asker, amount).map(|()| Permit(amount));
    if let Err(short) = &granted
        && ledger.may_complain(now)
    {
        let Ledger { limit, in_use, .. } = *ledger;
        let resource = short.name();
        tracing::warn!(asker = asker.name(), resource, %in_use, %limit, "refused: limit reached");
    }
    granted
}

/// Whether clients are refused now.
///
/// # Errors
/// What has run short.
pub fn check() -> Result<(), Short> {
    reserve(Asker::Client, Amount::VIEWER).map(drop)
}

/// What the limits of the configuration can add up to.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// HTTP connections.
    pub connections: usize,
    /// Publishers, and viewers on webrtcbin.
    pub sessions: usize,
    /// Pipelines of files.
    pub pipelines: usize,
}

impl Demand {
    fn needs(self) -> Amount {
        let own = OWN.plus(Amount::CONNECTION.times(self.connections));
        let media = Amount::SESSION.times(self.sessions);
        own.plus(media).plus(Amount::WORKER.times(self.pipelines))
    }
}

/// Logs one line if the system allows less than the configured limits need.
pub fn compare(demand: Demand) {
    // How much memory clients need depends on what they watch.
    let limit = Amount {
        memory: u64::MAX,
        ..ledger().limit
    };
    let needed = demand.needs();
    let Some(short) = limit.short_of(needed) else {
        return;
    };
    let (files, threads) = (limit.files, limit.threads);
    tracing::warn!(
        files,
        files_needed = needed.files,
        threads,
        threads_needed = needed.threads,
        "the system's limit of {} is lower than the configured limits need; clients are refused \
         before it is reached. Raise it (LimitNOFILE, TasksMax, ulimit), or lower \
         http.connections, limits.sessions and limits.broadcasts",
        short.name()
    );
}

/// Sets a limit of memory in bytes, below that of the system.
pub fn limit_memory(bytes: u64) {
    let mut ledger = ledger();
    ledger.memory_max = ledger.memory_max.min(bytes);
    let sample = sample(ledger.memory_max);
    ledger.sampled(sample, Instant::now());
}

/// Raises the limit of open files as far as possible, and reads the limits. Call it first of all.
pub fn prepare() {
    drop(ledger());
}

static LEDGER: LazyLock<Mutex<Ledger>> = LazyLock::new(|| {
    // Err: it stays as it is.
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::from(u16::MAX));
    let limit = Amount {
        files,
        threads: u64::MAX,
        memory: u64::MAX,
    };
    let mut ledger = Ledger::new(limit, Amount::default(), Instant::now());
    ledger.sampled(sample(u64::MAX), Instant::now());
    Mutex::new(ledger)
});

fn ledger() -> std::sync::MutexGuard<'static, Ledger> {
    // A poisoned lock is fine: nothing is ever left half-changed.
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Limits, use and grants.
struct Ledger {
    limit: Amount,
    in_use: Amount,
    sampled_at: Instant,
    held: Amount,
    /// From permits returned since the sample, which may have opened what they were for.
    released: Amount,
    complained_at: Option<Instant>,
    /// Resident memory that the configuration allows, in bytes.
    memory_max: u64,
}

/// The readings of [`system::sample`].
#[derive(Clone, Copy)]
struct Sample {
    in_use: Amount,
    memory_max: u64,
    threads_max: u64,
}

impl Ledger {
    fn new(limit: Amount, in_use: Amount, now: Instant) -> Self {
        Self {
            limit,
            in_use,
            sampled_at: now,
            held: Amount::default(),
            released: Amount::default(),
            complained_at: None,
            memory_max: u64::MAX,
        }
    }

    /// Reads what is in use, unless that has just been done.
    fn refresh(&mut self, now: Instant) {
        if now.saturating_duration_since(self.sampled_at) >= SAMPLE_INTERVAL {
            self.sampled(sample(self.memory_max), now);
        }
    }

    fn sampled(&mut self, sample: Sample, now: Instant) {
        self.in_use = sample.in_use;
        self.limit.memory = sample.memory_max;
        self.limit.threads = sample.threads_max;
        self.sampled_at = now;
        self.released = Amount::default();
    }

    /// Whether it is time for a line in the log.
    fn may_complain(&mut self, now: Instant) -> bool {
        let last = self.complained_at;
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINT_INTERVAL);
        if due {
            self.complained_at = Some(now);
        }
        due
    }

    fn grant(&mut self, asker: Asker, amount: Amount) -> Result<(), Short> {
        let taken = self.in_use.plus(self.held).plus(self.released);
        let kept = |limit: u64| {
            let reserve = (limit / RESERVE_SHARE).clamp(*RESERVE.start(), *RESERVE.end());
            asker.share(reserve)
        };
        let memory = self.limit.memory / RESERVE_SHARE;
        let memory = memory.clamp(*MEMORY_RESERVE.start(), *MEMORY_RESERVE.end());
        let kept = Amount {
            files: kept(self.limit.files),
            threads: kept(self.limit.threads),
            memory: asker.share(memory),
        };
        let mut needed = taken.plus(amount).plus(kept);
        if amount.memory == 0 {
            needed.memory = 0;
        }
        if asker == Asker::Connection {
            needed.threads = 0; // a refusal can be sent without
        }
        if let Some(short) = self.limit.short_of(needed) {
            return Err(short);
        }
        self.held = self.held.plus(amount);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: Amount = Amount {
        files: u64::MAX,
        threads: u64::MAX,
        memory: u64::MAX,
    };

    fn files(files: u64) -> Amount {
        Amount {
            files,
            ..Amount::default()
        }
    }

    fn ledger(limit: u64, in_use: u64) -> Ledger {
        let limit = Amount {
            files: limit,
            ..UNLIMITED
        };
        Ledger::new(limit, files(in_use), Instant::now())
    }

    fn granted(ledger: &mut Ledger, asker: Asker, amount: Amount) -> usize {
        (0..1000)
            .take_while(|_| ledger.grant(asker, amount).is_ok())
            .count()
    }

    #[test]
    fn clients_leave_the_reserve() {
        let mut ledger = ledger(256, 56);
        assert_eq!(granted(&mut ledger, Asker::Client, Amount::SESSION), 15);
        let refused = ledger.grant(Asker::Client, Amount::SESSION);
        assert_eq!(refused, Err(Short::Files));
        assert_eq!(granted(&mut ledger, Asker::Connection, files(1)), 26);
        assert_eq!(granted(&mut ledger, Asker::Pipeline, files(1)), 12);
    }

    #[test]
    fn returned_resources_count_until_the_next_look_at_the_system() {
        let mut ledger = ledger(256, 56);
        granted(&mut ledger, Asker::Client, files(1));
        ledger.released = std::mem::take(&mut ledger.held);
        assert!(ledger.grant(Asker::Client, files(1)).is_err());
        let sample = Sample {
            in_use: files(100),
            memory_max: u64::MAX,
            threads_max: u64::MAX,
        };
        ledger.sampled(sample, Instant::now());
        assert_eq!(granted(&mut ledger, Asker::Client, files(1)), 108);
    }

    #[test]
    fn threads_run_out_too() {
        let limit = Amount {
            threads: 100,
            ..UNLIMITED
        };
        let mut ledger = Ledger::new(limit, Amount::default(), Instant::now());
        assert_eq!(granted(&mut ledger, Asker::Client, Amount::SESSION), 8);
        let refused = ledger.grant(Asker::Client, Amount::SESSION);
        assert_eq!(refused, Err(Short::Threads));
        ledger.in_use.threads = 100;
        ledger.grant(Asker::Connection, Amount::CONNECTION).unwrap();
    }

    #[test]
    fn memory_runs_out_for_those_who_need_it() {
        let mut ledger = Ledger::new(UNLIMITED, Amount::default(), Instant::now());
        let used = |mebibytes: u64| Sample {
            in_use: Amount {
                memory: mebibytes << 20,
                ..Amount::default()
            },
            memory_max: 256 << 20,
            threads_max: u64::MAX,
        };
        // A reserve of an eighth is kept: 32 MiB.
        ledger.sampled(used(220), Instant::now());
        assert_eq!(granted(&mut ledger, Asker::Client, Amount::SESSION), 2);
        assert!(ledger.grant(Asker::Client, Amount::VIEWER).is_err());
        ledger.grant(Asker::Connection, Amount::CONNECTION).unwrap();
        ledger.sampled(used(100), Instant::now());
        ledger.grant(Asker::Client, Amount::VIEWER).unwrap();
    }

    #[test]
    fn large_limits_keep_back_no_more_than_is_useful() {
        let mut ledger = ledger(1 << 20, (1 << 20) - 1100);
        assert_eq!(granted(&mut ledger, Asker::Client, files(1)), 76);
    }

    #[test]
    fn needs_of_allowed_clients_add_up() {
        let demand = Demand {
            connections: 2000,
            sessions: 100,
            pipelines: 2,
        };
        assert_eq!(demand.needs().files, 64 + 2000 + 1000 + 8);
        assert_eq!(demand.needs().threads, 32 + 600 + 24);
    }
}
