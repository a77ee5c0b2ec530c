//! Where a session sends, in virtual time: the peer's datagrams are handed over, the server's come
//! through real sockets.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use str0m::{
    Event, Rtc,
    change::DirectApi,
    channel::ChannelConfig,
    ice::{StunMessage, TransId},
    media::{Direction, MediaKind},
    net::Transmit,
};

use super::{
    Incoming, PeerSession, Report,
    fuzz::peer::{Adversary, port},
};
use crate::{
    media::rtp::RtpHeader,
    peer::{
        ice::messages::hmac,
        sdp::{self, Offer, Role},
        udp::{DatagramLimits, DatagramRoute, Port},
    },
    testing::peer::Peer,
};

/// Time that passes in each turn.
const TURN: Duration = Duration::from_millis(20);

/// A place where the peer may be.
struct Place {
    socket: UdpSocket,
    address: SocketAddr,
    /// Bytes that have arrived.
    bytes: usize,
}

impl Place {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            socket,
            bytes: 0,
        }
    }
}

struct Stage {
    now: Instant,
    port: Port,
    session: PeerSession,
    peer: Peer,
    /// Home, and another place.
    places: [Place; 2],
    connected: bool,
    /// Whether it answers the server's checks.
    answers: bool,
    /// Whether it has opened a data channel.
    opened: bool,
    /// What has arrived on the data channel.
    texts: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let (port, places) = (port().unwrap(), [Place::new(), Place::new()]);
        let config = Rtc::builder().set_rtp_mode(true);
        let kinds = [MediaKind::Audio];
        let (mut peer, offer) =
            Peer::offering(&config, places[0].address, Direction::RecvOnly, &kinds).unwrap();
        let offer = Offer::parse(offer.as_bytes(), Role::Viewer).unwrap();
        let route = DatagramRoute::new(port.next_session(), DatagramLimits::VIEWER, |_| true);
        let (session, transport) =
            PeerSession::accept(&offer, &port, route, Incoming::default()).unwrap();
        let answer = sdp::viewer_answer(&offer, &[sdp::Section::Inactive], &transport);
        peer.accept(&answer).unwrap();
        Self {
            now: Instant::now(),
            port,
            session,
            peer,
            places,
            connected: false,
            answers: true,
            opened: false,
            texts: Vec::new(),
        }
    }

    /// The peer's datagrams of one turn.
    fn written(&mut self) -> Vec<Vec<u8>> {
        self.now += TURN;
        self.peer.tick(self.now).unwrap();
        let mut written = Vec::new();
        let send = |out: &Transmit| {
            written.push(out.contents.to_vec());
            Ok(())
        };
        let note = |event| self.opened |= matches!(event, Event::ChannelOpen(..));
        self.peer.poll(send, note).unwrap();
        written
    }

    fn deliver(&mut self, sender: SocketAddr, datagram: &[u8]) {
        let mut reports = Vec::new();
        self.session
            .receive(self.now, sender.into(), datagram, &mut reports);
        self.note(&reports);
    }

    fn note(&mut self, reports: &[Report]) {
        for report in reports {
            assert!(!matches!(report, Report::Closed(_)), "it goes on");
            self.connected |= matches!(report, Report::Connected(_));
            if let Report::Text(text) = report {
                self.texts.push(text.clone());
            }
        }
    }

    /// Lets the peer send from one place and receive at others, for this many turns.
    fn run(&mut self, turns: usize, from: usize, hears: [bool; 2]) {
        for _ in 0..turns {
            for datagram in self.written() {
                self.deliver(self.places[from].address, &datagram);
            }
            let mut reports = Vec::new();
            self.session.tick(self.now, &mut reports);
            self.note(&reports);
            let server = self.port.candidates()[0];
            let mut buffer = [0; 2000];
            for (place, hears) in self.places.iter_mut().zip(hears) {
                while let Ok(length) = place.socket.recv(&mut buffer) {
                    place.bytes += length;
                    let datagram = &buffer[..length];
                    let check = datagram.starts_with(&[0, 1]);
                    if hears && (self.answers || !check) {
                        self.peer.receive(self.now, server, datagram).unwrap();
                    }
                }
            }
        }
    }

    /// Where media goes.
    fn remote(&self) -> Option<SocketAddr> {
        self.session.nominated().map(|ends| ends.remote.address)
    }

    fn connect() -> Self {
        let mut stage = Self::new();
        stage.run(50, 0, [true, false]);
        assert!(stage.connected);
        assert_eq!(stage.remote(), Some(stage.places[0].address));
        stage
    }
}

