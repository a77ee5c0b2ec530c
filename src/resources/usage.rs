//! What the process has used so far, for the metrics.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::ledger;

/// Clock ticks per second in `/proc`, on every architecture that Linux has now.
const TICKS: u64 = 100;

/// What the process uses, and what it may.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessUsage {
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Virtual memory, in bytes.
    pub address_space: u64,
    /// Open file descriptors.
    pub files: u64,
    /// The limit of open file descriptors.
    pub files_max: u64,
    /// Threads.
    pub threads: u64,
    /// The limit of threads.
    pub threads_max: u64,
    /// When it started, as seconds since 1970.
    pub started: u64,
}

/// Reads it from the system.
pub fn usage() -> ProcessUsage {
    let (limit, in_use) = {
        let mut ledger = ledger();
        ledger.refresh(Instant::now());
        (ledger.limit, ledger.in_use)
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = fields(&stat);
    let field = |number: usize| fields.get(number).copied().unwrap_or(0);
    let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = memory
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
    let boot: u64 = boot.and_then(|time| time.parse().ok()).unwrap_or(0);
    ProcessUsage {
        cpu: Duration::from_millis((field(UTIME) + field(STIME)) * 1000 / TICKS),
        memory: pages.unwrap_or(0) * PAGE_BYTES,
        address_space: field(VSIZE),
        files: in_use.files,
        files_max: limit.files,
        threads: in_use.threads,
        threads_max: limit.threads,
        started: boot + field(STARTTIME) / TICKS,
    }
}

/// Bytes of a page of memory.
const PAGE_BYTES: u64 = 4096;
/// Fields of `/proc/self/stat` (proc(5)), counted from the one after the program's name.
const UTIME: usize = 11;
const STIME: usize = 12;
const STARTTIME: usize = 19;
const VSIZE: usize = 20;

/// The fields after the program's name, which may hold anything. Anything but a natural number is
/// 0.
fn fields(stat: &str) -> Vec<u64> {
    let (_, after) = stat.rsplit_once(") ").unwrap_or_default();
    after
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = usage();
        assert!(usage.memory > 1 << 20 && usage.memory < usage.address_space);
        assert!(
            usage.files >= 3 && usage.files < usage.files_max,
            "{usage:?}"
        );
        assert!(usage.threads >= 1 && usage.threads < usage.threads_max);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs().abs_diff(usage.started);
        assert!(age < 3600, "{usage:?}");
    }

    #[test]
    fn a_name_with_brackets_shifts_nothing() {
        let stat = "1 (a) b (c)) S 2 3 4 5 6 7 8 9 10 11 70 30 0";
        let fields = fields(stat);
        assert_eq!((fields[UTIME], fields[STIME]), (70, 30));
    }
}
