//! A WebRTC client over loopback that can behave well or badly: str0m in place of a browser.

pub(crate) mod clip;
mod connection;
mod keys;
pub(crate) mod obs;
#[path = "../../src/testing/peer.rs"]
mod peer;
pub(crate) mod raw;
mod received;
mod sending;
pub(crate) mod wire;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use str0m::{
    Event,
    bwe::BweKind,
    crypto::dtls::SrtpProfile,
    media::KeyframeRequestKind,
    rtp::{RawPacket, rtcp::Rtcp},
};

use crate::{
    networks::Relay,
    support::{Reply, Server, wait_for},
};
use clip::Clip;
use connection::Connection;
use raw::Script;
pub(crate) use received::{KeptPacket, Received};
use wire::Wire;

/// How a client behaves from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Normal,
    /// Sends only the first layer of a simulcast picture.
    Reduced,
    /// Sends sound, and no picture.
    Blind,
    /// Sends no media but stays connected.
    Mute,
    /// Sends nothing at all, and still listens.
    Silent,
    /// Never reads its socket again, and keeps up its consent checks for as long as str0m does.
    Deaf,
    /// Requests every packet and keyframes all the time, with this many packets a millisecond.
    Flood(usize),
    /// Requests keyframes by FIR all the time.
    Refresh,
    /// Sends pictures as fast as it can: thousands a second.
    Rapid,
    /// Says goodbye (DTLS `close_notify`) and ends.
    Close,
    /// Ends silently.
    Vanish,
}

impl Mode {
    /// Whether it sends media, if it has any.
    const fn sends(self) -> bool {
        matches!(
            self,
            Self::Normal | Self::Reduced | Self::Blind | Self::Rapid
        )
    }
}

/// A client's state, shared with other threads.
#[derive(Default)]
pub(crate) struct Seen {
    mode: Mutex<Mode>,
    connected: AtomicBool,
    closed: AtomicBool,
    /// Whether a DTLS alert was received.
    goodbye: AtomicBool,
    video: Mutex<Received>,
    audio: Mutex<Received>,
    flooded: AtomicU64,
    keyframe_requests: Mutex<Vec<Instant>>,
    /// How many of them were FIRs.
    firs: AtomicU64,
    /// The last bit rate that was asked for (REMB); 0 if none was.
    asked_bitrate: AtomicU64,
    pictures: AtomicU64,
    /// Whether it has sent packets with header extensions.
    extensions: AtomicBool,
    /// The packets it was asked to send again.
    missed: Mutex<Vec<raw::Name>>,
    /// Whether everything in its script has been sent.
    done: AtomicBool,
    /// How late a packet of its script was at worst, in milliseconds.
    late: AtomicU64,
    /// Whether it keeps what it receives.
    keeps: AtomicBool,
    keys: keys::Keys,
    wire: Wire,
}

impl Seen {
    /// Notes an event. Returns the SSRC if it is a packet of the picture.
    fn note(&self, event: Event) -> Option<u32> {
        match event {
            Event::Connected => self.connected.store(true, Relaxed),
            Event::KeyframeRequest(request) => {
                if request.kind == KeyframeRequestKind::Fir {
                    self.firs.fetch_add(1, Relaxed);
                }
                let mut requests = self.keyframe_requests.lock().unwrap();
                requests.push(Instant::now());
            }
            // Of a publisher that str0m does not know to send anything.
            Event::RawPacket(packet) => match *packet {
                RawPacket::RtcpRx(Rtcp::Pli(_) | Rtcp::Fir(_)) => {
                    let mut requests = self.keyframe_requests.lock().unwrap();
                    requests.push(Instant::now());
                }
                RawPacket::RtcpRx(Rtcp::Nack(nack)) => {
                    self.missed.lock().unwrap().extend(raw::missed(&nack));
                }
                _ => {}
            },
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) => {
                self.asked_bitrate.store(estimate.as_u64(), Relaxed);
            }
            Event::RtpPacket(packet) => {
                let audio = packet.header.payload_type == clip::AUDIO.into();
                let track = if audio { &self.audio } else { &self.video };
                let mut track = track.lock().unwrap();
                track.reported |= packet.last_sender_info.is_some();
                track.packets.insert(*packet.seq_no);
                if track.packets.first() == Some(&*packet.seq_no) {
                    track.beginning = packet.payload.to_vec();
                }
                track.frames.insert(packet.time.numer());
                if self.keeps.load(Relaxed) {
                    let kept = KeptPacket {
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        payload_type: *packet.header.payload_type,
                        payload: packet.payload.to_vec(),
                    };
                    track.kept.insert(*packet.seq_no, kept);
                }
                return (!audio).then_some(*packet.header.ssrc);
            }
            _ => {}
        }
        None
    }
}

