//! The publisher: sends the clip over WHIP, in real time, again and again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use str0m::{
    Event,
    media::{Direction, MediaKind, Pt},
    rtp::{RtpWrite, SeqNo},
};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    clip::{Clip, ClipFrame},
    peer::{self, BenchConnection, Http},
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest datagram received, in bytes.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// Frames whose sending time is kept: twenty minutes of video, far longer than a measurement.
const SENDS_MAX: usize = 36_000;

/// When each frame's last packet was sent: its tag, and nanoseconds of [`super::clock_ns`].
pub(super) type Sends = Vec<(u64, u64)>;

/// A publisher at work.
pub(super) struct ClipPublisher {
    tasks: JoinSet<Result<()>>,
    sends: Arc<Mutex<Sends>>,
    session: String,
}

impl ClipPublisher {
    /// Publishes to `endpoint`; returns when media flows.
    pub(super) async fn start(http: &Http, endpoint: &str, clip: Arc<Clip>) -> Result<Self> {
        let (peer, offer) = BenchConnection::new(Direction::SendOnly).await?;
        let (answer, session) = BenchConnection::negotiate(http, endpoint, offer).await?;
        let sends = Arc::new(Mutex::new(Sends::new()));
        let (connected, wait) = oneshot::channel();
        let run = Publishing::new(peer, &answer, Arc::clone(&sends))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(run.run(clip, connected));
        let mut publisher = Self {
            tasks,
            sends,
            session,
        };
        tokio::select! {
            connected = timeout(CONNECT_TIMEOUT, wait) => {
                connected.context("the publisher did not connect in time")??;
            }
            failure = publisher.failure() => return Err(failure),
        }
        Ok(publisher)
    }

    /// Waits until publishing fails.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error.context("the publisher failed"),
            Some(Err(error)) => anyhow::Error::new(error).context("the publisher failed"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("the publisher has ended"),
        }
    }

    /// The frames sent so far.
    pub(super) fn sends(&self) -> Sends {
        self.sends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends the session.
    pub(super) async fn stop(mut self, http: &Http) -> Result<()> {
        self.tasks.shutdown().await;
        peer::end_session(http, &self.session).await
    }
}

/// One track's counters.
struct ClipTrack {
    kind: MediaKind,
    payload_type: Pt,
    sequence: u64,
    timestamp: u32,
}

struct Publishing {
    peer: BenchConnection,
    video: ClipTrack,
    audio: ClipTrack,
    sends: Arc<Mutex<Sends>>,
    connected: bool,
}

impl Publishing {
    fn new(mut peer: BenchConnection, answer: &str, sends: Arc<Mutex<Sends>>) -> Result<Self> {
        peer.accept(answer)?;
        let track = |kind| -> Result<ClipTrack> {
            let payload_type = peer.payload_type(kind);
            let payload_type =
                payload_type.with_context(|| format!("the server refused {kind}"))?;
            Ok(ClipTrack {
                kind,
                payload_type,
                sequence: 1000,
                timestamp: 0,
            })
        };
        let (video, audio) = (track(MediaKind::Video)?, track(MediaKind::Audio)?);
        Ok(Self {
            peer,
            video,
            audio,
            sends,
            connected: false,
        })
    }

    async fn run(mut self, clip: Arc<Clip>, connected: oneshot::Sender<()>) -> Result<()> {
        self.drain()?;
        while !self.connected {
            self.receive_until(self.peer.wake().into()).await?;
        }
        // Nobody is waiting if the benchmark is being stopped.
        let _ = connected.send(());
        let begin = Instant::now();
        for round in 0.. {
            let begin = begin + clip.length * round;
            for frame in &clip.frames {
                let due = begin + frame.at;
                while Instant::now() < due {
                    self.receive_until(due.min(self.peer.wake().into())).await?;
                }
                self.send(frame)?;
            }
        }
        Ok(())
    }

    /// Handles what arrives until `due`.
    async fn receive_until(&mut self, due: Instant) -> Result<()> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        tokio::select! {
            () = sleep_until(due) => self.peer.tick()?,
            received = self.peer.socket().recv_from(&mut buffer) => {
                let (len, sender) = received?;
                self.peer.feed(buffer.get(..len).unwrap_or_default(), sender)?;
            }
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        let mut closed = false;
        self.peer.drain(|event| match event {
            Event::Connected => self.connected = true,
            Event::Closed => closed = true,
            _ => {}
        })?;
        if closed {
            bail!("the server closed the publisher's connection");
        }
        Ok(())
    }

    fn send(&mut self, frame: &ClipFrame) -> Result<()> {
        let now = std::time::Instant::now();
        let track = match frame.kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let (rtc, mid) = self.peer.track(track.kind).context("no such track")?;
        let mut api = rtc.direct_api();
        let stream = api
            .stream_tx_by_mid(mid, None)
            .context("a track without a stream")?;
        let video = track.kind == MediaKind::Video;
        for (number, payload) in frame.payloads.iter().enumerate() {
            let sequence = SeqNo::from(track.sequence);
            track.sequence += 1;
            let packet = RtpWrite::new(
                track.payload_type,
                sequence,
                track.timestamp,
                now,
                Arc::clone(payload),
            )
            .marker(video && number + 1 == frame.payloads.len())
            .nackable(video);
            stream.write_rtp(packet);
        }
        track.timestamp = track.timestamp.wrapping_add(frame.ticks);
        self.peer.tick()?;
        self.drain()?;
        if let Some(tag) = frame.tag {
            let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
            if sends.len() < SENDS_MAX {
                sends.push((tag, self.peer.sent_ns()));
            }
        }
        Ok(())
    }
}