#[test]
fn one_of_many_addresses_is_refused_before_anything_remembers_it() {
    let mut stage = Stage::new();
    let check = stage.written().remove(0);
    for number in 0..5000_u16 {
        let [high, low] = number.to_be_bytes();
        let sender = SocketAddr::from(([127, 1, high, low], 40_000));
        stage.deliver(sender, &check);
    }
    assert_eq!(stage.session.agent.known().len(), 16);
    let refused = stage
        .port
        .counters()
        .refused
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(refused, 5000 - 16);
    // The client itself comes back when the next address is due.
    stage.now += Duration::from_secs(11);
    stage.run(100, 0, [true, false]);
    assert!(stage.connected);
}

#[test]
fn only_an_authentic_check_shows_that_the_client_has_come() {
    let mut stage = Stage::new();
    let check = stage.written().remove(0);
    let mut forged = check.clone();
    // In front of the fingerprint, which protects nothing.
    let tag = forged.len() - 9;
    forged[tag] ^= 1;
    let sender = stage.places[0].address;
    for other in [&forged[..], &[22; 100], &[]] {
        stage.deliver(sender, other);
        assert!(!stage.session.is_checked());
    }
    stage.deliver(sender, &check);
    assert!(stage.session.is_checked() && !stage.connected);
}

#[test]
fn a_client_that_moves_all_day_is_followed() {
    let mut stage = Stage::connect();
    for number in 0..100 {
        stage.now += Duration::from_secs(10);
        stage.places[1 - number % 2] = Place::new();
        stage.run(300, 1 - number % 2, [true, true]);
        let home = stage.places[1 - number % 2].address;
        assert_eq!(stage.remote(), Some(home), "{number}");
    }
}

#[test]
fn media_moves_only_to_an_address_that_has_proven_that_it_receives() {
    let mut stage = Stage::connect();
    let [home, victim] = [0, 1].map(|place: usize| stage.places[place].address);
    let began = stage.now;
    // The peer stays at home and forges its source.
    stage.run(500, 1, [true, false]);
    assert_eq!(stage.remote(), Some(home));
    let sent = stage.places[1].bytes;
    assert!(0 < sent && sent < 8 << 10, "{sent} bytes to the victim");
    // Its checks from elsewhere are not consent to send to its first address.
    let silence = stage.session.silence(stage.now);
    assert!(silence > (stage.now - began) / 2, "{silence:?}");
    // Now it is really there.
    stage.run(200, 1, [false, true]);
    assert_eq!(stage.remote(), Some(victim));
    assert!(stage.session.silence(stage.now) < Duration::from_secs(4));
}

#[test]
fn a_peer_that_never_received_anything_costs_a_few_kilobytes() {
    let mut stage = Stage::new();
    stage.run(1500, 1, [false, false]);
    assert!(!stage.connected);
    assert_eq!(stage.remote(), None);
    let sent = stage.places[1].bytes;
    // The server's answers to checks are as long as these; the rest is bounded.
    assert!(0 < sent && sent < 40 << 10, "{sent} bytes");
}

/// Row E-69.
#[test]
fn a_viewer_proves_again_and_again_that_it_receives() {
    let mut stage = Stage::connect();
    stage.run(2500, 0, [true, false]);
    assert!(stage.session.has_consent(stage.now));
    let before = stage.now;
    // Its place belongs to somebody else now, in whose name it goes on sending authentic checks.
    stage.answers = false;
    while stage.session.has_consent(stage.now) {
        stage.run(1, 0, [true, false]);
        let since = stage.now - before;
        assert!(since <= Duration::from_secs(30), "{since:?}");
    }
    assert!(stage.now - before > Duration::from_secs(20));
    assert!(stage.session.silence(stage.now) < Duration::from_secs(5));
}