/// A client that runs on a thread of its own until it is dropped.
pub(crate) struct Client {
    pub(crate) session: String,
    pub(crate) answer: String,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Publishes `clip` and silence.
    pub(crate) fn publish(server: &Server, broadcast: &str, clip: &'static Clip) -> Self {
        Self::publish_in(Mode::Normal, server, broadcast, clip)
    }

    /// Publishes in this mode from the first moment.
    pub(crate) fn publish_in(
        mode: Mode,
        server: &Server,
        broadcast: &str,
        clip: &'static Clip,
    ) -> Self {
        let connection = Connection::publishing(clip);
        *connection.seen.mode.lock().unwrap() = mode;
        Self::start(server, &format!("/whip/{broadcast}"), connection)
    }

    /// Publishes from the second picture on, which depends on the first. `adjust` changes its offer.
    pub(crate) fn publish_incomplete(
        server: &Server,
        broadcast: &str,
        clip: &'static Clip,
        adjust: impl Fn(&str) -> String,
    ) -> Self {
        let mut connection = Connection::publishing(clip).without_the_first_picture();
        connection.offer = adjust(&connection.offer);
        Self::start(server, &format!("/whip/{broadcast}"), connection)
    }

    /// Publishes with keyframes only when they are asked for, and waits until that can be watched.
    pub(crate) fn live_on_demand(server: &Server, broadcast: &str, clip: &'static Clip) -> Self {
        let connection = Connection::publishing(clip).on_demand();
        let client = Self::start(server, &format!("/whip/{broadcast}"), connection);
        server.wait_for_state(broadcast, "live");
        client
    }

    /// Publishes through a bad network.
    pub(crate) fn publish_through(
        server: &Server,
        broadcast: &str,
        clip: &'static Clip,
        relay: &Relay,
    ) -> Self {
        let mut connection = Connection::publishing(clip);
        connection.offer = Relay::offer(&connection.offer);
        let adjust = |answer: &str| relay.answer(answer);
        Self::negotiate(server, &format!("/whip/{broadcast}"), connection, adjust)
    }

    /// Publishes and waits until the broadcast can be watched.
    pub(crate) fn live(server: &Server, broadcast: &str, clip: &'static Clip) -> Self {
        let client = Self::publish(server, broadcast, clip);
        server.wait_for_state(broadcast, "live");
        client
    }

    /// Publishes a picture every 4 s, without sound.
    pub(crate) fn show(server: &Server, broadcast: &str, clip: &'static Clip) -> Self {
        let connection = Connection::showing(clip);
        Self::start(server, &format!("/whip/{broadcast}"), connection)
    }

    /// Publishes silence and no picture.
    pub(crate) fn talk(server: &Server, broadcast: &str) -> Self {
        Self::start(server, &format!("/whip/{broadcast}"), Connection::talking())
    }

    /// Publishes this script with this offer.
    pub(crate) fn publish_script(
        server: &Server,
        broadcast: &str,
        offer: &str,
        script: Script,
    ) -> Self {
        let connection = Connection::scripted(offer, script);
        Self::start(server, &format!("/whip/{broadcast}"), connection)
    }

