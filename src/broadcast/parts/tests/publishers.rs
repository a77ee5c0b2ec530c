//! Who may publish, when a broadcast is live, and what a publisher's end means.

use super::*;

const VIDEO: &[Codec] = &[Codec::Vp8];
const BOTH: &[Codec] = &[Codec::Vp8, Codec::Opus];

#[test]
fn a_live_publisher_is_protected_and_a_silent_one_is_replaced() {
    let mut broadcast = Broadcast::new(plan());
    let first = broadcast.live(VIDEO);
    broadcast.expect(&["publisher 1 begins"]);
    broadcast.until(60.0);
    let refused = broadcast.publish(VIDEO).unwrap_err();
    assert!(matches!(refused, Error::Taken { .. }), "{refused}");
    broadcast.mute(first);
    broadcast.until(61.75);
    assert!(broadcast.publish(VIDEO).is_err());
    broadcast.until(62.0);
    assert_eq!(broadcast.state(), State::Stale);
    broadcast.publish(VIDEO).unwrap();
    broadcast.expect(&["close 1: Replaced", "publisher 2 begins"]);
}

#[test]
fn of_publishers_that_come_at_once_the_first_wins() {
    let mut broadcast = Broadcast::new(plan());
    let arrived = broadcast.now;
    let first = broadcast.publish(VIDEO).unwrap();
    assert!(
        broadcast.publish_arrived(VIDEO, arrived).is_err(),
        "it is being answered"
    );
    broadcast.until(0.5);
    let answered = broadcast.now;
    broadcast.pulse(first, |pulse| pulse.answered = Some(answered));
    assert!(broadcast.publish_arrived(VIDEO, arrived).is_err());
    // A publisher that dislikes the answer and leaves without a word protects nothing.
    broadcast.until(0.75);
    assert!(broadcast.publish(VIDEO).is_ok());
}

