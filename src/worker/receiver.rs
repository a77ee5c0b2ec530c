//! A publisher on webrtcbin in a worker, seen from the server.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tracing::Instrument as _;

use super::{
    fault::WorkerFault,
    follow::{WorkerTask, follow},
    note::{ToServer, ToWorker},
    outlet::Outlet,
    prepared::Prepared,
    queue::Outbox,
    shared::{lock, tell},
    wire::SentFrame,
};
use crate::{
    awake,
    media::{ByKind, Kind},
    peer::{End, Event, relay::RelaySignals},
    pipeline::{self, Error, ProcessLoss, TrackSinks, job::Stalls},
    resources::ProcessFigures,
    webrtcbin::publisher::{ReceiverFigures, ReceiverSetup},
};

/// How long the goodbye and the worker's end may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Before the first frame it may take this many times longer to make one: there may be no keyframe.
const FIRST_FACTOR: u32 = 3;
/// The name of a publisher's worker in figures and lists.
const NAME: &str = "publisher";

/// Where the server's side of a publisher is.
#[derive(Clone)]
pub struct Receiving {
    /// Take its frames.
    pub sinks: TrackSinks,
    /// Gets [`Event::Connected`] once, [`Event::Track`] once per track and codec,
    /// [`Event::Closed`] last.
    pub events: mpsc::Sender<Event>,
    /// Signals from webrtcbin to the relay.
    pub signals: Arc<RelaySignals>,
}

/// The media received from a publisher.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    /// As the worker said last.
    pub figures: ReceiverFigures,
    /// Whether the connection has come up.
    pub connected: bool,
    /// When the last RTP packet came.
    pub last_packet: Option<Instant>,
    /// When the last authentic RTCP came.
    pub last_report: Option<Instant>,
    /// What its process uses, once that has been measured.
    pub process: Option<ProcessFigures>,
}

/// A publisher's webrtcbin in a worker. Dropping it kills the worker.
#[derive(Debug)]
pub struct WorkerReceiver {
    outbox: Arc<Outbox>,
    shared: Arc<SharedReceived>,
    /// The worker has ended, or does not answer.
    over: watch::Receiver<bool>,
    /// The worker is killed with them.
    tasks: JoinSet<()>,
}

/// State that the task that follows the worker and the handle share.
#[derive(Debug, Default)]
struct SharedReceived {
    received: Mutex<Received>,
    /// Nothing more is reported.
    closed: AtomicBool,
}

impl WorkerReceiver {
    /// Gives a worker its work, and waits for webrtcbin's answer. A worker that is silent, or makes no
    /// frames of what arrives, for so long is killed.
    ///
    /// # Errors
    /// If webrtcbin does not negotiate, or the worker ends.
    pub(super) async fn start(
        worker: Prepared,
        silence: Duration,
        setup: ReceiverSetup,
        receiving: Receiving,
    ) -> Result<(Self, String), Error> {
        let Receiving {
            sinks,
            events,
            signals,
        } = receiving;
        let outbox = Arc::new(Outbox::default());
        let shared = Arc::<SharedReceived>::default();
        let (answered, answer) = oneshot::channel();
        let outlets = Kind::ALL.map(|kind| Outlet::new(kind.name(), sinks.of(kind).clone()));
        let work = ReceiverTask {
            setup: Some(setup),
            outbox: Arc::clone(&outbox),
            shared: Arc::clone(&shared),
            outlets,
            events,
            signals,
            answered: Some(answered),
            silence,
            stalls: ByKind::default(),
        };
        let pid = worker.process.pid();
        let (follow, over) = follow(NAME, worker, silence, &outbox, work);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow.in_current_span());
        let receiver = Self {
            outbox,
            shared,
            over,
            tasks,
        };
        let answer = answer.await;
        let answer = answer.unwrap_or_else(|_| Err(Error::Failed("the worker is gone".to_owned())));
        let answer = answer?;
        tracing::info!(pid, "a worker receives the publisher");
        Ok((receiver, answer))
    }

    /// Asks the publisher for a video keyframe now. Nothing happens before video flows.
    pub fn request_keyframe(&self) {
        tell(&self.outbox, &ToWorker::RequestKeyframe);
    }

    /// Asks the publisher for at most this many bit/s. Nothing happens before video flows.
    pub fn request_bitrate(&self, bitrate: u64) {
        tell(&self.outbox, &ToWorker::RequestBitrate(bitrate));
    }

    /// The media received so far.
    pub fn received(&self) -> Received {
        *lock(&self.shared.received)
    }

    /// Says goodbye to the publisher, and ends the worker, within a time limit. Nothing more is
    /// reported.
    pub async fn close(mut self) {
        self.shared.closed.store(true, Relaxed);
        tell(&self.outbox, &ToWorker::Stop);
        let stopped = self.over.wait_for(|over| *over);
        if awake::timeout(STOP_TIMEOUT, stopped).await.is_err() {
            tracing::warn!("publisher's worker did not stop in time; killing it");
        }
        // The worker is killed when the task is dropped.
        self.tasks.shutdown().await;
        self.outbox.close();
    }
}

