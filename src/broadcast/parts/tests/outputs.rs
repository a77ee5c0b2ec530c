//! Outputs: they run from the moment a broadcast is live until it has ended.

use super::*;

const RECORD: &str = "appsrc name=video  appsrc name=audio";

fn recorded() -> Plan {
    Plan {
        outputs: vec![file("record", RECORD)],
        ..plan()
    }
}

#[test]
fn an_output_runs_across_a_reconnect_and_ends_with_the_broadcast() {
    let mut broadcast = Broadcast::new(recorded());
    let first = broadcast.publish(&[Codec::H264]).unwrap();
    broadcast.connect(first);
    broadcast.expect(&["publisher 1 begins"]);
    broadcast.frame(first, Codec::H264);
    broadcast.expect(&["start record"]);
    broadcast.until(60.0);
    broadcast.leave(first);
    broadcast.until(65.0);
    let second = broadcast.live(&[Codec::H264]);
    broadcast.until(120.0);
    broadcast.expect(&["close 1: PeerClosed", "publisher 2 begins"]);
    broadcast.leave(second);
    broadcast.until(129.75);
    broadcast.expect(&["close 2: PeerClosed"]);
    broadcast.until(130.0);
    broadcast.expect(&["stop record"]);
    broadcast.end_run("record");
    broadcast.until(600.0);
    broadcast.expect(&[]);
}

#[test]
fn another_codec_is_another_recording() {
    let mut broadcast = Broadcast::new(recorded());
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.leave(publisher);
    broadcast.noted.clear();
    broadcast.live(&[Codec::Vp8]);
    broadcast.expect(&["publisher 2 begins", "stop record"]);
    broadcast.until(3.0);
    broadcast.expect(&[]); // it writes what it holds
    broadcast.end_run("record");
    broadcast.expect(&["start record"]);
}

#[test]
fn a_failing_output_is_started_again_and_disturbs_nobody() {
    let mut broadcast = Broadcast::new(Plan {
        outputs: vec![file("record", RECORD), file("push", RECORD)],
        ..plan()
    });
    broadcast.live(&[Codec::H264]);
    broadcast.expect(&["publisher 1 begins", "start record", "start push"]);
    broadcast.until(5.0);
    broadcast.end_run("push");
    broadcast.until(5.75);
    broadcast.expect(&[]);
    broadcast.until(6.0);
    broadcast.expect(&["restart push"]);
    let restarts: Vec<_> = broadcast
        .parts
        .status(broadcast.now)
        .outputs
        .iter()
        .map(|output| output.health.restarts)
        .collect();
    assert_eq!(restarts, [0, 1]);
}

#[test]
fn the_slate_is_not_recorded() {
    let mut broadcast = Broadcast::new(Plan {
        slate: Some(file("pause", SLATE)),
        ..recorded()
    });
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.leave(publisher);
    broadcast.noted.clear();
    broadcast.until(10.0);
    broadcast.expect(&["start pause", "stop record"]);
    broadcast.end_run("record");
    broadcast.until(60.0);
    broadcast.expect(&[]);
}

#[test]
fn operators_get_keyframes_of_pipelines_that_run() {
    let mut broadcast = Broadcast::new(recorded());
    let idle = broadcast.parts.force_keyframe("record", broadcast.now);
    assert!(matches!(idle, Err(Error::Idle(name)) if name == "record"));
    let missing = broadcast.parts.force_keyframe("other", broadcast.now);
    assert!(matches!(missing, Err(Error::Missing("pipeline"))));
}
