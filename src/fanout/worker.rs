//! One worker thread: owns its share of the viewers and serves them, frame by frame.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use str0m::IceCreds;
use tokio::sync::oneshot;

use super::{
    direct::{Context, DirectViewer, RenditionState},
    gop::{Gop, Limits},
    layers::Meter,
    tracks::Target,
    webrtcbin::{self, WebrtcbinViewers},
};
use crate::{
    media::{Frame, Kind},
    peer::{End, sdp},
};

/// Seconds from the NTP epoch (1900) to the Unix epoch (RFC 5905 §6).
const NTP_TO_UNIX: Duration = Duration::from_hours(613_608);
/// Longest sleep with nothing to do.
const IDLE: Duration = Duration::from_secs(1);
/// Shortest time between two timer runs of one viewer.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);
/// Messages handled before timers are looked at.
const MESSAGES_AT_ONCE: usize = 64;

/// What a worker is told.
pub(super) enum Message {
    /// The next frame of a rendition.
    Frame {
        rendition: u64,
        number: u64,
        frame: Arc<Frame>,
    },
    /// A datagram for one of the worker's sessions.
    Datagram {
        viewer: u64,
        source: SocketAddr,
        datagram: Vec<u8>,
    },
    /// A new viewer.
    Join(Box<DirectViewer>),
    /// Trickled candidates.
    Candidates {
        viewer: u64,
        candidates: Vec<SocketAddr>,
    },
    /// Give a viewer this layer of its picture, or let the server choose.
    Select { viewer: u64, layer: Option<usize> },
    /// Send a viewer another rendition of a track.
    Switch { viewer: u64, kind: Kind, to: Target },
    /// Restart ICE with the peer's new credentials.
    Restart {
        viewer: u64,
        remote: IceCreds,
        reply: oneshot::Sender<Result<sdp::Transport, sdp::Error>>,
    },
    /// Close one viewer.
    Close { viewer: u64, why: End },
    /// A rendition is gone for good.
    Forget { rendition: u64 },
    /// About viewers on webrtcbin.
    Webrtcbin(webrtcbin::Message),
    /// Close all viewers and end.
    Stop,
}

pub(super) struct Worker {
    context: Context,
    limits: Limits,
    /// NTP time of running time zero, found at the first frame, the same on every worker.
    epoch: Arc<OnceLock<Duration>>,
    renditions: HashMap<u64, RenditionState>,
    viewers: HashMap<u64, DirectViewer>,
    webrtcbin: WebrtcbinViewers,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Worker {
    pub(super) fn new(context: Context, limits: Limits, epoch: Arc<OnceLock<Duration>>) -> Self {
        Self {
            context,
            limits,
            epoch,
            renditions: HashMap::new(),
            viewers: HashMap::new(),
            webrtcbin: WebrtcbinViewers::default(),
            timers: BinaryHeap::new(),
        }
    }

    /// Serves until told to stop, or until nobody can tell it anything any more.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        loop {
            let message = match queue.recv_timeout(self.pause()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.context.now = Instant::now();
            for message in message
                .into_iter()
                .chain(queue.try_iter().take(MESSAGES_AT_ONCE))
            {
                if matches!(message, Message::Stop) {
                    self.stop();
                    return;
                }
                self.handle(message);
            }
            self.context.now = Instant::now();
            self.run_timers();
            self.webrtcbin.run_timers(&self.context, &self.renditions);
        }
        self.stop();
    }