/// The work, as the task that follows the worker sees it.
struct ReceiverTask {
    /// `None` once it has been sent.
    setup: Option<ReceiverSetup>,
    outbox: Arc<Outbox>,
    shared: Arc<SharedReceived>,
    outlets: [Outlet; 2],
    events: mpsc::Sender<Event>,
    signals: Arc<RelaySignals>,
    /// Gets webrtcbin's answer, or why there is none.
    answered: Option<oneshot::Sender<Result<String, Error>>>,
    /// For how long packets of a track may arrive of which no frame is made.
    silence: Duration,
    stalls: ByKind<Stalls>,
}

impl ReceiverTask {
    fn answer(&mut self, answer: Result<String, Error>) {
        if let Some(waiting) = self.answered.take() {
            // Err: nobody waits any more.
            let _ = waiting.send(answer);
        }
    }

    fn report(&self, event: Event) -> Result<(), WorkerFault> {
        let over = match event {
            Event::Closed(_) => self.shared.closed.swap(true, Relaxed),
            _ => self.shared.closed.load(Relaxed),
        };
        if over {
            return Ok(());
        }
        if event == Event::Connected {
            lock(&self.shared.received).connected = true;
            self.signals.handshake_done();
        }
        self.events
            .try_send(event)
            .map_err(|_| WorkerFault::TooManyEvents)
    }

    fn received(&self, figures: ReceiverFigures) {
        let now = awake::now();
        let at = |age: Option<Duration>| age.and_then(|age| now.checked_sub(age));
        let mut received = lock(&self.shared.received);
        let before = received.figures;
        received.last_packet = received.last_packet.max(at(figures.packet_age));
        let last_report = received.last_report.max(at(figures.report_age));
        let reported = std::mem::replace(&mut received.last_report, last_report) != last_report;
        received.figures = figures;
        if reported || before.packets != figures.packets {
            self.signals.authentic();
        }
    }
}

impl WorkerTask for ReceiverTask {
    const SERVES_STRANGERS: bool = true;

    fn begin(&mut self) -> Result<(), WorkerFault> {
        if let Some(setup) = self.setup.take() {
            tell(&self.outbox, &ToWorker::Receive(Box::new(setup)));
        }
        Ok(())
    }

    fn frame(&mut self, sent: SentFrame) -> Result<(), WorkerFault> {
        let outlet = self
            .outlets
            .get_mut(usize::from(sent.track))
            .ok_or(WorkerFault::UnknownTrack)?;
        if outlet.take(sent)?.is_some() {
            tell(&self.outbox, &ToWorker::RequestKeyframe);
        }
        lock(&self.shared.received).last_packet = Some(awake::now());
        Ok(())
    }

    fn note(&mut self, note: ToServer) -> Result<(), WorkerFault> {
        match note {
            ToServer::Answered(answer) => self.answer(Ok(answer)),
            ToServer::Refused(error) => self.answer(Err(error)),
            ToServer::Connection(event) => return self.report(event),
            ToServer::Received(figures) => self.received(figures),
            ToServer::Stopped => {}
            _ => return Err(WorkerFault::UnexpectedMessage),
        }
        Ok(())
    }

    fn measured(&mut self, figures: ProcessFigures) {
        lock(&self.shared.received).process = Some(figures);
    }

