//! Publishers that stay while one of their tracks stops.

use std::time::Duration;

use super::{
    CONFIG,
    encode::{self, PAY_H264, x264},
    picture::Size,
    shape::{Stream, VIDEO, h264, tone_of},
};
use crate::{
    outputs::{folder, server},
    rtc::{Client, raw::Script},
    support::{Server, wait_for},
};

/// When the picture goes on.
const RESUMES: Duration = Duration::from_secs(6);
/// Pictures before the stall, and as many after it.
const PICTURES: u16 = 30;

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

#[test]
fn a_picture_that_stops_while_sound_goes_on_is_named() {
    let server = server(&folder("inputs-stalls", &[], &[]), CONFIG, &[]);
    let clip = |numbers| encode::pictures(numbers, Size::SMALL, &x264(""), PAY_H264);
    let before = Stream::VIDEO.send(clip(0..PICTURES));
    let resumed = Stream {
        sequence: before.last().unwrap().sequence + 1,
        timestamp: Stream::VIDEO.timestamp + 6 * 90_000,
        from: RESUMES,
        ..Stream::VIDEO
    };
    let after = resumed.send(clip(PICTURES..2 * PICTURES));
    let mut shape = h264("stalls", [before, after].concat());
    shape.packets.retain(|packet| packet.payload_type == VIDEO);
    shape.packets.extend(tone_of(10));
    let engines = ["direct-stalls", "webrtcbin-stalls"];
    let _publishers = engines.map(|broadcast| {
        let script = Script::new(shape.packets.clone());
        Client::publish_script(&server, broadcast, &shape.offer, script)
    });
    for expected in [[false, false], [true, false], [false, false]] {
        for broadcast in engines {
            wait_for(&format!("{broadcast}: {expected:?}"), || {
                (stalled(&server, broadcast)? == expected).then_some(())
            });
        }
    }
    // Stalled and resumed, for each engine.
    wait_for("four lines", || {
        let lines = server.lines();
        let said = lines.iter().filter(|line| line.target.ends_with("::stall"));
        (said.filter(|line| line.has("kind", "video")).count() == 4).then_some(())
    });
}
