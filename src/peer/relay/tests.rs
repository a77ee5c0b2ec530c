//! A client at real sockets, and in webrtcbin's place a socket that does its part of ICE.

use std::{net::UdpSocket as StdSocket, time::Duration};

use str0m::ice::{StunMessage, TransId};

use super::*;
use crate::{
    peer::{
        ice::messages::{PRIORITY, written},
        sdp::{Offer, Role},
        udp::{self, stun},
    },
    testing::{ip, run_in_namespace, slow_loopback_down},
};

/// How long a datagram may take over loopback on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this long, what has not come does not come.
const SILENCE: Duration = Duration::from_millis(300);

fn bound() -> StdSocket {
    let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn received(socket: &StdSocket) -> Vec<u8> {
    let mut buffer = [0; 2000];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn is_silent(socket: &StdSocket) -> bool {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let silent = socket.recv(&mut [0; 2000]).is_err();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

fn reply_to(request: &[u8], password: &str) -> Vec<u8> {
    let id = StunMessage::parse(request).unwrap().trans_id();
    let mapped = SocketAddr::from(([127, 0, 0, 1], 9));
    written(StunMessage::binding_reply(id, mapped), password).unwrap()
}

struct Stage {
    port: Port,
    relay: Relay,
    offer: Offer,
    engine: StdSocket,
}

impl Stage {
    async fn new() -> Self {
        let options = udp::Options {
            loopback: true,
            ..udp::Options::at("127.0.0.1:0".parse().unwrap())
        };
        let port = Port::bind(&options).unwrap();
        port.start();
        let text = include_str!("../../../tests/fixtures/obs-media-level.sdp");
        let offer = Offer::parse(text.as_bytes(), Role::Publisher).unwrap();
        let engine = bound();
        let answer = format!(
            "v=0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:engn\r\n\
             a=ice-pwd:the-engine's-own-password\r\na=fingerprint:sha-256 {}\r\n\
             a=candidate:1 1 UDP 2015363327 127.0.0.1 {} typ host\r\n",
            ["CD"; 32].join(":"),
            engine.local_addr().unwrap().port()
        );
        let relay = RelayOffer::new().unwrap();
        assert_ne!(relay.in_place_of(&offer).ice_pwd, offer.ice_pwd);
        let relay = relay.start(&offer, &answer, &port).await.unwrap();
        Self {
            port,
            relay,
            offer,
            engine,
        }
    }

    fn address(&self) -> SocketAddr {
        self.port.candidates()[0]
    }

    /// Sends a check and takes its answer.
    fn check(&self, client: &StdSocket, nominates: bool) {
        let transport = self.relay.transport();
        let username = format!("{}:{}", transport.ice_ufrag, self.offer.ice_ufrag);
        let id = TransId::new();
        let check = StunMessage::binding_request(&username, id, true, 7, PRIORITY, nominates);
        let check = written(check, &transport.ice_pwd).unwrap();
        client.send_to(&check, self.address()).unwrap();
        loop {
            let answer = received(client);
            let answer = StunMessage::parse(&answer).unwrap();
            if answer.trans_id() == id {
                assert!(answer.is_successful_binding_response());
                return;
            }
        }
    }

    /// Answers the server's check, which comes to this socket.
    fn prove(&self, client: &StdSocket) {
        let request = received(client);
        assert!(StunMessage::parse(&request).unwrap().is_binding_request());
        let reply = reply_to(&request, &self.offer.ice_pwd);
        client.send_to(&reply, self.address()).unwrap();
    }

    /// webrtcbin's part: answers the relay's check; returns where that is.
    fn accept(&self) -> SocketAddr {
        let mut buffer = [0; 2000];
        let (length, relay) = self.engine.recv_from(&mut buffer).unwrap();
        let request = &buffer[..length];
        let check = StunMessage::parse(request).unwrap();
        assert!(check.use_candidate() && check.ice_controlling().is_some());
        let reply = reply_to(request, "the-engine's-own-password");
        self.engine.send_to(&reply, relay).unwrap();
        relay
    }

    /// A client that is connected, and where webrtcbin sends to.
    fn connect(&self) -> (StdSocket, SocketAddr) {
        let client = bound();
        self.check(&client, true);
        let relay = self.accept();
        self.prove(&client);
        // What arrived after the proof shows that this has been seen.
        let last = datagram(0, 100);
        client.send_to(&last, self.address()).unwrap();
        assert_eq!(received(&self.engine), last);
        (client, relay)
    }
}

fn datagram(number: u8, length: usize) -> Vec<u8> {
    let mut datagram = vec![number; length];
    datagram[0] = 0x80;
    datagram
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_pass_and_ice_does_not() {
    let stage = Stage::new().await;
    assert!(is_silent(&stage.engine), "before the client has come");
    assert!(!stage.relay.is_checked());
    let (client, relay) = stage.connect();
    assert!(stage.relay.is_checked());
    stage.check(&client, true);
    // GStreamer would complain of it: a BYE of nobody.
    client
        .send_to(&datagram(203, 500), stage.address())
        .unwrap();
    for number in 1..100 {
        client
            .send_to(&datagram(number, 500), stage.address())
            .unwrap();
        assert_eq!(received(&stage.engine), datagram(number, 500));
    }
    // In batches of equal ones, each followed by a shorter or a longer one.
    let lengths = [1200, 1200, 1200, 700, 1200, 40, 1300];
    for round in 0..20 {
        let sent = lengths.map(|length| datagram(round, length));
        for datagram in &sent {
            stage.engine.send_to(datagram, relay).unwrap();
        }
        for datagram in sent {
            assert_eq!(received(&client), datagram);
        }
    }
    // webrtcbin's own checks stay inside.
    let mut check = vec![0; 20];
    check[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    stage.engine.send_to(&check, relay).unwrap();
    assert!(is_silent(&client));
    // So does what others send to the relay's socket.
    bound().send_to(&datagram(7, 100), relay).unwrap();
    assert!(is_silent(&client));
    stage.port.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_packets_wait_for_the_address() {
    let stage = Stage::new().await;
    let client = bound();
    stage.check(&client, false);
    let first = datagram(1, 300);
    client.send_to(&first, stage.address()).unwrap();
    let relay = stage.accept();
    assert_eq!(received(&stage.engine), first);
    // Nowhere to send yet: the oldest make room.
    for number in 0..20 {
        stage.engine.send_to(&datagram(number, 300), relay).unwrap();
    }
    assert!(is_silent(&client));
    stage.check(&client, true);
    let mut numbers = Vec::new();
    while numbers.len() < 8 {
        let got = received(&client);
        if !stun::is_stun(&got) {
            numbers.push(got[1]);
        }
    }
    assert_eq!(numbers, (12..20).collect::<Vec<u8>>());
    stage.port.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_moves_is_followed_once_it_has_proven_where_it_is() {
    let stage = Stage::new().await;
    let (home, relay) = stage.connect();
    let media = datagram(1, 600);
    let moved = bound();
    stage.check(&moved, true);
    stage.engine.send_to(&media, relay).unwrap();
    assert_eq!(received(&home), media, "not proven yet");
    stage.prove(&moved);
    // Its own packets come from there now.
    moved.send_to(&media, stage.address()).unwrap();
    assert_eq!(received(&stage.engine), media);
    stage.engine.send_to(&media, relay).unwrap();
    let mut got = received(&moved);
    while stun::is_stun(&got) {
        got = received(&moved);
    }
    assert_eq!(got, media);
    assert!(is_silent(&home));
    stage.port.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_has_proven_nothing_gets_a_handshake_and_no_more() {
    let stage = Stage::new().await;
    let client = bound();
    stage.check(&client, true);
    let relay = stage.accept();
    let media = datagram(1, 1000);
    for _ in 0..50 {
        stage.engine.send_to(&media, relay).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let count = || {
        let mut count = 0;
        client.set_read_timeout(Some(SILENCE)).unwrap();
        let mut buffer = [0; 2000];
        while let Ok(length) = client.recv(&mut buffer) {
            count += usize::from(length == media.len());
        }
        count
    };
    let sent = count();
    assert!((1..=8).contains(&sent), "{sent}");
    // As FFmpeg 8 does: it answers no checks, but finishes the handshake.
    stage.relay.shared.signals.handshake_done();
    stage.engine.send_to(&media, relay).unwrap();
    assert_eq!(count(), 1);
    stage.port.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authentic_media_is_a_sign_of_life_if_it_comes_from_the_client() {
    let stage = Stage::new().await;
    let (client, _) = stage.connect();
    let heard = stage.relay.heard();
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.send_to(&datagram(1, 100), stage.address()).unwrap();
    received(&stage.engine);
    assert_eq!(stage.relay.heard(), heard, "anybody can send it");
    stage.relay.shared.signals.authentic();
    assert!(stage.relay.heard() > heard);
    stage.port.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_the_credentials_and_nothing_else() {
    let mut stage = Stage::new().await;
    let (home, relay) = stage.connect();
    let before = stage.relay.transport();
    let pwd = "n".repeat(24);
    let after = stage.relay.restart("new1", &pwd).unwrap();
    assert_ne!(before.ice_ufrag, after.ice_ufrag);
    assert_eq!(before.fingerprint, after.fingerprint);
    let media = datagram(1, 600);
    stage.engine.send_to(&media, relay).unwrap();
    assert_eq!(received(&home), media, "over the old pair");
    stage.offer.ice_ufrag = "new1".to_owned();
    stage.offer.ice_pwd = pwd;
    let moved = bound();
    stage.check(&moved, true);
    stage.prove(&moved);
    moved.send_to(&media, stage.address()).unwrap();
    assert_eq!(received(&stage.engine), media);
    stage.port.stop().await;
}

#[test]
fn packets_without_room_in_the_socket_go_a_little_later() {
    run_in_namespace("peer::relay::tests::inside_a_namespace_with_a_slow_line");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slows loopback down: run by `packets_without_room_in_the_socket_go_a_little_later`"]
async fn inside_a_namespace_with_a_slow_line() {
    const FRAMES: u8 = 20;
    const PACKETS: usize = 80;
    const BYTES: usize = 1200;
    /// Half of what a frame takes.
    const BUFFER: usize = 48 << 10;
    ip("link set lo up");
    let stage = Stage::new().await;
    let (client, relay) = stage.connect();
    SockRef::from(&client)
        .set_recv_buffer_size(BUFFER_BYTES)
        .unwrap();
    stage.port.limit_send_buffer(BUFFER);
    slow_loopback_down();
    for number in 0..FRAMES {
        for _ in 0..PACKETS {
            let packet = datagram(number, BYTES);
            stage.engine.send_to(&packet, relay).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(35)).await;
    }
    let mut came = [0; FRAMES as usize];
    while came.iter().sum::<usize>() < usize::from(FRAMES) * PACKETS {
        let got = received(&client);
        if !stun::is_stun(&got) {
            came[usize::from(got[1])] += 1;
        }
    }
    let dropped = &stage.port.counters().send_dropped;
    assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 0);
    stage.port.stop().await;
}
