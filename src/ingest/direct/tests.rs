//! A publisher on the direct engine, from a real peer's packets to frames.

use std::{
    net::UdpSocket,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use str0m::{
    Rtc, RtcConfig,
    media::{Direction, MediaKind},
    net::Transmit,
    rtp::{RtpWrite, SeqNo},
};
use tokio::{sync::mpsc, task::JoinSet};

use super::*;
use crate::{
    media::{Codec, Frame, FrameSink},
    peer::{Event, udp},
    pipeline,
    plan::Engine,
    testing::{packets::RtpPacket, peer::Peer},
    worker::{PeerWorkers, WorkerLimits},
};

/// The packets of 60 encoded pictures.
fn packets() -> Vec<RtpPacket> {
    let description = "videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240,framerate=30/1 \
         ! x264enc tune=zerolatency key-int-max=30 ! video/x-h264,profile=constrained-baseline \
         ! rtph264pay config-interval=-1 mtu=1200 ! appsink name=sink sync=false";
    #[expect(clippy::disallowed_methods, reason = "a test may block")]
    let pipeline = gst::parse::launch(description).unwrap();
    let sink = pipeline
        .downcast_ref::<gst::Bin>()
        .unwrap()
        .by_name("sink")
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test may block")]
    pipeline.set_state(gst::State::Playing).unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let mut packets = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        packets.push(RtpPacket::read(&map).unwrap());
    }
    #[expect(clippy::disallowed_methods, reason = "a test may block")]
    pipeline.set_state(gst::State::Null).unwrap();
    packets
}

/// A publisher's side of a connection.
struct Client {
    peer: Peer,
    socket: UdpSocket,
    /// How many more DTLS packets to lose on the way in.
    lose: usize,
}

impl Client {
    /// Serves the connection until `until`; true once it is connected.
    fn run(&mut self, until: Instant) -> bool {
        let mut buffer = [0; 2000];
        loop {
            let send = |out: &Transmit| {
                self.socket
                    .send_to(&out.contents, out.destination)
                    .map(drop)
            };
            // A session that fails shows in is_alive.
            let _ = self.peer.poll(send, |_| {});
            let rtc = &self.peer.rtc;
            if Instant::now() >= until || !rtc.is_alive() {
                return rtc.is_connected();
            }
            if let Ok((len, sender)) = self.socket.recv_from(&mut buffer) {
                // RFC 7983 §7: the first byte of DTLS.
                if self.lose > 0 && (20..64).contains(&buffer[0]) {
                    self.lose -= 1;
                    continue;
                }
                let _ = self.peer.receive(Instant::now(), sender, &buffer[..len]);
            }
            let _ = self.peer.tick(Instant::now());
        }
    }

    /// Continues under another SSRC.
    fn change_ssrc(&mut self) {
        let mid = self.peer.mid(MediaKind::Video).unwrap();
        let mut api = self.peer.rtc.direct_api();
        let before = api.stream_tx_by_mid(mid, None).unwrap().ssrc();
        api.remove_stream_tx(before);
        let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
        api.declare_stream_tx(ssrc, Some(rtx), mid, None);
    }

    fn send(&mut self, sequence: u64, packet: &RtpPacket) {
        let mid = self.peer.mid(MediaKind::Video).unwrap();
        let mut api = self.peer.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        let write = RtpWrite::new(
            96.into(),
            SeqNo::from(sequence),
            packet.timestamp,
            Instant::now(),
            Arc::<[u8]>::from(&*packet.payload),
        );
        stream.write_rtp(write.marker(packet.marker));
    }
}

struct Stage {
    publisher: ReceptionHandle,
    client: Client,
    frames: Arc<Mutex<Vec<Frame>>>,
    events: mpsc::Receiver<Event>,
    tasks: JoinSet<()>,
}

/// A client that can send H264.
fn publisher() -> RtcConfig {
    let mut config = Rtc::builder().set_rtp_mode(true).clear_codecs();
    config.codec_config().add_config(
        96.into(),
        Some(97.into()),
        str0m::format::Codec::H264,
        str0m::media::Frequency::NINETY_KHZ,
        None,
        str0m::format::FormatParams::parse_line("packetization-mode=1;profile-level-id=42e01f"),
    );
    config
}

