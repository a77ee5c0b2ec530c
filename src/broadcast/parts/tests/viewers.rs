//! Viewers and renditions: which ones start for whom, are shared, and stop.

use super::*;
use crate::broadcast::choice::Misfit;

fn ladder() -> Plan {
    Plan {
        renditions: vec![file("ladder", LADDER)],
        ..plan()
    }
}

#[test]
fn a_rendition_starts_with_its_first_viewer_is_shared_and_stops_after_its_last() {
    let mut broadcast = Broadcast::new(ladder());
    broadcast.live(&[Codec::H264]);
    broadcast.until(60.0);
    broadcast.expect(&["publisher 1 begins"]);
    let first = broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.expect(&["start ladder"]);
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.expect(&["admit 2"]);
    let second = broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.rendition("ladder", "480p", Codec::H264);
    let third = broadcast.watch(&["h264"], Some("480p")).unwrap();
    broadcast.expect(&["admit 3", "admit 4"]);
    let viewers = |broadcast: &Broadcast| {
        broadcast
            .parts
            .status(broadcast.now)
            .renditions
            .iter()
            .map(|rendition| rendition.viewers)
            .collect::<Vec<_>>()
    };
    assert_eq!(viewers(&broadcast), [2, 1]);
    for viewer in [first, second, third] {
        broadcast.unwatch(viewer);
    }
    broadcast.until(69.75);
    broadcast.expect(&[]);
    broadcast.until(70.0);
    broadcast.expect(&["stop ladder"]);
    // It starts again, once it has stopped, and shows nothing old.
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.expect(&[]);
    broadcast.end_run("ladder");
    broadcast.expect(&["admit 5", "start ladder"]);
}

#[test]
fn a_viewer_waits_for_a_rendition_for_so_long() {
    let mut broadcast = Broadcast::new(ladder());
    broadcast.live(&[Codec::Vp8]);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.watch(&["h264", "vp8"], Some("720p")).unwrap();
    broadcast.until(4.75);
    broadcast.expect(&["publisher 1 begins", "start ladder"]);
    broadcast.until(5.0);
    // A viewer that can show the original gets it.
    broadcast.expect(&["refuse 2: NotReady", "admit 3"]);
}

#[test]
fn an_unknown_rendition_is_refused_with_those_that_exist() {
    let mut broadcast = Broadcast::new(ladder());
    broadcast.live(&[Codec::H264]);
    let refused = broadcast.watch(&["h264"], Some("1080p")).unwrap_err();
    assert!(matches!(refused, Error::NoRendition { known, .. } if known == "source, 720p, 480p"));
}

#[test]
fn viewers_of_a_failing_rendition_see_the_original_until_it_runs_again() {
    let mut broadcast = Broadcast::new(ladder());
    broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.expect(&["publisher 1 begins", "admit 2", "start ladder", "admit 3"]);
    broadcast.until(30.0);
    broadcast.end_run("ladder");
    broadcast.expect(&["switch 3 from 720p to source"]);
    broadcast.until(30.5);
    broadcast.expect(&["restart ladder"]);
    broadcast.until(31.0);
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.expect(&["switch 3 from source to 720p"]);
}

/// Its viewers see the original meanwhile: that nobody watches it is no reason to forget how often it
/// has failed.
#[test]
fn a_requested_rendition_that_fails_is_started_again_ever_later() {
    let mut broadcast = Broadcast::new(Plan {
        grace: Duration::ZERO,
        ..ladder()
    });
    broadcast.live(&[Codec::H264]);
    let viewer = broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.expect(&["publisher 1 begins", "start ladder", "admit 2"]);
    let mut seconds = 0.0;
    for pause in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
        broadcast.end_run("ladder");
        broadcast.expect(&["switch 2 from 720p to source"]);
        broadcast.until(seconds + pause - 0.25);
        broadcast.expect(&[]);
        seconds += pause;
        broadcast.until(seconds);
        broadcast.expect(&["restart ladder"]);
        broadcast.rendition("ladder", "720p", Codec::H264);
        broadcast.expect(&["switch 2 from source to 720p"]);
    }
    // It is not needed once they have left.
    broadcast.end_run("ladder");
    broadcast.expect(&["switch 2 from 720p to source"]);
    broadcast.unwatch(viewer);
    broadcast.until(seconds + 60.0);
    broadcast.expect(&[]);
}

