//! The fan-out against a real peer (str0m as a browser would be) over loopback.

mod addresses;

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event as RtcEvent, Rtc,
    media::{Direction, MediaKind},
    net::Transmit,
    rtp::RtpPacket,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{direct::DirectHandle, *};
use crate::{
    media::{Codec, Frame, rtp::RtpHeader},
    peer::{End, Event, sdp, udp},
    testing::peer::Peer,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn fanout(timeouts: Timeouts) -> Fanout {
    fanout_at("127.0.0.1:0", timeouts)
}

fn fanout_at(listen: &str, timeouts: Timeouts) -> Fanout {
    let port = Port::bind(&udp::Options {
        loopback: true,
        ..udp::Options::at(listen.parse().unwrap())
    });
    let port = port.unwrap();
    port.start();
    Fanout::start(
        port,
        Options {
            timeouts,
            ..Options::default()
        },
    )
    .unwrap()
}

/// A frame of three packets whose first byte is the frame's number.
fn frame(codec: Codec, number: u8, keyframe: bool, pts: Duration) -> Frame {
    let clock = u128::from(codec.clock_rate());
    Frame {
        codec,
        keyframe,
        pts,
        timestamp: u64::try_from(pts.as_micros() * clock / 1_000_000).unwrap(),
        data: vec![number; 2500].into(),
        ends: vec![1100, 2200, 2500],
    }
}

/// How far ahead of their due time frames come: nothing may wait for that.
const AHEAD: Duration = Duration::from_secs(100);

/// Feeds 30 frames a second forever, a keyframe every `gop` frames, and audio alongside.
pub(super) fn feed(tasks: &mut JoinSet<()>, video: &Rendition, audio: &Rendition, gop: u64) {
    let (video, audio) = (video.sink(), audio.sink());
    crate::pipeline::init().unwrap();
    tasks.spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_millis(33));
        for count in 0_u64.. {
            interval.tick().await;
            let number = count.to_be_bytes()[7];
            let pts = AHEAD + crate::pipeline::running_time();
            video(frame(Codec::H264, number, count % gop == 0, pts));
            audio(frame(Codec::Opus, number, true, pts));
        }
    });
}

fn bound() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    socket
}

/// A client whose offer has not been answered yet.
pub(super) struct Offering {
    peer: Peer,
    socket: UdpSocket,
}

/// A viewer's side of a connection.
pub(super) struct Client {
    pub(super) answer: String,
    ufrag: String,
    pwd: String,
    pub(super) peer: Peer,
    socket: UdpSocket,
    pub(super) video: Vec<RtpPacket>,
    pub(super) audio: Vec<RtpPacket>,
    /// Sequence numbers of incoming SRTP packets to lose, once each.
    pub(super) lose: fn(u16) -> bool,
    pub(super) lost: BTreeSet<u16>,
}

impl Client {
    fn watch(
        fanout: &Fanout,
        tracks: OfferedTracks<'_>,
    ) -> (Self, DirectHandle, mpsc::Receiver<Event>) {
        let (offering, offer) = Self::offer();
        let (events, received) = mpsc::channel(16);
        let (viewer, answer) = fanout.watch_on_direct(&offer, tracks, events).unwrap();
        (Self::answered(offering, answer), viewer, received)
    }

    pub(super) fn offer() -> (Offering, sdp::Offer) {
        let socket = bound();
        let config = Rtc::builder().set_rtp_mode(true);
        let address = socket.local_addr().unwrap();
        let kinds = [MediaKind::Video, MediaKind::Audio];
        let (peer, offer) = Peer::offering(&config, address, Direction::RecvOnly, &kinds).unwrap();
        let offer = sdp::Offer::parse(offer.as_bytes(), sdp::Role::Viewer).unwrap();
        (Offering { peer, socket }, offer)
    }

    pub(super) fn answered(offering: Offering, answer: String) -> Self {
        let Offering { mut peer, socket } = offering;
        let value = |name: &str| {
            answer
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .to_owned()
        };
        let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        peer.accept(&answer).unwrap();
        Self {
            answer,
            ufrag,
            pwd,
            peer,
            socket,
            video: Vec::new(),
            audio: Vec::new(),
            lose: |_| false,
            lost: BTreeSet::new(),
        }
    }

    /// Runs until `done`, or until the connection or the patience ends.
    pub(super) fn run(&mut self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 2000];
        while !done(self) && Instant::now() < end && self.peer.rtc.is_alive() {
            let send = |datagram: &Transmit| {
                self.socket
                    .send_to(&datagram.contents, datagram.destination)
                    .map(drop)
            };
            let tell = |event| {
                let RtcEvent::RtpPacket(packet) = event else {
                    return;
                };
                if packet.payload.len() > 2 && packet.header.payload_type == 111.into() {
                    self.audio.push(packet);
                } else {
                    self.video.push(packet);
                }
            };
            // A session that fails shows in is_alive.
            let _ = self.peer.poll(send, tell);
            if let Ok((len, sender)) = self.socket.recv_from(&mut buffer) {
                let datagram = &buffer[..len];
                if let Some(RtpHeader { sequence, .. }) = RtpHeader::read(datagram)
                    && (self.lose)(sequence)
                    && self.lost.insert(sequence)
                {
                    continue;
                }
                let _ = self.peer.receive(Instant::now(), sender, datagram);
            }
            let _ = self.peer.tick(Instant::now());
        }
    }

    /// Sends a PLI for the video.
    pub(super) fn request_keyframe(&mut self) {
        let ssrc = self.video[0].header.ssrc;
        let mut api = self.peer.rtc.direct_api();
        api.stream_rx(&ssrc)
            .unwrap()
            .request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    }

    pub(super) fn sequence_numbers(&self) -> BTreeSet<u64> {
        self.video.iter().map(|packet| *packet.seq_no).collect()
    }
}

