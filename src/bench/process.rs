//! What the operating system says about a process.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Length of the ticks in `/proc/<pid>/stat`: `USER_HZ` is 100 on every platform of Debian.
const TICK: Duration = Duration::from_millis(10);

/// A process's use of the machine so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// User and system time, of all threads; on a precision of 10 ms.
    pub(super) cpu: Duration,
    /// Threads alive.
    pub(super) threads: u64,
    /// Resident memory in bytes.
    pub(super) resident_bytes: u64,
}

impl Usage {
    /// Of the process with this id.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("no such process")?;
        // A process that has ended and not been waited for has times, but no memory.
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let rollup = rollup.unwrap_or_else(|_| "Rss: 0 kB".to_owned());
        Self::parse(&stat, &rollup).context("unreadable process statistics")
    }

    fn parse(stat: &str, rollup: &str) -> Option<Self> {
        // The name, in parentheses, may contain anything; the state, field 3, comes after it.
        let (_, fields) = stat.rsplit_once(')')?;
        let field = |number: usize| -> Option<u64> {
            fields
                .split_ascii_whitespace()
                .nth(number - 3)?
                .parse()
                .ok()
        };
        let ticks = u32::try_from(field(14)? + field(15)?).ok()?;
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
        let kilobytes: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Self {
            cpu: TICK * ticks,
            threads: field(20)?,
            resident_bytes: kilobytes * 1024,
        })
    }
}

/// The machine's load average of the last minute.
///
/// # Errors
///
/// If the system does not say.
pub(super) fn load() -> Result<f64> {
    let average = fs::read_to_string("/proc/loadavg")?;
    let first = average
        .split_ascii_whitespace()
        .next()
        .context("no load average")?;
    Ok(first.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 3 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        let rollup = "55-7f ---p 0 [rollup]\nRss:    1752 kB\nPss:  380 kB\n";
        let usage = Usage::parse(stat, rollup).unwrap();
        assert_eq!(usage.cpu, Duration::from_secs(3));
        assert_eq!(usage.threads, 9);
        assert_eq!(usage.resident_bytes, 1752 * 1024);
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.threads > 0 && usage.resident_bytes > 0);
    }
}
