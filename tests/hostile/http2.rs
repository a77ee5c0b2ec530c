//! Clients that use HTTP/2 to make a server work: streams that are reset at once (CVE-2023-44487),
//! streams that they make the server reset (CVE-2025-8671), and headers without end.

use std::{
    io::Write,
    net::TcpStream,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use super::spoofed::status;
use crate::support::{Server, wait_for};

/// Streams or frames on each connection. What closes it comes much earlier.
const FRAMES: u32 = 200_000;
const CONNECTIONS: usize = 4;
/// How long the server may take to close a connection.
const ATTACK_MAX: Duration = Duration::from_secs(20);
/// How much memory the connections may cost, in kB.
const MEMORY_MAX: u64 = 24 << 10;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The error `CANCEL`.
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// `GET http://localhost/`, as HPACK has it (RFC 7541 appendix A).
const GET: &[u8] = b"\x82\x86\x84\x41\x09localhost";

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends what `attack` makes of the numbers from 0 until the server closes the connection; returns
/// how many were sent.
fn attack(server: &Server, attack: impl Fn(u32) -> Vec<u8>) -> u32 {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_write_timeout(Some(ATTACK_MAX)).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    let mut reader = stream.try_clone().unwrap();
    // Reads everything, so that only what it sends can be its end.
    let reading = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let sent = (0..FRAMES).take_while(|&number| stream.write_all(&attack(number)).is_ok());
    let sent = u32::try_from(sent.count()).unwrap();
    // Err: it is closed already.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    drop(reading.join().unwrap());
    sent
}

/// Checks that the server closes such connections, and meanwhile serves others from little memory.
fn is_withstood(made: fn(u32) -> Vec<u8>) {
    let server = Server::start(&[]);
    server.get("/healthz").expect(200);
    let before = status(&server, "VmRSS:");
    thread::scope(|scope| {
        let attacks: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| attack(&server, made)))
            .collect();
        let begin = Instant::now();
        while !attacks.iter().all(ScopedJoinHandle::is_finished) {
            server.get("/healthz").expect(200);
            assert!(begin.elapsed() < ATTACK_MAX, "the connections stay open");
        }
        for attack in attacks {
            let sent = attack.join().unwrap();
            println!("closed after {sent}");
            assert!(sent < FRAMES, "the server took everything");
        }
    });
    let memory = status(&server, "VmRSS:").saturating_sub(before);
    println!("{memory} kB more");
    assert!(memory < MEMORY_MAX, "{memory} kB more");
    wait_for("end of the connections", || {
        (server.metric("aerial_http_connections") == 0).then_some(())
    });
}

fn stream(number: u32) -> u32 {
    2 * number + 1
}

#[test]
fn rapid_resets_end_the_connection() {
    is_withstood(|number| {
        let get = frame(HEADERS, END_STREAM | END_HEADERS, stream(number), GET);
        let reset = frame(RST_STREAM, 0, stream(number), &CANCEL);
        [get, reset].concat()
    });
}

#[test]
fn resets_that_the_client_provokes_end_the_connection() {
    is_withstood(|number| {
        let get = frame(HEADERS, END_STREAM | END_HEADERS, stream(number), GET);
        // Nothing more may be sent: an error of the stream (RFC 9113 §6.9).
        let wrong = frame(WINDOW_UPDATE, 0, stream(number), &[0; 4]);
        [get, wrong].concat()
    });
}

#[test]
fn headers_without_end_end_the_connection() {
    is_withstood(|number| {
        if number == 0 {
            frame(HEADERS, END_STREAM, 1, GET)
        } else {
            // A header that nobody knows, not indexed: `x: aaa…`.
            let mut header = b"\0\x01x\x7f\x81\x07".to_vec();
            header.extend([b'a'; 1024]);
            frame(CONTINUATION, 0, 1, &header)
        }
    });
}

#[test]
fn empty_continuations_end_the_connection() {
    is_withstood(|number| {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        frame(kind, 0, 1, &[])
    });
}
