//! A WebRTC client of the tests' own: publishes or receives Opus, and VP8, over loopback.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, Input, Output, Rtc,
    change::{SdpAnswer, SdpPendingOffer},
    format::PayloadParams,
    media::{Direction, Frequency, MediaKind, MediaTime, Mid},
    net::{Protocol, Receive},
};

use super::{Reply, Server};

/// Twenty milliseconds of silence.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
const FRAME: Duration = Duration::from_millis(20);
/// A whole VP8 key frame of one grey pixel.
const PIXEL: [u8; 22] = [
    0x30, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x01, 0x00, 0x01, 0x00, 0x0e, 0xc0, 0xfe, 0x25, 0xa4, 0x00,
    0x03, 0x70, 0x00, 0x00, 0x00, 0x00,
];
/// There is a picture with every so many pieces of sound.
const PICTURE_EVERY: u32 = 5;

/// What other threads see of a client, and can ask of it.
#[derive(Default)]
pub struct Seen {
    pub connected: AtomicBool,
    pub closed: AtomicBool,
    pub packets: AtomicU64,
    mute: AtomicBool,
    blind: AtomicBool,
    quit: AtomicBool,
}

/// A client that runs on a thread of its own until it is dropped.
pub struct Client {
    pub session: String,
    pub answer: String,
    pub seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Publishes sound to `path`; fails the test if the server refuses.
    pub fn publish(server: &Server, path: &str) -> Self {
        Self::start(server, path, Direction::SendOnly, false)
    }

    /// Publishes sound and announces pictures, which come after [`Client::show`].
    pub fn publish_video(server: &Server, path: &str) -> Self {
        Self::start(server, path, Direction::SendOnly, true)
    }

    /// Watches `path`.
    pub fn watch(server: &Server, path: &str) -> Self {
        Self::start(server, path, Direction::RecvOnly, false)
    }

    /// Watches `path`; the offer does not say where from.
    pub fn watch_without_candidates(server: &Server, path: &str) -> Self {
        let mut peer = Peer::new(Direction::RecvOnly, false);
        let lines = peer.offer.split_inclusive("\r\n");
        peer.offer = lines
            .filter(|line| !line.starts_with("a=candidate:"))
            .collect();
        Self::run(server, path, peer)
    }

    fn start(server: &Server, path: &str, direction: Direction, video: bool) -> Self {
        Self::run(server, path, Peer::new(direction, video))
    }

    fn run(server: &Server, path: &str, mut peer: Peer) -> Self {
        let reply: Reply = server.post_offer(path, &peer.offer).expect(201);
        peer.accept(reply.text());
        let seen = Arc::clone(&peer.seen);
        Self {
            session: reply.location(),
            answer: reply.text().to_owned(),
            seen,
            thread: Some(thread::spawn(move || peer.run())),
        }
    }

    /// Sends no more media but stays connected.
    pub fn mute(&self) {
        self.seen.mute.store(true, Ordering::Relaxed);
    }

    /// Sends pictures from now on.
    pub fn show(&self) {
        self.seen.blind.store(false, Ordering::Relaxed);
    }

    pub fn is_connected(&self) -> bool {
        self.seen.connected.load(Ordering::Relaxed)
    }

    pub fn is_closed(&self) -> bool {
        self.seen.closed.load(Ordering::Relaxed)
    }

    pub fn packets(&self) -> u64 {
        self.seen.packets.load(Ordering::Relaxed)
    }
}

impl Drop for Client {
    /// Vanishes without a word.
    fn drop(&mut self) {
        self.seen.quit.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Err: it has panicked, and said so.
            let _ = thread.join();
        }
    }
}

struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    direction: Direction,
    audio: Mid,
    video: Option<Mid>,
    offer: String,
    pending: Option<SdpPendingOffer>,
    seen: Arc<Seen>,
}

impl Peer {
    fn new(direction: Direction, video: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let codecs = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true);
        let mut rtc = codecs.build(Instant::now());
        let address = socket.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mut media = |kind| api.add_media(kind, direction, None, None, None);
        let audio = media(MediaKind::Audio);
        let video = video.then(|| media(MediaKind::Video));
        let (offer, pending) = api.apply().unwrap();
        let offer = offer.to_sdp_string();
        let (pending, seen) = (Some(pending), Arc::<Seen>::default());
        seen.blind.store(true, Ordering::Relaxed);
        Self {
            rtc,
            socket,
            direction,
            audio,
            video,
            offer,
            pending,
            seen,
        }
    }

    fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        self.rtc
            .sdp_api()
            .accept_answer(self.pending.take().unwrap(), answer)
            .unwrap();
    }

    fn run(mut self) {
        let begun = Instant::now();
        let mut sent = 0_u32;
        let mut buffer = [0; 2000];
        while !self.seen.quit.load(Ordering::Relaxed) && self.rtc.is_alive() {
            self.drain();
            if let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
                let receive = Receive {
                    proto: Protocol::Udp,
                    source,
                    destination: self.socket.local_addr().unwrap(),
                    contents: (&buffer[..length]).try_into().unwrap(),
                };
                // A session that fails shows in is_alive.
                drop(
                    self.rtc
                        .handle_input(Input::Receive(Instant::now(), receive)),
                );
            }
            drop(self.rtc.handle_input(Input::Timeout(Instant::now())));
            while begun.elapsed() >= FRAME * sent {
                sent += 1;
                self.send(sent);
            }
        }
        self.seen.closed.store(true, Ordering::Relaxed);
    }

    fn drain(&mut self) {
        while let Ok(output) = self.rtc.poll_output() {
            match output {
                Output::Timeout(_) => return,
                Output::Transmit(datagram) => {
                    let _ = self
                        .socket
                        .send_to(&datagram.contents, datagram.destination);
                }
                Output::Event(Event::Connected) => {
                    self.seen.connected.store(true, Ordering::Relaxed);
                }
                Output::Event(Event::MediaData(_)) => {
                    self.seen.packets.fetch_add(1, Ordering::Relaxed);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn send(&mut self, number: u32) {
        let quiet = self.seen.mute.load(Ordering::Relaxed);
        if self.direction != Direction::SendOnly || quiet || !self.rtc.is_connected() {
            return;
        }
        let time = MediaTime::new(u64::from(number) * 960, Frequency::FORTY_EIGHT_KHZ);
        self.write(self.audio, time, &SILENCE);
        if let Some(video) = self.video
            && !self.seen.blind.load(Ordering::Relaxed)
            && number.is_multiple_of(PICTURE_EVERY)
        {
            let time = MediaTime::new(u64::from(number) * 1800, Frequency::NINETY_KHZ);
            self.write(video, time, &PIXEL);
        }
    }

    fn write(&mut self, mid: Mid, time: MediaTime, frame: &[u8]) {
        // A session that has just been closed has no writer.
        let Some(writer) = self.rtc.writer(mid) else {
            return;
        };
        let payload_type = writer.payload_params().next().map(PayloadParams::pt);
        if let Some(payload_type) = payload_type {
            drop(writer.write(payload_type, Instant::now(), time, frame.to_vec()));
        }
    }
}
