//! Which layer of a simulcast track a viewer gets. Pure: no IO and no clock of its own.
//!
//! The viewer's receiver estimates its bandwidth (REMB). In the first seconds, while it has little to
//! go by, short trains of evenly spaced packets measure the network (libwebrtc's receiver takes a
//! few such packets for a measurement), and the best layer that fits is taken at once.
//!
//! Later, a layer that does not fit is left at once. A better one is tried only after a quiet time,
//! and only when the estimate allows it. As a receiver never estimates much more than it gets,
//! padding probes for more. Each failed try makes the quiet time longer, so that a steady network
//! sees no oscillation.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// Assumed before the viewer has said anything, in bits per second.
const FIRST_ESTIMATE: u64 = 3_000_000;
/// How long the network is measured at the beginning. libwebrtc estimates without such trains after
/// 5 s, and takes trains for measurements until then.
const OPENING: Duration = Duration::from_secs(4);
/// Time between two trains: the estimate follows a good one within 200 ms.
const TRAIN_PAUSE: Duration = Duration::from_millis(300);
/// A train measures for this share (percent) of what a layer needs.
const TRAIN: u64 = 120;
/// Higher estimates (bit/s) say no more than this one, and their shares would overflow.
const ESTIMATE_MAX: u64 = 1 << 40;
/// An older estimate is worthless; receivers repeat theirs every second or so.
const ESTIMATE_LIFE: Duration = Duration::from_secs(10);
/// Quiet time before the first try of a better layer, and at most one switch up in this time.
const QUIET: Duration = Duration::from_secs(10);
/// Longest quiet time after failed tries.
const QUIET_MAX: Duration = Duration::from_secs(80);
/// How long a probe may take without raising the estimate.
const PROBE: Duration = Duration::from_secs(4);
/// A probe sends this share (percent) of the estimate, which a receiver then raises by 8 % a second.
const PROBE_SHARE: u64 = 125;
/// An estimate counts as raised if it is at least this share (percent) of the last one.
const RAISED: u64 = 105;
/// A layer fits if it takes no more than this share (percent) of the estimate.
const FIT: u64 = 90;
/// The server reacts at once to an estimate below this share (percent) of the rate.
const FAR: u64 = 70;
/// How long an estimate between that and the rate is tolerated.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Without an estimate, a layer counts as better than another from this share (percent) of its rate
/// on: measured rates fluctuate a little.
const BETTER: u64 = 110;
/// Loss, in 1/256, above which the estimate is not trusted.
const LOSS_MAX: u8 = 26;

/// What to do with the viewer's track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Carry on, with any switch under way.
    Stay,
    /// Carry on, and send this many bits per second of padding.
    Probe(u64),
    /// Carry on, and send a train of packets at this many bits per second.
    Train(u64),
    /// Take this layer, unless it is the current one.
    Switch(usize),
}

/// A viewer's choice, and what is known of its network.
#[derive(Debug)]
pub(crate) struct Selection {
    /// The layer the viewer wants; `None` leaves it to the server.
    pub(crate) wanted: Option<usize>,
    /// Whether the network has been measured. If not, the best layer is the right one.
    measured: bool,
    estimate: Option<(u64, Instant)>,
    loss: u8,
    /// When the last switch or failed probe was.
    changed: Instant,
    quiet: Duration,
    /// Since when the estimate has been below the rate.
    short_since: Option<Instant>,
    /// The last switch was upwards.
    climbed: bool,
    probing: Option<Probe>,
    /// When the first layer was chosen.
    begun: Instant,
    /// Trains sent so far, and when the last one was.
    trains: usize,
    last_train: Option<Instant>,
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The highest estimate so far.
    highest: u64,
    /// When it was last raised.
    raised: Instant,
}

impl Selection {
    pub(crate) const fn new(measured: bool, now: Instant) -> Self {
        Self {
            wanted: None,
            measured,
            estimate: None,
            loss: 0,
            changed: now,
            quiet: QUIET,
            short_since: None,
            climbed: false,
            probing: None,
            begun: now,
            trains: 0,
            last_train: None,
        }
    }

    /// The receiver's estimate (draft-alvestrand-rmcat-remb) in bits per second.
    pub(crate) fn estimated(&mut self, bits_per_second: u64, now: Instant) {
        self.estimate = Some((bits_per_second.min(ESTIMATE_MAX), now));
    }

    /// The fraction lost of a receiver report, in 1/256 (RFC 3550 §6.4.1).
    pub(crate) fn lost(&mut self, fraction: u8) {
        self.loss = fraction;
    }

    /// The layer to begin with. `rates` are the layers' bits per second, 0 for one that is off.
    pub(crate) fn first(&mut self, rates: &[u64], now: Instant) -> Option<usize> {
        self.begun = now;
        let wanted = self.wanted.filter(|&layer| is_on(rates, layer));
        let estimate = if self.measured {
            FIRST_ESTIMATE
        } else {
            u64::MAX / FIT
        };
        wanted.or_else(|| fitting(rates, estimate))
    }

