//! Source pipelines: when they run, go live, rest and are started again; and the slate.

use super::*;

fn card() -> Plan {
    Plan {
        source: Some(file("card", SOURCE)),
        ..plan()
    }
}

fn on_demand() -> Plan {
    Plan {
        on_demand: true,
        ..card()
    }
}

fn slate() -> Plan {
    Plan {
        slate: Some(file("pause", SLATE)),
        ..plan()
    }
}

#[test]
fn a_source_runs_from_the_beginning_and_is_live_with_both_tracks() {
    let mut broadcast = Broadcast::new(card());
    broadcast.until(0.25);
    broadcast.expect(&["start card"]);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    assert_eq!(broadcast.state(), State::Waiting);
    broadcast.frame(0, Codec::Opus);
    assert_eq!(broadcast.state(), State::Live);
    broadcast.until(600.0);
    broadcast.expect(&[]);
}

#[test]
fn a_viewer_that_comes_while_the_source_starts_waits_for_the_first_frame() {
    let mut broadcast = Broadcast::new(card());
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.until(0.25);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.until(1.0);
    broadcast.expect(&["start card"]);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.frame(0, Codec::Opus);
    broadcast.expect(&["admit 1", "admit 2"]);
}

#[test]
fn a_viewer_waits_for_a_source_for_so_long_and_not_while_it_pauses() {
    let mut broadcast = Broadcast::new(card());
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.until(2.75);
    broadcast.expect(&["start card"]);
    broadcast.until(3.0);
    broadcast.expect(&["refuse 1: NotLive"]);
    broadcast.end_run("card");
    let refused = broadcast.watch(&["h264"], None).unwrap_err();
    assert!(matches!(refused, Error::NotLive { .. }), "{refused}");
}

#[test]
fn a_track_that_does_not_come_is_not_waited_for() {
    let mut broadcast = Broadcast::new(card());
    broadcast.until(0.25);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.until(0.5);
    assert_eq!(broadcast.state(), State::Waiting);
    broadcast.until(0.75);
    assert_eq!(broadcast.state(), State::Live);
    // The sound comes late: viewers that asked for it and did not get it start over.
    broadcast.watch(&["h264", "opus"], None).unwrap();
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["start card", "admit 1", "admit 2"]);
    broadcast.frame(0, Codec::Opus);
    broadcast.expect(&["close 1: BroadcastEnded"]);
}

#[test]
fn a_source_that_fails_is_started_again_ever_later() {
    let mut broadcast = Broadcast::new(card());
    broadcast.until(0.25);
    broadcast.expect(&["start card"]);
    let mut seconds = 0.25;
    for pause in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
        broadcast.end_run("card");
        broadcast.until(seconds + pause - 0.25);
        broadcast.expect(&[]);
        seconds += pause;
        broadcast.until(seconds);
        broadcast.expect(&["restart card"]);
    }
}

#[test]
fn a_source_that_falls_silent_is_stopped_and_started_again() {
    let mut broadcast = Broadcast::new(card());
    broadcast.until(0.25);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.frame(0, Codec::Opus);
    broadcast.watch(&["h264", "opus"], None).unwrap();
    broadcast.mute(0);
    broadcast.until(10.25);
    broadcast.expect(&["start card", "admit 1", "stop card"]);
    broadcast.until(12.0);
    broadcast.expect(&[]); // it still stops
    broadcast.end_run("card");
    broadcast.until(12.5);
    broadcast.expect(&["restart card"]);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.frame(0, Codec::Opus);
    broadcast.until(60.0);
    broadcast.expect(&[]); // the viewer has gone on
    assert_eq!(broadcast.parts.audience.watchers(), 1);
}

#[test]
fn a_source_on_demand_runs_while_somebody_watches() {
    let mut broadcast = Broadcast::new(on_demand());
    broadcast.until(60.0);
    broadcast.expect(&[]);
    let viewer = broadcast.watch(&["h264", "opus"], None).unwrap();
    broadcast.expect(&["start card"]);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.frame(0, Codec::Opus);
    broadcast.expect(&["admit 1"]);
    broadcast.until(600.0);
    broadcast.unwatch(viewer);
    broadcast.until(609.75);
    broadcast.expect(&[]);
    broadcast.until(610.0);
    broadcast.expect(&["stop card"]);
    assert_eq!(broadcast.state(), State::Waiting);
    // The next viewer waits until the previous run has released its device.
    broadcast.watch(&["h264", "opus"], None).unwrap();
    broadcast.expect(&[]);
    broadcast.until(611.0);
    broadcast.end_run("card");
    broadcast.until(611.25);
    broadcast.expect(&["start card"]);
}

