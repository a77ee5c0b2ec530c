//! The viewers: many WHEP sessions in one process, on one thread.
//!
//! Each viewer is a real client: its own socket, ICE, DTLS, receiver reports once a second. Until
//! its first keyframe is complete it decrypts everything; then, so that measuring many viewers
//! does not cost more than serving them, it only counts RTP headers, which SRTP leaves in the
//! clear. A few sampled viewers keep decrypting and time every frame.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use str0m::{
    Event,
    media::{Direction, MediaKind},
};
use tokio::{sync::oneshot, task::JoinSet, time::sleep_until};

use super::{
    clock_ns, h264,
    helper::HelperControls,
    peer::{BenchConnection, Http, end_session, http_client},
    rtp,
};
use crate::media::rtp::RtpHeader;

/// Largest datagram received, in bytes.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// How long after its POST a viewer may take to show its first picture.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Frames timed by one sampled viewer at most: ten minutes of video.
const ARRIVALS_MAX: usize = 18_000;

/// The job of the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ViewersJob {
    /// WHEP endpoints; the viewers are spread over them.
    pub(super) endpoints: Vec<String>,
    /// How many viewers.
    pub(super) viewers: usize,
    /// How many begin each second.
    pub(super) joins_per_second: f64,
    /// How many of them decrypt all the time.
    pub(super) sampled: usize,
}

/// What the viewers saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ViewersReport {
    /// One for each viewer.
    pub(super) viewers: Vec<ViewerStats>,
}

/// Times from a viewer's POST, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct JoinTimes {
    /// 201 received.
    pub(super) created: Option<f64>,
    /// ICE and DTLS done.
    pub(super) connected: Option<f64>,
    /// First RTP packet.
    pub(super) first_packet: Option<f64>,
    /// First keyframe complete and decryptable.
    pub(super) first_keyframe: Option<f64>,
}

/// What one viewer saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ViewerStats {
    /// How joining went.
    pub(super) times: JoinTimes,
    /// RTP packets of the video track.
    pub(super) video_packets: u64,
    /// Packets that end a frame of it.
    pub(super) video_frames: u64,
    /// RTP packets of the audio track.
    pub(super) audio_packets: u64,
    /// UDP payload bytes of these packets.
    pub(super) bytes: u64,
    /// Packets of either track that never came.
    pub(super) lost: u64,
    /// Sampled viewers: tag of each frame and when its last packet arrived, in nanoseconds of
    /// [`clock_ns`].
    pub(super) arrivals: Vec<(u64, u64)>,
    /// Why the viewer gave up, if it did.
    pub(super) failure: Option<String>,
}

impl ViewerStats {
    /// The observations since `earlier`; the times stay.
    fn since(mut self, earlier: &Self) -> Self {
        self.video_packets -= earlier.video_packets;
        self.video_frames -= earlier.video_frames;
        self.audio_packets -= earlier.audio_packets;
        self.bytes -= earlier.bytes;
        self.lost = self.lost.saturating_sub(earlier.lost);
        self.arrivals
            .drain(..earlier.arrivals.len().min(self.arrivals.len()));
        self
    }
}

type SharedStats = Arc<Mutex<ViewerStats>>;

fn snapshot(viewers: &[SharedStats]) -> Vec<ViewerStats> {
    let lock = |stats: &SharedStats| stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
    viewers.iter().map(lock).collect()
}

