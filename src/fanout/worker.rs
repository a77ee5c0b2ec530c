//! One worker thread: owns its share of the viewers and serves them, frame by frame.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Options,
    direct::{Batch, Context, DirectViewer},
    feeds::Feeds,
    message::Message,
    queue::{Queues, WorkerStep},
    statistics::Totals,
};
use crate::{
    awake,
    media::Frame,
    peer::{
        End,
        udp::{Port, SEND_PATIENCE},
    },
    playout::{Arrival, GopLimits, RenditionCache, RenditionCaches, Target},
};

/// Seconds from the NTP epoch (1900) to the Unix epoch (RFC 5905 §6).
const NTP_TO_UNIX: Duration = Duration::from_hours(613_608);
/// Longest sleep when idle.
const IDLE: Duration = Duration::from_secs(1);
/// Shortest time between two timer runs of one viewer.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);
/// How long replays, retransmissions and padding wait for such room, all of one turn together. Less
/// than live frames, which wait for them; a replay that finds none is retried later.
const TIMER_PATIENCE: Duration = Duration::from_millis(5);

pub(super) struct Worker {
    context: Context,
    limits: GopLimits,
    /// NTP time of running time zero, found at the first frame, the same on every worker.
    epoch: Arc<OnceLock<Duration>>,
    renditions: RenditionCaches,
    viewers: HashMap<u64, Box<DirectViewer>>,
    feeds: Feeds,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Worker {
    pub(super) fn new(
        port: Port,
        options: Options,
        totals: &Arc<Totals>,
        epoch: &Arc<OnceLock<Duration>>,
    ) -> Self {
        let context = Context::new(port, Arc::clone(totals), options.timeouts);
        Self {
            context,
            limits: options.gop,
            epoch: Arc::clone(epoch),
            renditions: HashMap::new(),
            viewers: HashMap::new(),
            feeds: Feeds::default(),
            timers: BinaryHeap::new(),
        }
    }

    /// Serves until told to stop, or until its senders are gone. After a panic it closes its
    /// viewers, so that players come back, and starts over.
    pub(super) fn run(mut self, mut queues: Queues) {
        while catch_unwind(AssertUnwindSafe(|| self.serve(&mut queues))).is_err() {
            tracing::error!("fan-out worker panicked: closing its viewers");
            self.context.totals.panic();
            self.clear();
        }
        self.close_all(End::Shutdown);
    }

    fn serve(&mut self, queues: &mut Queues) {
        loop {
            self.context.now = awake::now();
            self.context.send_until = self.context.now;
            self.context.totals.turn(self.context.now);
            let rests = loop {
                match queues.next() {
                    WorkerStep::Handle(message) => self.handle(message),
                    WorkerStep::Rest => break true,
                    WorkerStep::Yield => break false,
                    WorkerStep::End => return,
                }
            };
            self.context.now = awake::now();
            self.context.send_until = Instant::now() + TIMER_PATIENCE;
            self.run_timers();
            if rests {
                // Whoever sends a message wakes this thread.
                thread::park_timeout(self.pause());
            }
        }
    }

    /// Handles a message at this moment, and everything due by then.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn step(&mut self, now: Instant, message: Message) {
        self.context.now = now;
        self.handle(message);
        self.run_timers();
    }

