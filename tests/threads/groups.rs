//! A control group of a test's own (cgroups(7)).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::support::Server;

/// What a group limits, and its files: of version 2 and of version 1.
pub struct Controller {
    name: &'static str,
    limit: [&'static str; 2],
    usage: [&'static str; 2],
}

pub const MEMORY: Controller = Controller {
    name: "memory",
    limit: ["memory.max", "memory.limit_in_bytes"],
    usage: ["memory.current", "memory.usage_in_bytes"],
};
/// Threads, those of processes that the server starts included.
pub const THREADS: Controller = Controller {
    name: "pids",
    limit: ["pids.max"; 2],
    usage: ["pids.current"; 2],
};

/// A group inside this process's own, which ends with it.
pub struct ControlGroup {
    folder: PathBuf,
    controller: Controller,
}

impl ControlGroup {
    /// `None` where the system gives none.
    pub fn new(controller: Controller) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let listed = fs::read_to_string("/proc/self/cgroup").unwrap();
        let path = |key: &str| {
            listed
                .lines()
                .find_map(|line| Some(line.split_once(key)?.1))
        };
        let root = Path::new("/sys/fs/cgroup");
        let own = match path(&format!(":{}:/", controller.name)) {
            Some(path) => root.join(controller.name).join(path),
            None => root.join(path("0::/")?),
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("aerial-test-{}-{number}", std::process::id());
        let group = Self {
            folder: own.join(name),
            controller,
        };
        fs::create_dir(&group.folder).ok()?;
        group.file(group.controller.limit)?;
        Some(group)
    }

    /// Whichever of these files exists.
    fn file(&self, names: [&str; 2]) -> Option<PathBuf> {
        names
            .map(|name| self.folder.join(name))
            .into_iter()
            .find(|file| file.exists())
    }

    pub fn take(&self, server: &Server) {
        let file = self.folder.join("cgroup.procs");
        fs::write(file, server.pid().to_string()).unwrap();
    }

    pub fn limit(&self, amount: u64) {
        let file = self.file(self.controller.limit);
        fs::write(file.unwrap(), amount.to_string()).unwrap();
    }

    pub fn usage(&self) -> u64 {
        let file = self.file(self.controller.usage);
        let usage = fs::read_to_string(file.unwrap()).unwrap();
        usage.trim().parse().unwrap()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Err: something of the server has not ended yet.
        let _ = fs::remove_dir(&self.folder);
    }
}
