//! A client's thread: its socket, its str0m session and what it sends.

use std::{
    mem,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use str0m::{
    Rtc,
    media::{Direction, MediaKind},
    net::Transmit,
    rtp::ExtensionValues,
};

use super::{
    Mode, Seen,
    clip::Clip,
    keys::Keys,
    peer::Peer,
    raw::{self, Script},
    sending::{Playing, complaint, full_intra_request},
    wire::Wire,
};

/// The system may grant less: Linux allows 208 KiB by default.
const RECEIVE_BUFFER: usize = 4 << 20;
const RECEIVE_BUFFER_DEAF: usize = 2048;
/// Between two batches of a flood.
const FLOOD_DISTANCE: Duration = Duration::from_millis(1);
/// How often commands are checked.
const TICK: Duration = Duration::from_millis(10);
const BOTH: [MediaKind; 2] = [MediaKind::Video, MediaKind::Audio];

/// A client that waits for the answer to its offer.
pub(super) struct Offering {
    pub(super) peer: Peer,
    pub(super) socket: UdpSocket,
    pub(super) keys: Keys,
    pub(super) offer: String,
    /// How it takes the answer.
    pub(super) accept: fn(&mut Peer, &str),
}

pub(super) struct Connection {
    peer: Peer,
    socket: UdpSocket,
    pub(super) offer: String,
    pub(super) seen: Arc<Seen>,
    accept: fn(&mut Peer, &str),
    playing: Option<Playing>,
    /// What it sends by hand.
    script: Option<Script>,
    /// The SSRC of the incoming video, and where it comes from.
    watched: Option<u32>,
    target: Option<SocketAddr>,
    flood: Option<aerial::for_tests::Sender>,
    /// When the next batch of a flood goes.
    flood_at: Instant,
}

pub(super) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
    socket
}

impl Offering {
    /// Offers the clip's codec, and Opus; without a clip, everything that str0m knows.
    fn new(direction: Direction, clip: Option<&'static Clip>, kinds: &[MediaKind]) -> Self {
        let (socket, keys) = (socket(), Keys::default());
        let mut config = Rtc::builder()
            .set_crypto_provider(keys.provider())
            .set_rtp_mode(true);
        if let Some(clip) = clip {
            config = config.clear_codecs();
            clip.configure(config.codec_config());
        }
        let address = socket.local_addr().unwrap();
        let (peer, offer) = Peer::offering(&config, address, direction, kinds).unwrap();
        Self {
            peer,
            socket,
            keys,
            offer,
            accept: |peer, answer| peer.accept(answer).unwrap(),
        }
    }
}

impl Connection {
    /// Publishes this clip and silence.
    pub(super) fn publishing(clip: &'static Clip) -> Self {
        let offering = Offering::new(Direction::SendOnly, Some(clip), &BOTH);
        let [video, audio] = BOTH.map(|kind| offering.peer.mid(kind).unwrap());
        Self::of(offering, Some(Playing::new(clip, video, audio)))
    }

    /// The same, but the first keyframe is lost.
    pub(super) fn without_the_first_picture(self) -> Self {
        let lost = |playing: Playing| playing.starting_at(1, ExtensionValues::default());
        Self {
            playing: self.playing.map(lost),
            ..self
        }
    }

    /// The same, but keyframes come only when they are asked for.
    pub(super) fn on_demand(self) -> Self {
        Self {
            playing: self.playing.map(Playing::on_demand),
            ..self
        }
    }

    /// Publishes a picture of this clip every 4 s, and no sound.
    pub(super) fn showing(clip: &'static Clip) -> Self {
        let kinds = [MediaKind::Video];
        let offering = Offering::new(Direction::SendOnly, Some(clip), &kinds);
        let video = offering.peer.mid(MediaKind::Video).unwrap();
        Self::of(offering, Some(Playing::slides(clip, video)))
    }

    /// Publishes silence.
    pub(super) fn talking() -> Self {
        let offering = Offering::new(Direction::SendOnly, None, &[MediaKind::Audio]);
        let audio = offering.peer.mid(MediaKind::Audio).unwrap();
        Self::of(offering, Some(Playing::without_pictures(audio)))
    }

    /// Accepts everything, or only this clip's codec.
    pub(super) fn watching(clip: Option<&'static Clip>) -> Self {
        Self::of(Offering::new(Direction::RecvOnly, clip, &BOTH), None)
    }

    /// Accepts sound only.
    pub(super) fn listening() -> Self {
        let kinds = [MediaKind::Audio];
        Self::of(Offering::new(Direction::RecvOnly, None, &kinds), None)
    }

    /// Sends this script.
    pub(super) fn scripted(offer: &str, script: Script) -> Self {
        Self {
            script: Some(script),
            ..Self::of(raw::offering(offer), None)
        }
    }

    pub(super) fn of(offering: Offering, playing: Option<Playing>) -> Self {
        let Offering {
            peer,
            socket,
            keys,
            offer,
            accept,
        } = offering;
        let seen = Arc::new(Seen {
            keys,
            wire: Wire::new(&socket),
            ..Seen::default()
        });
        Self {
            peer,
            socket,
            offer,
            seen,
            accept,
            playing,
            script: None,
            watched: None,
            target: None,
            flood: None,
            flood_at: Instant::now(),
        }
    }

    pub(super) fn answered(&mut self, answer: &str) {
        (self.accept)(&mut self.peer, answer);
    }

