//! The resources that all workers use, for the metrics.
//!
//! A worker's entry begins when its process is started, and ends when it is collected: until then the
//! kernel still knows what it has used. So CPU time is complete, however short a worker's life was.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, Weak},
};

use super::{queue::Outbox, shared::lock};
use crate::resources::ProcessFigures;

/// Names of workers that have ended whose CPU time is kept; that of further ones is added up.
const NAMES_MAX: usize = 1000;
/// The name of that sum. Those of pipelines have a hyphen.
const OTHERS: &str = "other";

/// The resources that the processes of one pipeline use, or those of all publishers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerUsage {
    /// The pipeline's name, with that of its broadcast.
    pub name: String,
    /// CPU time of all its processes so far, in milliseconds.
    pub cpu_ms: u64,
    /// Of those that run; `None` if none does, or has been measured.
    pub memory_bytes: Option<u64>,
    /// Bytes that wait for them to read; `None` if none runs.
    pub queued_bytes: Option<usize>,
}

static WORKERS: Mutex<Workers> = Mutex::new(Workers {
    running: BTreeMap::new(),
    ended: BTreeMap::new(),
    names: VecDeque::new(),
});

/// The workers that there are and have been.
struct Workers {
    /// By the numbers of their processes.
    running: BTreeMap<u32, RunningWorker>,
    /// CPU time of those that have ended, in milliseconds, by name.
    ended: BTreeMap<String, u64>,
    /// The names of those, except [`OTHERS`]; the oldest first.
    names: VecDeque<String>,
}

struct RunningWorker {
    name: String,
    /// `None` before it has been measured.
    figures: Option<ProcessFigures>,
    outbox: Weak<Outbox>,
}

/// The numbers of the processes of the workers that run now.
pub fn processes() -> Vec<u32> {
    lock(&WORKERS).running.keys().copied().collect()
}

/// The resources that the workers have used, by name.
pub fn all() -> Vec<WorkerUsage> {
    lock(&WORKERS).usage()
}

impl Workers {
    fn usage(&self) -> Vec<WorkerUsage> {
        let mut usage = BTreeMap::<&str, WorkerUsage>::new();
        for (name, &cpu_ms) in &self.ended {
            usage.entry(name).or_default().cpu_ms = cpu_ms;
        }
        for worker in self.running.values() {
            let sum = usage.entry(&worker.name).or_default();
            if let Some(figures) = worker.figures {
                sum.cpu_ms = sum.cpu_ms.saturating_add(figures.cpu_ms);
                let memory = sum.memory_bytes.unwrap_or(0);
                sum.memory_bytes = Some(memory.saturating_add(figures.memory_bytes));
            }
            if let Some(outbox) = worker.outbox.upgrade() {
                let queued = sum.queued_bytes.unwrap_or(0);
                sum.queued_bytes = Some(queued.saturating_add(outbox.bytes()));
            }
        }
        let named = |(name, usage): (&str, WorkerUsage)| WorkerUsage {
            name: name.to_owned(),
            ..usage
        };
        usage.into_iter().map(named).collect()
    }

    /// A worker has ended, and has used so much.
    fn end(&mut self, pid: u32, cpu_ms: u64) {
        let Some(RunningWorker { name, .. }) = self.running.remove(&pid) else {
            return;
        };
        if !self.ended.contains_key(&name) {
            if self.names.len() >= NAMES_MAX
                && let Some(oldest) = self.names.pop_front()
            {
                let used = self.ended.remove(&oldest).unwrap_or(0);
                self.add(OTHERS.to_owned(), used);
            }
            self.names.push_back(name.clone());
        }
        self.add(name, cpu_ms);
    }

    fn add(&mut self, name: String, cpu_ms: u64) {
        let sum = self.ended.entry(name).or_default();
        *sum = sum.saturating_add(cpu_ms);
    }
}

/// A worker's entry, until its process is collected.
#[derive(Debug)]
pub(super) struct UsageEntry {
    pid: u32,
}

impl UsageEntry {
    pub(super) fn new(name: &str, pid: u32) -> Self {
        let worker = RunningWorker {
            name: name.to_owned(),
            figures: None,
            outbox: Weak::new(),
        };
        lock(&WORKERS).running.insert(pid, worker);
        Self { pid }
    }

    /// It has got work: what it is called from now on, and what waits for it.
    pub(super) fn begin(&self, name: &str, outbox: &Arc<Outbox>) {
        if let Some(worker) = lock(&WORKERS).running.get_mut(&self.pid) {
            name.clone_into(&mut worker.name);
            worker.outbox = Arc::downgrade(outbox);
        }
    }

    pub(super) fn set(&self, figures: ProcessFigures) {
        if let Some(worker) = lock(&WORKERS).running.get_mut(&self.pid) {
            worker.figures = Some(figures);
        }
    }

    /// It has ended, and is about to be collected: its last figures.
    pub(super) fn end(&self) -> ProcessFigures {
        let last = ProcessFigures::of(self.pid).unwrap_or_default();
        let mut workers = lock(&WORKERS);
        let worker = workers.running.get(&self.pid);
        let measured = worker.and_then(|worker| worker.figures).unwrap_or_default();
        let figures = ProcessFigures {
            cpu_ms: measured.cpu_ms.max(last.cpu_ms),
            // It has neither memory nor threads any more.
            ..measured
        };
        workers.end(self.pid, figures.cpu_ms);
        figures
    }
}

impl Drop for UsageEntry {
    fn drop(&mut self) {
        // Only if it could not be collected.
        lock(&WORKERS).running.remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Workers {
        Workers {
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
            names: VecDeque::new(),
        }
    }

    impl Workers {
        fn start(&mut self, pid: u32, name: &str, cpu_ms: u64) {
            let figures = ProcessFigures {
                cpu_ms,
                memory_bytes: 1000,
                threads: 3,
            };
            let worker = RunningWorker {
                name: name.to_owned(),
                figures: Some(figures),
                outbox: Weak::new(),
            };
            self.running.insert(pid, worker);
        }

        fn of(&self, name: &str) -> Option<(u64, Option<u64>)> {
            let mut usage = self.usage().into_iter().filter(|usage| usage.name == name);
            let found = usage.next().map(|usage| (usage.cpu_ms, usage.memory_bytes));
            assert_eq!(usage.next(), None, "one entry for each name");
            found
        }
    }

    #[test]
    fn a_restart_does_not_reset_the_time_and_workers_of_one_name_are_added_up() {
        let mut workers = workers();
        workers.start(1, "a-x", 50);
        workers.start(2, "publisher", 7);
        workers.start(3, "publisher", 8);
        assert_eq!(workers.of("publisher"), Some((15, Some(2000))));
        workers.end(1, 60);
        assert_eq!(workers.of("a-x"), Some((60, None)));
        workers.start(4, "a-x", 5);
        assert_eq!(workers.of("a-x"), Some((65, Some(1000))));
        workers.end(9, 1_000_000);
        workers.end(2, 10);
        assert_eq!(workers.of("publisher"), Some((18, Some(1000))));
    }

    #[test]
    fn names_that_strangers_choose_are_bounded_and_the_sum_is_kept() {
        let mut workers = workers();
        for number in 0..2500 {
            workers.start(number, &format!("{number}-x"), 0);
            workers.end(number, 2);
        }
        assert_eq!(workers.ended.len(), NAMES_MAX + 1);
        assert_eq!(workers.of("2499-x"), Some((2, None)));
        assert_eq!(workers.of("1-x"), None);
        let sum: u64 = workers.usage().iter().map(|usage| usage.cpu_ms).sum();
        assert_eq!(sum, 5000);
    }
}
