//! A client's thread: its socket, its str0m session and what it sends.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, Input, Output, Rtc,
    change::SdpAnswer,
    media::{Direction, MediaKind},
    net::{Protocol, Receive},
};

use super::{
    Mode, Seen,
    clip::{AUDIO, Clip},
    keys::Keys,
    sending::{Playing, complaint},
    wire::Wire,
};

/// A system gives what it allows: on Linux 208 KiB by default.
const RECEIVE_BUFFER: usize = 4 << 20;
const RECEIVE_BUFFER_DEAF: usize = 2048;
/// How often orders are looked at.
const TICK: Duration = Duration::from_millis(10);
/// Feedback packets per millisecond of a flood.
const FLOOD: usize = 20;

/// How a client takes the answer.
pub(super) type Accept = Box<dyn FnOnce(&mut Rtc, &str) + Send>;

pub(super) struct Connection {
    rtc: Rtc,
    socket: UdpSocket,
    pub(super) offer: String,
    pub(super) seen: Arc<Seen>,
    accept: Option<Accept>,
    playing: Option<Playing>,
    /// The SSRC of the video that comes, and where it comes from.
    watched: Option<u32>,
    target: Option<SocketAddr>,
    flood: Option<aerial::peer::srtp::Sender>,
}

pub(super) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
    socket
}

impl Connection {
    pub(super) fn new(direction: Direction, clip: Option<&'static Clip>) -> Self {
        let socket = socket();
        let keys = Keys::default();
        let mut config = Rtc::builder()
            .set_crypto_provider(keys.provider())
            .set_rtp_mode(true);
        if let Some(clip) = clip {
            config = config.clear_codecs();
            clip.configure(config.codec_config());
        }
        let mut rtc = config.build(Instant::now());
        let address = socket.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let video = api.add_media(MediaKind::Video, direction, None, None, None);
        let audio = api.add_media(MediaKind::Audio, direction, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        if video == audio {
            // str0m draws three characters at random.
            return Self::new(direction, clip);
        }
        // A viewer only offers what the clip is encoded with.
        let clip = clip.filter(|_| direction == Direction::SendOnly);
        let playing = clip.map(|clip| Playing::new(clip, video, audio));
        let accept = Box::new(|rtc: &mut Rtc, answer: &str| {
            let answer = SdpAnswer::from_sdp_string(answer).unwrap();
            rtc.sdp_api().accept_answer(pending, answer).unwrap();
        });
        let offer = (offer.to_sdp_string(), accept as Accept);
        Self::of((rtc, socket, keys), offer, playing)
    }

    pub(super) fn of(
        (rtc, socket, keys): (Rtc, UdpSocket, Keys),
        (offer, accept): (String, Accept),
        playing: Option<Playing>,
    ) -> Self {
        let seen = Arc::new(Seen {
            keys,
            wire: Wire::new(&socket),
            ..Seen::default()
        });
        Self {
            rtc,
            socket,
            offer,
            seen,
            accept: Some(accept),
            playing,
            watched: None,
            target: None,
            flood: None,
        }
    }

    pub(super) fn answered(&mut self, answer: &str) {
        (self.accept.take().unwrap())(&mut self.rtc, answer);
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
            let wake = self.drain();
            if !self.rtc.is_alive() {
                self.seen.closed.store(true, Relaxed);
                return;
            }
            let media = self.playing.as_ref().map_or(now + TICK, Playing::due);
            let media = if mode.sends() { media } else { now + TICK };
            let due = wake.min(media).min(now + TICK);
            let wait = due.saturating_duration_since(now);
            let wait = wait.max(Duration::from_millis(1));
            if mode == Mode::Deaf {
                thread::sleep(wait);
            } else {
                self.receive(wait);
            }
            // A session that fails shows in is_alive.
            let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
        }
    }

    fn change(&mut self, mode: Mode) {
        match mode {
            Mode::Close => self.rtc.close().unwrap(),
            Mode::Flood => self.flood = self.seen.keys.sender(),
            Mode::Deaf => {
                let options = socket2::SockRef::from(&self.socket);
                options.set_recv_buffer_size(RECEIVE_BUFFER_DEAF).unwrap();
            }
            Mode::Normal | Mode::Reduced | Mode::Mute | Mode::Vanish => {}
        }
    }

    /// Sends what str0m has to send; when it wants to be called again.
    fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(wake)) => return wake,
                Ok(Output::Transmit(out)) => {
                    self.target = Some(out.destination);
                    // RFC 3550 §5.1: version 2 with the extension bit.
                    if out.contents[0] & 0xf0 == 0x90 {
                        self.seen.extensions.store(true, Relaxed);
                    }
                    self.seen.wire.note(&out.contents, out.destination);
                    // Err: the other side has gone already.
                    let _ = self.socket.send_to(&out.contents, out.destination);
                }
                Ok(Output::Event(event)) => self.note(event),
                Err(_) => return Instant::now(),
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => self.seen.connected.store(true, Relaxed),
            Event::KeyframeRequest(_) => {
                let mut requests = self.seen.keyframe_requests.lock().unwrap();
                requests.push(Instant::now());
            }
            Event::RtpPacket(packet) => {
                let audio = packet.header.payload_type == AUDIO.into();
                if !audio {
                    self.watched = Some(*packet.header.ssrc);
                }
                let track = if audio {
                    &self.seen.audio
                } else {
                    &self.seen.video
                };
                let mut track = track.lock().unwrap();
                track.reported |= packet.last_sender_info.is_some();
                track.packets.insert(*packet.seq_no);
                if track.packets.first() == Some(&*packet.seq_no) {
                    track.beginning = packet.payload.to_vec();
                }
                track.frames.insert(packet.time.numer());
            }
            _ => {}
        }
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
        let Ok(contents) = (&buffer[..length]).try_into() else {
            return;
        };
        let receive = Receive {
            proto: Protocol::Udp,
            source,
            destination: self.socket.local_addr().unwrap(),
            contents,
        };
        let _ = self
            .rtc
            .handle_input(Input::Receive(Instant::now(), receive));
    }

    fn send_due(&mut self, now: Instant, mode: Mode) {
        if mode == Mode::Flood {
            self.complain();
        }
        if let Some(playing) = &mut self.playing
            && mode.sends()
            && self.rtc.is_connected()
        {
            playing.reduced = mode == Mode::Reduced;
            playing.send(&mut self.rtc, now);
            self.seen.pictures.store(playing.pictures.into(), Relaxed);
        }
    }

    /// One share of a flood of feedback.
    fn complain(&mut self) {
        let newest = self.seen.video.lock().unwrap().packets.last().copied();
        let (Some(sender), Some(media), Some(target), Some(newest)) =
            (self.flood.as_mut(), self.watched, self.target, newest)
        else {
            return;
        };
        for round in 0..FLOOD {
            let mut packet = complaint(media, newest, round % 4 == 0);
            sender.protect_rtcp(&mut packet).unwrap();
            // Err: the buffer is full, which is as good.
            let _ = self.socket.send_to(&packet, target);
            self.seen.flooded.fetch_add(1, Relaxed);
        }
    }
}
