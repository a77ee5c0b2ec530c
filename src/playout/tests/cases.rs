//! The cases.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    super::{
        requests::{KEYFRAME_FRESH, KEYFRAME_PATIENCE},
        testing::TestEngine,
    },
    stage::{AUDIO, FRAME, OTHER, Recorder, Stage, VIDEO},
};
use crate::{
    fanout::DirectEngine,
    media::{Codec, Kind},
    webrtcbin::viewers::testing::OutletEngine,
};

/// Runs each of these on every engine.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            on_any::$name::<Recorder>();
            on_any::$name::<DirectEngine>();
            on_any::$name::<OutletEngine>();
        }
    )*};
}

on_every_engine!(
    a_joining_viewer_catches_up_and_goes_on_live,
    a_viewer_joining_late_in_a_long_group_is_live_within_a_second,
    a_group_of_pictures_is_sent_in_portions,
    portions_that_are_late_are_larger,
    a_fresh_keyframe_answers_a_request_by_itself,
    a_request_reaches_the_publisher_and_its_keyframe_is_enough,
    a_large_keyframe_is_enough,
    the_cached_keyframe_has_to_do_if_the_publisher_sends_none,
    nothing_is_shown_again_without_a_live_feed,
    a_peer_that_always_asks_gets_little,
    a_gap_is_waited_out,
    another_rendition_begins_at_its_keyframe,
    a_rendition_without_a_keyframe_is_asked_for_one,
    another_codec_is_not_sent,
    nothing_is_sent_before_the_start,
);

mod on_any {
    use super::*;

    fn is_ascending(pictures: &[(u32, usize)]) -> bool {
        pictures.windows(2).all(|two| two[0].0 < two[1].0)
    }

    pub(super) fn a_joining_viewer_catches_up_and_goes_on_live<E: TestEngine>() {
        let mut stage = Stage::<E>::new();
        stage.feed(VIDEO, true, 3);
        for _ in 0..24 {
            stage.feed(VIDEO, false, 2);
        }
        let newest = stage.timestamp() - 40 * 90;
        stage.start();
        stage.run(FRAME / 2);
        stage.feed(VIDEO, false, 1);
        let live = stage.timestamp() - 40 * 90;
        let taken = stage.engine.taken();
        let sequences: Vec<u16> = taken.iter().map(|packet| packet.sequence).collect();
        let first = sequences[0];
        assert!(first < 0x8000, "no wrap early in a session");
        let expected: Vec<u16> = (first..first + 52).collect();
        assert_eq!(sequences, expected, "each packet once, in order");
        assert_eq!(taken.iter().filter(|packet| packet.marker).count(), 26);
        // A second's worth of media is shown in the blink of an eye.
        let earliest = newest - 90 * 10;
        assert!(taken.iter().all(|packet| packet.timestamp >= earliest));
        assert_eq!(taken[51].timestamp, live);
        assert_eq!(stage.requests(), 0, "missing sound is no reason to ask");
    }

    /// Eight seconds between keyframes, as OBS has them by default, at 2.4 Mb/s and at four times as
    /// much.
    pub(super) fn a_viewer_joining_late_in_a_long_group_is_live_within_a_second<E: TestEngine>() {
        for packets in [12, 48] {
            let mut stage = Stage::<E>::new();
            stage.feed(VIDEO, true, packets);
            for _ in 1..199 {
                stage.feed(VIDEO, false, packets);
            }
            let joined = stage.now;
            let edge = stage.timestamp();
            stage.start();
            let mut shown = Vec::new();
            let live = |shown: &[(u32, usize)], newest: u32| {
                shown
                    .last()
                    .is_some_and(|(timestamp, _)| *timestamp == newest)
            };
            let mut newest = 0;
            while !live(&shown, newest) && stage.now < joined + Duration::from_secs(4) {
                newest = stage.timestamp();
                stage.feed(VIDEO, false, packets);
                shown.extend(stage.pictures());
                // One may go out in two portions.
                shown.dedup_by_key(|(timestamp, _)| *timestamp);
            }
            let took = stage.now - joined;
            assert!(took <= Duration::from_millis(1200), "{took:?}");
            // Nothing is dated back, so that the receiver's buffer does not grow.
            assert!(is_ascending(&shown), "{shown:?}");
            assert!(shown[0].0 >= edge - 100 * 90, "{shown:?}");
        }
    }

    pub(super) fn a_group_of_pictures_is_sent_in_portions<E: TestEngine>() {
        let mut stage = Stage::<E>::new();
        stage.feed(VIDEO, true, 100);
        stage.start();
        stage.run(Duration::ZERO);
        let first = stage.pictures();
        assert!((16..=64).contains(&first[0].1), "{first:?}");
        stage.run(Duration::from_millis(50));
        let packets: usize = stage.pictures().iter().map(|picture| picture.1).sum();
        assert_eq!(first[0].1 + packets, 100);
    }

