//! A pipeline file of a broadcast and its runs: when it starts, stops and restarts. Pure: time and
//! jitter come in as arguments, and what to do comes out.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{
    health::{Activity, Health, Snapshot},
    status::{PipelineFigures, PipelineKind},
    tracks::{BroadcastTracks, KINDS},
};
use crate::{
    media::{Codec, Kind},
    peer::End,
    plan::PipelineFile,
};

/// The first pause before a restart.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause before a restart.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After a run of this length that made something, the pauses start over.
const GOOD_RUN: Duration = Duration::from_secs(10);
/// Shortest time from one start to the next: outputs name their files by the second.
pub(super) const START_INTERVAL: Duration = Duration::from_secs(1);

/// A pipeline file's place in its broadcast, for the broadcast's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SlotId {
    Source,
    Renditions(usize),
    Output(usize),
}

impl SlotId {
    pub(super) const fn kind(self) -> PipelineKind {
        match self {
            Self::Source => PipelineKind::Source,
            Self::Renditions(_) => PipelineKind::Renditions,
            Self::Output(_) => PipelineKind::Output,
        }
    }
}

/// One run of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RunId {
    pub(super) slot: SlotId,
    number: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RunEnd {
    pub(super) run: RunId,
    /// Whether it made, or took, anything.
    pub(super) made_frames: bool,
    /// Why it failed; `None` if it was stopped.
    pub(super) error: Option<String>,
    /// Between 0 and 1: spreads restarts.
    pub(super) jitter: f64,
    pub(super) retry: Retry,
}

/// When a pipeline runs again that has ended on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Retry {
    /// After a pause: it has failed.
    #[default]
    Later,
    /// Not with these inputs: it cannot take them.
    Never,
}

/// A run that is about to begin.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) run: RunId,
    /// Whether this restarts the pipeline after a failure.
    pub(super) again: bool,
    /// Where the run reports its state.
    pub(super) snapshot: watch::Sender<Snapshot>,
}

/// The tracks that a pipeline takes.
pub(super) type InputTracks = Vec<(Kind, Codec)>;

/// The tracks that a pipeline could take.
pub(super) fn inputs(tracks: &BroadcastTracks) -> InputTracks {
    let input = |kind| Some((kind, tracks.of(kind)?.codec?));
    KINDS.into_iter().filter_map(input).collect()
}

/// A pipeline file, and its run if there is one.
pub(super) struct Slot {
    id: SlotId,
    file: PipelineFile,
    phase: Phase,
    /// The inputs of the present series of runs, from a start to the next rest.
    inputs: InputTracks,
    /// Runs so far.
    runs: u64,
    failures: u32,
    /// The last report of the last run.
    last: Snapshot,
    /// Whether the next run follows a failure.
    failed: bool,
}

enum Phase {
    /// Not needed.
    Resting,
    Running {
        began: Instant,
        snapshot: watch::Receiver<Snapshot>,
        afterwards: Afterwards,
    },
    /// It has ended and restarts when this is due; never, if `None`.
    Pausing { due: Option<Instant> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// It runs for as long as it can, and restarts after that.
    Restart,
    /// Stopping; restarts afterwards.
    StopAndRestart,
    /// Stopping; not needed afterwards.
    StopAndRest,
}

impl Slot {
    pub(super) fn new(id: SlotId, file: PipelineFile) -> Self {
        Self {
            id,
            file,
            phase: Phase::Resting,
            inputs: Vec::new(),
            runs: 0,
            failures: 0,
            last: Snapshot::default(),
            failed: false,
        }
    }

    pub(super) fn file(&self) -> &PipelineFile {
        &self.file
    }

    /// Changes what it runs the next time.
    pub(super) fn set_file(&mut self, file: PipelineFile) {
        self.file = file;
    }

    /// Continues the numbers of the runs that had this place before, so that no two runs share one.
    pub(super) fn count_from(&mut self, runs: u64) {
        self.runs = runs;
    }

    /// Runs so far.
    pub(super) fn run_count(&self) -> u64 {
        self.runs
    }

    /// The inputs of the present series of runs.
    pub(super) fn inputs(&self) -> &InputTracks {
        &self.inputs
    }