    /// Watches and keeps every packet.
    pub(crate) fn record(server: &Server, broadcast: &str) -> Self {
        let connection = Connection::watching(None);
        connection.seen.keeps.store(true, Relaxed);
        Self::start(server, &format!("/whep/{broadcast}"), connection)
    }

    pub(crate) fn watch(server: &Server, broadcast: &str) -> Self {
        let connection = Connection::watching(None);
        Self::start(server, &format!("/whep/{broadcast}"), connection)
    }

    /// Watches through a bad network.
    pub(crate) fn watch_through(server: &Server, broadcast: &str, relay: &Relay) -> Self {
        let mut connection = Connection::watching(None);
        connection.offer = Relay::offer(&connection.offer);
        let adjust = |answer: &str| relay.answer(answer);
        Self::negotiate(server, &format!("/whep/{broadcast}"), connection, adjust)
    }

    /// Watches through this network; `post` sends the offer.
    pub(crate) fn watch_by(relay: &Relay, post: impl FnOnce(&str) -> Reply) -> Self {
        let mut connection = Connection::watching(None);
        connection.offer = Relay::offer(&connection.offer);
        Self::converse(connection, post, |answer| relay.answer(answer))
    }

    /// Watches, and accepts only this clip's codec.
    pub(crate) fn watch_only(server: &Server, broadcast: &str, clip: &'static Clip) -> Self {
        let connection = Connection::watching(Some(clip));
        Self::start(server, &format!("/whep/{broadcast}"), connection)
    }

    /// Begins to watch and never connects. Returns the answer, and a valid check.
    pub(crate) fn ask_to_watch(server: &Server, broadcast: &str) -> (String, Vec<u8>) {
        let mut connection = Connection::watching(None);
        let path = format!("/whep/{broadcast}");
        let reply = server.post_offer(&path, &connection.offer).expect(201);
        connection.answered(reply.text());
        (reply.text().to_owned(), connection.check())
    }

    /// Accepts sound only.
    pub(crate) fn listen(server: &Server, broadcast: &str) -> Self {
        let connection = Connection::listening();
        Self::start(server, &format!("/whep/{broadcast}"), connection)
    }

    /// Accepts sound only; its offer has no candidates.
    pub(crate) fn listen_without_candidates(server: &Server, broadcast: &str) -> Self {
        let mut connection = Connection::listening();
        let lines = connection.offer.split_inclusive("\r\n");
        connection.offer = lines
            .filter(|line| !line.starts_with("a=candidate:"))
            .collect();
        Self::start(server, &format!("/whep/{broadcast}"), connection)
    }

    fn start(server: &Server, path: &str, connection: Connection) -> Self {
        Self::negotiate(server, path, connection, str::to_owned)
    }

    /// Comes back when a busy server says so: processes with GStreamer start in turns.
    fn negotiate(
        server: &Server,
        path: &str,
        connection: Connection,
        adjust: impl FnOnce(&str) -> String,
    ) -> Self {
        let post = |offer: &str| {
            wait_for("a server with room", || {
                let reply = server.post_offer(path, offer);
                let later = reply.status == 503;
                if later {
                    thread::sleep(Duration::from_millis(200));
                }
                (!later).then_some(reply)
            })
        };
        Self::converse(connection, post, adjust)
    }