    /// Otherwise a busy machine would send large keyframes more slowly than they come.
    pub(super) fn portions_that_are_late_are_larger<E: TestEngine>() {
        let mut stage = Stage::<E>::new();
        stage.feed(VIDEO, true, 100);
        stage.start();
        let mut portions = Vec::new();
        for _ in 0..4 {
            stage.run_late(Duration::from_millis(15));
            portions.push(stage.engine.taken().len());
        }
        assert_eq!(portions.iter().sum::<usize>(), 100, "{portions:?}");
        assert!(
            portions.iter().all(|packets| *packets <= 64),
            "{portions:?}"
        );
        // However late it is, a receiver's buffer has to hold it.
        let mut stage = Stage::<E>::new();
        stage.feed(VIDEO, true, 100);
        stage.start();
        stage.run_late(Duration::from_secs(1));
        assert_eq!(stage.engine.taken().len(), 64);
    }

    pub(super) fn a_fresh_keyframe_answers_a_request_by_itself<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(10);
        assert!(stage.asks());
        assert_eq!(stage.requests(), 0, "the publisher is left alone");
        stage.feed(VIDEO, false, 1);
        let pictures = stage.pictures();
        // The live one, then all since the keyframe.
        assert_eq!(pictures.len(), 1 + 11);
        assert!(is_ascending(&pictures), "{pictures:?}");
    }

    pub(super) fn a_request_reaches_the_publisher_and_its_keyframe_is_enough<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(10);
        stage.run(KEYFRAME_FRESH);
        assert!(stage.asks());
        assert_eq!(stage.requests(), 1);
        stage.feed(VIDEO, false, 1);
        stage.feed(VIDEO, true, 1);
        for _ in 0..20 {
            stage.feed(VIDEO, false, 1);
        }
        assert_eq!(stage.pictures().len(), 22, "each once");
    }

    pub(super) fn a_large_keyframe_is_enough<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(10);
        stage.run(KEYFRAME_FRESH);
        assert!(stage.asks());
        stage.feed(VIDEO, false, 1);
        stage.feed(VIDEO, true, 90);
        for _ in 0..20 {
            stage.feed(VIDEO, false, 1);
        }
        let packets: usize = stage.pictures().iter().map(|picture| picture.1).sum();
        assert_eq!(packets, 1 + 90 + 20, "each once");
    }

    pub(super) fn the_cached_keyframe_has_to_do_if_the_publisher_sends_none<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(10);
        stage.run(KEYFRAME_FRESH);
        assert!(stage.asks());
        assert_eq!(stage.requests(), 1);
        let frames = KEYFRAME_PATIENCE.as_millis() / FRAME.as_millis() + 1;
        for _ in 0..frames {
            stage.feed(VIDEO, false, 1);
        }
        let frames = usize::try_from(frames).unwrap();
        let pictures = stage.pictures();
        assert_eq!(
            pictures.len(),
            frames + 10 + frames,
            "once live, once again"
        );
        assert!(is_ascending(&pictures), "{pictures:?}");
        for _ in 0..20 {
            stage.feed(VIDEO, false, 1);
        }
        assert_eq!(stage.pictures().len(), 20, "then it goes on live");
    }

    pub(super) fn nothing_is_shown_again_without_a_live_feed<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(50);
        // The publisher has died; the decoder keeps asking.
        for _ in 0..60 {
            stage.run(Duration::from_millis(250));
            stage.asks();
        }
        assert_eq!(stage.pictures(), [], "the last picture stays");
        // Another one comes.
        stage.feed(VIDEO, true, 1);
        stage.feed(VIDEO, false, 1);
        stage.run(Duration::from_secs(1));
        assert_eq!(stage.pictures().len(), 2, "only what is new");
    }

    pub(super) fn a_peer_that_always_asks_gets_little<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(2);
        let mut heard = 0;
        // A minute of ten requests a second; the publisher makes a keyframe every ten seconds.
        for number in 0..1500 {
            stage.feed(VIDEO, number % 250 == 0, 1);
            if number % 3 == 0 {
                heard += usize::from(stage.asks());
            }
        }
        let requests = stage.requests();
        assert!((1..=10).contains(&requests), "{requests} keyframes");
        let again = stage.pictures().len() - 1500;
        assert!(again < 1500, "{again} pictures again");
        assert!(heard > 5, "{heard}");
    }

    pub(super) fn a_gap_is_waited_out<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(3);
        stage.lose(VIDEO);
        stage.feed(VIDEO, false, 1);
        assert_eq!(stage.requests(), 1, "a keyframe is asked for");
        for _ in 0..5 {
            stage.feed(VIDEO, false, 1);
        }
        assert_eq!(stage.pictures(), []);
        assert_eq!(stage.requests(), 0, "not again so soon");
        stage.feed(VIDEO, true, 1);
        stage.feed(VIDEO, false, 1);
        assert_eq!(stage.pictures().len(), 2);
    }

    pub(super) fn another_rendition_begins_at_its_keyframe<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(3);
        stage.feed(OTHER, true, 2);
        stage.feed(OTHER, false, 2);
        stage.feed(VIDEO, false, 1);
        let before = stage.pictures().pop().unwrap();
        stage.switch(Kind::Video, OTHER);
        stage.feed(VIDEO, false, 1);
        stage.feed(OTHER, false, 2);
        let pictures = stage.pictures();
        assert_eq!(
            pictures.iter().map(|picture| picture.1).collect::<Vec<_>>(),
            [2; 3]
        );
        assert!(before.0 < pictures[0].0 && is_ascending(&pictures));
        assert_eq!(stage.requests(), 0);
    }

    pub(super) fn a_rendition_without_a_keyframe_is_asked_for_one<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(3);
        stage.switch(Kind::Video, OTHER);
        assert_eq!(stage.requests(), 1);
        stage.feed(VIDEO, true, 1);
        assert_eq!(stage.pictures(), [], "the rendition before is left");
        stage.feed(OTHER, true, 2);
        assert_eq!(stage.pictures().len(), 1);
    }

    pub(super) fn another_codec_is_not_sent<E: TestEngine>() {
        let mut stage = Stage::<E>::watching(3);
        stage.feed_as(Codec::Vp8, VIDEO, true, 1);
        stage.feed_as(Codec::Vp8, VIDEO, false, 1);
        assert_eq!(stage.pictures(), []);
        assert!(stage.asks());
        stage.feed_as(Codec::Vp8, VIDEO, false, 1);
        stage.run(Duration::from_secs(1));
        assert_eq!(stage.pictures(), []);
    }

    pub(super) fn nothing_is_sent_before_the_start<E: TestEngine>() {
        let mut stage = Stage::<E>::new();
        stage.feed(VIDEO, true, 1);
        stage.feed(AUDIO, true, 1);
        stage.switch(Kind::Video, OTHER);
        stage.run(Duration::from_secs(1));
        assert_eq!(stage.engine.taken(), []);
        stage.feed(OTHER, true, 2);
        stage.start();
        stage.run(Duration::from_millis(1));
        assert_eq!(stage.pictures().len(), 1);
    }
}