#[test]
fn viewers_of_a_source_that_does_not_come_are_refused_in_the_end() {
    let mut broadcast = Broadcast::new(on_demand());
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.until(4.75);
    broadcast.expect(&["start card"]);
    broadcast.until(5.0);
    broadcast.expect(&["refuse 1: NotLive"]);
    broadcast.until(14.5);
    broadcast.expect(&[]);
    broadcast.until(14.75);
    broadcast.expect(&["stop card"]);
}

#[test]
fn the_slate_comes_after_the_grace_period_and_goes_with_the_publisher() {
    let mut broadcast = Broadcast::new(slate());
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.leave(publisher);
    broadcast.until(9.75);
    broadcast.expect(&["publisher 1 begins", "admit 2", "close 1: PeerClosed"]);
    broadcast.until(10.0);
    assert_eq!(broadcast.state(), State::Slate);
    broadcast.expect(&["start pause"]);
    broadcast.rendition("pause", "slate", Codec::H264);
    broadcast.expect(&["switch 2 from source to slate"]);
    // A viewer that arrives now sees it at once.
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["admit 3"]);
    broadcast.until(300.0);
    broadcast.expect(&[]);
    broadcast.live(&[Codec::H264]);
    broadcast.expect(&[
        "publisher 4 begins",
        "switch 2 from slate to source",
        "switch 3 from slate to source",
    ]);
    broadcast.until(300.25);
    broadcast.expect(&["stop pause"]);
}

#[test]
fn a_slate_that_nobody_watches_ends() {
    let mut broadcast = Broadcast::new(slate());
    let publisher = broadcast.live(&[Codec::H264]);
    let viewer = broadcast.watch(&["h264"], None).unwrap();
    broadcast.leave(publisher);
    broadcast.until(10.0);
    broadcast.rendition("pause", "slate", Codec::H264);
    broadcast.until(20.0);
    broadcast.unwatch(viewer);
    broadcast.until(29.5);
    assert_eq!(broadcast.state(), State::Slate);
    broadcast.until(30.0);
    assert_eq!(broadcast.state(), State::Waiting);
    assert!(
        broadcast.noted.contains(&"stop pause".to_owned()),
        "{:?}",
        broadcast.noted
    );
}

#[test]
fn without_viewers_there_is_no_slate() {
    let mut broadcast = Broadcast::new(slate());
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.leave(publisher);
    broadcast.until(60.0);
    broadcast.expect(&["publisher 1 begins", "close 1: PeerClosed"]);
    assert_eq!(broadcast.state(), State::Waiting);
}

#[test]
fn the_slate_can_be_watched_before_anybody_publishes() {
    let mut broadcast = Broadcast::new(slate());
    broadcast.watch(&["h264", "opus"], None).unwrap();
    broadcast.until(0.25);
    broadcast.expect(&["start pause"]);
    broadcast.rendition("pause", "slate", Codec::H264);
    broadcast.expect(&["admit 1"]);
    let tracks = &broadcast.views[&1].tracks;
    let sound = tracks.audio.as_ref().unwrap();
    assert_eq!(
        sound.codec,
        Some(Codec::Opus),
        "the publisher's sound will be heard"
    );
    let carrier = sound.rendition.key();
    broadcast.until(60.0);
    broadcast.live(&[Codec::H264, Codec::Opus]);
    broadcast.expect(&["publisher 2 begins", "switch 1 from slate to source"]);
    let present = broadcast.parts.supply.tracks().audio.as_ref().unwrap();
    assert_eq!(present.rendition.key(), carrier);
}

#[test]
fn the_slate_is_transcoded_for_those_who_need_it() {
    let mut broadcast = Broadcast::new(Plan {
        automatic: vec![file("automatic", AUTOMATIC)],
        ..slate()
    });
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.leave(publisher);
    broadcast.until(10.0);
    broadcast.rendition("pause", "slate", Codec::Vp8);
    broadcast.expect(&[
        "publisher 1 begins",
        "admit 2",
        "close 1: PeerClosed",
        "start pause",
        "start automatic",
    ]);
    broadcast.rendition("automatic", "h264", Codec::H264);
    broadcast.expect(&["switch 2 from source to h264"]);
    // The slate itself has no viewers, but is what they see.
    broadcast.until(120.0);
    broadcast.expect(&[]);
}