    /// A check that it would send now.
    pub(super) fn check(mut self) -> Vec<u8> {
        let mut now = Instant::now();
        let mut check = None;
        while check.is_none() {
            now += TICK;
            self.peer.tick(now).unwrap();
            let send = |out: &Transmit| {
                check = Some(out.contents.to_vec());
                Ok(())
            };
            self.peer.poll(send, |_| {}).unwrap();
        }
        check.unwrap()
    }

    pub(super) fn run(mut self) {
        let mut before = Mode::Normal;
        loop {
            let mode = *self.seen.mode.lock().unwrap();
            if mode != before {
                self.change(mode);
                before = mode;
            }
            if mode == Mode::Vanish {
                return;
            }
            let now = Instant::now();
            self.send_due(now, mode);
            let wake = self.drain(mode);
            if !self.peer.rtc.is_alive() {
                self.seen.closed.store(true, Relaxed);
                return;
            }
            let media = self.playing.as_ref().map_or(now + TICK, Playing::due);
            let media = if mode.sends() { media } else { now + TICK };
            let scripted = self.script.as_ref().and_then(Script::due);
            let due = wake.min(media).min(now + TICK);
            let due = scripted.map_or(due, |scripted| due.min(scripted));
            let wait = due.saturating_duration_since(now);
            let wait = wait.max(Duration::from_millis(1));
            if mode == Mode::Deaf {
                thread::sleep(wait);
            } else {
                self.receive(wait);
            }
            let _ = self.peer.tick(Instant::now());
        }
    }

    fn change(&mut self, mode: Mode) {
        match mode {
            Mode::Close => self.peer.rtc.close().unwrap(),
            Mode::Flood(_) | Mode::Refresh => self.flood = self.seen.keys.sender(),
            Mode::Deaf => {
                let options = socket2::SockRef::from(&self.socket);
                options.set_recv_buffer_size(RECEIVE_BUFFER_DEAF).unwrap();
            }
            Mode::Normal
            | Mode::Rapid
            | Mode::Reduced
            | Mode::Blind
            | Mode::Mute
            | Mode::Silent
            | Mode::Vanish => {}
        }
    }

    /// Sends everything that str0m has ready. Returns when it wants to be called again.
    fn drain(&mut self, mode: Mode) -> Instant {
        let silent = mode == Mode::Silent;
        let Self {
            peer,
            socket,
            seen,
            watched,
            target,
            ..
        } = self;
        let send = |out: &Transmit| {
            *target = Some(out.destination);
            // RFC 3550 §5.1: version 2 with the extension bit.
            if out.contents[0] & 0xf0 == 0x90 {
                seen.extensions.store(true, Relaxed);
            }
            if silent {
                return Ok(());
            }
            seen.wire.note(&out.contents, out.destination);
            // Err: the other side is already gone.
            let _ = socket.send_to(&out.contents, out.destination);
            Ok(())
        };
        let due = peer.poll(send, |event| *watched = seen.note(event).or(*watched));
        due.unwrap_or_else(|_| Instant::now())
    }

    fn receive(&mut self, wait: Duration) {
        let mut buffer = [0; 2000];
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let Ok((length, source)) = self.socket.recv_from(&mut buffer) else {
            return;
        };
        // RFC 6347 §4.3.1, RFC 5246 §7.2: 21 is an alert.
        if buffer[0] == 21 {
            self.seen.goodbye.store(true, Relaxed);
        }
        // A session that fails shows in is_alive.
        let _ = self.peer.receive(Instant::now(), source, &buffer[..length]);
    }

    fn send_due(&mut self, now: Instant, mode: Mode) {
        match mode {
            Mode::Flood(packets) if self.flood_at <= now => {
                self.flood_at = now + FLOOD_DISTANCE;
                self.complain(packets, |media, newest, round| {
                    complaint(media, newest, round % 4 == 0)
                });
            }
            Mode::Refresh => self.complain(1, |media, _, _| full_intra_request(media)),
            _ => {}
        }
        if let (Some(script), Some(target)) = (&mut self.script, self.target)
            && self.peer.rtc.is_connected()
        {
            let missed = mem::take(&mut *self.seen.missed.lock().unwrap());
            for datagram in script.take(&self.seen.keys, now, &missed) {
                // Err: the other side is already gone.
                let _ = self.socket.send_to(&datagram, target);
            }
            self.seen.done.store(script.is_over(), Relaxed);
            let late = u64::try_from(script.late().as_millis()).unwrap();
            self.seen.late.store(late, Relaxed);
        }
        if let Some(playing) = &mut self.playing
            && mode.sends()
            && self.peer.rtc.is_connected()
        {
            playing.layers_max = match mode {
                Mode::Reduced => 1,
                Mode::Blind => 0,
                _ => usize::MAX,
            };
            playing.asked(self.seen.keyframe_requests.lock().unwrap().len());
            if mode == Mode::Rapid {
                playing.hurry(&mut self.peer.rtc, now);
            }
            playing.send(&mut self.peer.rtc, now);
            self.seen.pictures.store(playing.pictures.into(), Relaxed);
        }
    }

    /// Sends one batch of a flood of feedback.
    fn complain(&mut self, count: usize, packet: impl Fn(u32, u64, usize) -> Vec<u8>) {
        let newest = self.seen.video.lock().unwrap().packets.last().copied();
        let (Some(sender), Some(media), Some(target), Some(newest)) =
            (self.flood.as_mut(), self.watched, self.target, newest)
        else {
            return;
        };
        for round in 0..count {
            let mut packet = packet(media, newest, round);
            sender.protect_rtcp(&mut packet).unwrap();
            // Err: the buffer is full, which serves the purpose too.
            let _ = self.socket.send_to(&packet, target);
            self.seen.flooded.fetch_add(1, Relaxed);
        }
    }
}
