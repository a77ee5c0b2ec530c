//! From frames to every viewer: GOP cache, per-viewer rewrite, encryption, segmented sends.
//!
//! Worker threads, one per core, each own a share of the viewers; a frame is handed to each worker
//! once and costs a viewer only its headers, its encryption and one send. Nothing here knows
//! broadcasts, HTTP or GStreamer.
//!
//! - `gop`: the frames since the last keyframe (pure).
//! - `switcher`: what one viewer sees of a track (pure).
//! - `stream`: one outgoing RTP stream: numbering, retransmission, sender reports.
//! - `viewer`, `worker`: who serves whom, and when.

mod gop;
mod stream;
mod switcher;
mod viewer;
mod worker;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};

pub use self::{gop::Limits, viewer::Timeouts};
use self::{
    gop::Gop,
    stream::{Batch, Identity, Stream},
    switcher::Switcher,
    viewer::{Context, Track},
    worker::{Message, Worker},
};
use crate::{
    media::{Codec, Frame, FrameSink, Kind},
    peer::{
        End, Event,
        direct::Session,
        sdp,
        udp::{Port, Route},
    },
};

/// Messages that may wait for one worker: two seconds of frames of several hundred tracks.
const QUEUE: usize = 8192;

/// How the fan-out is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Worker threads. Default (0): one per core.
    pub workers: usize,
    /// Bounds of the cached group of pictures of each rendition.
    pub gop: Limits,
    /// When a viewer is given up.
    pub timeouts: Timeouts,
}

/// What all viewers of one worker have been sent.
#[derive(Debug, Default)]
struct Totals {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// The fan-out's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// RTP packets sent, retransmissions included.
    pub packets: u64,
    /// Bytes of these, encrypted, without UDP and IP headers.
    pub bytes: u64,
    /// Sends that the kernel refused because its buffer was full.
    pub send_dropped: u64,
    /// Datagrams or frames that found a worker's queue full.
    pub queue_dropped: u64,
    /// Datagrams from nobody known.
    pub unknown_datagrams: u64,
}

/// The fan-out: worker threads and the task that receives from the UDP port. Cheap to clone.
#[derive(Clone)]
pub struct Fanout {
    inner: Arc<Inner>,
}

struct Inner {
    port: Port,
    workers: Vec<Handle>,
    next_key: AtomicU64,
    queue_dropped: Arc<AtomicU64>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The receiving task; it ends with the fan-out.
    receiver: Mutex<JoinSet<()>>,
}

/// The way to one worker.
#[derive(Clone)]
struct Handle {
    queue: SyncSender<Message>,
    viewers: Arc<AtomicUsize>,
    totals: Arc<Totals>,
}

