//! What the system says about this process: its limits, and what it uses of them.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::{Amount, Sample, groups};

/// What this process uses now, and the limit of memory that is nearest. The configuration allows
/// `resident_max`.
pub(super) fn sample(resident_max: u64) -> Sample {
    let listed = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // Linux 6.2 and later report it without a list.
    let files = match fs::metadata("/proc/self/fd") {
        Ok(folder) if folder.len() > 0 => folder.len(),
        _ => u64::try_from(listed()).unwrap_or(u64::MAX),
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |key: &str| {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    let bytes = |key| 1024_u64.saturating_mul(number(key));
    let address_space = rlimit::getrlimit(rlimit::Resource::AS).map_or(u64::MAX, |(soft, _)| soft);
    let (memory, memory_max) = tightest([
        (bytes("VmRSS:"), resident_max),
        (bytes("VmSize:"), address_space),
        groups::memory().unwrap_or((0, u64::MAX)),
    ]);
    Sample {
        in_use: Amount {
            files,
            threads: number("Threads:"),
            memory,
        },
        memory_max,
        threads_max: threads_max(number("Threads:")),
    }
}

/// Of several kinds of memory, each with its use and its limit, the one with the least left.
pub(super) fn tightest(kinds: [(u64, u64); 3]) -> (u64, u64) {
    let left = |&(used, limit): &(u64, u64)| limit.saturating_sub(used);
    kinds.into_iter().min_by_key(left).unwrap_or((0, u64::MAX))
}

/// The lowest of the limits on threads: the kernel's, the user's, and what control groups (systemd's
/// `TasksMax`, a container's limit) leave to this process, which has `own` of them. All three count
/// other processes' threads too, among them those of its pipelines.
fn threads_max(own: u64) -> u64 {
    let kernel = fs::read_to_string("/proc/sys/kernel/threads-max");
    let kernel = kernel.ok().and_then(|text| text.trim().parse().ok());
    let kernel = kernel.map(|limit| left_to(own, limit, threads_of_the_system));
    let user = rlimit::getrlimit(rlimit::Resource::NPROC)
        .ok()
        .map(|(soft, _)| soft)
        .filter(|limit| *limit < u64::MAX && !is_root())
        .map(|limit| left_to(own, limit, || threads_of_the_user(Path::new("/proc"))));
    [kernel, user, groups::threads_max(own)]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(u64::MAX)
}

/// What a limit on the threads of several processes leaves to this one.
fn left_to(own: u64, limit: u64, count: impl FnOnce() -> Option<u64>) -> u64 {
    let others = count().unwrap_or(own).saturating_sub(own);
    limit.saturating_sub(others)
}

/// The kernel does not hold root to the limit of a user (setrlimit(2), `RLIMIT_NPROC`).
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0)
}

/// The fourth field of `/proc/loadavg` ends with it (proc(5)).
fn threads_of_the_system() -> Option<u64> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    let (_, threads) = loads.split(' ').nth(3)?.split_once('/')?;
    threads.parse().ok()
}

/// Threads of all processes in this folder that belong to the user of this process.
fn threads_of_the_user(processes: &Path) -> Option<u64> {
    let user = fs::metadata(processes.join("self")).ok()?.uid();
    let threads = fs::read_dir(processes)
        .ok()?
        .flatten()
        .filter(|process| {
            process
                .file_name()
                .as_encoded_bytes()
                .first()
                .is_some_and(u8::is_ascii_digit)
        })
        .filter(|process| process.metadata().is_ok_and(|of| of.uid() == user))
        .filter_map(|process| fs::read_to_string(process.path().join("status")).ok())
        .filter_map(|status| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix("Threads:")?.trim().parse::<u64>().ok())
        });
    Some(threads.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: (u64, u64) = (0, u64::MAX);

    #[test]
    fn the_limit_with_the_least_left_counts() {
        assert_eq!(tightest([(10, 100), (50, 120), NONE]), (50, 120));
        assert_eq!(tightest([(10, 100), NONE, (80, 180)]), (10, 100));
        assert_eq!(tightest([(200, 100), (50, 120), NONE]), (200, 100));
    }

    #[test]
    fn threads_of_other_processes_count() {
        assert_eq!(left_to(10, 100, || Some(30)), 80);
        assert_eq!(left_to(10, 100, || None), 100);
        assert_eq!(left_to(10, 100, || Some(500)), 0);
        let (own, before) = (sample(u64::MAX).in_use.threads, threads_of_the_system());
        let user = threads_of_the_user(Path::new("/proc"));
        assert!(
            before >= Some(own) && user >= Some(own),
            "{before:?} {user:?} {own}"
        );
        // Of another process.
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let more = threads_of_the_user(Path::new("/proc"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(more > Some(own), "{more:?} {own}");
    }

    #[test]
    fn this_process_has_files_and_threads() {
        let amount = sample(u64::MAX).in_use;
        assert!(amount.files >= 3 && amount.threads >= 1, "{amount:?}");
        assert!(amount.memory > 1 << 20, "{amount:?}");
        assert!(threads_max(amount.threads) > amount.threads);
    }
}
