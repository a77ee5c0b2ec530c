//! Candidates that name addresses of others: the server sends nothing there.

use std::{fmt::Write as _, net::UdpSocket};

use crate::support::{Server, engines::with_each_engine, fixture, wait_for};

/// Candidates that one client names.
const CANDIDATES: u8 = 64;

/// Candidates at as many addresses of this machine, all with this port.
fn candidates(port: u16) -> String {
    (1..=CANDIDATES).fold(String::new(), |mut lines, last| {
        let line = format!("a=candidate:{last} 1 udp 2122260223 127.3.0.{last} {port} typ host");
        writeln!(lines, "{line}\r").unwrap();
        lines
    })
}

/// The rest of the first line with this beginning.
fn value<'a>(text: &'a str, start: &str) -> &'a str {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(start));
    lines.next().unwrap()
}

/// Rows W-65, W-95h.
#[test]
fn candidates_do_not_make_the_server_send_anything() {
    with_each_engine(|engine| {
        let arguments = ["--webrtc.publisher_engine", engine];
        let arguments = [&arguments[..], &["--webrtc.viewer_engine", engine]].concat();
        let server = Server::demo(&[&arguments[..], &["--timeouts.connect=2s"]].concat());
        let listener = UdpSocket::bind("0.0.0.0:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let candidates = candidates(listener.local_addr().unwrap().port());
        for (path, offer) in [
            ("/whip/a", "obs-media-level"),
            ("/whep/demo", "chrome-whep-av"),
        ] {
            let offer = fixture(offer);
            let credentials = format!(
                "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
                value(&offer, "a=ice-ufrag:"),
                value(&offer, "a=ice-pwd:")
            );
            let mid = value(&offer, "a=mid:");
            let offer = offer.replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{candidates}"));
            assert!(offer.contains("127.3.0.64"));
            let session = server.post_offer(path, &offer).expect(201);
            let fragment = format!(
                "{credentials}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n{candidates}"
            );
            let etag = session.etag();
            let session = session.location();
            let patch = server.patch(&session, &[("If-Match", &etag)], &fragment);
            patch.expect(204);
            // It never connects.
            wait_for("end", || (server.get(&session).status == 404).then_some(()));
        }
        let mut buffer = [0; 2000];
        let mut sent = 0;
        while listener.recv(&mut buffer).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 0, "datagrams of {engine}");
    });
}