    /// Handles a message at this moment, and what is due by then.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn step(&mut self, now: Instant, message: Message) {
        self.context.now = now;
        self.handle(message);
        self.run_timers();
    }

    /// Whether this viewer is still there.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn serves(&self, viewer: u64) -> bool {
        self.viewers.contains_key(&viewer)
    }

    fn pause(&self) -> Duration {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        match timer.into_iter().chain(self.webrtcbin.wake()).min() {
            Some(at) => at.saturating_duration_since(Instant::now()).min(IDLE),
            None => IDLE,
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Frame {
                rendition,
                number,
                frame,
            } => self.frame(rendition, number, &frame),
            Message::Datagram {
                viewer,
                source,
                datagram,
            } => self.with(viewer, |viewer, cx, all| {
                viewer.datagram(cx, all, source, &datagram);
            }),
            Message::Join(viewer) => self.join(*viewer),
            Message::Candidates { viewer, candidates } => {
                self.with(viewer, |viewer, _, _| viewer.add_candidates(&candidates));
            }
            Message::Select { viewer, layer } => {
                self.with(viewer, |viewer, cx, _| viewer.select(layer, cx.now));
            }
            Message::Switch { viewer, kind, to } => self.switch_rendition(viewer, kind, to),
            Message::Restart {
                viewer,
                remote,
                reply,
            } => self.with(viewer, |viewer, _, _| {
                // Who does not wait for the answer any more has given up the request.
                drop(reply.send(viewer.restart(remote)));
            }),
            Message::Close { viewer, why } => self.remove(viewer, why),
            Message::Forget { rendition } => {
                self.renditions.remove(&rendition);
            }
            Message::Webrtcbin(message) => {
                self.webrtcbin
                    .handle(&self.context, &self.renditions, message);
            }
            Message::Stop => {}
        }
    }

    fn frame(&mut self, rendition: u64, number: u64, frame: &Arc<Frame>) {
        let pts = frame.pts;
        self.context.epoch = *self.epoch.get_or_init(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            (NTP_TO_UNIX + since.unwrap_or_default()).saturating_sub(pts)
        });
        let now = self.context.now;
        let state = rendition_of(&mut self.renditions, rendition, self.limits, now);
        let continuity = state.gop.push(number, Arc::clone(frame));
        state.newest_at = now;
        state.meter.count(frame.data.len(), now);
        for key in &state.viewers {
            if let Some(viewer) = self.viewers.get_mut(key) {
                viewer.frame(&mut self.context, rendition, (number, frame), continuity);
                schedule(&mut self.timers, viewer, &self.context);
            }
        }
        // Last, because it takes longer.
        self.webrtcbin
            .frame(&self.context, rendition, (number, frame), continuity);
    }

    fn join(&mut self, mut viewer: DirectViewer) {
        for rendition in viewer.renditions() {
            let now = self.context.now;
            let state = rendition_of(&mut self.renditions, rendition, self.limits, now);
            state.viewers.push(viewer.key);
        }
        schedule(&mut self.timers, &mut viewer, &self.context);
        self.viewers.insert(viewer.key, viewer);
    }

    fn switch_rendition(&mut self, key: u64, kind: Kind, to: Target) {
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        for rendition in viewer.renditions() {
            if let Some(state) = self.renditions.get_mut(&rendition) {
                state.viewers.retain(|other| *other != key);
            }
        }
        viewer.set_rendition(kind, to, self.context.now);
        for rendition in viewer.renditions() {
            let now = self.context.now;
            let state = rendition_of(&mut self.renditions, rendition, self.limits, now);
            state.viewers.push(key);
        }
        self.with(key, |viewer, cx, all| {
            viewer.switch_rendition(kind, cx.now, all);
        });
    }

    /// Does something with one viewer, then looks whether it has ended or wants a timer.
    fn with(
        &mut self,
        key: u64,
        act: impl FnOnce(&mut DirectViewer, &mut Context, &HashMap<u64, RenditionState>),
    ) {
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        act(viewer, &mut self.context, &self.renditions);
        match viewer.ended() {
            Some(why) => self.remove(key, why),
            None => schedule(&mut self.timers, viewer, &self.context),
        }
    }

    fn run_timers(&mut self) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > self.context.now {
                break;
            }
            self.timers.pop();
            self.with(key, |viewer, cx, renditions| {
                // A timer that has been replaced by an earlier one runs for nothing.
                if viewer.scheduled == Some(at) {
                    viewer.scheduled = None;
                    viewer.tick(cx, renditions);
                }
            });
        }
    }

    fn remove(&mut self, key: u64, why: End) {
        let Some(viewer) = self.viewers.remove(&key) else {
            return;
        };
        for rendition in viewer.renditions() {
            if let Some(rendition) = self.renditions.get_mut(&rendition) {
                rendition.viewers.retain(|other| *other != key);
            }
        }
        viewer.close(&mut self.context, why);
    }

    fn stop(&mut self) {
        self.context.now = Instant::now();
        for (_, viewer) in self.viewers.drain() {
            viewer.close(&mut self.context, End::Shutdown);
        }
    }
}

fn rendition_of(
    renditions: &mut HashMap<u64, RenditionState>,
    key: u64,
    limits: Limits,
    now: Instant,
) -> &mut RenditionState {
    renditions.entry(key).or_insert_with(|| RenditionState {
        gop: Gop::new(limits),
        newest_at: now,
        viewers: Vec::new(),
        meter: Meter::new(now),
    })
}

fn schedule(
    timers: &mut BinaryHeap<Reverse<(Instant, u64)>>,
    viewer: &mut DirectViewer,
    context: &Context,
) {
    let wake = viewer
        .wake(&context.timeouts)
        .max(context.now + TIMER_RESOLUTION);
    if viewer.scheduled.is_none_or(|at| wake < at) {
        viewer.scheduled = Some(wake);
        timers.push(Reverse((wake, viewer.key)));
    }
}
