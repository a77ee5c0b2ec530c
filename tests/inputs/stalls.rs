//! Publishers that stay while one of their tracks stops.

use std::time::Duration;

use super::{
    CONFIG, decode,
    encode::{self, PAY_H264, x264},
    encoding,
    picture::Size,
    shape::{Stream, VIDEO, h264, tone_of},
};
use crate::{
    outputs::{folder, server},
    rtc::{Client, Mode, raw::Script},
    support::{Server, wait_for},
};

/// When the picture goes on: late enough for a viewer to join before, and to need no luck for it.
const RESUMES: Duration = Duration::from_secs(10);
/// Pictures before the stall, and as many after it.
const PICTURES: u16 = 30;
/// Seconds of sound.
const SOUND: u32 = 14;

/// Whether the API says that the picture and the sound have stalled; `None` without both tracks.
fn stalled(server: &Server, broadcast: &str) -> Option<[bool; 2]> {
    let status = server.get(&format!("/api/broadcasts/{broadcast}")).json();
    let of = |kind| {
        let mut tracks = status["tracks"].as_array()?.iter();
        let track = tracks.find(|track| track["kind"] == kind)?;
        Some(track["stalled"] == true)
    };
    (status["state"] == "live").then_some([of("video")?, of("audio")?])
}

/// The numbers of the pictures that a viewer has seen, none of which is garbled.
fn seen(viewer: &Client) -> Option<Vec<u16>> {
    let kept = viewer.video().kept;
    decode::pictures(&encoding(&viewer.answer), &kept)
        .into_iter()
        .collect()
}

/// The number of the last one.
fn last_seen(viewer: &Client) -> Option<u16> {
    seen(viewer)?.last().copied()
}

/// Whether a viewer has seen each picture once at most.
fn is_shown_once(viewer: &Client) -> bool {
    seen(viewer).is_some_and(|seen| seen.is_sorted_by(|one, next| one < next))
}

#[test]
fn a_picture_that_stops_while_sound_goes_on_is_named_and_stays() {
    let server = server(&folder("inputs-stalls", &[], &[]), CONFIG, &[]);
    let clip = |numbers| encode::pictures(numbers, Size::SMALL, &x264(""), PAY_H264);
    let before = Stream::VIDEO.send(clip(0..PICTURES));
    let resumed = Stream {
        sequence: before.last().unwrap().sequence + 1,
        timestamp: Stream::VIDEO.timestamp + 10 * 90_000,
        from: RESUMES,
        ..Stream::VIDEO
    };
    let after = resumed.send(clip(PICTURES..2 * PICTURES));
    let mut shape = h264("stalls", [before, after].concat());
    shape.packets.retain(|packet| packet.payload_type == VIDEO);
    shape.packets.extend(tone_of(SOUND));
    let broadcasts = ["direct-stalls", "webrtcbin-stalls", "watched-stalls"];
    let _publishers = broadcasts.map(|broadcast| {
        let script = Script::new(shape.packets.clone());
        Client::publish_script(&server, broadcast, &shape.offer, script)
    });
    let expect = |expected: [bool; 2]| {
        for broadcast in broadcasts {
            wait_for(&format!("{broadcast}: {expected:?}"), || {
                (stalled(&server, broadcast)? == expected).then_some(())
            });
        }
    };
    expect([false, false]);
    expect([true, false]);
    // A viewer that joins meanwhile sees the last picture and hears the sound.
    let viewers = broadcasts.map(|broadcast| Client::record(&server, broadcast));
    for (viewer, broadcast) in viewers.iter().zip(broadcasts) {
        wait_for(&format!("{broadcast}: the last picture"), || {
            (last_seen(viewer)? == PICTURES - 1).then_some(())
        });
        viewer.wait_for_sound(10);
        assert_eq!(stalled(&server, broadcast), Some([true, false]));
    }
    expect([false, false]);
    for (viewer, broadcast) in viewers.iter().zip(broadcasts) {
        wait_for(&format!("{broadcast}: the picture goes on"), || {
            (last_seen(viewer)? == 2 * PICTURES - 1).then_some(())
        });
        assert!(!viewer.is_closed(), "{broadcast}");
        assert!(is_shown_once(viewer), "{broadcast}: {:?}", seen(viewer));
    }
    // Stalled and resumed, for each broadcast.
    let said = 2 * broadcasts.len();
    wait_for(&format!("{said} lines"), || {
        let lines = server.lines();
        let lines = lines.iter().filter(|line| line.target.ends_with("::stall"));
        (lines.filter(|line| line.has("kind", "video")).count() == said).then_some(())
    });
}

/// However often viewers ask for a keyframe, which nobody makes any more.
#[test]
fn the_last_seconds_of_a_publisher_that_was_killed_are_not_shown_again() {
    let config = format!("{CONFIG}[timeouts]\nstale = \"500ms\"\nended = \"5s\"\ngrace = \"0s\"\n");
    let server = server(&folder("inputs-killed", &[], &[]), &config, &[]);
    let clip = encode::pictures(0..PICTURES, Size::SMALL, &x264(""), PAY_H264);
    let mut shape = h264("killed", Stream::VIDEO.send(clip));
    shape.packets.retain(|packet| packet.payload_type == VIDEO);
    shape.packets.extend(tone_of(SOUND));
    let broadcasts = ["direct-killed", "webrtcbin-killed", "watched-killed"];
    let publishers = broadcasts.map(|broadcast| {
        let script = Script::new(shape.packets.clone());
        Client::publish_script(&server, broadcast, &shape.offer, script)
    });
    let viewers = broadcasts.map(|broadcast| {
        wait_for(&format!("{broadcast}: live"), || {
            stalled(&server, broadcast)
        });
        Client::record(&server, broadcast)
    });
    for (viewer, broadcast) in viewers.iter().zip(broadcasts) {
        wait_for(&format!("{broadcast}: the last picture"), || {
            (last_seen(viewer)? == PICTURES - 1).then_some(())
        });
        viewer.set(Mode::Refresh);
    }
    for publisher in &publishers {
        publisher.set(Mode::Vanish);
    }
    for (viewer, broadcast) in viewers.iter().zip(broadcasts) {
        wait_for(&format!("{broadcast}: the end"), || {
            viewer.is_closed().then_some(())
        });
        assert_eq!(last_seen(viewer), Some(PICTURES - 1), "{broadcast}");
        assert!(is_shown_once(viewer), "{broadcast}: {:?}", seen(viewer));
    }
}
