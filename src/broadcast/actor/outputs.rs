//! The actor's pipelines: the outputs run while there is something to take out.

use std::{sync::Arc, time::Instant};

use tokio::sync::{Notify, watch};

use super::{Actor, Child};
use crate::{
    broadcast::{
        feed::Tracks,
        job::{self, Health, Purpose, Snapshot},
        session::Stop,
        status::{PipelineFigures, PipelineKind, PipelineStatus},
    },
    media::{Codec, Kind},
    peer::End,
    pipeline::EncodedStreams,
    plan::{PipelineFile, Plan},
};

/// A pipeline file of the broadcast, and its job if it runs.
pub(super) struct Slot {
    pub(super) text: PipelineFile,
    pub(super) job: Option<Running>,
    /// What the last job has told.
    snapshot: Snapshot,
}

/// What a job is started with.
pub(super) struct Start {
    pub(super) text: PipelineFile,
    pub(super) purpose: Purpose,
    pub(super) keyframe: Arc<Notify>,
    /// What its variables are taken from.
    pub(super) plan: Arc<Plan>,
}

/// A job that runs, or is about to end.
pub(super) struct Running {
    pub(super) number: u64,
    /// What it takes.
    takes: Vec<(Kind, Codec)>,
    stop: Stop,
    snapshot: watch::Receiver<Snapshot>,
}

impl Slot {
    pub(super) fn new(text: PipelineFile) -> Self {
        Self {
            text,
            job: None,
            snapshot: Snapshot::default(),
        }
    }

    /// Ends the job; it writes what it holds first.
    pub(super) fn end(&self, why: End) {
        if let Some(job) = &self.job {
            job.stop.end(why);
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let job = self.job.as_ref();
        job.map_or_else(
            || self.snapshot.clone(),
            |job| job.snapshot.borrow().clone(),
        )
    }

    pub(super) fn health(&self) -> Health {
        let job = self.job.as_ref();
        job.map_or_else(
            || self.snapshot.health.clone(),
            |job| job.snapshot.borrow().health.clone(),
        )
    }

    /// Whether the job takes something else than there is now.
    pub(super) fn is_outdated(&self, tracks: &Tracks) -> bool {
        self.job
            .as_ref()
            .is_some_and(|job| job.takes != takes(tracks))
    }

    /// Takes note of the end of a job, if it was its own.
    pub(super) fn reap(&mut self, number: u64) -> bool {
        let job = self.job.take_if(|job| job.number == number);
        if let Some(job) = &job {
            self.snapshot = job.snapshot.borrow().clone();
        }
        job.is_some()
    }

    pub(super) fn figures(&self, kind: PipelineKind) -> PipelineFigures {
        PipelineFigures::new(&self.text, kind, self.snapshot())
    }
}

impl Running {
    /// Whether it has been told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.stop.is_set()
    }
}

/// The tracks that a pipeline can take.
fn takes(tracks: &Tracks) -> Vec<(Kind, Codec)> {
    let track = |kind| Some((kind, tracks.of(kind)?.codec?));
    let kinds = [Kind::Video, Kind::Audio];
    kinds.into_iter().filter_map(track).collect()
}

impl Actor {
    /// Starts and stops outputs: they run from the moment the broadcast is live until it has
    /// ended, across a publisher's reconnect within the grace period.
    pub(super) fn run_outputs(&mut self) {
        let takes = takes(&self.tracks);
        let live = self.is_live();
        for slot in &self.outputs {
            if self.slate || takes.is_empty() || slot.is_outdated(&self.tracks) {
                slot.end(End::BroadcastEnded);
            }
        }
        if !live || takes.is_empty() {
            return;
        }
        for index in 0..self.outputs.len() {
            let slot = self.outputs.get(index);
            if let Some(slot) = slot.filter(|slot| slot.job.is_none()) {
                let start = Start {
                    text: slot.text.clone(),
                    purpose: Purpose::Output,
                    keyframe: Arc::default(),
                    plan: Arc::clone(&self.plan),
                };
                let job = self.start_job(start, false);
                if let Some(slot) = self.outputs.get_mut(index) {
                    slot.job = Some(job);
                }
            }
        }
    }

    /// Starts a job on the broadcast's media, or, with `of_slate`, on the slate's.
    pub(super) fn start_job(&mut self, start: Start, of_slate: bool) -> Running {
        let (sender, snapshot) = watch::channel(Snapshot::default());
        let stop = Stop::default();
        let takes = takes(&self.tracks);
        let stream = |kind| {
            let known = takes.iter().any(|(taken, _)| *taken == kind);
            self.streams.of(kind).filter(|_| known).cloned()
        };
        let inputs = if of_slate {
            self.slate_streams.clone()
        } else {
            EncodedStreams {
                video: stream(Kind::Video),
                audio: stream(Kind::Audio),
            }
        };
        let number = self.shared.number();
        let task = job::Task {
            number,
            broadcast: self.name.clone(),
            text: start.text,
            plan: start.plan,
            inputs,
            purpose: start.purpose,
            keyframe: start.keyframe,
            snapshot: sender,
            reports: self.reports.0.clone(),
            counters: Arc::clone(&self.shared.counters),
            stop: stop.clone(),
        };
        let child = self.children.spawn(task.run());
        self.child_names.insert(child.id(), Child::Job(number));
        Running {
            number,
            takes,
            stop,
            snapshot,
        }
    }

    pub(super) fn end_jobs(&self, why: End) {
        self.slots().for_each(|slot| slot.end(why));
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        let rendition_pipelines = self
            .rendition_pipelines
            .iter()
            .map(|pipeline| &pipeline.slot);
        self.outputs.iter().chain(rendition_pipelines)
    }

    /// Whether a pipeline works on the broadcast's media.
    pub(super) fn has_jobs(&self) -> bool {
        self.slots().any(|slot| slot.job.is_some())
    }

    /// Ends what waited for a publisher to come back.
    pub(super) fn give_up(&mut self, now: Instant) {
        let grace = self.shared.options.grace;
        let waits = |since: Instant| now.saturating_duration_since(since) < grace;
        let gone = !self.is_live() && !self.gone_since.is_some_and(waits);
        if gone && self.show_slate(now) {
            return;
        }
        if gone && self.feed.is_none() && (!self.viewers.is_empty() || self.has_jobs()) {
            self.close_viewers(End::BroadcastEnded);
            self.tracks = Tracks::default();
        }
    }

    /// Shows the slate while there are viewers; false if there is none to show.
    pub(super) fn show_slate(&mut self, now: Instant) -> bool {
        let watched = !self.viewers.is_empty() || !self.waiting.is_empty();
        if watched && self.plan.slate.is_some() {
            if !self.slate {
                tracing::info!(broadcast = %self.name, viewers = self.viewers.len(), "slate begins");
            }
            (self.slate, self.slate_watched) = (true, now);
        } else if self.slate && now.saturating_duration_since(self.slate_watched) >= self.plan.grace
        {
            tracing::info!(broadcast = %self.name, "nobody watches the slate: it ends");
            self.slate = false;
        }
        self.slate
    }

    pub(super) fn outputs_status(&self) -> Vec<PipelineStatus> {
        let status = |slot: &Slot| PipelineStatus {
            name: slot.text.name().to_owned(),
            health: slot.health(),
        };
        self.outputs.iter().map(status).collect()
    }

    pub(super) fn outputs_figures(&self) -> Vec<PipelineFigures> {
        let slots = self.outputs.iter();
        slots
            .map(|slot| slot.figures(PipelineKind::Output))
            .collect()
    }
}