/// Runs the viewers: joins them, says so, counts between `start` and `stop`, and has them leave.
///
/// # Errors
///
/// If the controlling process is gone. Failures of viewers are part of the report.
pub(super) async fn run(job: ViewersJob, mut controls: HelperControls) -> Result<()> {
    let viewers: Vec<SharedStats> = (0..job.viewers).map(|_| SharedStats::default()).collect();
    let http = http_client();
    let mut joining = Vec::new();
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    let sessions = Arc::new(Mutex::new(Vec::new()));
    let places = job.endpoints.iter().cycle();
    for ((number, stats), endpoint) in viewers.iter().enumerate().zip(places) {
        #[expect(clippy::cast_precision_loss, reason = "the number of viewers is small")]
        let due = begin + Duration::from_secs_f64(number as f64 / job.joins_per_second);
        let (stats, http) = (Arc::clone(stats), http.clone());
        let (playing, wait) = oneshot::channel();
        joining.push(wait);
        let (endpoint, sessions) = (endpoint.clone(), Arc::clone(&sessions));
        let sampled = number % job.viewers.div_ceil(job.sampled.max(1)) == 0;
        tasks.spawn(async move {
            sleep_until(due.into()).await;
            let viewer = Box::pin(BenchViewer::join(&http, &endpoint, Arc::clone(&stats))).await;
            let failure = match viewer {
                Ok((viewer, session)) => {
                    sessions
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(session);
                    viewer.watch(sampled, playing).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = failure {
                stats.lock().unwrap_or_else(PoisonError::into_inner).failure =
                    Some(format!("{error:#}"));
            }
        });
    }
    for viewer in joining {
        // An error says that the viewer gave up, which counts as having tried.
        drop(viewer.await);
    }
    controls.say(&"joined")?;
    controls.expect("start").await?;
    let before = snapshot(&viewers);
    controls.expect("stop").await?;
    let after = snapshot(&viewers).into_iter().zip(&before);
    controls.say(&ViewersReport {
        viewers: after.map(|(after, before)| after.since(before)).collect(),
    })?;
    tasks.shutdown().await;
    let sessions = std::mem::take(&mut *sessions.lock().unwrap_or_else(PoisonError::into_inner));
    for session in sessions {
        // Err: the server has ended it before; its viewer says why.
        drop(end_session(&http, &session).await);
    }
    controls.say(&"left")
}

/// One viewer after its POST.
struct BenchViewer {
    peer: BenchConnection,
    stats: SharedStats,
    posted: Instant,
    video: CountedTrack,
    audio: CountedTrack,
    frames: h264::FrameChecker,
    /// The first keyframe is complete.
    playing: bool,
    closed: bool,
}

/// A track as its RTP headers show it.
struct CountedTrack {
    payload_type: Option<u8>,
    sequence: rtp::Sequence,
}

fn millis_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

impl BenchViewer {
    /// Posts the offer. Also gives the URL of the session.
    async fn join(http: &Http, endpoint: &str, stats: SharedStats) -> Result<(Self, String)> {
        let (mut peer, offer) = BenchConnection::new(Direction::RecvOnly).await?;
        let posted = Instant::now();
        let (answer, session) = BenchConnection::negotiate(http, endpoint, offer).await?;
        stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .times
            .created = Some(millis_since(posted));
        peer.accept(&answer)?;
        let media = |kind| CountedTrack {
            payload_type: peer.payload_type(kind).map(|pt| *pt),
            sequence: rtp::Sequence::default(),
        };
        let (video, audio) = (media(MediaKind::Video), media(MediaKind::Audio));
        let frames = h264::FrameChecker::default();
        let viewer = Self {
            peer,
            stats,
            posted,
            video,
            audio,
            frames,
            playing: false,
            closed: false,
        };
        Ok((viewer, session))
    }

    /// Watches forever; reports when the viewer is playing.
    async fn watch(mut self, sampled: bool, playing: oneshot::Sender<()>) -> Result<()> {
        self.drain(sampled)?;
        let mut playing = Some(playing);
        let mut wake = Box::pin(sleep_until(self.peer.wake().into()));
        loop {
            tokio::select! {
                ready = self.peer.socket().readable() => {
                    ready?;
                    self.receive(sampled)?;
                }
                () = &mut wake => self.peer.tick()?,
            }
            self.drain(sampled)?;
            if wake.deadline() != self.peer.wake().into() {
                wake.as_mut().reset(self.peer.wake().into());
            }
            if self.closed {
                bail!("closed by the server");
            }
            if self.playing
                && let Some(playing) = playing.take()
            {
                // Nobody is waiting if the benchmark is being stopped.
                let _ = playing.send(());
            }
            if !self.playing && self.posted.elapsed() > JOIN_TIMEOUT {
                bail!("no keyframe in time");
            }
        }
    }

    /// Takes everything that has arrived.
    fn receive(&mut self, sampled: bool) -> Result<()> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Ok((len, sender)) = self.peer.socket().try_recv_from(&mut buffer) {
            let datagram = buffer.get(..len).unwrap_or_default();
            if let Some(header) = RtpHeader::read(datagram) {
                self.count(header, len as u64);
                if self.playing && !sampled {
                    continue;
                }
            }
            self.peer.feed(datagram, sender)?;
            self.drain(sampled)?;
        }
        Ok(())
    }

    fn count(&mut self, header: RtpHeader, len: u64) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let media = [&mut self.video, &mut self.audio];
        let payload_type = Some(header.payload_type);
        let Some(media) = media
            .into_iter()
            .find(|media| media.payload_type == payload_type)
        else {
            return; // a retransmission on its own stream
        };
        media.sequence.push(header.sequence);
        let ends = header.marker && self.video.payload_type == payload_type;
        stats.video_frames += u64::from(ends);
        stats.video_packets = self.video.sequence.received;
        stats.audio_packets = self.audio.sequence.received;
        stats.lost = self.video.sequence.missing + self.audio.sequence.missing;
        stats.bytes += len;
        if stats.times.first_packet.is_none() {
            stats.times.first_packet = Some(millis_since(self.posted));
        }
    }

    fn drain(&mut self, sampled: bool) -> Result<()> {
        let (stats, frames, video) = (&self.stats, &mut self.frames, self.video.payload_type);
        let lock = || stats.lock().unwrap_or_else(PoisonError::into_inner);
        self.peer.drain(|event| match event {
            Event::Connected => lock().times.connected = Some(millis_since(self.posted)),
            Event::Closed => self.closed = true,
            Event::RtpPacket(packet) if Some(*packet.header.payload_type) == video => {
                let header = &packet.header;
                let end = frames.push(
                    *packet.seq_no,
                    header.timestamp,
                    header.marker,
                    &packet.payload,
                );
                let Some(end) = end else { return };
                if end.keyframe && !self.playing {
                    self.playing = true;
                    lock().times.first_keyframe = Some(millis_since(self.posted));
                }
                if sampled && let Some(tag) = end.tag {
                    let mut stats = lock();
                    if stats.arrivals.len() < ARRIVALS_MAX {
                        stats.arrivals.push((tag, clock_ns()));
                    }
                }
            }
            _ => {}
        })
    }
}
