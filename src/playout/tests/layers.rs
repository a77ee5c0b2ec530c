//! Which layer of a simulcast picture is sent.

use std::time::Duration;

use super::{
    super::testing::TestEngine,
    stage::{OTHER, Recorder, Stage, VIDEO},
};
use crate::{fanout::DirectEngine, webrtcbin::viewers::testing::OutletEngine};

/// Packets of a frame of each layer.
const HIGH: usize = 8;
const LOW: usize = 1;

/// A viewer of two layers, the first of them the better, after a second and a half.
fn watching<E: TestEngine>(measured: bool) -> Stage<E> {
    let mut stage = Stage::<E>::with_layers(&[VIDEO, OTHER], measured);
    both(&mut stage, true);
    for _ in 0..19 {
        both(&mut stage, false);
    }
    stage.start();
    both(&mut stage, false);
    stage.requests();
    stage.pictures();
    stage
}

/// A frame of each layer.
fn both<E: TestEngine>(stage: &mut Stage<E>, keyframe: bool) {
    stage.feed(VIDEO, keyframe, HIGH);
    stage.feed(OTHER, keyframe, LOW);
}

/// The packets of the newest picture.
fn newest<E: TestEngine>(stage: &mut Stage<E>) -> usize {
    stage.pictures().pop().map_or(0, |picture| picture.1)
}

fn the_better_one_is_begun_with<E: TestEngine>(measured: bool) {
    let mut stage = watching::<E>(measured);
    both(&mut stage, false);
    assert_eq!(newest(&mut stage), HIGH);
}

fn a_smaller_one_is_taken_at_once_and_a_better_one_at_its_keyframe<E: TestEngine>(measured: bool) {
    let mut stage = watching::<E>(measured);
    stage.playout.select(Some(1), stage.now);
    both(&mut stage, false);
    assert_eq!(newest(&mut stage), LOW, "from the cache");
    stage.playout.select(Some(0), stage.now);
    both(&mut stage, false);
    assert_eq!(newest(&mut stage), LOW);
    assert_eq!(stage.requests(), 1);
    both(&mut stage, true);
    both(&mut stage, false);
    assert_eq!(newest(&mut stage), HIGH);
}

/// What comes after a switch is dated as what came before it, so that no receiver's delay grows.
fn no_picture_lags_behind_a_switch<E: TestEngine>(measured: bool) {
    let mut stage = watching::<E>(measured);
    let mut last = 0;
    for layer in [1, 0, 1, 0] {
        stage.playout.select(Some(layer), stage.now);
        for number in 0..20 {
            let high = stage.timestamp();
            both(&mut stage, number == 10);
            let low = stage.timestamp() - 40 * 90;
            for (timestamp, _) in stage.pictures() {
                assert!(last < timestamp && timestamp <= low, "{layer}, {number}");
                last = timestamp;
            }
            assert!(
                last >= high,
                "{layer}, {number}: the newest one has been sent"
            );
        }
    }
}

fn a_layer_that_has_ended_is_left_at_once<E: TestEngine>(measured: bool) {
    let mut stage = watching::<E>(measured);
    for _ in 0..80 {
        stage.feed(OTHER, false, LOW);
    }
    assert_eq!(newest(&mut stage), LOW, "though no keyframe has come");
}

fn a_viewer_that_changes_its_mind_stays<E: TestEngine>(measured: bool) {
    let mut stage = watching::<E>(measured);
    stage.playout.select(Some(1), stage.now);
    both(&mut stage, false);
    stage.playout.select(Some(0), stage.now);
    both(&mut stage, false);
    stage.playout.select(Some(1), stage.now);
    both(&mut stage, false);
    both(&mut stage, true);
    both(&mut stage, false);
    assert_eq!(newest(&mut stage), LOW);
}

fn a_lost_request_is_repeated<E: TestEngine>(measured: bool) {
    let mut stage = watching::<E>(measured);
    stage.playout.select(Some(1), stage.now);
    both(&mut stage, false);
    stage.playout.select(Some(0), stage.now);
    let begin = stage.now;
    while stage.now < begin + Duration::from_secs(5) {
        both(&mut stage, false);
    }
    let requests = stage.requests();
    assert!((2..=3).contains(&requests), "{requests}");
}

#[test]
fn a_train_of_spaced_packets_measures_for_a_layer_that_is_more_than_assumed() {
    const HUGE: usize = 40;
    let mut stage = Stage::<Recorder>::with_layers(&[VIDEO, OTHER], true);
    for number in 0..25 {
        stage.feed(VIDEO, number == 0, HUGE);
        stage.feed(OTHER, number == 0, LOW);
    }
    stage.start();
    stage.run(Duration::from_millis(200));
    let spaced = stage.engine.padding.windows(2).filter(|two| {
        let apart = two[1].0 - two[0].0;
        (Duration::from_millis(1)..Duration::from_millis(5)).contains(&apart)
    });
    assert!(spaced.count() >= 10, "{:?}", stage.engine.padding);
    assert!(stage.engine.padding.iter().all(|(_, bytes)| *bytes >= 300));
    stage.requests();
    for track in &mut stage.playout.tracks {
        if let Some(layers) = &mut track.layers {
            layers.estimated(20_000_000, stage.now);
        }
    }
    for _ in 0..8 {
        stage.feed(VIDEO, false, HUGE);
        stage.feed(OTHER, false, LOW);
    }
    assert_eq!(stage.requests(), 1, "for a keyframe of the better layer");
    stage.feed(VIDEO, true, HUGE);
    stage.feed(VIDEO, false, HUGE);
    assert_eq!(newest(&mut stage), HUGE);
}

#[test]
fn layers_are_chosen_alike_on_every_engine() {
    fn on<E: TestEngine>(measured: bool) {
        the_better_one_is_begun_with::<E>(measured);
        a_smaller_one_is_taken_at_once_and_a_better_one_at_its_keyframe::<E>(measured);
        no_picture_lags_behind_a_switch::<E>(measured);
        a_layer_that_has_ended_is_left_at_once::<E>(measured);
        a_viewer_that_changes_its_mind_stays::<E>(measured);
        a_lost_request_is_repeated::<E>(measured);
    }
    on::<Recorder>(true);
    on::<Recorder>(false);
    on::<DirectEngine>(true);
    on::<OutletEngine>(false);
}
