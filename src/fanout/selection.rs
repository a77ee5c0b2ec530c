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
/// A higher estimate counts as raised from this share (percent) of the last one on.
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
pub(super) enum Decision {
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
pub(super) struct Selection {
    /// The layer the viewer wants; `None` leaves it to the server.
    pub(super) wanted: Option<usize>,
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
    pub(super) const fn new(measured: bool, now: Instant) -> Self {
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
    pub(super) fn estimated(&mut self, bits_per_second: u64, now: Instant) {
        self.estimate = Some((bits_per_second.min(ESTIMATE_MAX), now));
    }

    /// The fraction lost of a receiver report, in 1/256 (RFC 3550 §6.4.1).
    pub(super) fn lost(&mut self, fraction: u8) {
        self.loss = fraction;
    }

    /// The layer to begin with. `rates` are the layers' bits per second, 0 for one that is off.
    pub(super) fn first(&mut self, rates: &[u64], now: Instant) -> Option<usize> {
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
    pub(super) fn decide(&mut self, current: usize, rates: &[u64], now: Instant) -> Decision {
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
            let lower = fitting(rates, rate - 1).filter(|&layer| rates.get(layer) < Some(&rate));
            let lower = lower.filter(|_| lossy);
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
    let fits = on().filter(|(_, rate)| **rate <= estimate * FIT / 100);
    let best = fits.max_by_key(|(_, rate)| **rate);
    best.or_else(|| on().min_by_key(|(_, rate)| **rate))
        .map(|(layer, _)| layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 3] = [150_000, 500_000, 1_700_000];

    #[test]
    fn an_absurd_estimate_means_the_best_layer() {
        let now = Instant::now();
        let mut selection = Selection::new(true, now);
        selection.first(&RATES, now);
        let later = now + Duration::from_mins(1);
        selection.estimated(u64::MAX, later);
        selection.changed = now;
        assert_eq!(selection.decide(1, &RATES, later), Decision::Switch(2));
        assert_eq!(fitting(&RATES, ESTIMATE_MAX), Some(2));
    }

    /// Runs `seconds` of a network with this capacity and a receiver that estimates at most half
    /// again what it gets. Returns the layer of each quarter second.
    fn watch(selection: &mut Selection, start: Instant, seconds: u64, capacity: u64) -> Vec<usize> {
        let mut layer = selection.first(&RATES, start).unwrap();
        let mut padding = 0;
        (0..seconds * 4)
            .map(|quarter| {
                let now = start + Duration::from_millis(250 * quarter);
                let sent = RATES[layer] + padding;
                selection.estimated(capacity.min(sent * 3 / 2 + 10_000), now);
                selection.lost(if sent > capacity { 40 } else { 0 });
                padding = 0;
                match selection.decide(layer, &RATES, now) {
                    Decision::Stay | Decision::Train(_) => {}
                    Decision::Probe(bits) => padding = bits,
                    Decision::Switch(to) => layer = to,
                }
                layer
            })
            .collect()
    }

    fn switches(layers: &[usize]) -> usize {
        layers.windows(2).filter(|two| two[0] != two[1]).count()
    }

    #[test]
    fn a_good_network_keeps_the_best_layer() {
        let now = Instant::now();
        let layers = watch(&mut Selection::new(true, now), now, 60, 20_000_000);
        assert_eq!(layers, vec![2; 240]);
    }

    #[test]
    fn what_does_not_fit_is_left_at_once_and_not_tried_all_the_time() {
        let now = Instant::now();
        let layers = watch(&mut Selection::new(true, now), now, 120, 700_000);
        assert_eq!(layers[0], 1, "down at the first estimate");
        assert!(
            layers.iter().all(|layer| *layer == 1),
            "the probe finds no room"
        );
        for window in layers.windows(40) {
            assert!(switches(window) <= 1, "at most one switch in 10 s");
        }
    }

    #[test]
    fn more_room_is_found_by_probing() {
        let now = Instant::now();
        let mut selection = Selection::new(true, now);
        let low = watch(&mut selection, now, 5, 300_000);
        assert_eq!(low.last(), Some(&0));
        let room = now + Duration::from_secs(5);
        let mut layer = 0;
        let mut padding = 0;
        for quarter in 0..120 {
            let now = room + Duration::from_millis(250 * quarter);
            selection.estimated(((RATES[layer] + padding) * 3 / 2).min(5_000_000), now);
            padding = 0;
            match selection.decide(layer, &RATES, now) {
                Decision::Stay | Decision::Train(_) => {}
                Decision::Probe(bits) => padding = bits,
                Decision::Switch(to) => layer = to,
            }
        }
        assert_eq!(layer, 2, "within 30 s");
    }

    #[test]
    fn a_choice_is_kept_whatever_the_network() {
        let now = Instant::now();
        let mut selection = Selection::new(true, now);
        selection.wanted = Some(2);
        selection.estimated(100_000, now);
        assert_eq!(selection.decide(0, &RATES, now), Decision::Switch(2));
        assert_eq!(selection.decide(2, &RATES, now), Decision::Switch(2));
    }

    #[test]
    fn without_measurements_the_best_layer_is_taken() {
        let now = Instant::now();
        let mut selection = Selection::new(false, now);
        let rates = [150_000, 500_000, 9_000_000];
        assert_eq!(selection.first(&rates, now), Some(2));
        assert_eq!(selection.decide(0, &rates, now), Decision::Switch(2));
        assert_eq!(selection.decide(2, &[1, 0, 0], now), Decision::Switch(0));
        assert_eq!(selection.decide(2, &[0, 0, 0], now), Decision::Stay);
        // Two layers of about the same rate do not alternate.
        let alike = [1_000_000, 1_050_000];
        assert_eq!(selection.decide(0, &alike, now), Decision::Switch(0));
        assert_eq!(selection.decide(1, &alike, now), Decision::Switch(1));
    }

    #[test]
    fn a_layer_that_is_off_is_left_and_never_chosen() {
        let now = Instant::now();
        let mut selection = Selection::new(true, now);
        let rates = [150_000, 0, 0];
        assert_eq!(selection.first(&rates, now), Some(0));
        assert_eq!(selection.decide(2, &rates, now), Decision::Switch(0));
        selection.wanted = Some(2);
        assert_eq!(selection.decide(0, &rates, now), Decision::Stay);
        assert_eq!(selection.decide(0, &[0, 0, 0], now), Decision::Stay);
    }

    /// A receiver like libwebrtc's: it estimates by trains, or after 5 s what it gets; then it
    /// raises its estimate by 8 % a second, to half again what it gets.
    struct Receiver {
        begun: Instant,
        estimate: u64,
    }

    impl Receiver {
        /// A quarter of a second with this capacity, in which `sent` bits per second were sent.
        fn quarter(&mut self, capacity: u64, sent: u64, now: Instant) {
            if sent > capacity {
                self.estimate = capacity * 85 / 100;
            } else if self.estimate > 0 {
                self.estimate = (self.estimate * 102 / 100)
                    .min(sent * 3 / 2)
                    .max(self.estimate);
            } else if now.duration_since(self.begun) >= Duration::from_secs(5) {
                self.estimate = sent;
            }
        }
    }

    /// As [`watch`], with such a receiver. `capacity` is given the second.
    fn watch_like_libwebrtc(rates: &[u64], capacity: impl Fn(u64) -> u64) -> Vec<usize> {
        let begun = Instant::now();
        let mut selection = Selection::new(true, begun);
        let mut layer = selection.first(rates, begun).unwrap();
        let mut receiver = Receiver { begun, estimate: 0 };
        let mut padding = 0;
        let quarter = |number: u64| {
            let now = begun + Duration::from_millis(250 * number);
            let capacity = capacity(number / 4);
            let sent = rates[layer] + padding;
            receiver.quarter(capacity, sent, now);
            if receiver.estimate > 0 {
                selection.estimated(receiver.estimate, now);
            }
            selection.lost(if sent > capacity { 40 } else { 0 });
            padding = 0;
            match selection.decide(layer, rates, now) {
                Decision::Stay => {}
                Decision::Probe(bits) => padding = bits,
                // What is too much for the network measures nothing.
                Decision::Train(bits) if bits > capacity * 2 => {}
                Decision::Train(bits) => receiver.estimate = bits.min(capacity),
                Decision::Switch(to) => layer = to,
            }
            layer
        };
        (0..240).map(quarter).collect()
    }

    /// The best layer is more than what is assumed at the beginning.
    const LARGE: [u64; 3] = [300_000, 800_000, 6_000_000];

    #[test]
    fn on_a_good_line_the_best_layer_comes_within_two_seconds() {
        let layers = watch_like_libwebrtc(&LARGE, |_| 50_000_000);
        assert_eq!(layers[0], 1);
        assert!(layers[8..].iter().all(|layer| *layer == 2), "{layers:?}");
        // What OBS sends as its best: begun with at once.
        let layers = watch_like_libwebrtc(&[320_000, 900_000, 2_600_000], |_| 50_000_000);
        assert_eq!(layers, vec![2; 240]);
    }

    #[test]
    fn on_a_line_in_between_the_best_layer_that_fits_comes_and_stays() {
        let rates = [300_000, 1_500_000, 3_500_000, 9_000_000];
        let layers = watch_like_libwebrtc(&rates, |_| 4_500_000);
        assert_eq!(layers[0], 1);
        assert!(layers[8..40].iter().all(|layer| *layer == 2), "{layers:?}");
        assert!(switches(&layers) <= 1, "{layers:?}");
    }

    #[test]
    fn a_line_that_is_too_slow_for_the_first_layer_is_noticed_without_an_estimate() {
        let layers = watch_like_libwebrtc(&[300_000, 2_600_000], |_| 600_000);
        assert!(layers[1..].iter().all(|layer| *layer == 0), "{layers:?}");
    }

    #[test]
    fn a_line_that_gets_better_is_used_however_slowly_the_estimate_grows() {
        let layers = watch_like_libwebrtc(&RATES, |second| match second {
            0..10 => 250_000,
            _ => 20_000_000,
        });
        assert_eq!(layers[39], 0);
        assert_eq!(layers.last(), Some(&2), "{layers:?}");
    }
}