#[test]
fn a_viewer_that_needs_another_codec_falls_back_to_the_next_rendition_and_stays() {
    let mut broadcast = Broadcast::new(Plan {
        renditions: vec![
            file("slow", "appsrc name=video  appsink name=video_slow"),
            file("good", "appsrc name=video  appsink name=video_good"),
        ],
        ..plan()
    });
    broadcast.live(&[Codec::Vp8]);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.rendition("slow", "slow", Codec::H264);
    broadcast.expect(&["publisher 1 begins", "start slow", "admit 2"]);
    broadcast.until(20.0);
    broadcast.end_run("slow");
    broadcast.expect(&["start good"]);
    broadcast.rendition("good", "good", Codec::H264);
    broadcast.expect(&["switch 2 from slow to good"]);
    broadcast.until(20.5);
    broadcast.expect(&["restart slow"]);
    broadcast.rendition("slow", "slow", Codec::H264);
    broadcast.until(30.0);
    broadcast.expect(&["stop slow"]);
}

#[test]
fn the_automatic_rendition_starts_when_a_viewer_needs_it() {
    let mut broadcast = Broadcast::new(Plan {
        automatic: vec![file("automatic", AUTOMATIC)],
        ..plan()
    });
    broadcast.live(&[Codec::Vp8]);
    broadcast.watch(&["h264"], None).unwrap();
    // Its name tells its codec: nobody waits to learn it.
    broadcast.expect(&["publisher 1 begins", "admit 2", "start automatic"]);
    let status = broadcast.parts.status(broadcast.now);
    assert_eq!(
        status.renditions[0].misfit.as_ref(),
        Some(&Misfit::Codec { codec: Codec::Vp8 })
    );
}

/// H.264 for any viewers, and VP8.
fn automatic() -> Plan {
    Plan {
        automatic: vec![
            file("automatic", AUTOMATIC),
            file("vp8", "appsrc name=video  appsink name=video_vp8"),
        ],
        ..plan()
    }
}

#[test]
fn an_offer_alone_starts_no_transcode() {
    let mut broadcast = Broadcast::new(automatic());
    broadcast.viewers_connect = false;
    broadcast.live(&[Codec::Av1]);
    for _ in 0..4 {
        broadcast.watch(&["h264"], None).unwrap();
        broadcast.watch(&["vp8"], None).unwrap();
    }
    broadcast.until(3.0);
    broadcast.noted.retain(|note| !note.starts_with("admit"));
    broadcast.expect(&["publisher 1 begins"]);
    broadcast.connect_viewer(3);
    broadcast.expect(&["start vp8"]);
    broadcast.rendition("vp8", "vp8", Codec::Vp8);
    broadcast.connect_viewer(5);
    // The answers promised what now runs: nobody has to switch.
    broadcast.until(4.0);
    broadcast.expect(&[]);
    // Viewers that never connect keep nothing running.
    broadcast.unwatch(3);
    broadcast.unwatch(5);
    broadcast.until(15.0);
    broadcast.expect(&["stop vp8"]);
}

#[test]
fn a_viewer_that_connects_late_gets_what_it_was_promised() {
    let mut broadcast = Broadcast::new(automatic());
    broadcast.viewers_connect = false;
    broadcast.live(&[Codec::Av1]);
    let viewer = broadcast.watch(&["h264"], None).unwrap();
    // After the grace period, the promise is forgotten.
    broadcast.until(14.0);
    broadcast.connect_viewer(viewer);
    broadcast.expect(&["publisher 1 begins", "admit 2", "start automatic"]);
    broadcast.rendition("automatic", "h264", Codec::H264);
    broadcast.expect(&["switch 2 from h264 to h264"]);
}

#[test]
fn a_broadcast_runs_so_many_transcodes() {
    let rules = Rules {
        transcodes_max: 1,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(automatic(), &rules);
    broadcast.live(&[Codec::Av1]);
    let first = broadcast.watch(&["vp8"], None).unwrap();
    broadcast.rendition("vp8", "vp8", Codec::Vp8);
    broadcast.expect(&["publisher 1 begins", "admit 2", "start vp8"]);
    // A viewer that accepts an existing rendition gets it, although another would be preferred.
    let second = broadcast.watch(&["h264", "vp8"], None).unwrap();
    let tracks = &broadcast.views[&second].tracks;
    assert_eq!(tracks.video.as_ref().unwrap().codec, Some(Codec::Vp8));
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["admit 3", "refuse 4: Full"]);
    let full = |broadcast: &Broadcast| broadcast.parts.status(broadcast.now).transcodes_full;
    assert_eq!(full(&broadcast), Some("limits.broadcast_transcodes"));
    broadcast.unwatch(first);
    broadcast.unwatch(second);
    broadcast.until(10.0);
    broadcast.end_run("vp8");
    broadcast.until(10.25);
    assert_eq!(full(&broadcast), None);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["stop vp8", "admit 5", "start automatic"]);
}