pub(super) fn has_no_gap(numbers: &BTreeSet<u64>) -> bool {
    let (first, last) = (numbers.first().unwrap(), numbers.last().unwrap());
    last - first + 1 == numbers.len() as u64
}

pub(super) struct Stage {
    pub(super) fanout: Fanout,
    pub(super) video: Rendition,
    pub(super) audio: Rendition,
    pub(super) feeder: JoinSet<()>,
}

impl Stage {
    pub(super) fn new(gop: u64) -> Self {
        let fanout = fanout(Timeouts::default());
        let (video, audio) = (fanout.rendition(Kind::Video), fanout.rendition(Kind::Audio));
        let mut feeder = JoinSet::new();
        feed(&mut feeder, &video, &audio, gop);
        Self {
            fanout,
            video,
            audio,
            feeder,
        }
    }

    pub(super) fn tracks(&self) -> OfferedTracks<'_> {
        OfferedTracks {
            video: Some((Codec::H264, &self.video)),
            audio: Some((Codec::Opus, &self.audio)),
            layers: &[],
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joining_viewer_starts_at_the_cached_keyframe_and_sees_one_stream() {
    let stage = Stage::new(1_000_000);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (mut client, _viewer, mut events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > 120 && c.audio.len() > 30));
    assert_eq!(events.recv().await, Some(Event::Connected));
    assert!(
        has_no_gap(&client.sequence_numbers()),
        "no gap in sequence numbers"
    );
    // The one keyframe came first, though it was sent long before the viewer joined.
    let first = client
        .video
        .iter()
        .min_by_key(|packet| *packet.seq_no)
        .unwrap();
    let joined_before = client.video[119].payload[0].wrapping_sub(first.payload[0]);
    assert_eq!(
        joined_before, 39,
        "119 packets later: 39 frames of three packets later"
    );
    let span = |packets: &[RtpPacket]| {
        let ordered: Vec<u32> = packets
            .iter()
            .map(|packet| packet.header.timestamp)
            .collect();
        assert!(
            ordered
                .windows(2)
                .all(|two| two[1].wrapping_sub(two[0]) < 1 << 31)
        );
        ordered[ordered.len() - 1].wrapping_sub(ordered[0])
    };
    // 40 frames are 1.3 s of media; the cached part is squeezed into the time since the join.
    let watched = Duration::from_millis(u64::from(span(&client.video)) / 90);
    assert!(
        watched < Duration::from_millis(1100),
        "landed at the live edge: {watched:?}"
    );
    assert!(
        client
            .video
            .iter()
            .any(|packet| packet.last_sender_info.is_some()),
        "sender report"
    );
    assert!(
        client
            .audio
            .iter()
            .any(|packet| packet.last_sender_info.is_some()),
        "sender report"
    );
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_come_again() {
    let stage = Stage::new(30);
    let (mut client, viewer, _events) = Client::watch(&stage.fanout, stage.tracks());
    client.lose = |sequence| sequence % 10 == 3;
    let complete = |c: &Client| c.video.len() > 200 && has_no_gap(&c.sequence_numbers());
    tokio::task::block_in_place(|| client.run(complete));
    assert!(client.lost.len() > 10, "some were lost");
    assert!(complete(&client), "all came again");
    assert!(viewer.statistics().retransmitted > 10);
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_publisher_goes_on_in_the_same_stream() {
    let mut stage = Stage::new(30);
    let (mut client, _viewer, _events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > 60));
    stage.feeder.shutdown().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = client.video.len();
    feed(&mut stage.feeder, &stage.video, &stage.audio, 30);
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > before + 60));
    assert!(client.video.len() > before + 60, "it goes on");
    assert!(has_no_gap(&client.sequence_numbers()));
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_restarts_and_the_stream_goes_on() {
    let stage = Stage::new(30);
    let (mut client, viewer, _events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| !c.video.is_empty()));
    let mut api = client.peer.rtc.sdp_api();
    let own = api.ice_restart(true);
    let (_offer, pending) = api.apply().unwrap();
    client.peer.pending = Some(pending);
    let transport = viewer.restart(&own.ufrag, &own.pass).await.unwrap();
    assert_ne!(transport.ice_ufrag, client.ufrag);
    let answer = client
        .answer
        .replace(&client.ufrag, &transport.ice_ufrag)
        .replace(&client.pwd, &transport.ice_pwd);
    client.peer.accept(&answer).unwrap();
    // The old port is gone: only the restart can find the way to the new one.
    client.socket = bound();
    let address = client.socket.local_addr().unwrap();
    client.peer.address = address;
    let candidate = Candidate::host(address, "udp").unwrap();
    client.peer.rtc.add_local_candidate(candidate);
    let before = client.video.len();
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > before + 60));
    assert!(
        client.video.len() > before + 60,
        "it goes on at the new address"
    );
    assert!(has_no_gap(&client.sequence_numbers()));
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_says_goodbye() {
    let stage = Stage::new(30);
    let (mut client, viewer, mut events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| !c.video.is_empty()));
    drop(viewer);
    tokio::task::block_in_place(|| client.run(|_| false));
    assert!(
        !client.peer.rtc.is_alive(),
        "close_notify ends the peer at once"
    );
    assert_eq!(events.recv().await, Some(Event::Connected));
    assert_eq!(events.recv().await, Some(Event::Closed(End::Deleted)));
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_goodbye_is_gone() {
    let stage = Stage::new(30);
    let (mut client, _viewer, mut events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| !c.video.is_empty()));
    client.peer.rtc.close().unwrap();
    tokio::task::block_in_place(|| client.run(|_| false));
    assert_eq!(events.recv().await, Some(Event::Connected));
    assert_eq!(events.recv().await, Some(Event::Closed(End::PeerClosed)));
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_peers_are_given_up() {
    let second = Duration::from_secs(1);
    let fanout = fanout(Timeouts {
        connect: second,
        consent: 2 * second,
    });
    let video = fanout.rendition(Kind::Video);
    let audio = fanout.rendition(Kind::Audio);
    let mut feeder = JoinSet::new();
    feed(&mut feeder, &video, &audio, 30);
    let tracks = OfferedTracks {
        video: Some((Codec::H264, &video)),
        audio: Some((Codec::Opus, &audio)),
        layers: &[],
    };
    let (_never_runs, _viewer, mut events) = Client::watch(&fanout, tracks);
    let (mut vanishes, _viewer2, mut events2) = Client::watch(&fanout, tracks);
    tokio::task::block_in_place(|| vanishes.run(|c| !c.video.is_empty()));
    assert_eq!(
        events.recv().await,
        Some(Event::Closed(End::ConnectTimeout))
    );
    assert_eq!(events2.recv().await, Some(Event::Connected));
    assert_eq!(events2.recv().await, Some(Event::Closed(End::Vanished)));
    fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_harms_nobody() {
    let stage = Stage::new(30);
    let (mut client, _viewer, _events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| !c.video.is_empty()));
    let target = stage.fanout.port().candidates()[0];
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    // From an unknown sender, and with the viewer's own address as the source.
    for number in 0..2000_u32 {
        let mut garbage: Vec<u8> = (0..number % 200)
            .map(|at| (number.wrapping_mul(2_654_435_761) >> (at % 24)).to_be_bytes()[3])
            .collect();
        if let Some(first) = garbage.first_mut() {
            *first = [0, 20, 22, 23, 0x80, 0x90, 0xff][number as usize % 7];
        }
        stranger.send_to(&garbage, target).unwrap();
        client.socket.send_to(&garbage, target).unwrap();
    }
    let before = client.video.len();
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > before + 100));
    assert!(client.video.len() > before + 100, "the stream goes on");
    assert!(stage.fanout.statistics().unknown_datagrams > 0);
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_panics_closes_its_viewers_and_serves_new_ones() {
    let stage = Stage::new(30);
    let (mut client, _viewer, mut events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| !c.video.is_empty()));
    assert_eq!(events.recv().await, Some(Event::Connected));
    let workers = stage.fanout.inner.pool.workers();
    for worker in &**workers {
        assert!(worker.tell(message::Message::Panic));
    }
    assert_eq!(events.recv().await, Some(Event::Closed(End::Failed)));
    tokio::task::block_in_place(|| client.run(|_| false));
    assert!(
        !client.peer.rtc.is_alive(),
        "the player learns of it at once"
    );
    assert_eq!(stage.fanout.fault(), None);
    // The viewer knows of its own worker only.
    let all = async {
        while stage.fanout.statistics().worker_panics < workers.len() as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("all workers panic and are replaced");

    let (mut client, _viewer, _events) = Client::watch(&stage.fanout, stage.tracks());
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > 30));
    assert!(client.video.len() > 30, "somebody new is served");
    stage.fanout.stop().await;
    assert_eq!(stage.fanout.fault(), Some(FanoutFault::Worker), "none runs");
}

#[tokio::test]
async fn without_a_worker_nobody_is_accepted() {
    let fanout = fanout(Timeouts::default());
    let video = fanout.rendition(Kind::Video);
    fanout.stop().await;
    let tracks = OfferedTracks {
        video: Some((Codec::H264, &video)),
        audio: None,
        layers: &[],
    };
    let (events, _received) = mpsc::channel(16);
    let refused = fanout.watch_on_direct(&Client::offer().1, tracks, events);
    assert_eq!(refused.err(), Some(Error::Overloaded));
}
