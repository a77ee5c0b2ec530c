//! Streams without keyframes, as drones and cameras send them: one at the beginning, then each
//! picture renews a part of itself, and a recovery point says where a round begins.

use std::thread;

use super::{
    CONFIG, check,
    encode::{self, PAY_H264},
    picture::Size,
    shape::{Shape, Stream, h264, tone_of},
};

use crate::{
    outputs::{folder, server},
    rtc::{Client, raw::Script},
    support::{fixture, wait_for},
};

const SECONDS: u16 = 8;

/// Round after round of 20 pictures, after a keyframe that may be lost.
fn refreshing(name: &str, lost: u32) -> Shape {
    let encoder =
        "x264enc tune=zerolatency speed-preset=ultrafast intra-refresh=true key-int-max=20
        ! video/x-h264,profile=constrained-baseline";
    let count = SECONDS * 30;
    let mut packets = encode::pictures(0..count, Size::SMALL, encoder, PAY_H264);
    packets.retain(|packet| packet.timestamp >= lost * 3000);
    let mut shape = h264(name, Stream::VIDEO.send(packets));
    shape
        .packets
        .retain(|packet| packet.payload_type == super::shape::VIDEO);
    shape.packets.extend(tone_of(SECONDS.into()));
    shape.expected.last = count - 1;
    shape
}

#[test]
fn streams_without_keyframes_play_from_a_recovery_point() {
    let whole = refreshing("refresh", 0);
    let mut late = refreshing("refresh-late", 5);
    // The rendition, once it has started, drops what it cannot keep up with.
    late.expected.missing = 60;
    late.expected.unclean = 25;
    late.expected.last -= 30;
    late.expected.asked = true;
    check("refresh", &[whole, late]);
}

#[test]
fn keyframes_that_cannot_be_forced_are_reported() {
    let config = format!("{CONFIG}[defaults]\ntranscode = false\n");
    let server = server(&folder("inputs-keyless", &[], &[]), &config, &[]);
    let shape = refreshing("keyless", 5);
    let broadcasts = ["direct-keyless", "webrtcbin-keyless"];
    let _publishers = broadcasts.map(|broadcast| {
        let script = Script::new(shape.packets.clone());
        Client::publish_script(&server, broadcast, &shape.offer, script)
    });
    let look = |broadcast: &str| {
        wait_for("no keyframe", || {
            let status = server.get(&format!("/api/broadcasts/{broadcast}")).json();
            let mut tracks = status["tracks"].as_array()?.iter();
            let video = tracks.find(|track| track["kind"] == "video")?;
            (status["state"] == "live" && video["keyless"] == true).then_some(())
        });
        let path = format!("/whep/{broadcast}");
        let refused = server
            .post_offer(&path, &fixture("chrome-whep-av"))
            .expect(409);
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.problem(), "not-live");
        server.wait_for_line("warning", |line| {
            line.level == "WARN" && line.target.ends_with("::stall") && line.has("name", broadcast)
        });
    };
    thread::scope(|scope| {
        for broadcast in broadcasts {
            scope.spawn(|| look(broadcast));
        }
    });
}
