//! Broadcasts of several nodes.

use super::*;
use crate::broadcast::place::{OriginPlace, RemoteOrigin};
use crate::cluster::TrackName;

const FORMATS: [&str; 2] = ["vp8", "opus"];

fn clustered() -> Rules {
    Rules {
        clustered: true,
        ..rules()
    }
}

fn elsewhere(epoch: u64, codecs: &[Codec]) -> OriginPlace {
    OriginPlace::Elsewhere(RemoteOrigin {
        node: format!("node-{epoch}"),
        epoch,
        codecs: codecs.to_vec(),
    })
}

impl Broadcast {
    fn place(&mut self, place: OriginPlace) {
        let actions = self.parts.set_place(place, self.now);
        self.perform(actions);
    }
}

#[test]
fn another_node_is_followed_while_somebody_watches() {
    let mut demo = Broadcast::with_rules(plan(), &clustered());
    demo.place(elsewhere(1, &[]));
    assert!(demo.watch(&FORMATS, None).is_err(), "not live yet");
    demo.place(elsewhere(1, &[Codec::Vp8, Codec::Opus]));
    demo.until(1.0);
    demo.expect(&[]);
    let viewer = demo.watch(&FORMATS, None).unwrap();
    demo.expect(&["follow node-1"]);
    demo.connect(0);
    demo.frame(0, Codec::Opus);
    demo.expect(&[]);
    demo.frame(0, Codec::Vp8);
    demo.expect(&["admit 1"]);
    demo.until(30.0);
    demo.unwatch(viewer);
    demo.until(39.9);
    demo.expect(&[]);
    demo.until(41.0);
    demo.expect(&["stop following"]);
}

#[test]
fn viewers_stay_when_the_origin_moves() {
    let mut demo = Broadcast::with_rules(plan(), &clustered());
    demo.place(elsewhere(1, &[Codec::Vp8]));
    demo.watch(&FORMATS, None).unwrap();
    demo.connect(0);
    demo.frame(0, Codec::Vp8);
    demo.expect(&["follow node-1", "admit 1"]);
    demo.place(OriginPlace::Free);
    demo.expect(&["stop following"]);
    demo.until(5.0);
    demo.place(elsewhere(2, &[Codec::Vp8]));
    demo.expect(&["follow node-2"]);
    demo.connect(0);
    demo.frame(0, Codec::Vp8);
    demo.until(8.0);
    demo.expect(&[]);
    // The publisher comes to this node.
    demo.place(OriginPlace::Here);
    demo.expect(&["stop following"]);
    demo.live(&[Codec::Vp8]);
    demo.expect(&["publisher 2 begins"]);
    // It is gone for good.
    demo.leave(2);
    demo.place(OriginPlace::Free);
    demo.until(30.0);
    demo.expect(&["close 2: PeerClosed", "close 1: BroadcastEnded"]);
}

#[test]
fn a_source_runs_where_its_claim_is() {
    let plan = Plan {
        source: Some(file("cam", SOURCE)),
        ..plan()
    };
    let mut demo = Broadcast::with_rules(plan, &clustered());
    demo.until(0.25);
    demo.expect(&["claim"]);
    demo.place(elsewhere(1, &[Codec::Vp8]));
    demo.until(2.0);
    demo.expect(&[]);
    demo.place(OriginPlace::Free);
    demo.expect(&["claim"]);
    demo.place(OriginPlace::Here);
    demo.expect(&["start cam"]);
    assert!(demo.parts.needs_claim());
    let lost = demo.parts.lose_claim(demo.now);
    demo.perform(lost);
    demo.expect(&["stop cam"]);
    assert!(
        demo.parts.give_way(demo.now, demo.now).is_none(),
        "a source gives no way"
    );
}

#[test]
fn a_rendition_runs_for_the_viewers_of_other_nodes() {
    let plan = Plan {
        renditions: vec![file("ladder", LADDER)],
        ..plan()
    };
    let mut demo = Broadcast::with_rules(plan, &clustered());
    demo.place(OriginPlace::Here);
    demo.live(&[Codec::Vp8]);
    demo.expect(&["publisher 1 begins"]);
    let small = TrackName {
        kind: Kind::Video,
        rendition: Some("480p".to_owned()),
    };
    let unknown = TrackName {
        rendition: Some("4k".to_owned()),
        ..small.clone()
    };
    assert!(
        demo.parts
            .lend(&unknown, "b".to_owned(), 1, demo.now)
            .is_none()
    );
    for second in 1..30 {
        let lending = demo
            .parts
            .lend(&small, "b".to_owned(), 7, demo.now)
            .unwrap();
        demo.perform(lending.actions);
        demo.until(f64::from(second));
    }
    demo.expect(&["start ladder"]);
    assert_eq!(demo.parts.shown(demo.now).viewers, 7);
    demo.until(29.0 + 13.5);
    demo.expect(&["stop ladder"]);
    assert_eq!(demo.parts.shown(demo.now).viewers, 0);
}

#[test]
fn a_live_publisher_gives_no_way_and_a_stale_one_does() {
    let mut demo = Broadcast::with_rules(plan(), &clustered());
    demo.place(OriginPlace::Here);
    let publisher = demo.live(&[Codec::Vp8]);
    demo.until(5.0);
    assert!(demo.parts.give_way(demo.now, demo.now).is_none());
    demo.mute(publisher);
    demo.until(8.0);
    let actions = demo.parts.give_way(demo.now, demo.now).unwrap();
    demo.perform(actions);
    demo.expect(&["publisher 1 begins", "close 1: Replaced"]);
    assert!(!demo.parts.needs_claim());
}