impl Fanout {
    /// Starts the workers and receives from `port`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(port: Port, options: Options) -> io::Result<Self> {
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let epoch = Arc::new(OnceLock::new());
        let mut workers = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let (queue, messages) = sync_channel(QUEUE);
            let totals = Arc::<Totals>::default();
            let context = Context {
                port: port.clone(),
                batch: Batch::default(),
                totals: Arc::clone(&totals),
                timeouts: options.timeouts,
                epoch: Duration::ZERO,
                now: Instant::now(),
            };
            let worker = Worker::new(context, options.gop, Arc::clone(&epoch));
            let thread = std::thread::Builder::new()
                .name(format!("fanout-{number}"))
                .spawn(move || worker.run(&messages))?;
            workers.push(Handle { queue, viewers: Arc::default(), totals });
            threads.push(thread);
        }
        let receiver = receive(port.clone(), workers.iter().map(|w| w.queue.clone()).collect());
        Ok(Self {
            inner: Arc::new(Inner {
                port,
                workers,
                next_key: AtomicU64::new(1),
                queue_dropped: Arc::default(),
                threads: Mutex::new(threads),
                receiver: Mutex::new(receiver),
            }),
        })
    }

    /// Makes a place for one track of a broadcast. It lives across publishers.
    pub fn rendition(&self, kind: Kind) -> Rendition {
        Rendition {
            feed: Arc::new(Feed {
                key: self.inner.next_key.fetch_add(1, Ordering::Relaxed),
                kind,
                workers: self.inner.workers.iter().map(|worker| worker.queue.clone()).collect(),
                number: AtomicU64::new(0),
                generation: AtomicU64::new(0),
                frames: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                queue_dropped: Arc::clone(&self.inner.queue_dropped),
            }),
        }
    }

    /// Answers a viewer's offer and sends it the given tracks from now on. `events` gets
    /// [`Event::Connected`], [`Event::KeyframeWanted`] and, last, [`Event::Closed`].
    ///
    /// # Errors
    /// If the offer has no codec that fits a track it asks for, or cannot be served at all.
    pub fn watch(
        &self,
        offer: &sdp::Offer,
        tracks: Tracks<'_>,
        events: mpsc::Sender<Event>,
    ) -> Result<(Viewer, String), sdp::Error> {
        let (sections, tracks) = tracks.choose(offer)?;
        let key = self.inner.next_key.fetch_add(1, Ordering::Relaxed);
        let Some((worker, handle)) = self
            .inner
            .workers
            .iter()
            .enumerate()
            .min_by_key(|(_, worker)| worker.viewers.load(Ordering::Relaxed))
        else {
            return Err(sdp::Error::Unsupported("the server has no workers".to_owned()));
        };
        let now = Instant::now();
        let route = Route { worker, session: key };
        let (session, transport) = Session::accept(offer, &self.inner.port, route, now)?;
        let answer = sdp::viewer_answer(offer, &sections, &transport);
        let counters = Arc::<ViewerCounters>::default();
        let viewer =
            viewer::Viewer::new(key, session, tracks, (events, Arc::clone(&counters)), now);
        if handle.queue.try_send(Message::Join(Box::new(viewer))).is_err() {
            return Err(sdp::Error::Unsupported("the server is overloaded".to_owned()));
        }
        handle.viewers.fetch_add(1, Ordering::Relaxed);
        Ok((Viewer { key, worker: handle.clone(), counters }, answer))
    }

    /// The counters, summed over all workers.
    pub fn statistics(&self) -> Statistics {
        let port = self.inner.port.counters();
        let dropped = self.inner.queue_dropped.load(Ordering::Relaxed);
        let start = Statistics {
            send_dropped: port.send_dropped.load(Ordering::Relaxed),
            queue_dropped: dropped + port.queue_dropped.load(Ordering::Relaxed),
            unknown_datagrams: port.unknown.load(Ordering::Relaxed),
            ..Statistics::default()
        };
        self.inner.workers.iter().fold(start, |sum, worker| Statistics {
            packets: sum.packets + worker.totals.packets.load(Ordering::Relaxed),
            bytes: sum.bytes + worker.totals.bytes.load(Ordering::Relaxed),
            ..sum
        })
    }

    /// Closes every viewer with a close_notify and waits for the workers to end.
    pub async fn stop(&self) {
        for worker in &self.inner.workers {
            // A full queue drains within milliseconds; the worker also ends with its last sender.
            while let Err(std::sync::mpsc::TrySendError::Full(_)) =
                worker.queue.try_send(Message::Stop)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let threads = std::mem::take(&mut *lock(&self.inner.threads));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        if joined.await.unwrap_or(1) > 0 {
            tracing::error!("a fan-out worker had panicked");
        }
        let mut receiver = std::mem::take(&mut *lock(&self.inner.receiver));
        receiver.shutdown().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive(port: Port, queues: Vec<SyncSender<Message>>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let deliver = |route: Route, source, datagram: &[u8]| {
            let message = Message::Datagram {
                viewer: route.session,
                source,
                datagram: datagram.to_vec(),
            };
            queues.get(route.worker).is_some_and(|queue| queue.try_send(message).is_ok())
        };
        if let Err(error) = port.receive(deliver).await {
            tracing::error!(%error, "UDP port cannot be read");
        }
    });
    tasks
}

/// The tracks a viewer may get, with the codec each has now.
#[derive(Clone, Copy)]
pub struct Tracks<'a> {
    /// The picture, if the broadcast has one.
    pub video: Option<(Codec, &'a Rendition)>,
    /// The sound, if the broadcast has any.
    pub audio: Option<(Codec, &'a Rendition)>,
}

impl Tracks<'_> {
    /// Finds a format for each track the offer asks for.
    fn choose(self, offer: &sdp::Offer) -> Result<(Vec<sdp::Section>, Vec<Track>), sdp::Error> {
        let mut tracks = Vec::new();
        let mut sections: Vec<sdp::Section> = offer
            .media
            .iter()
            .map(|media| match media.kind {
                Some(_) => sdp::Section::Inactive,
                None => sdp::Section::Rejected,
            })
            .collect();
        let wanted = [(Kind::Video, self.video), (Kind::Audio, self.audio)];
        for (kind, (codec, rendition)) in wanted.into_iter().filter_map(|(k, t)| Some((k, t?))) {
            if !offer.media.iter().any(|media| media.kind == Some(kind)) {
                continue;
            }
            let Some((at, format)) = offer.choose(kind, &[codec]) else {
                return Err(sdp::Error::CodecMismatch(format!(
                    "the broadcast's {kind} is {codec}, which the offer does not list: offer it"
                )));
            };
            let [ssrc, rtx_ssrc] = [random()?, random()?].map(|r: u64| (r >> 32) as u32 | 1);
            if let Some(section) = sections.get_mut(at) {
                *section = sdp::Section::Send { format: format.clone(), ssrc, rtx_ssrc };
            }
            let identity =
                Identity { ssrc, pt: format.pt, rtx: format.rtx.map(|pt| (rtx_ssrc, pt)) };
            tracks.push(Track {
                rendition: rendition.feed.key,
                codec,
                stream: Stream::new(kind, identity, random()?),
                switcher: Switcher::start(&Gop::new(Limits::default())),
            });
        }
        if tracks.is_empty() {
            return Err(sdp::Error::CodecMismatch(
                "the offer asks for nothing that the broadcast has".to_owned(),
            ));
        }
        Ok((sections, tracks))
    }
}

