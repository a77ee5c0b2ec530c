//! Malicious requests while a broadcast runs.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{a_broadcast_goes_on, spoofed::status};
use crate::support::{FRAGMENT, PATIENCE, SDP, Server, damage, damage::Random, fixture, wait_for};

/// How many offers and fragments to send, if time allows.
const MUTATIONS: usize = 3000;
const MUTATIONS_TIME: Duration = Duration::from_secs(20);
/// How many even a slow machine must manage.
const MUTATIONS_MIN: usize = 300;
const THREADS: u64 = 2;
/// Fragments that one session accepts at once without reaching its limit.
const PATCHES: usize = 30;
/// How much more memory than at the start the server may use, in kilobytes.
const GROWTH_MAX: u64 = 150_000;
const OFFERS: [&str; 8] = [
    "obs-media-level",
    "obs-session-level",
    "obs-32.1-simulcast",
    "obs-av1",
    "ffmpeg-av",
    "rfc9725-example",
    "chrome-whep-av",
    "chrome-whep-datachannel",
];

/// A fragment that fits an offer.
fn fragment(offer: &str) -> String {
    let value = |name: &str| {
        let line = offer.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().to_owned()
    };
    let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    format!(
        "{ufrag}\r\n{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n"
    )
}

/// Sends damaged offers and fragments until enough have been sent.
fn mutations(server: &Server, thread: u64, done: &AtomicUsize, end: Instant) {
    let mut random = Random(0x5eed_0000 + thread);
    let over = || done.load(Relaxed) >= MUTATIONS || Instant::now() > end;
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        done.fetch_add(1, Relaxed);
        let reply = server.request_bytes(method, path, headers, body);
        let body = String::from_utf8_lossy(body);
        assert!(
            matches!(reply.status, 200..=499),
            "{} to {method} {path}\n{body}",
            reply.status
        );
        reply
    };
    while !over() {
        let watch = random.below(2) == 0;
        let path = if watch {
            "/whep/live".to_owned()
        } else {
            format!("/whip/m{thread}")
        };
        for _ in 0..PATCHES {
            let offer = fixture(OFFERS[random.below(OFFERS.len())]);
            let reply = send("POST", &path, &[SDP], &damage::text(&offer, &mut random));
            if reply.status == 201 {
                server.delete(&reply.location()).expect(200);
            }
        }
        let offer = fixture(if watch {
            "chrome-whep-av"
        } else {
            "obs-media-level"
        });
        let session = server.post_offer(&path, &offer).expect(201).location();
        for _ in 0..PATCHES {
            let fragment = damage::text(&fragment(&offer), &mut random);
            send("PATCH", &session, &[FRAGMENT, ("If-Match", "*")], &fragment);
        }
        server.delete(&session).expect(200);
    }
}

/// Row W-49.
#[test]
fn mutated_offers_and_fragments_harm_nobody() {
    let server = &Server::start(&["--webrtc.publisher_engine", "direct"]);
    a_broadcast_goes_on(server, |_, _| {
        let before = server.count("sessions");
        let (done, end) = (AtomicUsize::new(0), Instant::now() + MUTATIONS_TIME);
        let after_the_beginning = thread::scope(|scope| {
            for thread in 1..=THREADS {
                let done = &done;
                scope.spawn(move || mutations(server, thread, done, end));
            }
            wait_for("beginning", || {
                (done.load(Relaxed) >= MUTATIONS_MIN).then(|| status(server, "VmRSS:"))
            })
        });
        println!("{} requests", done.load(Relaxed));
        wait_for("end of their sessions", || {
            (server.count("sessions") == before).then_some(())
        });
        let growth = status(server, "VmRSS:").saturating_sub(after_the_beginning);
        assert!(growth < GROWTH_MAX, "{growth} kB more");
    });
}

/// Sends a request byte by byte. True if the server closed the connection.
fn drip(server: &Server, head: &str) -> bool {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    if stream.write_all(head.as_bytes()).is_err() {
        return true;
    }
    let end = Instant::now() + PATIENCE;
    let mut reply = [0; 512];
    while Instant::now() < end {
        if stream.write_all(b"a").is_err() {
            return true;
        }
        match stream.read(&mut reply) {
            Ok(0) => return true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return true,
            _ => {}
        }
    }
    false
}

#[test]
fn requests_that_come_byte_by_byte_are_cut_off_and_hold_up_nobody() {
    let server = &Server::start(&["--http.header_timeout", "2s", "--http.body_timeout", "2s"]);
    let body = "POST /whip/slow HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                Content-Length: 100000\r\n\r\n";
    a_broadcast_goes_on(server, |_, _| {
        let cut = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..40 {
                let head = if number % 2 == 0 {
                    "GET / HTTP/1.1\r\nX-Slow: "
                } else {
                    body
                };
                let cut = &cut;
                scope.spawn(move || cut.fetch_add(usize::from(drip(server, head)), Relaxed));
            }
            for _ in 0..10 {
                server.get("/healthz").expect(200);
            }
        });
        assert_eq!(cut.load(Relaxed), 40);
    });
}

/// Row W-100b.
#[test]
fn floods_of_posts_are_limited_and_hold_up_nobody() {
    let server = &Server::start(&[
        "--webrtc.publisher_engine",
        "direct",
        "--limits.source_offers",
        "2",
        "--limits.sessions",
        "30",
    ]);
    let (offer, limited) = (fixture("obs-media-level"), AtomicBool::new(false));
    let last = std::sync::Mutex::new(Vec::new());
    a_broadcast_goes_on(server, |_, _| {
        thread::scope(|scope| {
            for number in 0..8 {
                let (offer, limited, last) = (&offer, &limited, &last);
                scope.spawn(move || {
                    for _ in 0..40 {
                        let reply = server.post_offer(&format!("/whip/f{number}"), offer);
                        match reply.status {
                            201 => last.lock().unwrap().push(reply.location()),
                            409 => {}
                            429 | 503 => {
                                assert!(reply.header("retry-after").is_some());
                                limited.fetch_or(reply.status == 429, Relaxed);
                            }
                            other => panic!("{other}"),
                        }
                    }
                });
            }
        });
        for session in last.lock().unwrap().drain(..) {
            server.delete(&session);
        }
        // After a moment, viewers at this address may join again.
        wait_for("allowance", || {
            let reply = server.post_offer("/whep/live", &fixture("chrome-whep-av"));
            (reply.status == 201).then(|| server.delete(&reply.location()))
        });
        thread::sleep(Duration::from_secs(1));
    });
    assert!(limited.load(Relaxed));
}
