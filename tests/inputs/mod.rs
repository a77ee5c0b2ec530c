//! Whatever arrives: publishers of every shape, on both engines, judged by what viewers decode.
//!
//! Publishers are written by hand ([`shape`]): their SDP, and every packet with its time. Pictures
//! carry their number and show when they are garbled ([`picture`]); the sound is a tone. A shape is
//! the same to viewers whatever engine receives it.

mod codecs;
mod decode;
mod encode;
mod encodings;
mod framing;
mod idle;
mod large;
mod layers;
mod picture;
mod refresh;
mod scalable;
mod shape;
mod sound;
mod stalls;
mod streams;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use shape::{Expected, Shape};

use crate::{
    outputs::{folder, server},
    rtc::{Client, raw::Script},
    support::Server,
};

/// What carries publishers, by the beginning of their broadcast's name, and viewers.
const CONFIG: &str = "[broadcasts.\"direct-*\"]\npublisher_engine = \"direct\"\n\
                      [broadcasts.\"webrtcbin-*\"]\npublisher_engine = \"webrtcbin\"\n\
                      [broadcasts.\"watched-*\"]\npublisher_engine = \"direct\"\n\
                      viewer_engine = \"webrtcbin\"\n";
/// How long a shape may take until it is live, and beyond its end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Publishers at the same time: each may need two processes with GStreamer, before anybody has an
/// answer.
const AT_ONCE: usize = 6;
/// A publisher whose packets were later than this could not run, and neither could the server: what
/// failed is tried again.
const LATE: Duration = Duration::from_millis(80);
/// How often a shape is tried.
const ATTEMPTS: u32 = 3;
/// Pictures at the beginning whose sound need not have arrived.
const PICTURES_AT_FIRST: usize = 20;
/// Milliseconds of tone, at the least, that belong to a picture after those.
const TONE_OF_A_PICTURE: usize = 20;
/// After the last packet, what it causes still has to arrive.
const TAIL: Duration = Duration::from_millis(400);

/// Checks every shape on both engines, and some with viewers on webrtcbin.
fn check(test: &str, shapes: &[Shape]) {
    check_so_many(test, shapes, AT_ONCE);
}

/// The same, with this many publishers at the same time.
fn check_so_many(test: &str, shapes: &[Shape], at_once: usize) {
    let server = server(&folder(&format!("inputs-{test}"), &[], &[]), CONFIG, &[]);
    let publishers: Vec<_> = shapes.iter().flat_map(publishers).collect();
    let failures: Vec<String> = publishers
        .chunks(at_once)
        .flat_map(|publishers| check_at_once(&server, publishers))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A publisher of a shape.
#[derive(Clone, Copy)]
struct Publisher<'a> {
    /// How the name of its broadcast begins, which decides on the engines.
    engine: &'static str,
    shape: &'a Shape,
}

fn publishers(shape: &Shape) -> impl Iterator<Item = Publisher<'_>> {
    let watched = shape.watched.then_some("watched");
    let engines = ["direct", "webrtcbin"].into_iter().chain(watched);
    engines.map(move |engine| Publisher { engine, shape })
}

fn check_at_once(server: &Server, publishers: &[Publisher<'_>]) -> Vec<String> {
    thread::scope(|scope| {
        let running: Vec<_> = publishers
            .iter()
            .map(|publisher| scope.spawn(move || try_to_play(server, *publisher)))
            .collect();
        running
            .into_iter()
            .map(|one| one.join().unwrap())
            .filter_map(Result::err)
            .collect()
    })
}

/// Plays a shape, again if the machine was too busy to judge it.
fn try_to_play(server: &Server, publisher: Publisher<'_>) -> Result<(), String> {
    let Publisher { engine, shape } = publisher;
    let mut attempt = 1;
    loop {
        let broadcast = format!("{engine}-{}-{attempt}", shape.name);
        let Err(failure) = play(server, &broadcast, shape) else {
            return Ok(());
        };
        let Failure { why, late } = failure;
        let said = format!("{broadcast}: {why}; packets came up to {late:?} late");
        if attempt == ATTEMPTS || late < LATE {
            return Err(said);
        }
        println!("{said}");
        attempt += 1;
    }
}

/// Why a shape has failed, and how late its publisher was.
struct Failure {
    why: String,
    late: Duration,
}

/// Publishes a shape and watches it from when it is live to its end.
fn play(server: &Server, broadcast: &str, shape: &Shape) -> Result<(), Failure> {
    let script = Script::new(shape.packets.clone());
    let publisher = Client::publish_script(server, broadcast, &shape.offer, script);
    watch(server, broadcast, shape, &publisher).map_err(|why| Failure {
        why,
        late: publisher.lateness(),
    })
}

fn watch(
    server: &Server,
    broadcast: &str,
    shape: &Shape,
    publisher: &Client,
) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    let wait = |what: &str, ready: &dyn Fn() -> bool| {
        while !ready() {
            if Instant::now() > end {
                return Err(format!("not {what}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    wait("live", &|| {
        server.state(broadcast).as_deref() == Some("live")
    })?;
    let viewer = Client::record(server, broadcast);
    wait("sent", &|| publisher.is_done())?;
    thread::sleep(TAIL);
    if shape.expected.asked && publisher.keyframe_requests().is_empty() {
        return Err("no keyframe was requested".to_owned());
    }
    let mut expected = shape.expected;
    if broadcast.starts_with("watched-") {
        // A process has to start for each of them: a late one hears less.
        let pictures = viewer.seen_pictures().saturating_sub(PICTURES_AT_FIRST);
        expected.tone = expected.tone.min(TONE_OF_A_PICTURE * pictures);
    }
    judge(&viewer, expected)
}

/// Whether a viewer has seen and heard what it must.
fn judge(viewer: &Client, expected: Expected) -> Result<(), String> {
    let video = viewer.video();
    let encoding = encoding(&viewer.answer);
    let pictures = decode::pictures(&encoding, &video.kept);
    let tone = decode::tone(&viewer.audio().kept);
    let seen: Vec<u16> = pictures.iter().filter_map(|picture| *picture).collect();
    let unclean = pictures.iter().rposition(Option::is_none);
    let problem = |what: &str| {
        let frames = video
            .kept
            .values()
            .map(|packet| packet.timestamp)
            .collect::<BTreeSet<_>>()
            .len();
        Err(format!(
            "{what}: {frames} frames, {encoding} {pictures:?}, {tone} ms of tone"
        ))
    };
    if unclean.is_some_and(|at| at >= expected.unclean) {
        return problem("garbled pictures");
    }
    if !seen.is_sorted_by(|one, next| one < next) {
        return problem("pictures out of order");
    }
    let (Some(&first), Some(&last)) = (seen.first(), seen.last()) else {
        return problem("no picture");
    };
    if last + 1 < expected.last {
        return problem("the last picture lacks");
    }
    if usize::from(last - first) + 1 > seen.len() + expected.missing {
        return problem("pictures lack");
    }
    if tone < expected.tone {
        return problem("the tone lacks");
    }
    Ok(())
}

/// The video's codec in an answer.
fn encoding(answer: &str) -> String {
    let (_, video) = answer.split_once("m=video").unwrap();
    let mut lines = video.lines();
    let codec = lines.find_map(|line| line.strip_prefix("a=rtpmap:"));
    let (_, codec) = codec.unwrap().split_once(' ').unwrap();
    codec.split('/').next().unwrap().to_uppercase()
}
