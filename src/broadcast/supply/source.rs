//! The source pipeline: when it starts and rests, and what happens when its configuration changes.

use std::{sync::Arc, time::Instant};

use super::{Supply, input::Feeder};
use crate::{
    broadcast::{
        action::{Action, RunStart, Work},
        place::OriginPlace,
        rules::Rules,
        slot::{Slot, SlotId},
        tracks::{BroadcastTracks, Expected},
    },
    peer::End,
    plan::Plan,
};

impl Supply {
    /// Follows other rules and another plan. A source that has changed begins again, and viewers wait
    /// for it.
    pub(in crate::broadcast) fn reconfigure(
        &mut self,
        rules: &Rules,
        plan: &Arc<Plan>,
        now: Instant,
    ) -> Option<Action> {
        self.times = rules.times;
        self.replace_live = rules.replace_live;
        self.grace = rules.grace;
        let before = std::mem::replace(&mut self.plan, Arc::clone(plan));
        if before.source == plan.source && before.vars == plan.vars {
            return None;
        }
        let file = plan.source.clone();
        let Some(mut source) = self.source.take() else {
            let mut source = Slot::new(SlotId::Source, file?);
            source.count_from(self.former_runs);
            self.source = Some(source);
            return None;
        };
        let stop = source.stop(End::BroadcastEnded);
        if let Some(file) = file {
            source.set_file(file);
            self.source = Some(source);
        } else {
            self.former_runs = source.run_count();
        }
        if matches!(self.feeder(), Some(Feeder::Source(_))) {
            self.drop_input(now);
        }
        stop.map(Action::StopRun)
    }

    /// Starts the source if it is due and needed, and stops it if it is not needed. `wanted`:
    /// somebody watches or waits.
    pub(in crate::broadcast) fn run_source(&mut self, now: Instant, wanted: bool) -> Vec<Action> {
        if wanted {
            self.demanded = now;
        }
        if self.is_remote() || matches!(self.place, OriginPlace::Elsewhere(_)) {
            return self.follow(wanted, now);
        }
        if self.is_on_demand() && !wanted {
            let unwanted = now.saturating_duration_since(self.demanded);
            let rests = self.input.is_some() && unwanted >= self.plan.grace;
            return Vec::from_iter(rests.then(|| self.rest(now)).flatten());
        }
        let Some(source) = &mut self.source else {
            return Vec::new();
        };
        if self.input.is_some() {
            return Vec::new();
        }
        if self.place == OriginPlace::Free {
            return vec![Action::Claim];
        }
        let begun = if source.is_resting() {
            source.start(Vec::new(), now)
        } else if source.is_due(now) {
            source.restart(now)
        } else {
            return Vec::new();
        };
        let file = source.file().clone();
        let input = self.begin_input(Feeder::Source(begun.run), Expected::Unknown);
        vec![Action::StartRun(Box::new(RunStart {
            run: begun.run,
            again: begun.again,
            file,
            plan: Arc::clone(&self.plan),
            origin: None,
            work: Work::Source(input),
            keyframe: Arc::clone(&self.source_keyframe),
            snapshot: begun.snapshot,
        }))]
    }

    /// Stops a source that nobody watches; the next viewer starts it at once.
    fn rest(&mut self, now: Instant) -> Option<Action> {
        tracing::info!("no viewers left: stopping the source");
        self.drop_input(now);
        self.tracks = BroadcastTracks::default();
        self.source
            .as_mut()?
            .stop(End::BroadcastEnded)
            .map(Action::StopRun)
    }
}