    /// Whether this viewer still exists.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn serves(&self, viewer: u64) -> bool {
        self.viewers.contains_key(&viewer)
    }

    fn pause(&self) -> Duration {
        match self.timers.peek().map(|Reverse((at, _))| *at) {
            Some(at) => at.saturating_duration_since(awake::now()).min(IDLE),
            None => IDLE,
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Frame {
                rendition,
                number,
                frame,
                at,
            } => {
                self.context.send_until = at + SEND_PATIENCE;
                self.frame(rendition, number, &frame);
                self.context.send_until = self.context.now;
            }
            Message::Datagram { viewer, datagram } => self.with(viewer, |viewer, cx, all| {
                viewer.datagram(cx, all, &datagram);
            }),
            Message::Join(viewer) => self.join(viewer),
            Message::Feed { rendition, feed } => {
                let cache = self.renditions.get(&rendition);
                self.feeds.begin(rendition, feed, cache, self.context.now);
            }
            Message::Unfeed { rendition, feed } => self.feeds.end(rendition, &feed),
            Message::SwitchInWorker(switch) => switch.send(),
            Message::Select { viewer, layer } => {
                let now = self.context.now;
                self.with(viewer, |viewer, _, _| viewer.playout.select(layer, now));
            }
            Message::Switch { viewer, to } => self.switch(viewer, to),
            Message::Text { viewer, text } => self.with(viewer, |viewer, cx, all| {
                viewer.say(cx, all, &text);
            }),
            Message::Restart {
                viewer,
                remote,
                reply,
            } => self.with(viewer, |viewer, _, _| {
                // A receiver that is gone has given up.
                drop(reply.send(viewer.restart(remote)));
            }),
            Message::Close { viewer, why } => self.remove(viewer, why),
            Message::Forget { rendition } => {
                self.renditions.remove(&rendition);
            }
            Message::Stop => {}
            #[cfg(test)]
            Message::Panic => panic!("as told by a test"),
        }
    }

    fn frame(&mut self, rendition: u64, number: u64, frame: &Arc<Frame>) {
        let pts = frame.pts;
        self.context.epoch = *self.epoch.get_or_init(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            (NTP_TO_UNIX + since.unwrap_or_default()).saturating_sub(pts)
        });
        let now = self.context.now;
        let cache = cache_of(&mut self.renditions, rendition, self.limits, now);
        let arrival = Arrival {
            rendition,
            number,
            frame,
            continuity: cache.push(number, frame, now),
        };
        for key in &cache.viewers {
            if let Some(viewer) = self.viewers.get_mut(key) {
                viewer.frame(&mut self.context, &arrival);
                schedule(&mut self.timers, viewer, &self.context);
            }
        }
        self.feeds.frame(rendition, number, frame);
    }

    fn join(&mut self, mut viewer: Box<DirectViewer>) {
        let now = self.context.now;
        for rendition in viewer.playout.renditions() {
            cache_of(&mut self.renditions, rendition, self.limits, now)
                .viewers
                .push(viewer.key);
        }
        schedule(&mut self.timers, &mut viewer, &self.context);
        self.viewers.insert(viewer.key, viewer);
    }

    fn switch(&mut self, key: u64, to: Target) {
        let kind = to.kind;
        let now = self.context.now;
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        for rendition in viewer.playout.renditions() {
            if let Some(cache) = self.renditions.get_mut(&rendition) {
                cache.viewers.retain(|other| *other != key);
            }
        }
        viewer.playout.set_rendition(to, now);
        for rendition in viewer.playout.renditions() {
            cache_of(&mut self.renditions, rendition, self.limits, now)
                .viewers
                .push(key);
        }
        self.with(key, |viewer, _, all| viewer.playout.switch(kind, all, now));
    }

    /// Does something with one viewer, then checks whether it has ended or wants a timer.
    fn with(
        &mut self,
        key: u64,
        act: impl FnOnce(&mut DirectViewer, &mut Context, &RenditionCaches),
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
                // A timer replaced by an earlier one does nothing.
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
        for rendition in viewer.playout.renditions() {
            if let Some(cache) = self.renditions.get_mut(&rendition) {
                cache.viewers.retain(|other| *other != key);
            }
        }
        viewer.close(&mut self.context, why);
    }

    fn close_all(&mut self, why: End) {
        self.context.now = awake::now();
        for (_, viewer) in self.viewers.drain() {
            let close = AssertUnwindSafe(|| viewer.close(&mut self.context, why));
            if catch_unwind(close).is_err() {
                tracing::error!("a viewer could not be closed");
            }
        }
    }

    /// Forgets everything: after a panic nothing can be relied on.
    fn clear(&mut self) {
        self.context.batch = Batch::default();
        self.close_all(End::Failed);
        self.renditions.clear();
        self.timers.clear();
    }
}

fn cache_of(
    renditions: &mut RenditionCaches,
    key: u64,
    limits: GopLimits,
    now: Instant,
) -> &mut RenditionCache {
    renditions
        .entry(key)
        .or_insert_with(|| RenditionCache::new(limits, now))
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
