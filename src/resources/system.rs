//! What the system says about this process: its limits, and what it uses of them.

use std::{fs, path::Path};

use super::{Amount, Sample};

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

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
    let of_group = lowest_of_groups("memory.max").unwrap_or(u64::MAX);
    let address_space = rlimit::getrlimit(rlimit::Resource::AS).map_or(u64::MAX, |(soft, _)| soft);
    let (memory, memory_max) = tightest([
        (bytes("VmRSS:"), resident_max.min(of_group)),
        (bytes("VmSize:"), address_space),
    ]);
    Sample {
        in_use: Amount {
            files,
            threads: number("Threads:"),
            memory,
        },
        memory_max,
    }
}

/// Of several kinds of memory, each with its use and its limit, the one with the least left.
pub(super) fn tightest(kinds: [(u64, u64); 2]) -> (u64, u64) {
    let left = |&(used, limit): &(u64, u64)| limit.saturating_sub(used);
    kinds.into_iter().min_by_key(left).unwrap_or((0, u64::MAX))
}

/// The lowest of the limits on threads: the kernel's, the user's, and those of the control groups
/// that the process is in (systemd's `TasksMax`, a container's limit).
pub(super) fn threads_max() -> u64 {
    let kernel = number_in(Path::new("/proc/sys/kernel/threads-max"));
    let user = rlimit::getrlimit(rlimit::Resource::NPROC).ok();
    let groups = lowest_of_groups("pids.max");
    let limits = [kernel, user.map(|(soft, _)| soft), groups];
    limits.into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// The number in a file, if it is one.
fn number_in(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The lowest limit of this name among the control groups that the process is in.
fn lowest_of_groups(file: &str) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    lowest_among(Path::new(GROUPS), &groups, file)
}

/// The lowest limit of this name on the way from `root` to the group in `groups`, which is written
/// as in `/proc/self/cgroup`.
fn lowest_among(root: &Path, groups: &str, file: &str) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let group = root.join(group.unwrap_or_default());
    group
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| number_in(&folder.join(file)))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_with_the_least_left_counts() {
        assert_eq!(tightest([(10, 100), (50, 120)]), (50, 120));
        assert_eq!(tightest([(10, 100), (50, u64::MAX)]), (10, 100));
        assert_eq!(tightest([(200, 100), (50, 120)]), (200, 100));
    }

    #[test]
    fn every_group_on_the_way_limits() {
        let root = std::env::temp_dir().join(format!("aerial-groups-{}", std::process::id()));
        let service = root.join("system.slice/aerial.service");
        fs::create_dir_all(&service).unwrap();
        let lowest = || lowest_among(&root, "0::/system.slice/aerial.service\n", "memory.max");
        assert_eq!(lowest(), None);
        let limit = |folder: &Path, text: &str| fs::write(folder.join("memory.max"), text).unwrap();
        limit(&service, "max\n");
        assert_eq!(lowest(), None);
        limit(&root.join("system.slice"), "536870912\n");
        assert_eq!(lowest(), Some(512 << 20));
        limit(&service, "268435456\n");
        assert_eq!(lowest(), Some(256 << 20));
        // A container sees its own group as the root.
        assert_eq!(
            lowest_among(&service, "0::/\n", "memory.max"),
            Some(256 << 20)
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_process_has_files_and_threads() {
        let amount = sample(u64::MAX).in_use;
        assert!(amount.files >= 3 && amount.threads >= 1, "{amount:?}");
        assert!(amount.memory > 1 << 20, "{amount:?}");
        assert!(threads_max() > amount.threads);
    }
}