    /// What to do now; call it a few times a second.
    pub(crate) fn decide(&mut self, current: usize, rates: &[u64], now: Instant) -> Decision {
        if let Some(wanted) = self.wanted.filter(|&layer| is_on(rates, layer)) {
            self.probing = None;
            return Decision::Switch(wanted);
        }
        if !self.measured {
            return best(current, rates).map_or(Decision::Stay, Decision::Switch);
        }
        let rate = rates.get(current).copied().unwrap_or(0);
        let estimate = self
            .estimate
            .filter(|(_, at)| now.duration_since(*at) < ESTIMATE_LIFE);
        let estimate = estimate.map(|(bits, _)| bits);
        if rate == 0 {
            // The publisher has switched this layer off.
            let other = fitting(rates, estimate.unwrap_or(FIRST_ESTIMATE));
            return other.map_or(Decision::Stay, |layer| self.switch(layer, false, now));
        }
        let lossy = self.loss > LOSS_MAX;
        if !lossy && let Some(train) = self.train(rate, estimate.unwrap_or(0), rates, now) {
            return train;
        }
        let Some(estimate) = estimate else {
            if !lossy {
                return Decision::Stay;
            }
            let lower = fitting(rates, rate - 1).filter(|&layer| rates.get(layer) < Some(&rate));
            return lower.map_or(Decision::Stay, |layer| self.switch(layer, false, now));
        };
        if (estimate < rate || lossy) && self.probing.is_some() {
            // The padding did not fit, not the layer.
            self.give_up_probe(now);
            return Decision::Stay;
        }
        if estimate >= rate {
            self.short_since = None;
        }
        let short = estimate < rate && {
            // The estimate follows a growing rate with a delay, so a slightly low one is not
            // trusted at once.
            let since = *self.short_since.get_or_insert(now);
            estimate < rate * FAR / 100 || now.duration_since(since) >= PATIENCE
        };
        if short || lossy {
            let below = estimate.min(rate - 1);
            let lower = fitting(rates, below).filter(|&layer| rates.get(layer) < Some(&rate));
            return lower.map_or(Decision::Stay, |layer| self.switch(layer, false, now));
        }
        if estimate < rate {
            return Decision::Stay;
        }
        self.climb(rate, estimate, rates, now)
    }

    /// A train that measures whether a better layer fits, in the first seconds: the best one first,
    /// then the others, as a train that the network cannot carry may give no estimate at all.
    fn train(&mut self, rate: u64, estimate: u64, rates: &[u64], now: Instant) -> Option<Decision> {
        let waits = self
            .last_train
            .is_some_and(|last| now.duration_since(last) < TRAIN_PAUSE);
        if waits || !self.is_opening(now) {
            return None;
        }
        let needs = |rate: &u64| rate * 100 / FIT;
        let mut better: Vec<u64> = rates
            .iter()
            .filter(|other| **other > rate)
            .map(needs)
            .collect();
        better.retain(|needed| *needed > estimate);
        better.sort_unstable();
        let &needed = better.iter().rev().cycle().nth(self.trains)?;
        self.trains += 1;
        self.last_train = Some(now);
        Some(Decision::Train(needed * TRAIN / 100))
    }

    /// Whether the network is still being measured, and has not been found too small.
    fn is_opening(&self, now: Instant) -> bool {
        now.duration_since(self.begun) < OPENING && self.quiet == QUIET
    }

    fn climb(&mut self, rate: u64, estimate: u64, rates: &[u64], now: Instant) -> Decision {
        if self.is_opening(now) {
            let best = fitting(rates, estimate).filter(|&layer| rates.get(layer) > Some(&rate));
            return best.map_or(Decision::Stay, |layer| self.switch(layer, true, now));
        }
        let better = rates.iter().enumerate().filter(|(_, other)| **other > rate);
        let Some((layer, &next)) = better.min_by_key(|(_, other)| **other) else {
            return Decision::Stay;
        };
        if now.duration_since(self.changed) < self.quiet {
            return Decision::Stay;
        }
        if next <= estimate * FIT / 100 {
            return self.switch(layer, true, now);
        }
        let begun = Probe {
            highest: estimate,
            raised: now,
        };
        let probe = self.probing.get_or_insert(begun);
        if estimate >= probe.highest * RAISED / 100 {
            *probe = begun;
        }
        if now.duration_since(probe.raised) > PROBE {
            self.give_up_probe(now);
            return Decision::Stay;
        }
        let total = (next * 120 / 100).min(estimate * PROBE_SHARE / 100);
        Decision::Probe(total.saturating_sub(rate).max(1))
    }

    fn give_up_probe(&mut self, now: Instant) {
        self.probing = None;
        self.changed = now;
        self.quiet = (self.quiet * 2).min(QUIET_MAX);
        self.loss = 0;
        self.estimate = None;
    }

    fn switch(&mut self, layer: usize, up: bool, now: Instant) -> Decision {
        if up {
            self.quiet = QUIET;
        } else if self.climbed {
            // The climb was a mistake.
            self.quiet = (self.quiet * 2).min(QUIET_MAX);
        }
        self.climbed = up;
        self.short_since = None;
        self.changed = now;
        self.probing = None;
        self.loss = 0;
        Decision::Switch(layer)
    }
}

fn is_on(rates: &[u64], layer: usize) -> bool {
    rates.get(layer).is_some_and(|&rate| rate > 0)
}

/// The best layer, but the current one unless another is clearly better.
fn best(current: usize, rates: &[u64]) -> Option<usize> {
    let present = rates.get(current).copied().unwrap_or(0);
    let (layer, rate) = (rates.iter().copied().enumerate()).max_by_key(|(_, rate)| *rate)?;
    if rate == 0 {
        return None;
    }
    let better = rate > present * BETTER / 100;
    Some(if better { layer } else { current })
}

/// The best layer that fits, or else the cheapest.
fn fitting(rates: &[u64], estimate: u64) -> Option<usize> {
    let on = || rates.iter().enumerate().filter(|(_, rate)| **rate > 0);
    let best = on()
        .filter(|(_, rate)| **rate <= estimate * FIT / 100)
        .max_by_key(|(_, rate)| **rate);
    best.or_else(|| on().min_by_key(|(_, rate)| **rate))
        .map(|(layer, _)| layer)
}