#[test]
fn a_viewer_that_falls_behind_waits_and_sees_the_cached_keyframe() {
    let mut stage = Stage::<Recorder>::watching(5);
    stage.engine.held_up = true;
    stage.feed(VIDEO, false, 1);
    stage.engine.held_up = false;
    stage.pictures();
    assert_eq!(stage.requests(), 1);
    assert_eq!(stage.counters.dropped.load(Relaxed), 1);
    stage.feed(VIDEO, false, 1);
    assert_eq!(stage.pictures(), [], "of no use before a keyframe");
    for _ in 0..7 {
        stage.feed(VIDEO, false, 1);
    }
    let pictures = stage.pictures().len();
    assert!((5 + 8..=5 + 9).contains(&pictures), "{pictures}");
}

#[test]
fn sound_that_is_lost_shows_no_picture_again() {
    let mut stage = Stage::<Recorder>::watching(5);
    stage.feed(AUDIO, true, 1);
    stage.engine.held_up = true;
    stage.feed(AUDIO, true, 1);
    stage.engine.held_up = false;
    assert_eq!(stage.counters.dropped.load(Relaxed), 1);
    assert_eq!(stage.requests(), 0);
    for _ in 0..20 {
        stage.feed(VIDEO, false, 1);
    }
    assert_eq!(stage.pictures().len(), 20);
}

#[test]
fn a_viewer_that_cannot_catch_up_waits_for_pictures_but_keeps_the_sound() {
    let mut stage = Stage::<Recorder>::new();
    stage.feed(VIDEO, true, 1);
    stage.feed(AUDIO, true, 1);
    stage.start();
    stage.engine.held_up = true;
    stage.run(Duration::ZERO);
    stage.engine.held_up = false;
    stage.engine.taken();
    stage.run(FRAME);
    let taken = stage.engine.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].kind, Kind::Audio);
}
