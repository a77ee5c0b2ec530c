//! State that the task of a job and its handles share.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use tokio::sync::oneshot;

use super::{
    note::{Answer, ToWorker},
    queue::Outbox,
};
use crate::{
    media::ByKind,
    pipeline::{Error, job::JobFigures},
};

/// State that the task of a job and its handles share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) figures: Mutex<JobFigures>,
    pub(super) answers: Mutex<BTreeMap<u64, oneshot::Sender<Result<Answer, Error>>>>,
    pub(super) next_answer: AtomicU64,
    /// Frames of the inputs.
    pub(super) offered: ByKind<AtomicU64>,
    /// Those of them that never reached the worker.
    pub(super) lost: ByKind<AtomicU64>,
}

pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock is fine: nothing is ever left half-changed.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn tell(outbox: &Outbox, note: &ToWorker) {
    if let Err(error) = outbox.note(note) {
        tracing::warn!(%error, "not sent to the worker");
    }
}
