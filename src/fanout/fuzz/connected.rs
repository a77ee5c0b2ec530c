//! A viewer on a worker, connected to a client that can say anything.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use str0m::media::Direction;
use tokio::sync::mpsc;

use super::super::{
    Layer, OfferedTracks, Options, Rendition, Timeouts,
    direct::{self, DirectViewer, Joining},
    message::Message,
    statistics::Totals,
    tracks,
    worker::Worker,
};
use crate::{
    media::{Codec, Frame, Kind},
    peer::{
        Event,
        sdp::{self, Offer, Role},
        session::{
            Incoming, PeerSession,
            fuzz::{
                Step,
                peer::{Adversary, port},
                steps,
            },
        },
        udp::{Datagram, DatagramLimits, DatagramRoute, Port},
    },
    playout::ViewerCounters,
};

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(33);
/// One frame in this many is a keyframe.
const GOP: u64 = 8;

/// A worker with one viewer of simulcast video and of audio.
struct Stage {
    worker: Worker,
    viewer: u64,
    counters: Arc<ViewerCounters>,
    /// SSRCs of the streams sent to it.
    ssrcs: Vec<u32>,
    renditions: Vec<(Codec, Rendition)>,
    frames: u64,
    now: Instant,
    begun: Instant,
}

/// No bytes from a viewer's address end its session, whatever they ask for. Returns the number of
/// retransmitted packets and requested keyframes.
///
/// # Errors
/// If the connection cannot be made.
pub(crate) fn viewer(data: &[u8]) -> io::Result<u64> {
    let mut peer = Adversary::new(Direction::RecvOnly)?;
    let (events, mut received) = mpsc::channel(16);
    let (mut stage, answer) = Stage::new(&peer.offer, events).map_err(io::Error::other)?;
    let (mut now, mut connected) = (stage.now, false);
    peer.connect(&mut now, &answer, |now, sender, datagram| {
        stage.now = now;
        stage.datagram(sender, datagram.to_vec());
        connected |= received.try_recv() == Ok(Event::Connected);
        connected
    })?;
    stage.frame(&[]);
    for step in steps(data) {
        let datagram = match step {
            Step::Rtcp(bytes) => {
                let newest = peer.newest(&stage.ssrcs);
                peer.rtcp(&aimed(bytes, &stage.ssrcs, newest))
            }
            Step::Rtp(bytes) => peer.rtp(bytes),
            Step::Forged(bytes) => Some(bytes.to_vec()),
            Step::Time(later, bytes) => {
                stage.now += later;
                stage.frame(bytes);
                None
            }
        };
        if let Some(datagram) = datagram {
            stage.datagram(peer.address, datagram);
        }
        while received.try_recv().is_ok() {}
        assert!(stage.worker.serves(stage.viewer), "the session has ended");
    }
    let asked = stage.counters.keyframe_requests.load(Ordering::Relaxed);
    Ok(asked + stage.counters.retransmitted.load(Ordering::Relaxed))
}

/// RTCP about existing streams: an SSRC of 1 stands for the first stream, and a first NACK counts
/// back from the newest packet.
fn aimed(bytes: &[u8], ssrcs: &[u32], newest: u16) -> Vec<u8> {
    let mut words: Vec<[u8; 4]> = bytes.as_chunks().0.to_vec();
    let nack = words
        .first()
        .is_some_and(|word| word[0] & 31 == 1 && word[1] == 205);
    for (at, word) in words.iter_mut().enumerate() {
        let stream = u32::from_be_bytes(*word).wrapping_sub(1);
        if let Some(ssrc) = usize::try_from(stream).ok().and_then(|at| ssrcs.get(at)) {
            *word = ssrc.to_be_bytes();
        } else if nack && at > 2 {
            let back = u16::from_be_bytes([word[0], word[1]]);
            [word[0], word[1]] = newest.wrapping_sub(back).to_be_bytes();
        }
    }
    words.concat()
}

