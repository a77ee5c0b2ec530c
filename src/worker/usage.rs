//! The resources that all workers use, for the metrics.

use std::{collections::BTreeMap, sync::Mutex};

use super::shared::lock;
use crate::pipeline::job::ProcessFigures;

/// The resources that one pipeline's process uses.
#[derive(Clone, Debug)]
pub struct WorkerUsage {
    /// The pipeline's name, with that of its broadcast.
    pub name: String,
    /// The kernel's figures.
    pub figures: ProcessFigures,
}

/// The workers that run, by the numbers of their processes.
static WORKERS: Mutex<BTreeMap<u32, WorkerUsage>> = Mutex::new(BTreeMap::new());

/// The numbers of the processes of the workers that run now.
pub fn processes() -> Vec<u32> {
    lock(&WORKERS).keys().copied().collect()
}

/// The resources that the running workers use.
pub fn all() -> Vec<WorkerUsage> {
    lock(&WORKERS).values().cloned().collect()
}

/// A worker's entry, while it runs.
#[derive(Debug)]
pub(super) struct UsageEntry {
    name: String,
    pid: u32,
}

impl UsageEntry {
    pub(super) fn new(name: &str, pid: u32) -> Self {
        Self {
            name: name.to_owned(),
            pid,
        }
    }

    pub(super) fn set(&self, figures: ProcessFigures) {
        let name = self.name.clone();
        lock(&WORKERS).insert(self.pid, WorkerUsage { name, figures });
    }
}

impl Drop for UsageEntry {
    fn drop(&mut self) {
        lock(&WORKERS).remove(&self.pid);
    }
}
