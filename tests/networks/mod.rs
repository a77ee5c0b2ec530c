//! Bad networks in front of the publisher and of the viewer, on each engine: pictures still decode,
//! lost packets are retransmitted, and no session is replaced.

mod families;
mod far;
mod public;
mod relay;
mod tcp;

use std::{thread, time::Duration};

use crate::{
    rtc::{Client, clip},
    support::{Server, wait_for},
    webrtcbin::{H264, OPUS, Peer},
};
pub(crate) use relay::Path;
pub(crate) use relay::Relay;

/// How long nothing gets through in a [`BLACKOUT`].
const DARK: Duration = Duration::from_secs(5);
const BLACKOUT: &str = "blackout";
const REBOUND: &str = "address";
/// This many sessions at once are slow on a busy machine.
const PATIENT: &[&str] = &[
    "--timeouts.first_check=30s",
    "--timeouts.connect=30s",
    "--timeouts.consent=30s",
];
/// With fewer lost packets than this, retransmissions are not checked.
const LOST_MIN: u64 = 8;

/// The name is also the broadcast's.
type Case = (&'static str, Path);

const CLEAN: Path = Path {
    lost: 0,
    burst: 1,
    overtaking: 0,
    twice: 0,
    delay: 10,
    jitter: 0,
};
const LOSS_5: Path = losing(50);
const BURSTS: Path = Path { burst: 5, ..LOSS_5 };
const ALL: Path = Path {
    overtaking: 50,
    twice: 50,
    jitter: 20,
    ..LOSS_5
};
const FAR: Path = Path {
    delay: 200,
    ..CLEAN
};

const fn losing(lost: u32) -> Path {
    Path {
        lost,
        delay: 25,
        ..CLEAN
    }
}

/// Networks in front of a publisher.
const PUBLISHERS: [Case; 11] = [
    ("loss-1", losing(10)),
    ("loss-3", losing(30)),
    ("loss-5", LOSS_5),
    ("loss-10", losing(100)),
    ("bursts", BURSTS),
    ("far", FAR),
    (
        "jitter",
        Path {
            delay: 20,
            jitter: 60,
            ..CLEAN
        },
    ),
    (
        "order",
        Path {
            overtaking: 50,
            delay: 40,
            ..CLEAN
        },
    ),
    (
        "twice",
        Path {
            twice: 100,
            ..CLEAN
        },
    ),
    (BLACKOUT, CLEAN),
    (REBOUND, CLEAN),
];
/// Networks in front of a viewer. Browsers try all of them (`tests/browser/network.test.js`):
/// GStreamer as a client never checks its connection again, so its new address would go unseen.
const VIEWERS: [Case; 5] = [
    ("loss-5", LOSS_5),
    ("bursts", BURSTS),
    ("far", FAR),
    ("all", ALL),
    (BLACKOUT, CLEAN),
];

/// A client behind a relay, and the viewer that decodes.
struct Far<'a> {
    name: &'static str,
    relay: &'a Relay,
    watcher: &'a Peer,
}

/// Waits for pictures behind each relay, interrupts some relays, and waits again.
fn survive(server: &Server, all: &[Far<'_>]) {
    for far in all {
        far.watcher.wait_for_pictures(20);
    }
    let dark = |on| {
        for far in all.iter().filter(|far| far.name == BLACKOUT) {
            far.relay.set_blackout(on);
        }
    };
    dark(true);
    for far in all.iter().filter(|far| far.name == REBOUND) {
        far.relay.rebind();
    }
    thread::sleep(DARK);
    dark(false);
    for far in all {
        far.watcher.wait_for_pictures(60);
        server.get(&far.watcher.session).expect(204);
    }
}

/// A figure that the server logs at the end of a session, for the `ends`th session to end.
fn logged(server: &Server, ends: usize, figure: &str) -> u64 {
    wait_for(figure, || {
        let lines = server.lines();
        let mut figures = lines.iter().filter_map(|line| line.field(figure));
        figures.nth(ends - 1)?.parse().ok()
    })
}

fn publishers(engine: &str) {
    let server = Server::start(&[PATIENT, &["--webrtc.publisher_engine", engine]].concat());
    let begin = |(name, path)| {
        let relay = Relay::start(path);
        let publisher = Client::publish_through(&server, name, &clip::H264, &relay);
        (name, relay, publisher)
    };
    let publishing: Vec<_> = PUBLISHERS.into_iter().map(begin).collect();
    let watch = |(name, ..): &(&str, Relay, Client)| {
        server.wait_for_state(name, "live");
        Peer::watch(&server, &format!("/whep/{name}"), &[H264, OPUS])
    };
    let watching: Vec<_> = publishing.iter().map(watch).collect();
    let all: Vec<_> = publishing
        .iter()
        .zip(&watching)
        .map(|((name, relay, _), watcher)| Far {
            name,
            relay,
            watcher,
        })
        .collect();
    survive(&server, &all);
    for (index, (name, relay, publisher)) in publishing.iter().enumerate() {
        assert!(!publisher.is_closed(), "{name}");
        server.delete(&publisher.session).expect(200);
        let missing = logged(&server, index + 1, "lost");
        // Not every engine retransmits sound, and during a blackout nothing gets through.
        let (sounds, pictures) = relay.lost();
        let missing = missing.saturating_sub(sounds);
        println!("{engine}, {name}: {missing} of {pictures} did not come again");
        if *name != BLACKOUT && pictures >= LOST_MIN {
            assert!(missing < pictures / 2, "{name}: {missing} of {pictures}");
        }
    }
}

fn viewers(engine: &str) {
    let server = Server::start(&[PATIENT, &["--webrtc.viewer_engine", engine]].concat());
    let _publisher = Client::live(&server, "a", &clip::H264);
    let begin = |(name, path)| {
        let relay = Relay::start(path);
        let watcher = Peer::watch_through(&server, "/whep/a", &[H264, OPUS], &relay);
        (name, relay, watcher)
    };
    let watching: Vec<_> = VIEWERS.into_iter().map(begin).collect();
    let all: Vec<_> = watching
        .iter()
        .map(|(name, relay, watcher)| Far {
            name,
            relay,
            watcher,
        })
        .collect();
    survive(&server, &all);
    for (
        index,
        Far {
            name,
            relay,
            watcher,
        },
    ) in all.iter().enumerate()
    {
        server.delete(&watcher.session).expect(200);
        let again = logged(&server, index + 1, "retransmitted");
        let (_, pictures) = relay.lost();
        println!("{engine}, {name}: {pictures} lost, {again} sent again");
        if *name != BLACKOUT && pictures >= LOST_MIN {
            assert!(again >= pictures / 2, "{name}: {again} of {pictures}");
        }
    }
}

/// One test: each of its parts starts many processes and decodes what it receives, so that two at once
/// are too much for two processors.
#[test]
fn sessions_survive_bad_networks() {
    for engine in ["direct", "webrtcbin"] {
        publishers(engine);
        viewers(engine);
    }
}