#[test]
fn a_live_publisher_is_replaced_if_that_is_allowed() {
    let rules = Rules {
        replace_live: true,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(plan(), &rules);
    broadcast.live(VIDEO);
    broadcast.live(VIDEO);
    broadcast.expect(&[
        "publisher 1 begins",
        "close 1: Replaced",
        "publisher 2 begins",
    ]);
}

#[test]
fn a_source_is_protected() {
    let mut broadcast = Broadcast::new(Plan {
        source: Some(file("card", SOURCE)),
        ..plan()
    });
    assert!(broadcast.publish(VIDEO).is_err());
}

#[test]
fn publishers_that_do_not_connect_or_send_end() {
    for (connected, last_packet, end, why) in [
        (false, false, 15.0, "ConnectTimeout"),
        (true, false, 10.0, "NoMedia"),
        (true, true, 10.0, "Vanished"),
    ] {
        let mut broadcast = Broadcast::new(plan());
        let publisher = broadcast.publish(VIDEO).unwrap();
        broadcast.expect(&["publisher 1 begins"]);
        let now = broadcast.now;
        broadcast.pulse(publisher, |pulse| {
            pulse.answered = Some(now);
            pulse.connected = connected.then_some(now);
            pulse.last_packet = last_packet.then_some(now);
        });
        broadcast.until(end - 0.25);
        broadcast.expect(&[]);
        broadcast.until(end);
        broadcast.expect(&[&format!("close 1: {why}")]);
    }
}

#[test]
fn a_publisher_is_live_at_its_first_picture() {
    let mut broadcast = Broadcast::new(plan());
    let publisher = broadcast.publish(BOTH).unwrap();
    broadcast.connect(publisher);
    broadcast.frame(publisher, Codec::Opus);
    broadcast.until(5.0);
    assert_eq!(broadcast.state(), State::Waiting);
    let refused = broadcast.watch(&["vp8", "opus"], None).unwrap_err();
    let soon = Duration::from_secs(1);
    assert!(
        matches!(
            refused,
            Error::NotLive { awaited: Some(Kind::Video), retry_after, .. } if retry_after == soon
        ),
        "{refused}"
    );
    broadcast.frame(publisher, Codec::Vp8);
    assert_eq!(broadcast.state(), State::Live);
    let tracks = broadcast.parts.status(broadcast.now).tracks;
    assert_eq!(tracks.len(), 2, "the sound, too");
}

#[test]
fn viewers_outlive_the_publisher_for_the_grace_period() {
    let mut broadcast = Broadcast::new(plan());
    let first = broadcast.live(BOTH);
    broadcast.watch(&["vp8", "opus"], None).unwrap();
    broadcast.until(20.0);
    broadcast.leave(first);
    broadcast.until(29.75);
    broadcast.expect(&["publisher 1 begins", "admit 2", "close 1: PeerClosed"]);
    // It comes back: the same session continues, with the same renditions.
    let second = broadcast.live(BOTH);
    broadcast.until(40.0);
    broadcast.expect(&["publisher 3 begins"]);
    broadcast.leave(second);
    broadcast.until(49.75);
    broadcast.expect(&["close 3: PeerClosed"]);
    broadcast.until(50.0);
    broadcast.expect(&["close 2: BroadcastEnded"]);
    assert!(broadcast.parts.is_idle(broadcast.now));
}

#[test]
fn viewers_that_lack_the_new_tracks_are_closed() {
    let mut broadcast = Broadcast::new(plan());
    let publisher = broadcast.live(BOTH);
    broadcast.watch(&["vp8", "opus"], None).unwrap();
    broadcast.watch(&["opus"], None).unwrap();
    broadcast.leave(publisher);
    broadcast.expect(&[
        "publisher 1 begins",
        "admit 2",
        "admit 3",
        "close 1: PeerClosed",
    ]);
    // Nothing is transcoded: viewers that negotiated VP8 cannot continue with H.264.
    broadcast.live(&[Codec::H264, Codec::Opus]);
    broadcast.expect(&["publisher 4 begins", "close 2: BroadcastEnded"]);
}

#[test]
fn viewers_go_on_in_another_codec_if_it_is_transcoded() {
    let mut broadcast = Broadcast::new(Plan {
        automatic: vec![file("automatic", AUTOMATIC)],
        ..plan()
    });
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264", "vp8"], None).unwrap();
    broadcast.leave(publisher);
    broadcast.expect(&["publisher 1 begins", "admit 2", "close 1: PeerClosed"]);
    broadcast.live(&[Codec::Vp8]);
    broadcast.expect(&["publisher 3 begins", "start automatic"]);
    broadcast.rendition("automatic", "h264", Codec::H264);
    broadcast.expect(&["switch 2 from source to h264"]);
}

#[test]
fn a_codec_that_changes_on_the_way_ends_everything() {
    let mut broadcast = Broadcast::new(plan());
    let publisher = broadcast.live(VIDEO);
    broadcast.watch(&["vp8"], None).unwrap();
    let event = MediaEvent::Mismatch {
        input: broadcast.publishers[&publisher].id,
        kind: Kind::Video,
        codec: Codec::H264,
    };
    let actions = broadcast.parts.media(event, broadcast.now);
    broadcast.perform(actions);
    broadcast.expect(&[
        "publisher 1 begins",
        "admit 2",
        "close 1: Failed",
        "close 2: BroadcastEnded",
    ]);
}

#[test]
fn reports_of_a_replaced_publisher_are_ignored() {
    let rules = Rules {
        replace_live: true,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(plan(), &rules);
    let first = broadcast.publish(VIDEO).unwrap();
    let old = broadcast.publishers[&first].id;
    broadcast.publish(VIDEO).unwrap();
    let late = MediaEvent::Started {
        input: old,
        kind: Kind::Video,
        codec: Codec::Vp8,
    };
    let actions = broadcast.parts.media(late, broadcast.now);
    broadcast.perform(actions);
    let actions = broadcast
        .parts
        .publisher_ended(first, End::Replaced, broadcast.now);
    broadcast.perform(actions);
    assert_eq!(broadcast.state(), State::Waiting);
    broadcast.expect(&[
        "publisher 1 begins",
        "close 1: Replaced",
        "publisher 2 begins",
    ]);
}

#[test]
fn keyframes_are_asked_for_at_most_twice_a_second() {
    let mut broadcast = Broadcast::new(plan());
    broadcast.live(VIDEO);
    broadcast.expect(&["publisher 1 begins"]);
    for _ in 0..10 {
        let action = broadcast.parts.keyframe_wanted(broadcast.now);
        broadcast.perform(action);
    }
    broadcast.expect(&["keyframe of 1"]);
    broadcast.until(0.25);
    broadcast.expect(&[]);
    broadcast.until(0.5);
    broadcast.expect(&["keyframe of 1"]);
    broadcast.until(10.0);
    broadcast.expect(&[]);
}

#[test]
fn a_deleted_publisher_makes_room_at_once() {
    let mut broadcast = Broadcast::new(plan());
    let publisher = broadcast.live(VIDEO);
    let actions = broadcast
        .parts
        .delete(publisher, End::Deleted, broadcast.now)
        .unwrap();
    broadcast.perform(actions);
    broadcast.live(VIDEO);
    broadcast.expect(&[
        "publisher 1 begins",
        "close 1: Deleted",
        "publisher 2 begins",
    ]);
    assert!(
        broadcast
            .parts
            .delete(77, End::Deleted, broadcast.now)
            .is_none()
    );
}

#[test]
fn an_empty_broadcast_lingers_for_a_second() {
    let mut broadcast = Broadcast::new(plan());
    let publisher = broadcast.live(VIDEO);
    broadcast.until(30.0);
    broadcast.leave(publisher);
    broadcast.until(30.75);
    assert!(!broadcast.parts.is_idle(broadcast.now));
    broadcast.until(31.0);
    assert!(broadcast.parts.is_idle(broadcast.now));
}

#[test]
fn a_stop_ends_everybody_and_everything() {
    let mut broadcast = Broadcast::new(Plan {
        outputs: vec![file("record", "appsrc name=video")],
        renditions: vec![file("ladder", LADDER)],
        ..plan()
    });
    broadcast.live(VIDEO);
    broadcast.watch(&["vp8"], None).unwrap();
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.expect(&[
        "publisher 1 begins",
        "start record",
        "admit 2",
        "start ladder",
    ]);
    let actions = broadcast.parts.shut_down(broadcast.now);
    broadcast.perform(actions);
    broadcast.expect(&[
        "close 1: Shutdown",
        "close 2: Shutdown",
        "refuse 3: Stopping",
        "stop ladder",
        "stop record",
    ]);
}

#[test]
fn after_a_frame_that_is_too_large_a_keyframe_is_requested() {
    let mut broadcast = Broadcast::new(plan());
    let publisher = broadcast.live(VIDEO);
    let event = MediaEvent::Oversized {
        input: broadcast.publishers[&publisher].id,
        kind: Kind::Video,
        bytes: 9 << 20,
    };
    let actions = broadcast.parts.media(event, broadcast.now);
    broadcast.perform(actions);
    broadcast.expect(&["publisher 1 begins", "keyframe of 1"]);
}
