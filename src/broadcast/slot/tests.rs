//! When a pipeline runs again.

use super::*;

fn slot() -> Slot {
    let file = PipelineFile {
        file: "card.launch".to_owned(),
        text: "".into(),
    };
    Slot::new(SlotId::Source, file)
}

#[test]
fn pauses_double_up_to_a_limit() {
    let millis = |failures, jitter| pause(failures, jitter).as_millis();
    assert_eq!(
        [0, 1, 2, 3].map(|n| millis(n, 1.0)),
        [500, 1000, 2000, 4000]
    );
    assert_eq!([0, 1, 2, 3].map(|n| millis(n, 0.0)), [250, 500, 1000, 2000]);
    assert_eq!([6, 7, 40, u32::MAX].map(|n| millis(n, 1.0)), [30_000; 4]);
}

/// Ends the present run after `ran`, and returns the pause that follows.
fn fail(slot: &mut Slot, now: &mut Instant, ran: Duration, made_frames: bool) -> Duration {
    *now += ran;
    let end = RunEnd {
        run: slot.run(),
        made_frames,
        error: None,
        jitter: 1.0,
        retry: Retry::Later,
    };
    assert!(slot.ended(&end, *now));
    let Phase::Pausing { due: Some(due) } = slot.phase else {
        panic!("no restart");
    };
    let pause = due - *now;
    assert!(!slot.is_due(*now) && slot.is_due(due));
    *now = due;
    assert!(slot.restart(due).again);
    pause
}

#[test]
fn a_failing_pipeline_is_restarted_ever_later_until_a_good_run() {
    let (mut slot, mut now) = (slot(), Instant::now());
    assert!(!slot.start(Vec::new(), now).again);
    let second = Duration::from_secs(1);
    let pauses = [1, 2, 4, 8].map(|_| fail(&mut slot, &mut now, second, true).as_secs());
    assert_eq!(pauses, [1, 2, 4, 8]);
    assert_eq!(fail(&mut slot, &mut now, GOOD_RUN, false).as_secs(), 16);
    let after_good_run = fail(&mut slot, &mut now, GOOD_RUN, true);
    assert_eq!(after_good_run, PAUSE_MIN);
}

#[test]
fn files_named_by_the_second_do_not_collide() {
    let (mut slot, mut now) = (slot(), Instant::now());
    slot.start(Vec::new(), now);
    slot.failures = 0;
    let end = RunEnd {
        run: slot.run(),
        error: None,
        made_frames: false,
        jitter: 0.0,
        retry: Retry::Later,
    };
    let began = now;
    now += Duration::from_millis(10);
    slot.ended(&end, now);
    assert!(!slot.is_due(began + Duration::from_millis(999)));
    assert!(slot.is_due(began + START_INTERVAL));
}

#[test]
fn a_pipeline_that_cannot_take_its_inputs_waits_for_others() {
    let (mut slot, now) = (slot(), Instant::now());
    let run = slot.start(Vec::new(), now).run;
    let end = RunEnd {
        run,
        error: Some("unfit".to_owned()),
        made_frames: false,
        jitter: 0.0,
        retry: Retry::Never,
    };
    slot.ended(&end, now);
    assert!(!slot.is_resting() && !slot.is_due(now + Duration::from_hours(1)));
    assert_eq!(slot.stop(End::BroadcastEnded), None);
    assert!(slot.is_resting());
    slot.start(Vec::new(), now);
}

#[test]
fn a_stopped_pipeline_rests_and_is_reported_once() {
    let (mut slot, now) = (slot(), Instant::now());
    assert_eq!(slot.stop(End::Shutdown), None, "nothing runs");
    let begun = slot.start(Vec::new(), now);
    let stop = slot.stop(End::BroadcastEnded).unwrap();
    assert_eq!((stop.run, stop.why), (begun.run, End::BroadcastEnded));
    assert!(slot.is_stopping() && slot.stop(End::Shutdown).is_none());
    let end = RunEnd {
        run: begun.run,
        error: None,
        made_frames: true,
        jitter: 0.5,
        retry: Retry::Later,
    };
    assert!(slot.ended(&end, now) && slot.is_resting());
    assert!(!slot.ended(&end, now), "it is known already");
    let next = slot.start(Vec::new(), now);
    assert!(next.run != begun.run && !slot.runs(begun.run));
}

#[test]
fn a_pause_ends_with_the_series() {
    let (mut slot, now) = (slot(), Instant::now());
    let run = slot.start(Vec::new(), now).run;
    let end = RunEnd {
        run,
        error: None,
        made_frames: false,
        jitter: 0.5,
        retry: Retry::Later,
    };
    slot.ended(&end, now);
    assert!(!slot.is_resting());
    assert_eq!(slot.stop(End::BroadcastEnded), None);
    assert!(slot.is_resting() && !slot.is_due(now + PAUSE_MAX));
}

#[test]
fn a_run_that_is_stopped_for_a_restart_pauses() {
    let (mut slot, now) = (slot(), Instant::now());
    let run = slot.start(Vec::new(), now).run;
    assert!(slot.stop_and_restart(End::Vanished).is_some());
    assert!(slot.stop_and_restart(End::Vanished).is_none(), "told once");
    let end = RunEnd {
        run,
        error: None,
        made_frames: true,
        jitter: 0.0,
        retry: Retry::Later,
    };
    slot.ended(&end, now);
    assert!(!slot.is_resting() && slot.is_due(now + PAUSE_MAX));
}
