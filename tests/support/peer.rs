//! A WebRTC client of the tests' own: publishes or receives Opus over loopback.

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
    media::{Direction, MediaKind, MediaTime, Mid},
    net::{Protocol, Receive},
};

use super::{Reply, Server};

/// Twenty milliseconds of silence.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
const FRAME: Duration = Duration::from_millis(20);

/// What other threads see of a client, and can ask of it.
#[derive(Default)]
pub struct Seen {
    pub connected: AtomicBool,
    pub closed: AtomicBool,
    pub packets: AtomicU64,
    mute: AtomicBool,
    quit: AtomicBool,
}

/// A client that runs on a thread of its own until it is dropped.
pub struct Client {
    pub session: String,
    pub seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Publishes to `path`; fails the test if the server refuses.
    pub fn publish(server: &Server, path: &str) -> Self {
        Self::start(server, path, Direction::SendOnly)
    }

    /// Watches `path`.
    pub fn watch(server: &Server, path: &str) -> Self {
        Self::start(server, path, Direction::RecvOnly)
    }

    fn start(server: &Server, path: &str, direction: Direction) -> Self {
        let mut peer = Peer::new(direction);
        let reply: Reply = server.post_offer(path, &peer.offer).expect(201);
        peer.accept(reply.text());
        let seen = Arc::clone(&peer.seen);
        Self {
            session: reply.location(),
            seen,
            thread: Some(thread::spawn(move || peer.run())),
        }
    }

    /// Sends no more media but stays connected.
    pub fn mute(&self) {
        self.seen.mute.store(true, Ordering::Relaxed);
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
    mid: Mid,
    offer: String,
    pending: Option<SdpPendingOffer>,
    seen: Arc<Seen>,
}

impl Peer {
    fn new(direction: Direction) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let mut rtc = Rtc::builder().build(Instant::now());
        let address = socket.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, direction, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let offer = offer.to_sdp_string();
        let (pending, seen) = (Some(pending), Arc::default());
        Self {
            rtc,
            socket,
            direction,
            mid,
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
        let Some(writer) = self.rtc.writer(self.mid) else {
            return;
        };
        let Some(payload) = writer.payload_params().next().map(|params| params.pt()) else {
            return;
        };
        let time = MediaTime::new(
            u64::from(number) * 960,
            str0m::media::Frequency::FORTY_EIGHT_KHZ,
        );
        writer
            .write(payload, Instant::now(), time, SILENCE.to_vec())
            .unwrap();
    }
}