    fn is_running(&self) -> bool {
        self.answered.is_none() && !self.shared.closed.load(Relaxed)
    }

    fn watch(&mut self, now: Instant) -> Result<(), WorkerFault> {
        let figures = lock(&self.shared.received).figures;
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let (Some(&arrived), Some(&made)) =
                (figures.arrived.get(index), figures.made.get(index))
            else {
                continue;
            };
            let factor = if made == 0 { FIRST_FACTOR } else { 1 };
            let stalled = self
                .stalls
                .get_mut(kind)
                .look(now, arrived, made, self.silence * factor);
            if stalled == Some(pipeline::Event::Stalled) {
                return Err(WorkerFault::MakesNoFrames(kind));
            }
        }
        Ok(())
    }

    async fn end(mut self, loss: ProcessLoss) {
        if self.answered.is_some() {
            self.answer(Err(loss.into()));
        } else if !self.shared.closed.swap(true, Relaxed) {
            tracing::warn!(
                failure = loss.cause.name(),
                reason = loss.reason,
                "publisher's worker ended"
            );
            // Err: the session is gone.
            let _ = self.events.try_send(Event::Closed(End::Failed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::{Codec, Frame},
        worker::tests::crash,
    };

    fn task() -> (ReceiverTask, mpsc::Receiver<Event>) {
        let (events, happened) = mpsc::channel(4);
        let none: crate::media::FrameSink = Arc::new(|_| {});
        let task = ReceiverTask {
            setup: None,
            outbox: Arc::default(),
            shared: Arc::default(),
            outlets: Kind::ALL.map(|kind| Outlet::new(kind.name(), none.clone())),
            events,
            signals: Arc::default(),
            answered: None,
            silence: Duration::from_secs(10),
            stalls: ByKind::default(),
        };
        (task, happened)
    }

    /// The worker goes on telling figures, as one does whose streaming thread loops.
    #[test]
    fn a_worker_that_makes_no_more_frames_of_one_track_is_found() {
        let (mut task, _happened) = task();
        let begin = Instant::now();
        let mut verdict = |second: u32, made: [u64; 2]| {
            let arrived = [100 * u64::from(second), 50 * u64::from(second)];
            let figures = ReceiverFigures {
                arrived,
                made,
                ..ReceiverFigures::default()
            };
            task.note(ToServer::Received(figures)).unwrap();
            task.watch(begin + Duration::from_secs(second.into()))
        };
        for second in 1..60 {
            assert_eq!(verdict(second, [u64::from(second); 2]), Ok(()));
        }
        // The sound goes on.
        for second in 60..70 {
            assert_eq!(verdict(second, [59, u64::from(second)]), Ok(()));
        }
        let stalled = WorkerFault::MakesNoFrames(Kind::Video);
        assert_eq!(verdict(70, [59, 70]), Err(stalled));
    }

    #[test]
    fn a_worker_that_floods_is_found() {
        let (mut task, _happened) = task();
        let sent = SentFrame {
            track: 0,
            gap: false,
            sent: super::super::monotonic(),
            frame: Frame {
                codec: Codec::Vp8,
                keyframe: true,
                pts: Duration::ZERO,
                timestamp: 0,
                data: vec![0; 10].into(),
                ends: vec![10],
            },
        };
        let verdict = (0..20_000).find_map(|_| task.frame(sent.clone()).err());
        assert!(matches!(verdict, Some(WorkerFault::Flood(_))));
    }

    #[tokio::test]
    async fn the_end_is_reported_once_whatever_the_worker_says() {
        let (mut task, mut happened) = task();
        let closed = ToServer::Connection(Event::Closed(End::PeerClosed));
        for _ in 0..10 {
            task.note(closed.clone()).unwrap();
        }
        task.note(ToServer::Connection(Event::Connected)).unwrap();
        task.end(crash()).await;
        assert_eq!(happened.recv().await, Some(Event::Closed(End::PeerClosed)));
        assert_eq!(happened.recv().await, None);

        let (task, mut happened) = self::task();
        task.end(crash()).await;
        assert_eq!(happened.recv().await, Some(Event::Closed(End::Failed)));
    }
}