fn stage() -> Stage {
    pipeline::init().unwrap();
    let port = udp::Options {
        loopback: true,
        ..udp::Options::at("127.0.0.1:0".parse().unwrap())
    };
    let port = Port::bind(&port).unwrap();
    port.start();
    let mut tasks = JoinSet::new();
    let frames = Arc::<Mutex<Vec<Frame>>>::default();
    let collected = Arc::clone(&frames);
    let video: FrameSink = Arc::new(move |frame| collected.lock().unwrap().push(frame));

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(2)))
        .unwrap();
    let address = socket.local_addr().unwrap();
    let kinds = [MediaKind::Video];
    let (mut peer, offer) =
        Peer::offering(&publisher(), address, Direction::SendOnly, &kinds).unwrap();
    let offer = Offer::parse(offer.as_bytes(), sdp::Role::Publisher).unwrap();
    let options = Options {
        engine: Engine::Direct,
        jitter: Duration::from_millis(200),
        consent: Duration::from_secs(2),
        bitrate_max: 50_000_000,
        workers: PeerWorkers::new(WorkerLimits::new(0)),
    };
    let inputs = vec![StreamInput {
        codec: Codec::H264,
        rid: None,
        frames: video,
    }];
    let (events, received) = mpsc::channel(8);
    let reports = Reports {
        events,
        keyframe_wanted: Arc::default(),
        channel: None,
    };
    let (publisher, task, answer) =
        Reception::accept(&offer, &port, &options, inputs, reports).unwrap();
    tasks.spawn(task.run());
    peer.accept(&answer).unwrap();
    let client = Client {
        peer,
        socket,
        lose: 0,
    };
    Stage {
        publisher,
        client,
        frames,
        events: received,
        tasks,
    }
}

/// Serves the client until it is connected.
fn connect(client: &mut Client) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !client.run(Instant::now() + Duration::from_millis(20)) {
        assert!(Instant::now() < patience, "connected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_whose_packets_are_lost_is_repeated() {
    let mut stage = stage();
    // Our ClientHello, and then its repetition.
    stage.client.lose = 2;
    assert!(!stage.publisher.is_checked());
    tokio::task::block_in_place(|| connect(&mut stage.client));
    assert_eq!(stage.client.lose, 0);
    assert_eq!(stage.events.recv().await, Some(Event::Connected));
    assert!(stage.publisher.is_checked());
    stage.publisher.close(End::Deleted).await;
    stage.tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_stream_becomes_frames() {
    let mut stage = stage();
    let packets = packets();
    tokio::task::block_in_place(|| {
        let client = &mut stage.client;
        connect(client);
        let mut due = Instant::now();
        for (sequence, packet) in (1000..).zip(&packets) {
            client.send(sequence, packet);
            if packet.marker {
                due += Duration::from_millis(33);
                client.run(due);
            }
        }
        client.run(Instant::now() + Duration::from_millis(300));
    });
    assert_eq!(stage.events.recv().await, Some(Event::Connected));
    assert_eq!(
        stage.events.recv().await,
        Some(Event::Track(Kind::Video, Codec::H264))
    );
    let frames = stage.frames.lock().unwrap().clone();
    let shape: Vec<_> = frames
        .iter()
        .map(|f| (f.timestamp, f.keyframe, f.data.len(), f.ends.len()))
        .collect();
    assert_eq!(frames.len(), 60, "{shape:?}");
    assert!(frames[0].keyframe && frames[30].keyframe && !frames[1].keyframe);
    assert!(frames.is_sorted_by_key(|frame| frame.timestamp));
    let span = frames[59].pts.saturating_sub(frames[0].pts);
    assert!(span.abs_diff(Duration::from_millis(59 * 1000 / 30)) < Duration::from_millis(50));
    assert_eq!(stage.publisher.statistics().packets, packets.len() as u64);
    assert_eq!(stage.publisher.statistics().lost, 0);
    stage.publisher.close(End::Deleted).await;
    tokio::task::block_in_place(|| {
        stage
            .client
            .run(Instant::now() + Duration::from_millis(300))
    });
    assert!(
        !stage.client.peer.rtc.is_alive(),
        "close_notify ends the peer"
    );
    assert_eq!(stage.events.recv().await, Some(Event::Closed(End::Deleted)));
    stage.tasks.shutdown().await;
}

/// Sends packets at their pace, with these sequence numbers.
fn send_all(client: &mut Client, sequences: impl Iterator<Item = u64>, packets: &[RtpPacket]) {
    let mut due = Instant::now();
    for (sequence, packet) in sequences.zip(packets) {
        client.send(sequence, packet);
        if packet.marker {
            due += Duration::from_millis(33);
            client.run(due);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_may_continue_under_another_ssrc() {
    let mut stage = stage();
    let packets = packets();
    let made = |stage: &Stage| stage.frames.lock().unwrap().clone();
    tokio::task::block_in_place(|| {
        connect(&mut stage.client);
        send_all(&mut stage.client, 3000.., &packets);
        for round in 1..4 {
            stage.client.change_ssrc();
            let before = made(&stage).len();
            // Below the previous numbers, but too close to pass as a new beginning.
            send_all(&mut stage.client, 3000 - 400 * round.., &packets);
            stage
                .client
                .run(Instant::now() + Duration::from_millis(300));
            let frames = made(&stage).split_off(before);
            assert_eq!(frames.len(), 60, "round {round}");
            assert!(frames[0].keyframe && frames.is_sorted_by_key(|frame| frame.timestamp));
        }
    });
    stage.publisher.close(End::Deleted).await;
    stage.tasks.shutdown().await;
}
