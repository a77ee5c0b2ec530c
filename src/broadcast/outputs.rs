//! The outputs of a broadcast: they run from the moment it is live until it has ended, across a
//! publisher's reconnect within the grace period.

use std::{sync::Arc, time::Instant};

use super::{
    action::{Action, RunStart, Work},
    renditions::Supplied,
    slot::{Begun, RunEnd, Slot, SlotId},
    status::{PipelineFigures, PipelineStatus},
};
use crate::peer::End;
use crate::plan::{PipelineFile, Plan};

/// The outputs of a broadcast.
pub(super) struct Outputs {
    plan: Arc<Plan>,
    slots: Vec<Slot>,
    /// How many there have been: each has a number of its own.
    numbers: usize,
}

impl Outputs {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        let slot =
            |(index, file): (usize, &PipelineFile)| Slot::new(SlotId::Output(index), file.clone());
        Self {
            plan: Arc::clone(plan),
            slots: plan.outputs.iter().enumerate().map(slot).collect(),
            numbers: plan.outputs.len(),
        }
    }

    /// Follows another plan: outputs that are not in it stop, those that have changed begin again, and
    /// the rest runs on.
    pub(super) fn reconfigure(&mut self, plan: &Arc<Plan>) -> Vec<Action> {
        let before = std::mem::replace(&mut self.plan, Arc::clone(plan));
        let settings_changed = before.vars != plan.vars || before.stall != plan.stall;
        let mut actions = Vec::new();
        let mut known = std::mem::take(&mut self.slots);
        for file in &plan.outputs {
            let place = known.iter().position(|slot| slot.file().file == file.file);
            let Some(place) = place else {
                let id = SlotId::Output(self.numbers);
                self.numbers += 1;
                self.slots.push(Slot::new(id, file.clone()));
                continue;
            };
            let mut slot = known.remove(place);
            if settings_changed || slot.file() != file {
                actions.extend(slot.stop(End::BroadcastEnded).map(Action::StopRun));
                slot.set_file(file.clone());
            }
            self.slots.push(slot);
        }
        actions.extend(
            known
                .iter_mut()
                .filter_map(|slot| slot.stop(End::BroadcastEnded).map(Action::StopRun)),
        );
        actions
    }

    /// Starts and stops outputs. `live`: somebody publishes; `slate`: nobody does, and viewers see
    /// the slate.
    pub(super) fn tick(
        &mut self,
        live: bool,
        slate: bool,
        supplied: &Supplied<'_>,
        now: Instant,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for slot in &mut self.slots {
            let outdated = !slot.is_resting() && *slot.inputs() != supplied.inputs;
            if slate || supplied.inputs.is_empty() || outdated {
                actions.extend(slot.stop(End::BroadcastEnded).map(Action::StopRun));
            }
            let begun = if slot.is_due(now) {
                slot.restart(now)
            } else if live && !supplied.inputs.is_empty() && slot.is_resting() {
                slot.start(supplied.inputs.clone(), now)
            } else {
                continue;
            };
            actions.push(begin(slot, begun, &self.plan, supplied));
        }
        actions
    }

    /// Stops everything.
    pub(super) fn stop(&mut self, why: End) -> Vec<Action> {
        self.slots
            .iter_mut()
            .filter_map(|slot| slot.stop(why).map(Action::StopRun))
            .collect()
    }

    /// Notes the end of a run.
    pub(super) fn run_ended(&mut self, end: &RunEnd, now: Instant) {
        for slot in &mut self.slots {
            slot.ended(end, now);
        }
    }

    /// Whether there is such an output, and whether it runs.
    pub(super) fn is_up(&self, pipeline: &str) -> Option<bool> {
        let mut slots = self.slots.iter();
        Some(slots.find(|slot| slot.file().name() == pipeline)?.is_up())
    }

    /// Whether an output runs or is about to.
    pub(super) fn is_busy(&self) -> bool {
        self.slots.iter().any(|slot| !slot.is_resting())
    }

    pub(super) fn status(&self) -> Vec<PipelineStatus> {
        let status = |slot: &Slot| PipelineStatus {
            name: slot.file().name().to_owned(),
            health: slot.health(),
        };
        self.slots.iter().map(status).collect()
    }

    pub(super) fn figures(&self) -> Vec<PipelineFigures> {
        self.slots.iter().map(Slot::figures).collect()
    }
}

fn begin(slot: &Slot, begun: Begun, plan: &Arc<Plan>, supplied: &Supplied<'_>) -> Action {
    Action::StartRun(Box::new(RunStart {
        run: begun.run,
        again: begun.again,
        file: slot.file().clone(),
        plan: Arc::clone(plan),
        origin: None,
        work: Work::Output {
            inputs: supplied.select(slot.inputs()),
        },
        keyframe: Arc::default(),
        snapshot: begun.snapshot,
    }))
}