impl Stage {
    /// The stage, and the answer to the viewer's offer.
    fn new(offer: &str, events: mpsc::Sender<Event>) -> Result<(Self, String), sdp::Error> {
        let refused = |error: io::Error| sdp::Error::Unsupported(error.to_string());
        let (port, now) = (port().map_err(refused)?, Instant::now());
        let offer = Offer::parse(offer.as_bytes(), Role::Viewer)?;
        let rendition =
            |kind| Rendition::new(port.next_session(), kind, Arc::from([]), Arc::default());
        let audio = rendition(Kind::Audio);
        let layers = ["high", "low"].map(|rid| Layer {
            rid: rid.to_owned(),
            rendition: rendition(Kind::Video),
        });
        let [high, low] = &layers;
        let tracks = OfferedTracks {
            video: Some((Codec::Vp8, &high.rendition)),
            audio: Some((Codec::Opus, &audio)),
            layers: &layers,
        };
        let (sections, tracks) = tracks.choose(&offer, |_, _| tracks::random_ssrc())?;
        let viewer = port.next_session();
        let route = DatagramRoute::new(viewer, DatagramLimits::VIEWER, |_| true);
        let (session, transport) = PeerSession::accept(&offer, &port, route, Incoming::default())?;
        let answer = sdp::viewer_answer(&offer, &sections, &transport);
        let counters = Arc::<ViewerCounters>::default();
        let tracks = tracks
            .into_iter()
            .map(|track| direct::playout_track(track, now));
        let joining = Joining {
            key: viewer,
            session,
            tracks: tracks.collect::<Result<_, _>>()?,
            cname: sdp::stream_id(&sections),
            reports: events.into(),
            counters: Arc::clone(&counters),
        };
        let joined = DirectViewer::new(joining, now);
        let mut stage = Self {
            worker: worker(port.clone()),
            viewer,
            counters,
            ssrcs: sections.iter().filter_map(ssrc).collect(),
            renditions: vec![
                (Codec::Opus, audio.clone()),
                (Codec::Vp8, high.rendition.clone()),
                (Codec::Vp8, low.rendition.clone()),
            ],
            frames: 0,
            now,
            begun: now,
        };
        stage.handle(Message::Join(Box::new(joined)));
        Ok((stage, answer))
    }

    fn handle(&mut self, message: Message) {
        self.worker.step(self.now, message);
    }

    fn datagram(&mut self, sender: SocketAddr, datagram: Vec<u8>) {
        self.handle(Message::Datagram {
            viewer: self.viewer,
            datagram: Datagram::detached(sender.into(), datagram),
        });
    }

    /// A frame of every rendition; one byte for each gives its size.
    fn frame(&mut self, sizes: &[u8]) {
        let pts = self.now - self.begun;
        for (at, (codec, rendition)) in self.renditions.iter().enumerate() {
            let size = sizes.get(at).copied().unwrap_or(3);
            let ends: Vec<u32> = (1..=u32::from(size % 16) + 1)
                .map(|packet| 1100 * packet)
                .collect();
            let clock = u64::from(codec.clock_rate());
            let timestamp = u64::try_from(pts.as_micros()).unwrap_or(0) * clock / 1_000_000;
            let frame = Frame {
                codec: *codec,
                keyframe: *codec == Codec::Opus || self.frames.is_multiple_of(GOP),
                pts,
                timestamp,
                data: vec![0; 1100 * ends.len()].into(),
                ends,
            };
            let message = Message::Frame {
                rendition: rendition.key(),
                number: self.frames,
                frame: Arc::new(frame),
                at: self.now,
            };
            self.worker.step(self.now, message);
        }
        self.frames += 1;
        self.now += FRAME;
    }
}

fn worker(port: Port) -> Worker {
    let hour = Duration::from_hours(1);
    let options = Options {
        timeouts: Timeouts {
            connect: hour,
            consent: hour,
        },
        ..Options::default()
    };
    Worker::new(port, options, &Arc::new(Totals::new()), &Arc::default())
}

const fn ssrc(section: &sdp::Section) -> Option<u32> {
    match section {
        sdp::Section::Send { ssrc, .. } => Some(*ssrc),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a vanished viewer is sent would wait for address resolution, in everybody's buffer.
    #[test]
    fn a_viewer_gets_nothing_while_it_is_silent_and_more_once_it_is_back() {
        let mut peer = Adversary::new(Direction::RecvOnly).unwrap();
        let (events, mut received) = mpsc::channel(16);
        let (mut stage, answer) = Stage::new(&peer.offer, events).unwrap();
        let (mut now, mut connected) = (stage.now, false);
        let connecting = peer.connect(&mut now, &answer, |now, sender, datagram| {
            stage.now = now;
            stage.datagram(sender, datagram.to_vec());
            connected |= received.try_recv() == Ok(Event::Connected);
            connected
        });
        connecting.unwrap();
        let packets = |stage: &Stage| stage.counters.packets.load(Ordering::Relaxed);
        let seconds = |stage: &mut Stage, seconds: u32| {
            let before = packets(stage);
            for _ in 0..seconds * 30 {
                stage.frame(&[]);
            }
            packets(stage) - before
        };
        assert!(seconds(&mut stage, 5) > 0);
        seconds(&mut stage, 3);
        // Not so long that it has to prove its address again.
        assert_eq!(seconds(&mut stage, 15), 0);
        let report = peer.rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
        stage.datagram(peer.address, report);
        assert!(seconds(&mut stage, 1) > 0);
    }
}