#[test]
fn broadcasts_share_the_servers_transcodes() {
    let shared = TranscodeBudget::new(1);
    let of_shared = || Rules {
        transcodes: shared.clone(),
        ..rules()
    };
    let mut one = Broadcast::with_rules(automatic(), &of_shared());
    let mut other = Broadcast::with_rules(automatic(), &of_shared());
    for broadcast in [&mut one, &mut other] {
        broadcast.viewers_connect = false;
        broadcast.live(&[Codec::Av1]);
    }
    // A place is promised once. Later viewers get what exists, or a refusal.
    let first = other.watch(&["h264"], None).unwrap();
    one.watch(&["h264"], None).unwrap();
    one.watch(&["av1", "h264"], None).unwrap();
    one.expect(&["publisher 1 begins", "refuse 2: Full", "admit 3"]);
    assert_eq!(shared.taken(), 1);
    assert_eq!(
        one.parts.status(one.now).transcodes_full,
        Some("limits.transcodes")
    );
    other.connect_viewer(first);
    other.until(5.0);
    other.expect(&["publisher 1 begins", "admit 2", "start automatic"]);
    drop(other);
    one.watch(&["h264"], None).unwrap();
    one.expect(&["admit 4"]);
    // Whoever leaves without connecting gives its place back.
    one.unwatch(4);
    one.until(0.25);
    assert_eq!(shared.taken(), 0);
}

#[test]
fn a_broadcast_promises_a_place_once() {
    let rules = Rules {
        transcodes_max: 1,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(automatic(), &rules);
    broadcast.viewers_connect = false;
    broadcast.live(&[Codec::Av1]);
    let first = broadcast.watch(&["vp8"], None).unwrap();
    let second = broadcast.watch(&["h264"], None).unwrap();
    let refusal = format!("refuse {second}: Full");
    broadcast.expect(&["publisher 1 begins", "admit 2", &refusal]);
    // A rendition that is promised to one can be promised to others.
    let third = broadcast.watch(&["h264", "vp8"], None).unwrap();
    broadcast.connect_viewer(third);
    broadcast.expect(&["admit 4", "start vp8"]);
    broadcast.rendition("vp8", "vp8", Codec::Vp8);
    broadcast.connect_viewer(first);
    broadcast.until(3.0);
    broadcast.expect(&[]);
}

#[test]
fn a_configured_rendition_starts_for_connected_viewers() {
    let text = "appsrc name=video  x264enc  appsink name=video_720p";
    let mut broadcast = Broadcast::new(Plan {
        renditions: vec![file("ladder", text)],
        ..plan()
    });
    broadcast.viewers_connect = false;
    broadcast.live(&[Codec::H264]);
    let viewer = broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.until(5.0);
    broadcast.expect(&["publisher 1 begins", "admit 2", "admit 3"]);
    broadcast.connect_viewer(viewer);
    broadcast.expect(&["start ladder"]);
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.until(20.0);
    broadcast.expect(&[]);
}

#[test]
fn a_rendition_that_makes_another_codec_than_its_text_says_leaves_nobody_without_a_picture() {
    let text = "appsrc name=video  x264enc  appsink name=video_720p";
    let mut broadcast = Broadcast::new(Plan {
        renditions: vec![file("ladder", text)],
        ..plan()
    });
    broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264", "vp8"], Some("720p")).unwrap();
    broadcast.expect(&["publisher 1 begins", "admit 2", "start ladder"]);
    broadcast.rendition("ladder", "720p", Codec::Vp8);
    broadcast.expect(&["switch 2 from 720p to source"]);
}

#[test]
fn viewers_without_a_check_make_room_first() {
    let rules = Rules {
        viewers_max: 2,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(plan(), &rules);
    broadcast.viewers_connect = false;
    broadcast.live(&[Codec::H264]);
    let checked = broadcast.watch(&["h264"], None).unwrap();
    broadcast.watch(&["h264"], None).unwrap();
    let event = MediaEvent::Checked { session: checked };
    let actions = broadcast.parts.media(event, broadcast.now);
    broadcast.perform(actions);
    let last = broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&[
        "publisher 1 begins",
        "admit 2",
        "admit 3",
        "close 3: Yielded",
        "admit 4",
    ]);
    // Then those that have sent one but are not connected.
    broadcast.connect_viewer(last);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["close 2: Yielded", "admit 5"]);
}

