//! Keyframe requests to whatever feeds the broadcast.

use std::time::Instant;

use super::{Supply, input::Feeder};
use crate::broadcast::action::Action;

impl Supply {
    /// Notes that a keyframe of the input is wanted.
    pub(in crate::broadcast) fn want_keyframe(&mut self) {
        self.requests.want();
    }

    /// Notes that the operator wants a keyframe of the input.
    pub(in crate::broadcast) fn want_forced_keyframe(&mut self) {
        self.requests.force();
    }

    /// Requests a keyframe if one is wanted.
    pub(in crate::broadcast) fn request_keyframe(&mut self, now: Instant) -> Option<Action> {
        match self.feeder() {
            Some(Feeder::Publisher(session)) => {
                let due = self.requests.take(now);
                due.then_some(Action::RequestKeyframe { session })
            }
            Some(Feeder::Source(_)) => {
                if self.requests.take(now) {
                    self.source_keyframe.notify_one();
                }
                None
            }
            Some(Feeder::Remote(_)) => self.requests.take(now).then_some(Action::AskOrigin),
            None => {
                self.requests.forget();
                None
            }
        }
    }

    /// Has a source make a keyframe. Returns whether it runs; `None` if it is not this pipeline.
    pub(in crate::broadcast) fn force_keyframe(&mut self, pipeline: &str) -> Option<bool> {
        let source = self.source.as_ref()?;
        if source.file().name() != pipeline {
            return None;
        }
        let up = source.is_up();
        if up {
            self.requests.force();
        }
        Some(up)
    }
}
