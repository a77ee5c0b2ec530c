//! What the actor tells the operator.

use super::Actor;
use crate::{broadcast::slot::RunId, events::Happening, peer::End};

impl Actor {
    fn tell(&self, what: Happening) {
        self.shared.events.tell(what);
    }

    pub(super) fn tell_started(&self) {
        self.tell(Happening::Started {
            broadcast: self.name.clone(),
        });
    }

    pub(super) fn tell_ended(&self) {
        self.tell(Happening::Ended {
            broadcast: self.name.clone(),
        });
    }

    /// A viewer's connection is up.
    pub(super) fn tell_joined(&mut self, session: u64) {
        if self.joined.insert(session) {
            self.tell(Happening::ViewerJoined {
                broadcast: self.name.clone(),
                session,
            });
        }
    }

    /// A viewer's task has ended, whether or not its connection had been up.
    pub(super) fn tell_left(&mut self, session: u64, why: End) {
        if self.joined.remove(&session) {
            self.tell(Happening::ViewerLeft {
                broadcast: self.name.clone(),
                session,
                reason: why.name(),
            });
        }
    }

    /// A run of a pipeline has failed.
    pub(super) fn tell_failed(&self, run: RunId, error: &str) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        self.tell(Happening::PipelineFailed {
            broadcast: self.name.clone(),
            pipeline: active.pipeline.clone(),
            error: error.to_owned(),
        });
    }
}