    fn converse(
        mut connection: Connection,
        post: impl FnOnce(&str) -> Reply,
        adjust: impl FnOnce(&str) -> String,
    ) -> Self {
        let reply = post(&connection.offer).expect(201);
        connection.answered(&adjust(reply.text()));
        Self {
            session: reply.location(),
            answer: reply.text().to_owned(),
            seen: Arc::clone(&connection.seen),
            thread: Some(thread::spawn(move || connection.run())),
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.seen.mode.lock().unwrap() = mode;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.seen.connected.load(Relaxed)
    }

    /// Whether everything in its script has been sent.
    pub(crate) fn is_done(&self) -> bool {
        self.seen.done.load(Relaxed)
    }

    /// How late a packet of its script was, at worst.
    pub(crate) fn lateness(&self) -> Duration {
        Duration::from_millis(self.seen.late.load(Relaxed))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.seen.closed.load(Relaxed)
    }

    /// Whether the server has said goodbye.
    pub(crate) fn heard_goodbye(&self) -> bool {
        self.seen.goodbye.load(Relaxed)
    }

    pub(crate) fn video(&self) -> Received {
        self.seen.video.lock().unwrap().clone()
    }

    pub(crate) fn audio(&self) -> Received {
        self.seen.audio.lock().unwrap().clone()
    }

    pub(crate) fn srtp_profile(&self) -> Option<SrtpProfile> {
        self.seen.keys.profile()
    }

    /// Pictures sent.
    pub(crate) fn pictures(&self) -> usize {
        self.seen.pictures.load(Relaxed).try_into().unwrap()
    }

    /// Whether it has sent packets with header extensions.
    pub(crate) fn sent_extensions(&self) -> bool {
        self.seen.extensions.load(Relaxed)
    }

    /// What it has sent, and a way to send more from its address.
    pub(crate) fn wire(&self) -> &Wire {
        &self.seen.wire
    }

    /// Packets sent in [`Mode::Flood`].
    pub(crate) fn flooded(&self) -> u64 {
        self.seen.flooded.load(Relaxed)
    }

    /// The bit rate that it was last asked for; 0 if it was not.
    pub(crate) fn asked_bitrate(&self) -> u64 {
        self.seen.asked_bitrate.load(Relaxed)
    }

    /// How many keyframes the server requested by FIR.
    pub(crate) fn firs(&self) -> u64 {
        self.seen.firs.load(Relaxed)
    }

    /// When the server requested keyframes.
    pub(crate) fn keyframe_requests(&self) -> Vec<Instant> {
        self.seen.keyframe_requests.lock().unwrap().clone()
    }

    /// Pictures received.
    pub(crate) fn seen_pictures(&self) -> usize {
        self.seen.video.lock().unwrap().frames.len()
    }

    pub(crate) fn frames(&self) -> (usize, usize) {
        let video = self.seen.video.lock().unwrap().frames.len();
        (video, self.seen.audio.lock().unwrap().frames.len())
    }

    /// Waits for this many more frames of video and audio.
    pub(crate) fn wait_for_frames(&self, more: usize) {
        let (video, audio) = self.frames();
        self.wait_for_frames_after(video, audio, more);
    }

    fn wait_for_frames_after(&self, video: usize, audio: usize, more: usize) {
        let what = format!("{more} more frames after {video} and {audio}");
        wait_for(&what, || {
            let now = self.frames();
            (now.0 >= video + more && now.1 >= audio + more).then_some(())
        });
    }

    /// Waits for this many more frames of sound.
    pub(crate) fn wait_for_sound(&self, more: usize) {
        let (_, before) = self.frames();
        wait_for(&format!("{more} more sounds after {before}"), || {
            (self.frames().1 >= before + more).then_some(())
        });
    }

    pub(crate) fn wait_for_goodbye(&self) {
        wait_for("goodbye", || self.heard_goodbye().then_some(()));
    }

    /// Waits until no packet is missing, counting retransmissions.
    pub(crate) fn wait_for_all(&self) {
        wait_for("every packet", || {
            (self.video().missing() == 0 && self.audio().missing() == 0).then_some(())
        });
    }
}

/// Waits until each viewer has received this many more frames without a gap.
pub(crate) fn wait_for_frames_of_all(viewers: &[Client], more: usize) {
    let before: Vec<_> = viewers.iter().map(Client::frames).collect();
    for (viewer, (video, audio)) in viewers.iter().zip(before) {
        viewer.wait_for_frames_after(video, audio, more);
        viewer.wait_for_all();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.set(Mode::Vanish);
        if let Some(thread) = self.thread.take() {
            // Err: it has panicked and printed why.
            let _ = thread.join();
        }
    }
}
