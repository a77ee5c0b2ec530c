//! A choice of layers on simulated networks.

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

/// As OBS sends three layers at 2.5 Mb/s.
#[test]
fn the_best_layer_of_obs_is_begun_with() {
    let now = Instant::now();
    let mut selection = Selection::new(true, now);
    assert_eq!(
        selection.first(&[300_000, 900_000, 2_500_000], now),
        Some(2)
    );
}

/// On a good line, a receiver's estimate says what a train has measured 200 ms after it.
#[test]
fn the_best_layer_comes_within_two_seconds_however_large() {
    let begin = Instant::now();
    let rates = [150_000, 900_000, 12_000_000];
    let mut selection = Selection::new(true, begin);
    let mut layer = selection.first(&rates, begin).unwrap();
    assert_eq!(layer, 1, "what is sure to fit");
    let mut measured: Option<(u64, Instant)> = None;
    for step in 0..40 {
        let now = begin + Duration::from_millis(50) * step;
        if let Some((bits, _)) = measured.take_if(|(_, at)| *at <= now) {
            selection.estimated(bits, now);
        }
        match selection.decide(layer, &rates, now) {
            Decision::Train(bits) => measured = Some((bits, now + Duration::from_millis(200))),
            Decision::Switch(to) => layer = to,
            Decision::Stay | Decision::Probe(_) => {}
        }
    }
    assert_eq!(layer, 2);
}

#[test]
fn layers_that_do_not_fit_are_left_at_once_and_seldom_tried() {
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
