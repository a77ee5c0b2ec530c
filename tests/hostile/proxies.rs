//! Clients behind proxies, and clients that pretend to be.

use crate::support::{Reply, SDP, Server, fixture, wait_for};

/// A server that allows ten offers at once, and these proxies.
fn server(proxies: &str, flags: &[&str]) -> Server {
    let limited = [
        "--limits.source_offers",
        "1",
        "--http.trusted_proxies",
        proxies,
    ];
    Server::start(&[&limited, flags].concat())
}

/// A request that counts as an offer.
fn offer(server: &Server, headers: &[(&str, &str)]) -> u16 {
    let headers: Vec<_> = [SDP].iter().chain(headers).copied().collect();
    server.request("POST", "/whep/nobody", &headers, "").status
}

/// Sends offers until one is refused.
fn exhaust(mut offer: impl FnMut() -> u16) {
    let allowed = (0..100).take_while(|_| offer() != 429).count();
    assert!((10..100).contains(&allowed), "{allowed}");
}

/// A request after these bytes.
fn after(server: &Server, bytes: &[u8]) -> Reply {
    let request = "POST /whep/nobody HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                   Connection: close\r\nContent-Length: 0\r\n\r\n";
    server.raw(&[bytes, request.as_bytes()])
}

#[test]
fn clients_behind_a_trusted_proxy_are_limited_one_by_one() {
    for (header, culprit, forged, other) in [
        (
            "X-Forwarded-For",
            "192.0.2.1",
            "198.51.100.1, 192.0.2.1",
            "192.0.2.2",
        ),
        (
            "Forwarded",
            "for=\"[2001:db8::1]:4711\"",
            "for=198.51.100.1, for=\"[2001:db8::2]\"",
            "for=\"[2001:db8:0:1::1]\"",
        ),
    ] {
        let server = server("127.0.0.0/8", &["--http.forwarded_header", header]);
        exhaust(|| offer(&server, &[(header, culprit)]));
        // What the client itself wrote into the list changes nothing.
        assert_eq!(offer(&server, &[(header, forged)]), 429);
        assert_eq!(offer(&server, &[(header, other)]), 400);
    }
}

#[test]
fn the_proxy_protocol_says_who_the_client_is() {
    let server = server("127.0.0.1", &[]);
    let v1 = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 50000 443\r\n").into_bytes();
    let v2 = |last: u8| {
        let addresses = [192, 0, 2, last, 10, 0, 0, 1, 0, 80, 0, 80];
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
    };
    exhaust(|| after(&server, &v1("192.0.2.1")).status);
    assert_eq!(after(&server, &v2(1)).status, 429, "the same client");
    assert_eq!(after(&server, &v2(2)).status, 400);
    assert_eq!(after(&server, &v1("192.0.2.3")).status, 400);
    // Without a header, and on behalf of the proxy itself.
    assert_eq!(after(&server, b"").status, 400);
    assert_eq!(after(&server, b"PROXY UNKNOWN\r\n").status, 400);
}

#[test]
fn clients_that_pretend_to_be_proxies_gain_nothing() {
    let server = server("10.0.0.0/8", &[]);
    let mut number = 0;
    // A right of way for each made-up address would never end. This machine is no exception.
    exhaust(|| {
        number += 1;
        offer(
            &server,
            &[("X-Forwarded-For", &format!("192.0.2.{number}"))],
        )
    });
    assert_eq!(offer(&server, &[("Forwarded", "for=192.0.2.1")]), 429);
    // Not HTTP to a server that expects no such header.
    let reply = after(&server, b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n");
    assert_eq!(reply.status, 400);
    server.get("/healthz").expect(200);
}

#[test]
fn right_tokens_are_never_refused_for_wrong_ones() {
    let server = Server::start(&[
        "--auth.watch_token",
        "right",
        "--limits.source_failures",
        "5",
    ]);
    let post = |token: &str| {
        let token = format!("Bearer {token}");
        let headers = [SDP, ("Authorization", &token)];
        let reply = server.request("POST", "/whep/a", &headers, &fixture("chrome-whep-av"));
        reply.status
    };
    let guesses: Vec<_> = (0..20).map(|_| post("wrong")).collect();
    assert!(
        guesses.contains(&401) && guesses.contains(&429),
        "{guesses:?}"
    );
    // 409: nobody publishes.
    assert_eq!(post("right"), 409);
}

#[test]
fn sessions_are_limited_by_address() {
    let server = Server::start(&[
        "--http.trusted_proxies=127.0.0.1",
        "--limits.source_publishers=2",
    ]);
    let mut number = 0;
    let mut publish = |client: &str| {
        number += 1;
        let headers = [SDP, ("X-Forwarded-For", client)];
        let path = format!("/whip/b{number}");
        server.request("POST", &path, &headers, &fixture("obs-media-level"))
    };
    let first = publish("192.0.2.1").expect(201);
    publish("192.0.2.1").expect(201);
    let refused = publish("192.0.2.1").expect(429);
    assert_eq!(refused.problem(), "too-many");
    assert!(refused.header("retry-after").is_some());
    publish("192.0.2.2").expect(201);
    let counted = "aerial_sessions_refused_total{role=\"publisher\"}";
    assert_eq!(server.metric(counted), 1);
    // A session that has ended no longer counts.
    server.delete(&first.location()).expect(200);
    wait_for("room", || {
        (publish("192.0.2.1").status == 201).then_some(())
    });
}

#[test]
fn urls_are_those_that_a_trusted_proxy_says() {
    let location = |server: &Server, headers: &[(&str, &str)]| {
        let headers: Vec<_> = [SDP].iter().chain(headers).copied().collect();
        let reply = server.request("POST", "/whip/a", &headers, &fixture("obs-media-level"));
        let location = reply.expect(201).header("location").unwrap().to_owned();
        let (_, path) = location.split_once("/whip/").unwrap();
        server.delete(&format!("/whip/{path}")).expect(200);
        location
    };
    let x = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "live.example:8443"),
        ("X-Forwarded-Prefix", "/tv"),
    ];
    let forwarded = [("Forwarded", "for=192.0.2.1;proto=https;host=live.example")];
    let starts = |location: &str, base: &str| {
        let expected = format!("{base}/whip/s/");
        assert!(location.starts_with(&expected), "{location}, not {base}");
    };
    let trusting = ["--http.trusted_proxies", "127.0.0.1"];
    let server = Server::start(&trusting);
    starts(&location(&server, &x), "https://live.example:8443/tv");
    starts(&location(&server, &forwarded), "");
    starts(&location(&server, &[x[0], ("X-Forwarded-Host", "a/b")]), "");
    let other = ["--http.forwarded_header", "Forwarded"];
    let server = Server::start(&[&trusting[..], &other].concat());
    starts(&location(&server, &forwarded), "https://live.example");
    starts(&location(&server, &x[..2]), "");
    // The configuration counts more.
    let public = ["--http.public_url", "https://public.example"];
    let server = Server::start(&[&trusting[..], &public].concat());
    starts(&location(&server, &x), "https://public.example");
    // From anyone else, they mean nothing.
    let server = Server::start(&["--http.trusted_proxies", "192.0.2.1"]);
    starts(&location(&server, &x), "");
    starts(&location(&server, &forwarded), "");
}
