//! The files that outputs are writing now: those that their processes have open.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _};

use crate::worker;

/// The files that the processes of pipelines have open, by device and inode.
pub(super) struct GrowingFiles {
    open: BTreeSet<(u64, u64)>,
    /// Whether every process could be inspected.
    is_known: bool,
}

impl GrowingFiles {
    /// As it is now.
    pub(super) fn now() -> Self {
        let mut growing = Self {
            open: BTreeSet::new(),
            is_known: true,
        };
        for process in worker::processes() {
            growing.look_at(process);
        }
        growing
    }

    fn look_at(&mut self, process: u32) {
        let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else {
            // One that has ended writes nothing.
            self.is_known &= !fs::exists(format!("/proc/{process}")).unwrap_or(true);
            return;
        };
        for entry in entries.flatten() {
            // Err: it has just been closed.
            if let Ok(metadata) = fs::metadata(entry.path()) {
                self.open.insert((metadata.dev(), metadata.ino()));
            }
        }
    }

    /// Whether this file is being written; also if nobody knows.
    pub(super) fn include(&self, device: u64, inode: u64) -> bool {
        !self.is_known || self.open.contains(&(device, inode))
    }
}