#[test]
fn a_viewer_that_nothing_suits_is_refused_by_the_engine() {
    let mut broadcast = Broadcast::new(plan());
    broadcast.live(&[Codec::H264]);
    let viewer = broadcast.watch(&["vp8"], None).unwrap();
    broadcast.expect(&["publisher 1 begins", "admit 2"]);
    let video = broadcast.views[&viewer].tracks.video.as_ref();
    assert_eq!(video.unwrap().codec, Some(Codec::H264));
}

#[test]
fn a_switch_that_a_session_does_not_take_is_tried_again() {
    let mut broadcast = Broadcast::new(ladder());
    broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.until(30.0);
    let end = RunEnd {
        run: broadcast.runs["ladder"],
        made_frames: true,
        error: Some("gone".to_owned()),
        jitter: 1.0,
        retry: Retry::default(),
    };
    // Its task is busy: nobody carries out the actions.
    let actions = broadcast.parts.run_ended(&end, broadcast.now);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Switch(_)))
    );
    broadcast.noted.clear();
    broadcast.until(30.25);
    broadcast.expect(&["switch 2 from 720p to source"]);
}

#[test]
fn renditions_are_made_anew_of_another_original() {
    let mut broadcast = Broadcast::new(ladder());
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.leave(publisher);
    broadcast.noted.clear();
    broadcast.live(&[Codec::Vp8]);
    broadcast.until(0.25);
    broadcast.expect(&["publisher 3 begins", "stop ladder"]);
    broadcast.end_run("ladder");
    broadcast.expect(&["start ladder"]);
    broadcast.rendition("ladder", "720p", Codec::H264);
    broadcast.expect(&["switch 2 from 720p to 720p"]);
}

#[test]
fn a_broadcast_carries_so_many_viewers() {
    let rules = Rules {
        viewers_max: 2,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(plan(), &rules);
    broadcast.live(&[Codec::H264]);
    let first = broadcast.watch(&["h264"], None).unwrap();
    broadcast.watch(&["h264"], None).unwrap();
    let refused = broadcast.watch(&["h264"], None).unwrap_err();
    assert!(matches!(refused, Error::Full("viewers")), "{refused}");
    broadcast.unwatch(first);
    assert!(broadcast.watch(&["h264"], None).is_ok());
}

#[test]
fn viewers_that_have_not_connected_make_room_the_oldest_first() {
    let rules = Rules {
        viewers_max: 3,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(plan(), &rules);
    broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.viewers_connect = false;
    broadcast.watch(&["h264"], None).unwrap();
    let third = broadcast.watch(&["h264"], None).unwrap();
    broadcast.noted.clear();
    let fourth = broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["close 3: Yielded", "admit 5"]);
    broadcast.connect_viewer(third);
    broadcast.watch(&["h264"], None).unwrap();
    broadcast.expect(&["close 5: Yielded", "admit 6"]);
    assert!(!broadcast.parts.audience.remove(fourth));
    broadcast.connect_viewer(6);
    let refused = broadcast.watch(&["h264"], None).unwrap_err();
    assert!(matches!(refused, Error::Full("viewers")), "{refused}");
}

#[test]
fn a_viewer_that_waits_for_its_answer_makes_room_as_well() {
    let rules = Rules {
        viewers_max: 1,
        ..rules()
    };
    let mut broadcast = Broadcast::with_rules(ladder(), &rules);
    broadcast.live(&[Codec::H264]);
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.noted.clear();
    broadcast.watch(&["h264"], Some("720p")).unwrap();
    broadcast.expect(&["refuse 2: Full"]);
}

#[test]
fn nobody_can_watch_what_nobody_publishes() {
    let mut broadcast = Broadcast::new(plan());
    let refused = broadcast.watch(&["h264"], None).unwrap_err();
    let later = Duration::from_secs(2);
    assert!(matches!(refused, Error::NotLive { retry_after, .. } if retry_after == later));
    let publisher = broadcast.live(&[Codec::H264]);
    broadcast.mute(publisher);
    broadcast.until(2.0);
    assert_eq!(broadcast.state(), State::Stale);
    assert!(broadcast.watch(&["h264"], None).is_err());
}