fn random() -> Result<u64, sdp::Error> {
    getrandom::u64()
        .map_err(|error| sdp::Error::Unsupported(format!("no random numbers to be had: {error}")))
}

/// One encoding of a track of a broadcast, as the fan-out sees it. Freed when dropped.
#[derive(Clone)]
pub struct Rendition {
    feed: Arc<Feed>,
}

struct Feed {
    key: u64,
    kind: Kind,
    workers: Vec<SyncSender<Message>>,
    /// Number of the next frame. A gap tells the workers that frames are missing.
    number: AtomicU64,
    /// Counts the sinks; only the newest may feed.
    generation: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    queue_dropped: Arc<AtomicU64>,
}

/// What has gone into a rendition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RenditionStatistics {
    /// Frames.
    pub frames: u64,
    /// Payload bytes.
    pub bytes: u64,
}

impl Rendition {
    /// The entry for a new publisher's frames. It takes over from the sink before, and lets the
    /// first keyframe through first.
    pub fn sink(&self) -> FrameSink {
        let generation = self.feed.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let feed: Weak<Feed> = Arc::downgrade(&self.feed);
        let started = AtomicBool::new(false);
        Arc::new(move |frame| {
            if let Some(feed) = feed.upgrade() {
                feed.push(generation, &started, frame);
            }
        })
    }

    /// What has gone in so far.
    pub fn statistics(&self) -> RenditionStatistics {
        RenditionStatistics {
            frames: self.feed.frames.load(Ordering::Relaxed),
            bytes: self.feed.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Feed {
    fn push(&self, generation: u64, started: &AtomicBool, frame: Frame) {
        let current = self.generation.load(Ordering::Acquire) == generation;
        if !current || frame.codec.kind() != self.kind || frame.ends.is_empty() {
            return;
        }
        if !started.load(Ordering::Relaxed) {
            if !frame.keyframe {
                return;
            }
            started.store(true, Ordering::Relaxed);
            // What the publisher before has sent does not go on.
            self.number.fetch_add(1, Ordering::Relaxed);
        }
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(frame.data.len() as u64, Ordering::Relaxed);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let frame = Arc::new(frame);
        for worker in &self.workers {
            let frame = Arc::clone(&frame);
            let message = Message::Frame { rendition: self.key, number, frame };
            if worker.try_send(message).is_err() {
                self.queue_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        for worker in &self.workers {
            // A full queue leaves an unused entry behind on that worker: bounded by the number
            // of broadcasts that ended in that very moment.
            drop(worker.try_send(Message::Forget { rendition: self.key }));
        }
    }
}

/// What one viewer has been sent.
#[derive(Debug, Default)]
struct ViewerCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    retransmitted: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    keyframe_requests: AtomicU64,
    /// The handle is gone, so the viewer shall go too.
    closed: AtomicBool,
}

/// One viewer's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ViewerStatistics {
    /// RTP packets sent.
    pub packets: u64,
    /// Encrypted bytes of these.
    pub bytes: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Requests past the viewer's retransmission budget.
    pub retransmissions_refused: u64,
    /// Frames lost because the kernel did not take them.
    pub dropped: u64,
    /// Keyframes this viewer has asked for.
    pub keyframe_requests: u64,
}

/// A viewer's session, held by its owner. Dropping it ends the session.
pub struct Viewer {
    key: u64,
    worker: Handle,
    counters: Arc<ViewerCounters>,
}

impl Viewer {
    /// Adds trickled candidates (RFC 8840).
    pub fn add_candidates(&self, candidates: &[SocketAddr]) {
        let candidates = candidates.to_vec();
        // With ICE-lite candidates are a hint only: losing them to a full queue does no harm.
        drop(self.worker.queue.try_send(Message::Candidates { viewer: self.key, candidates }));
    }

    /// Ends the session with a close_notify; [`Event::Closed`] follows with this reason.
    pub fn close(&self, why: End) {
        if self.worker.queue.try_send(Message::Close { viewer: self.key, why }).is_err() {
            self.counters.closed.store(true, Ordering::Relaxed);
        }
    }

    /// What the viewer has been sent.
    pub fn statistics(&self) -> ViewerStatistics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ViewerStatistics {
            packets: load(&self.counters.packets),
            bytes: load(&self.counters.bytes),
            retransmitted: load(&self.counters.retransmitted),
            retransmissions_refused: load(&self.counters.refused),
            dropped: load(&self.counters.dropped),
            keyframe_requests: load(&self.counters.keyframe_requests),
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.worker.viewers.fetch_sub(1, Ordering::Relaxed);
        self.close(End::Deleted);
    }
}