/// As `FFmpeg` 8 does.
#[test]
fn a_peer_that_answers_no_checks_has_proven_itself_with_its_handshake() {
    let mut stage = Stage::new();
    stage.answers = false;
    stage.run(50, 0, [true, false]);
    assert!(stage.connected);
    assert_eq!(stage.remote(), Some(stage.places[0].address));
}

#[test]
fn a_handshake_that_moves_proves_nothing() {
    for moment in 1..12 {
        let mut stage = Stage::new();
        stage.answers = false;
        stage.run(moment, 0, [true, false]);
        // The peer stays at home, receives what the server has sent there, and forges its source.
        stage.run(100, 1, [true, false]);
        let home = stage.places[0].address;
        // Nothing was sent elsewhere if the handshake ended first.
        let allowed = stage.connected.then_some(home);
        assert_eq!(stage.remote(), allowed, "after {moment} turns");
    }
}

#[test]
fn data_channels_that_were_not_negotiated_are_not_opened() {
    let mut stage = Stage::connect();
    let mut api = stage.peer.rtc.direct_api();
    api.start_sctp(true);
    api.create_data_channel(ChannelConfig {
        label: "not negotiated".to_owned(),
        ..ChannelConfig::default()
    });
    stage.run(500, 0, [true, false]);
    assert!(!stage.opened);
    assert!(stage.session.rtc.is_connected());
}

#[test]
fn a_channel_carries_texts_and_a_flood_costs_only_its_sender() {
    let mut stage = Stage::connect();
    stage.session.allow_channel(stage.now);
    let mut api = stage.peer.rtc.direct_api();
    api.start_sctp(true);
    let open = |api: &mut DirectApi<'_>, label: &str| {
        api.create_data_channel(ChannelConfig {
            label: label.to_owned(),
            ..ChannelConfig::default()
        })
    };
    open(&mut api, "other");
    let ours = open(&mut api, "aerial");
    stage.run(100, 0, [true, false]);
    let say = |stage: &mut Stage, text: &str| {
        let channel = stage.peer.rtc.channel(ours);
        channel.is_some_and(|mut channel| channel.write(false, text.as_bytes()).unwrap())
    };
    assert!(say(&mut stage, "hello"));
    stage.run(50, 0, [true, false]);
    assert_eq!(stage.texts, ["hello"]);
    let mut reports = Vec::new();
    assert!(stage.session.say(stage.now, "[]", &mut reports));
    let large = "x".repeat(80 << 10);
    assert!(
        !stage.session.say(stage.now, &large, &mut reports),
        "bounded"
    );
    // More than the server listens to: it arrives late, and the session goes on.
    let begun = stage.now;
    let line = "x".repeat(900);
    let mut sent = 0;
    for _ in 0..250 {
        while say(&mut stage, &line) {
            sent += 1;
        }
        stage.run(1, 0, [true, false]);
    }
    let seconds = usize::try_from((stage.now - begun).as_secs()).unwrap();
    assert!(stage.texts.len() < sent, "{sent} sent");
    assert!(stage.texts.len() <= 300 + 100 * (seconds + 1));
    assert!(stage.session.rtc.is_connected());
}

/// A packet of sound.
fn sound(sequence: u16, ssrc: u32) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type: 111,
        sequence,
        timestamp: sequence.into(),
        ssrc,
    };
    let mut packet = Vec::new();
    header.write(&mut packet, &[]);
    packet.extend([1, 2, 3]);
    packet
}

/// A publisher whose consent checks nominate nothing, as those of Firefox and pion.
struct Publisher {
    now: Instant,
    session: PeerSession,
    peer: Adversary,
    /// The user name and the password of its checks.
    username: String,
    password: String,
    sequence: u16,
    /// Packets that got through.
    taken: usize,
    _port: Port,
}

