//! What the operating system says about a process.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Length of the ticks in `/proc/<pid>/stat`: `USER_HZ` is 100 on every platform of Debian.
const TICK: Duration = Duration::from_millis(10);

/// A process's use of the machine so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// User and system time of all threads, to a precision of 10 ms.
    pub(super) cpu: Duration,
    /// Threads alive.
    pub(super) threads: u64,
    /// Resident memory in bytes.
    pub(super) resident_bytes: u64,
}

impl Usage {
    /// The usage of the process with this id.
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

    /// The usage of a server, with that of the processes of its pipelines; threads are its own.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub(super) fn of_server(pid: u32) -> Result<Self> {
        let mut usage = Self::of(pid)?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("no such process")?;
        // Of pipelines that have ended.
        let ended = field(&stat, 16).zip(field(&stat, 17));
        let ended = ended.and_then(|(user, system)| u32::try_from(user + system).ok());
        usage.cpu += TICK * ended.unwrap_or_default();
        for worker in children(pid) {
            let of =
                |file| fs::read_to_string(format!("/proc/{worker}/{file}")).unwrap_or_default();
            if let Some((_, cpu)) = name_and_cpu(&of("stat")) {
                usage.cpu += cpu;
            }
            usage.resident_bytes += bytes(&of("smaps_rollup"), "Pss:").unwrap_or_default();
        }
        Ok(usage)
    }

    fn parse(stat: &str, rollup: &str) -> Option<Self> {
        let (_, cpu) = name_and_cpu(stat)?;
        Some(Self {
            cpu,
            threads: field(stat, 20)?,
            resident_bytes: bytes(rollup, "Rss:")?,
        })
    }
}

/// The processes that a process has started and not waited for.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let pids = |list: String| {
        list.split_whitespace()
            .map(str::parse)
            .filter_map(Result::ok)
            .collect::<Vec<_>>()
    };
    lists.flat_map(pids).collect()
}

/// A size of `smaps_rollup`.
fn bytes(rollup: &str, name: &str) -> Option<u64> {
    let size = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The name of a process or thread, and its user and system time.
fn name_and_cpu(stat: &str) -> Option<(&str, Duration)> {
    let ticks = u32::try_from(field(stat, 14)? + field(stat, 15)?).ok()?;
    let (head, _) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    Some((name, TICK * ticks))
}

/// A number after the name, which is in parentheses and may contain anything. The state, field 3,
/// follows it.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    fields.nth(number - 3)?.parse().ok()
}

/// User and system time of the threads of a process whose names begin with `prefix`.
///
/// # Errors
///
/// If the process is gone.
pub(super) fn threads_cpu(pid: u32, prefix: &str) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("no such process")?;
    // A thread may end meanwhile.
    let stats =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let of_one = |stat: String| {
        let (name, cpu) = name_and_cpu(&stat)?;
        name.starts_with(prefix).then_some(cpu)
    };
    Ok(stats.filter_map(of_one).sum())
}

/// User and system time of the threads that a process has now, as precise as the scheduler knows it.
///
/// # Errors
///
/// If the process is gone.
pub(super) fn precise_cpu(pid: u32) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("no such process")?;
    let of_one = |thread: std::io::Result<fs::DirEntry>| {
        let times = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        let running = times.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(running))
    };
    Ok(threads.filter_map(of_one).sum())
}

/// Memory that a process shares with nobody, in bytes.
///
/// # Errors
///
/// If the process is gone.
pub(super) fn private_bytes(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let rollup = rollup.context("no such process")?;
    let of = |name| bytes(&rollup, name).unwrap_or_default();
    Ok(of("Private_Clean:") + of("Private_Dirty:"))
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
    fn threads_are_found_by_name() {
        let stat = "7 (fanout-1) S 1 7 7 0 -1 4 3 0 0 0 25 5 0 0 20 0 9 0 1 2 3";
        assert_eq!(
            name_and_cpu(stat).unwrap(),
            ("fanout-1", Duration::from_millis(300))
        );
        assert_eq!(
            threads_cpu(std::process::id(), "no such name").unwrap(),
            Duration::ZERO
        );
        assert!(threads_cpu(0, "").is_err());
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.threads > 0 && usage.resident_bytes > 0);
        assert!(private_bytes(std::process::id()).unwrap() < usage.resident_bytes);
        assert!(precise_cpu(std::process::id()).unwrap() > Duration::ZERO);
    }
}
