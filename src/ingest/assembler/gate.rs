//! What decoders may see: from a point where they can start, until something is lost.

use std::time::{Duration, Instant};

use crate::media::KeyframeRequestLimit;

/// Longest time without passing anything after a loss: longer than the keyframe interval of any
/// usual publisher. From one that makes no keyframes, garbled pictures are better than none at all.
const LOSS_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether frames pass.
#[derive(Debug)]
pub(super) struct StartGate {
    state: GateState,
    /// Whether to request a keyframe.
    request: bool,
}

#[derive(Debug)]
enum GateState {
    Open,
    /// Until a place comes where a decoder can start.
    Closed {
        /// Frames pass again from then on; `None` at the beginning of a stream.
        until: Option<Instant>,
        /// While nothing passes.
        requests: KeyframeRequestLimit,
    },
}

impl StartGate {
    /// The gate of a stream that begins.
    pub(super) fn closed() -> Self {
        Self {
            state: GateState::Closed {
                until: None,
                requests: KeyframeRequestLimit::default(),
            },
            request: false,
        }
    }

    /// Closes the gate after a loss and requests a keyframe.
    pub(super) fn lose(&mut self, now: Instant) {
        if matches!(self.state, GateState::Open) {
            self.state = GateState::Closed {
                until: Some(now + LOSS_TIMEOUT),
                requests: KeyframeRequestLimit::default(),
            };
        }
        self.ask(now);
    }

    /// Whether a frame passes. `starts`: a decoder can start with it.
    pub(super) fn admits(&mut self, now: Instant, starts: bool) -> bool {
        match self.state {
            GateState::Open => return true,
            GateState::Closed { until, .. }
                if starts || until.is_some_and(|until| until <= now) =>
            {
                self.state = GateState::Open;
                return true;
            }
            GateState::Closed { .. } => {}
        }
        self.ask(now);
        false
    }

    /// Whether to request a keyframe; true once for each request.
    pub(super) fn takes_request(&mut self) -> bool {
        std::mem::take(&mut self.request)
    }

    fn ask(&mut self, now: Instant) {
        if let GateState::Closed { requests, .. } = &mut self.state
            && requests.admits(now)
        {
            self.request = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_passes_from_its_first_start_on() {
        let (mut gate, now) = (StartGate::closed(), Instant::now());
        assert!(!gate.admits(now, false) && gate.takes_request());
        assert!(!gate.admits(now, false) && !gate.takes_request());
        let later = now + Duration::from_hours(1);
        assert!(!gate.admits(later, false) && gate.takes_request());
        assert!(gate.admits(later, true) && gate.admits(later, false));
        assert!(!gate.takes_request());
    }

    #[test]
    fn after_a_loss_nothing_passes_until_the_next_start() {
        let (mut gate, now) = (StartGate::closed(), Instant::now());
        gate.admits(now, true);
        gate.lose(now);
        assert!(gate.takes_request(), "at once");
        assert!(!gate.admits(now, false) && !gate.takes_request());
        assert!(gate.admits(now, true) && gate.admits(now, false));
        gate.lose(now);
        let end = now + LOSS_TIMEOUT;
        gate.lose(now + LOSS_TIMEOUT / 2);
        assert!(gate.admits(end, false), "a stream without keyframes");
    }
}