impl Publisher {
    fn connect() -> Self {
        let (port, mut now) = (port().unwrap(), Instant::now());
        let mut peer = Adversary::new(Direction::SendOnly).unwrap();
        let offer = Offer::parse(peer.offer.as_bytes(), Role::Publisher).unwrap();
        let incoming = Incoming::new(&offer, &offer.choose_publish().unwrap());
        let route = DatagramRoute::new(port.next_session(), DatagramLimits::PUBLISHER, |_| true);
        let (mut session, transport) = PeerSession::accept(&offer, &port, route, incoming).unwrap();
        let answer = sdp::viewer_answer(
            &offer,
            &[sdp::Section::Inactive, sdp::Section::Inactive],
            &transport,
        );
        let connecting = peer.connect(&mut now, &answer, |now, sender, datagram| {
            session.receive(now, sender.into(), datagram, &mut Vec::new());
            session.nominated().is_some() && session.verifier.is_some()
        });
        connecting.unwrap();
        Self {
            now,
            session,
            peer,
            username: format!("{}:{}", transport.ice_ufrag, offer.ice_ufrag),
            password: transport.ice_pwd,
            sequence: 0,
            taken: 0,
            _port: port,
        }
    }

    fn deliver(&mut self, sender: SocketAddr, datagram: &[u8]) {
        let mut reports = Vec::new();
        let now = self.now;
        self.session
            .receive(now, sender.into(), datagram, &mut reports);
        self.session.tick(now, &mut reports);
        for report in reports {
            assert!(!matches!(report, Report::Closed(_)), "it goes on");
            self.taken += usize::from(matches!(report, Report::Rtp(_)));
        }
    }

    fn check(&mut self, sender: SocketAddr) {
        let id = TransId::new();
        let check = StunMessage::binding_request(&self.username, id, true, 7, 1, false);
        let mut bytes = vec![0; 500];
        let length = check.to_bytes(Some(self.password.as_bytes()), &mut bytes, hmac);
        self.deliver(sender, &bytes[..length.unwrap()]);
    }

    /// Sends a packet of sound.
    fn send(&mut self, sender: SocketAddr, ssrc: u32) {
        self.sequence += 1;
        let packet = self.peer.rtp(&sound(self.sequence, ssrc)).unwrap();
        self.deliver(sender, &packet);
    }
}

#[test]
fn a_stream_may_begin_however_long_ago_the_address_was_nominated() {
    let mut publisher = Publisher::connect();
    let home = publisher.peer.address;
    publisher.send(home, 1);
    for _ in 0..60 {
        publisher.now += Duration::from_secs(1);
        publisher.check(home);
    }
    publisher.send(home, 2);
    assert_eq!(publisher.taken, 2);
}

#[test]
fn reports_and_checks_of_a_publisher_are_signs_of_life_and_forged_ones_are_not() {
    let mut publisher = Publisher::connect();
    let home = publisher.peer.address;
    let pause = Duration::from_secs(3);
    let receiver_report = [0x80, 201, 0, 1, 0, 0, 0, 1];
    let report = publisher.peer.rtcp(&receiver_report).unwrap();
    publisher.now += pause;
    publisher.deliver(home, &report);
    assert_eq!(publisher.session.heard(), publisher.now);
    publisher.now += pause;
    publisher.check(home);
    assert_eq!(publisher.session.heard(), publisher.now);

    publisher.now += pause;
    publisher.deliver(home, &report);
    assert_eq!(publisher.session.silence(publisher.now), pause, "a repeat");
    publisher.deliver(home, &receiver_report);
    assert_eq!(publisher.session.silence(publisher.now), pause, "in clear");
    publisher.password = "guessed".to_owned();
    publisher.check(home);
    assert_eq!(publisher.session.silence(publisher.now), pause, "a check");
}

#[test]
fn a_publisher_whose_packets_come_from_elsewhere_is_alive() {
    let mut publisher = Publisher::connect();
    let elsewhere = Place::new().address;
    publisher.check(elsewhere);
    for _ in 0..100 {
        publisher.now += Duration::from_secs(1);
        publisher.send(elsewhere, 1);
        assert_eq!(publisher.session.silence(publisher.now), Duration::ZERO);
    }
    assert_eq!(publisher.taken, 100);
    // Nobody else can keep it so.
    publisher.now += Duration::from_secs(10);
    publisher.deliver(elsewhere, &sound(1, 1));
    assert_eq!(
        publisher.session.silence(publisher.now),
        Duration::from_secs(10)
    );
}
