//! Requests that are slow, huge or broken, and the limits of the HTTP port.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{Server, fixture, wait_for};

/// Sends bytes. Returns what the server sends until it closes, and how long that took.
fn until_closed(server: &Server, bytes: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    (
        String::from_utf8_lossy(&reply).into_owned(),
        begun.elapsed(),
    )
}

#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let server = Server::start(&[
        "--http.header_timeout",
        "500ms",
        "--http.body_timeout",
        "500ms",
    ]);
    for bytes in [
        &b""[..],
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
    ] {
        let (_, time) = until_closed(&server, bytes);
        assert!(time < Duration::from_secs(5), "{time:?}");
    }
    let head = "POST /whip/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                Content-Length: 100\r\n\r\nv=0";
    let (reply, time) = until_closed(&server, head.as_bytes());
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[test]
fn large_heads_are_refused() {
    let server = Server::start(&["--http.header_bytes", "8KiB"]);
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    let (reply, _) = until_closed(&server, head.as_bytes());
    assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
    server.get("/healthz").expect(200);
}

#[test]
fn connections_above_the_limit_are_refused() {
    let server = Server::start(&["--http.connections", "2", "--http.header_timeout", "1s"]);
    let idle = [(), ()].map(|()| TcpStream::connect(server.address).unwrap());
    wait_for("refusal", || {
        let reply = server.get("/healthz");
        (reply.status == 503).then(|| assert!(reply.header("retry-after").is_some()))
    });
    wait_for("end of the idle ones", || {
        (server.get("/healthz").status == 200).then_some(())
    });
    drop(idle);
}

#[test]
fn garbage_is_no_request() {
    let server = Server::start(&[]);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"hello\r\n\r\n",
        &[0xff; 100],
        b"GET\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let _ = stream.write_all(bytes);
    }
    server.get("/healthz").expect(200);
}

/// Row W-105.
#[test]
fn a_client_that_leaves_during_its_post_leaves_nothing() {
    let server = Server::start(&["--timeouts.connect", "2s"]);
    let offer = fixture("obs-media-level");
    for _ in 0..5 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!(
            "POST /whip/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{offer}",
            offer.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
    }
    wait_for("end", || {
        (server.count("sessions") == 0 && server.state("a").is_none()).then_some(())
    });
}

/// Row W-49.
#[test]
fn mutated_offers_never_fail_the_server() {
    let server = Server::start(&[]);
    let lines: Vec<_> = fixture("obs-media-level")
        .lines()
        .map(str::to_owned)
        .collect();
    // A fixed pseudorandom sequence (Knuth's linear congruential generator).
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..100 {
        let mut offer = lines.clone();
        for _ in 0..=random(3) {
            let at = random(offer.len());
            match random(4) {
                0 => drop(offer.remove(at)),
                1 => offer.insert(at, lines[random(lines.len())].clone()),
                2 => offer[at] += "99999999999999999999",
                _ => offer[at] = "a=x:".to_owned() + &"y".repeat(10_000),
            }
        }
        let offer = offer.join("\r\n") + "\r\n";
        let reply = server.post_offer("/whip/a", &offer);
        assert!(
            matches!(reply.status, 201 | 400..=499),
            "{}\n{offer}",
            reply.status
        );
    }
    server.get("/healthz").expect(200);
}