    /// Whether it neither runs nor waits for a restart.
    pub(super) fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Resting)
    }

    /// Whether it runs and has been asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(&self.phase, Phase::Running { afterwards, .. } if *afterwards != Afterwards::Restart)
    }

    /// Whether a restart is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Pausing { due: Some(due) } if now >= due)
    }

    fn run(&self) -> RunId {
        RunId {
            slot: self.id,
            number: self.runs,
        }
    }

    /// Whether this is the present run.
    pub(super) fn runs(&self, run: RunId) -> bool {
        matches!(self.phase, Phase::Running { .. }) && self.run() == run
    }

    /// Starts a series of runs with these inputs.
    pub(super) fn start(&mut self, inputs: InputTracks, now: Instant) -> Begun {
        self.inputs = inputs;
        self.failures = 0;
        self.begin(Snapshot::default(), false, now)
    }

    /// Starts the next run of a series.
    pub(super) fn restart(&mut self, now: Instant) -> Begun {
        self.begin(self.last.clone(), self.failed, now)
    }

    fn begin(&mut self, first: Snapshot, again: bool, now: Instant) -> Begun {
        let (sender, snapshot) = watch::channel(first);
        self.runs += 1;
        self.phase = Phase::Running {
            began: now,
            snapshot,
            afterwards: Afterwards::Restart,
        };
        Begun {
            run: self.run(),
            again,
            snapshot: sender,
        }
    }

    /// Ends the series. A run first writes what it holds.
    pub(super) fn stop(&mut self, why: End) -> Option<StopRun> {
        match &mut self.phase {
            Phase::Resting => None,
            Phase::Pausing { .. } => {
                self.rest();
                None
            }
            Phase::Running { afterwards, .. } => {
                let before = std::mem::replace(afterwards, Afterwards::StopAndRest);
                (before == Afterwards::Restart).then(|| self.stop_run(why))
            }
        }
    }

    /// Ends the present run; another follows after a pause.
    pub(super) fn stop_and_restart(&mut self, why: End) -> Option<StopRun> {
        let Phase::Running { afterwards, .. } = &mut self.phase else {
            return None;
        };
        if *afterwards != Afterwards::Restart {
            return None;
        }
        *afterwards = Afterwards::StopAndRestart;
        Some(self.stop_run(why))
    }

    fn stop_run(&self, why: End) -> StopRun {
        StopRun {
            run: self.run(),
            why,
        }
    }

    /// Notes the end of a run; false if it was not the present one.
    pub(super) fn ended(&mut self, end: &RunEnd, now: Instant) -> bool {
        if !self.runs(end.run) {
            return false;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Resting);
        let Phase::Running {
            began,
            snapshot,
            afterwards,
        } = phase
        else {
            return false;
        };
        self.last = snapshot.borrow().clone();
        if afterwards == Afterwards::StopAndRest {
            self.rest();
            return true;
        }
        self.failed = true;
        let due = match end.retry {
            Retry::Later => Some(self.pause_until(end, began, now)),
            Retry::Never => {
                tracing::warn!(
                    pipeline = self.file.name(),
                    failure = self.failure(),
                    error = end.error,
                    "pipeline does not support the published codec"
                );
                None
            }
        };
        self.phase = Phase::Pausing { due };
        true
    }

    /// When a run that has failed is repeated.
    fn pause_until(&mut self, end: &RunEnd, began: Instant, now: Instant) -> Instant {
        let ran = now.saturating_duration_since(began);
        self.failures = if end.made_frames && ran >= GOOD_RUN {
            0
        } else {
            self.failures.saturating_add(1)
        };
        let due = (now + pause(self.failures, end.jitter)).max(began + START_INTERVAL);
        tracing::warn!(
            pipeline = self.file.name(),
            failure = self.failure(),
            error = end.error,
            pause_ms = due.saturating_duration_since(now).as_millis(),
            "pipeline failed; restarting after a pause"
        );
        due
    }

    /// Why the last run failed, as a code.
    fn failure(&self) -> Option<&'static str> {
        Some(self.last.health.failure?.name())
    }

    fn rest(&mut self) {
        self.phase = Phase::Resting;
        self.last.health.state = Activity::Idle;
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        match &self.phase {
            Phase::Running { snapshot, .. } => snapshot.borrow().clone(),
            Phase::Resting | Phase::Pausing { .. } => self.last.clone(),
        }
    }

    pub(super) fn health(&self) -> Health {
        match &self.phase {
            Phase::Running { snapshot, .. } => snapshot.borrow().health.clone(),
            Phase::Resting | Phase::Pausing { .. } => self.last.health.clone(),
        }
    }

    /// Whether its pipeline is up.
    pub(super) fn is_up(&self) -> bool {
        match &self.phase {
            Phase::Running { snapshot, .. } => snapshot.borrow().control.is_some(),
            Phase::Resting | Phase::Pausing { .. } => false,
        }
    }

    pub(super) fn figures(&self) -> PipelineFigures {
        PipelineFigures::new(&self.file, self.id.kind(), self.snapshot())
    }
}

/// A run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopRun {
    pub(super) run: RunId,
    pub(super) why: End,
}

/// The pause after this many failures in a row. It doubles up to a limit; `jitter`, between 0 and
/// 1, shortens it by up to half.
fn pause(failures: u32, jitter: f64) -> Duration {
    let longest = PAUSE_MIN
        .saturating_mul(1 << failures.min(16))
        .min(PAUSE_MAX);
    longest / 2 + (longest / 2).mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
