//! Another plan while the broadcast runs.

use super::*;

const RECORD: &str = "appsrc name=video";

fn outputs(files: &[(&str, &str)]) -> Plan {
    let files = files.iter().map(|(name, text)| file(name, text));
    Plan {
        outputs: files.collect(),
        ..plan()
    }
}

fn source(name: &str) -> Plan {
    Plan {
        source: Some(file(name, SOURCE)),
        ..plan()
    }
}

fn ladder() -> Plan {
    Plan {
        renditions: vec![file("ladder", LADDER)],
        ..plan()
    }
}

impl Broadcast {
    fn reconfigure(&mut self, plan: Plan) {
        self.reconfigure_with(plan, rules());
    }

    fn reconfigure_with(&mut self, plan: Plan, rules: Rules) {
        let actions = self.parts.reconfigure(rules, Arc::new(plan), self.now);
        self.perform(actions);
    }
}

#[test]
fn outputs_stop_and_start_and_the_rest_runs_on() {
    let mut broadcast = Broadcast::new(outputs(&[("record", RECORD), ("push", RECORD)]));
    broadcast.live(&[Codec::H264]);
    broadcast.expect(&["publisher 1 begins", "start record", "start push"]);
    broadcast.reconfigure(outputs(&[("record", RECORD), ("hls", RECORD)]));
    broadcast.expect(&["stop push", "start hls"]);
    broadcast.end_run("push");
    broadcast.until(60.0);
    broadcast.expect(&[]);
    broadcast.reconfigure(outputs(&[("hls", "appsrc  name=video")]));
    broadcast.expect(&["stop hls", "stop record"]);
    broadcast.end_run("record");
    broadcast.end_run("hls");
    broadcast.expect(&["start hls"]);
}

#[test]
fn a_source_is_exchanged_and_its_viewers_stay() {
    let mut broadcast = Broadcast::new(source("card"));
    broadcast.until(0.25);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.frame(0, Codec::Opus);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["start card", "admit 1"]);
    broadcast.reconfigure(source("card"));
    broadcast.until(5.0);
    broadcast.expect(&[]);
    broadcast.reconfigure(source("camera"));
    broadcast.expect(&["stop card"]);
    broadcast.end_run("card");
    broadcast.until(5.25);
    broadcast.expect(&["start camera"]);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.frame(0, Codec::Opus);
    assert_eq!(broadcast.state(), State::Live);
    broadcast.until(60.0);
    broadcast.expect(&[]);
}

#[test]
fn a_broadcast_without_its_source_ends_and_may_get_it_back() {
    let mut broadcast = Broadcast::new(source("card"));
    broadcast.until(0.25);
    broadcast.connect(0);
    broadcast.frame(0, Codec::H264);
    broadcast.frame(0, Codec::Opus);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.reconfigure(plan());
    broadcast.expect(&["start card", "admit 1", "stop card"]);
    assert_eq!(broadcast.state(), State::Waiting);
    broadcast.until(11.0);
    broadcast.expect(&["close 1: BroadcastEnded"]);
    assert!(broadcast.parts.is_idle(broadcast.now));
    broadcast.reconfigure(source("card"));
    broadcast.until(11.25);
    broadcast.expect(&["start card"]);
}

#[test]
fn renditions_change_once_nobody_uses_them() {
    let mut broadcast = Broadcast::new(ladder());
    broadcast.live(&[Codec::H264]);
    let requested = |broadcast: &Broadcast| {
        broadcast
            .parts
            .check_viewer(Some("720p"), broadcast.now)
            .is_ok()
    };
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.until(1.0);
    broadcast.reconfigure(plan());
    assert!(requested(&broadcast), "somebody watches it");
    broadcast.reconfigure(ladder());
    broadcast.until(60.0);
    assert!(requested(&broadcast));
    broadcast.reconfigure(plan());
    broadcast.unwatch(2);
    broadcast.until(120.0);
    if broadcast.runs.contains_key("ladder") {
        broadcast.end_run("ladder");
    }
    broadcast.until(121.0);
    assert!(!requested(&broadcast));
}

#[test]
fn limits_change_for_those_who_come() {
    let mut broadcast = Broadcast::new(plan());
    broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], None).unwrap();
    let rules = Rules {
        viewers_max: 1,
        ..rules()
    };
    broadcast.reconfigure_with(plan(), rules);
    assert!(broadcast.watch(&["h264"], None).is_err());
    broadcast.reconfigure(plan());
    broadcast.watch(&["h264"], None).unwrap();
}
