//! The control groups that this process is in (cgroups(7)), of version 2 and version 1: a service's
//! limits, a container's.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where control groups are.
const ROOT: &str = "/sys/fs/cgroup";

/// What limits a resource.
struct Controller {
    name: &'static str,
    /// The file with the limit, in version 1.
    limit_1: &'static str,
    /// In version 2.
    limit_2: &'static str,
}

const MEMORY: Controller = Controller {
    name: "memory",
    limit_1: "memory.limit_in_bytes",
    limit_2: "memory.max",
};
const PIDS: Controller = Controller {
    name: "pids",
    limit_1: "pids.max",
    limit_2: "pids.max",
};

/// The groups of one controller.
struct Groups {
    /// From the innermost one on.
    folders: Vec<PathBuf>,
    version: GroupVersion,
}

/// Of the interface.
#[derive(Clone, Copy)]
enum GroupVersion {
    One,
    Two,
}

/// Of the groups that limit memory, the one with the least left: its use and its limit, in bytes.
/// Workers are in the same groups, so their memory counts.
pub(super) fn memory() -> Option<(u64, u64)> {
    memory_among(Path::new(ROOT), &listed())
}

/// How many threads this process may have, which has `own` of them: workers have theirs in the same
/// groups.
pub(super) fn threads_max(own: u64) -> Option<u64> {
    threads_among(Path::new(ROOT), &listed(), own)
}

fn listed() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// `listed` is written as in `/proc/self/cgroup`.
fn memory_among(root: &Path, listed: &str) -> Option<(u64, u64)> {
    let groups = Groups::of(&MEMORY, root, listed);
    groups
        .limits(&MEMORY)
        .map(|(folder, limit)| (groups.memory_in_use(folder), limit))
        .min_by_key(|&(used, limit)| limit.saturating_sub(used))
}

fn threads_among(root: &Path, listed: &str, own: u64) -> Option<u64> {
    let groups = Groups::of(&PIDS, root, listed);
    let left = |(folder, limit): (&Path, u64)| {
        let used = number_in(&folder.join("pids.current")).unwrap_or(own);
        limit.saturating_sub(used.saturating_sub(own))
    };
    groups.limits(&PIDS).map(left).min()
}

impl Groups {
    fn of(controller: &Controller, root: &Path, listed: &str) -> Self {
        let mut lines = listed.lines();
        // ID:CONTROLLERS:PATH
        let first = lines.find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let listed = controllers.split(',').any(|name| name == controller.name);
            listed.then(|| (root.join(controller.name), path))
        });
        let second = || listed.lines().find_map(|line| line.strip_prefix("0::"));
        let (root, path, version) = match first {
            Some((root, path)) => (root, path, GroupVersion::One),
            None => (
                root.to_owned(),
                second().unwrap_or_default(),
                GroupVersion::Two,
            ),
        };
        // A container sees its own group as the root, although the path may be the host's.
        let innermost = root.join(path.trim_start_matches('/'));
        let folders = innermost
            .ancestors()
            .take_while(|folder| folder.starts_with(&root))
            .map(Path::to_owned)
            .collect();
        Self { folders, version }
    }

    /// The groups that have a limit.
    fn limits<'a>(&'a self, controller: &Controller) -> impl Iterator<Item = (&'a Path, u64)> {
        let file = match self.version {
            GroupVersion::One => controller.limit_1,
            GroupVersion::Two => controller.limit_2,
        };
        self.folders
            .iter()
            .filter_map(move |folder| Some((folder.as_path(), number_in(&folder.join(file))?)))
    }

    /// Without cached files that the kernel drops when memory is needed.
    fn memory_in_use(&self, group: &Path) -> u64 {
        let (used, cached) = match self.version {
            GroupVersion::One => ("memory.usage_in_bytes", "total_inactive_file "),
            GroupVersion::Two => ("memory.current", "inactive_file "),
        };
        let cached = fs::read_to_string(group.join("memory.stat"))
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix(cached)?.parse::<u64>().ok());
        let used = number_in(&group.join(used)).unwrap_or(0);
        used.saturating_sub(cached.unwrap_or(0))
    }
}

/// The number in a file, if it is one: a group without a limit says `max`.
fn number_in(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    /// A folder with the files of groups, which goes with it.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let name = format!("aerial-groups-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn write(&self, file: &str, content: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn memory(&self, listed: &str) -> Option<(u64, u64)> {
            memory_among(&self.0, listed)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn every_group_on_the_way_limits() {
        let tree = Tree::new("second");
        let listed = "0::/system.slice/aerial.service\n";
        let service = "system.slice/aerial.service";
        tree.write(&format!("{service}/memory.max"), "max\n");
        assert_eq!(tree.memory(listed), None);
        tree.write("system.slice/memory.max", &format!("{}\n", 512 * MB));
        assert_eq!(tree.memory(listed), Some((0, 512 * MB)));
        tree.write("system.slice/memory.current", &format!("{}\n", 400 * MB));
        tree.write(&format!("{service}/memory.max"), &format!("{}\n", 256 * MB));
        tree.write(
            &format!("{service}/memory.current"),
            &format!("{}\n", 190 * MB),
        );
        tree.write(
            &format!("{service}/memory.stat"),
            &format!("anon 1\ninactive_file {}\n", 90 * MB),
        );
        // 112 MB are left of the slice, 156 of the service.
        assert_eq!(tree.memory(listed), Some((400 * MB, 512 * MB)));
        tree.write("system.slice/memory.current", "0\n");
        assert_eq!(tree.memory(listed), Some((100 * MB, 256 * MB)));
    }

    #[test]
    fn the_first_version_counts_where_it_has_the_controller() {
        let tree = Tree::new("first");
        let listed = "5:pids:/\n4:cpu,memory:/docker/abc\n0::/\n";
        // The mount of a container: its own group, under a path that is the host's.
        tree.write("memory/memory.limit_in_bytes", &format!("{}\n", 256 * MB));
        tree.write("memory/memory.usage_in_bytes", &format!("{}\n", 64 * MB));
        tree.write("memory/memory.stat", "total_inactive_file 4096\n");
        tree.write("memory.max", "4096\n");
        assert_eq!(tree.memory(listed), Some((64 * MB - 4096, 256 * MB)));
        assert_eq!(tree.memory("5:pids:/\n0::/\n"), Some((0, 4096)));
    }

    #[test]
    fn workers_have_their_threads_in_the_same_groups() {
        let tree = Tree::new("threads");
        tree.write("a/b/pids.max", "100\n");
        let left = |own| threads_among(&tree.0, "0::/a/b\n", own);
        assert_eq!(left(10), Some(100));
        tree.write("a/b/pids.current", "70\n");
        assert_eq!(left(10), Some(40));
        tree.write("a/pids.max", "120\n");
        tree.write("a/pids.current", "110\n");
        assert_eq!(left(10), Some(20));
    }
}
