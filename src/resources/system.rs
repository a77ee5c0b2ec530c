//! What the system says about this process: its limits, and what it uses of them.

use std::fs;

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
/// `TasksMax`, a container's limit) leave to this process, which has `own` of them.
fn threads_max(own: u64) -> u64 {
    let kernel = fs::read_to_string("/proc/sys/kernel/threads-max");
    let kernel = kernel.ok().and_then(|text| text.trim().parse().ok());
    let user = rlimit::getrlimit(rlimit::Resource::NPROC).ok();
    [kernel, user.map(|(soft, _)| soft), groups::threads_max(own)]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(u64::MAX)
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
    fn this_process_has_files_and_threads() {
        let amount = sample(u64::MAX).in_use;
        assert!(amount.files >= 3 && amount.threads >= 1, "{amount:?}");
        assert!(amount.memory > 1 << 20, "{amount:?}");
        assert!(threads_max(amount.threads) > amount.threads);
    }
}
