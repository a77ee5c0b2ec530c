//! The child tasks of an actor: how runs of pipelines start, and which child has ended.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use tokio::task::{self, JoinError};
use tracing::Instrument;

use super::{ActiveRun, Actor, Child};
use crate::{
    broadcast::{
        action::RunStart,
        outcome::Outcome,
        remote::RemoteRun,
        session::{Stop, jitter},
        slot::{Retry, RunEnd, SlotId},
        supervisor::Run,
    },
    peer::End,
};

/// A run of a pipeline, here or at another node.
type RunTask = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Actor {
    pub(super) fn start_run(&mut self, start: RunStart) {
        let run = start.run;
        if start.again && run.slot == SlotId::Source {
            self.shared
                .counters
                .source_restarts
                .fetch_add(1, Ordering::Relaxed);
        }
        let stop = Stop::default();
        let pipeline = start.file.name().to_owned();
        let span = tracing::error_span!("pipeline", name = pipeline);
        let origin = start.origin.clone();
        let task: RunTask = if let Some((cluster, origin)) = self.shared.cluster.clone().zip(origin)
        {
            let run = RemoteRun {
                cluster,
                broadcast: self.name.clone(),
                start,
                origin,
                reports: self.reports.clone(),
                viewers: self.watchers.subscribe(),
                stop: stop.clone(),
            };
            Box::pin(async { Outcome::Run(run.run().await) })
        } else {
            let run = Run {
                broadcast: self.name.clone(),
                start,
                reports: self.reports.clone(),
                counters: Arc::clone(&self.shared.counters),
                events: self.shared.events.clone(),
                limits: self.shared.options.now().workers,
                stop: stop.clone(),
            };
            Box::pin(async { Outcome::Run(run.run().await) })
        };
        let child = self.children.spawn(task.instrument(span));
        self.child_names.insert(child.id(), Child::Run(run));
        self.runs.insert(run, ActiveRun { stop, pipeline });
    }

    /// The kind of a child task, and how it ended.
    pub(super) fn name_child(
        &mut self,
        child: Result<(task::Id, Outcome), JoinError>,
    ) -> (Option<Child>, Outcome) {
        let (id, outcome) = match child {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => {
                tracing::error!(%error, "a task failed");
                (error.id(), None)
            }
        };
        let child = self.child_names.remove(&id);
        let outcome = outcome.unwrap_or_else(|| match child {
            Some(Child::Run(run)) => Outcome::Run(RunEnd {
                run,
                made_frames: false,
                error: Some("its task failed".to_owned()),
                jitter: jitter(),
                retry: Retry::default(),
            }),
            Some(Child::Claim) => Outcome::Claimed(None),
            Some(Child::Remote) => Outcome::Followed(self.remotes),
            _ => Outcome::Ended(End::Failed),
        });
        (child, outcome)
    }
}
