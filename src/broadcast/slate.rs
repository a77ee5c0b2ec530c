//! Whether viewers see the slate: what is shown while nobody publishes.

use std::time::{Duration, Instant};

/// The slate of a broadcast.
#[derive(Debug)]
pub(super) struct SlateState {
    configured: bool,
    /// How long it is shown without viewers.
    grace: Duration,
    shown: bool,
    /// When somebody last watched it.
    watched: Instant,
}

impl SlateState {
    pub(super) fn new(configured: bool, grace: Duration, now: Instant) -> Self {
        Self {
            configured,
            grace,
            shown: false,
            watched: now,
        }
    }

    /// Follows another plan.
    pub(super) fn reconfigure(&mut self, configured: bool, grace: Duration) {
        self.configured = configured;
        self.grace = grace;
    }

    pub(super) fn is_configured(&self) -> bool {
        self.configured
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Nobody publishes: shows the slate while there are viewers. Returns whether it is shown.
    pub(super) fn show(&mut self, viewers: usize, now: Instant) -> bool {
        if viewers > 0 && self.configured {
            if !self.shown {
                tracing::info!(viewers, "slate shown");
            }
            self.shown = true;
            self.watched = now;
        } else if self.shown && now.saturating_duration_since(self.watched) >= self.grace {
            tracing::info!("no viewers left: slate hidden");
            self.shown = false;
        }
        self.shown
    }

    /// Somebody publishes.
    pub(super) fn hide(&mut self) {
        if std::mem::take(&mut self.shown) {
            tracing::info!("slate hidden");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slate_is_shown_to_viewers_and_for_a_while_to_nobody() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut slate = SlateState::new(true, Duration::from_secs(10), begin);
        assert!(!slate.show(0, at(0)), "nobody watches");
        assert!(slate.show(1, at(1)));
        assert!(slate.show(0, at(10)));
        assert!(slate.show(1, at(20)), "somebody came back");
        assert!(slate.show(0, at(29)));
        assert!(!slate.show(0, at(30)));
        assert!(slate.show(1, at(31)));
        slate.hide();
        assert!(!slate.is_shown());
    }

    #[test]
    fn without_a_slate_nothing_is_shown() {
        let now = Instant::now();
        assert!(!SlateState::new(false, Duration::ZERO, now).show(3, now));
    }
}
