//! A run of a source pipeline, and when the next one is due.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    actor::Outcome,
    feed::Gate,
    job::{Activity, FIGURES_INTERVAL, Snapshot},
    session::{Stop, random_share},
    status::{PipelineKind, SharedCounters},
    takeover::Pulse,
};
use crate::{
    peer::End,
    pipeline::{Event, Source, TrackSinks, Variables},
    plan::{Name, PipelineFile, Plan},
};

/// Longest start of a pipeline; network sources connect in this time.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the gate is looked at.
const PULSE: Duration = Duration::from_millis(250);
/// Events waiting for the task: two tracks and an end.
const EVENTS_MAX: usize = 16;
/// The first pause before a restart.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause before a restart.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A run of this length that made frames was a good one: the pauses begin anew.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// Everything one run needs.
pub(super) struct Task {
    pub(super) broadcast: Name,
    pub(super) text: PipelineFile,
    pub(super) plan: Arc<Plan>,
    pub(super) sinks: TrackSinks,
    pub(super) keyframe: Arc<Notify>,
    pub(super) gate: Arc<Gate>,
    pub(super) pulse: watch::Sender<Pulse>,
    pub(super) snapshot: watch::Sender<Snapshot>,
    pub(super) counters: SharedCounters,
    pub(super) stop: Stop,
}

impl Task {
    /// Runs the pipeline to its end.
    pub(super) async fn run(self) -> Outcome {
        let broadcast = &self.broadcast;
        let (events_sender, mut events) = mpsc::channel(EVENTS_MAX);
        let start = timeout(
            START_TIMEOUT,
            Source::with_variables(
                broadcast.as_str(),
                &self.text.text,
                Variables::of_broadcast(broadcast.as_str()).with_all(&self.plan.vars),
                self.sinks.clone(),
                events_sender,
            ),
        );
        // Not cut short by `stop`: a pipeline that is starting must be stopped in order.
        let source = match start.await {
            Ok(Ok(source)) => source,
            Ok(Err(error)) => {
                tracing::warn!(%broadcast, %error, "source does not start");
                self.tell_end(Some(error.to_string()));
                return Outcome::SourceEnded;
            }
            Err(_) => {
                tracing::warn!(%broadcast, seconds = START_TIMEOUT.as_secs(), "source does not start in time");
                self.tell_end(Some("it does not start in time".to_owned()));
                return Outcome::SourceEnded;
            }
        };
        let began = Instant::now();
        tracing::info!(%broadcast, "source begins");
        self.counters.pipeline_started(PipelineKind::Source);
        self.pulse.send_modify(|pulse| {
            pulse.answered = Some(began);
            pulse.connected = Some(began);
        });
        self.snapshot.send_modify(|snapshot| {
            snapshot.health.state = Activity::Running;
            snapshot.control = Some(source.job().control());
        });
        let (why, failed) = self.follow(&source, &mut events).await;
        self.tell_end(failed.then(|| why.clone()));
        source.stop().await;
        let seconds = began.elapsed().as_secs();
        tracing::info!(%broadcast, why, seconds, frames = self.gate.frames(), "source ended");
        Outcome::SourceEnded
    }

    /// Runs until the pipeline ends or is stopped: why, and whether that is a failure.
    async fn follow(&self, source: &Source, events: &mut mpsc::Receiver<Event>) -> (String, bool) {
        let broadcast = &self.broadcast;
        let tell = |state| {
            self.snapshot
                .send_modify(|snapshot| snapshot.health.state = state)
        };
        let mut figures = interval(FIGURES_INTERVAL);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = interval(PULSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Track(kind, codec)) => tracing::debug!(%broadcast, %kind, %codec, "first frame"),
                    Some(Event::Stalled) => {
                        tracing::warn!(%broadcast, "source makes nothing");
                        tell(Activity::Stalled);
                    }
                    Some(Event::Resumed) => {
                        tracing::info!(%broadcast, "source makes frames again");
                        tell(Activity::Running);
                    }
                    Some(Event::Rendition { .. }) => {}
                    Some(Event::Failed(message)) => return (message, true),
                    Some(Event::Ended) | None => return ("end of stream".to_owned(), true),
                },
                () = self.keyframe.notified() => source.request_keyframe(),
                end = self.stop.ended() => {
                    let failed = matches!(end, End::Failed | End::NoMedia | End::Vanished);
                    return (format!("{end:?}"), failed);
                }
                _ = figures.tick() => {
                    let figures = source.job().figures();
                    self.snapshot.send_modify(|snapshot| snapshot.figures = figures);
                }
                _ = tick.tick() => self.pulse.send_modify(|pulse| pulse.last_packet = self.gate.last_frame()),
            }
        }
    }

    fn tell_end(&self, error: Option<String>) {
        self.snapshot.send_modify(|snapshot| {
            snapshot.health.state = match error {
                Some(_) => Activity::Failed,
                None => Activity::Idle,
            };
            snapshot.health.error = error;
            snapshot.control = None;
        });
    }
}

/// Decides when a source is started again: pauses double up to a limit, with jitter.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    began: Option<Instant>,
    due: Option<Instant>,
    failures: u32,
}

impl Restarts {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// When the next start is due.
    pub(super) fn due(&self) -> Instant {
        self.due.unwrap_or_else(Instant::now)
    }

    /// Notes a start; true if it is not the first.
    pub(super) fn begin(&mut self) -> bool {
        self.began.replace(Instant::now()).is_some()
    }

    /// Notes the end of a run that did or did not make frames.
    pub(super) fn ended(&mut self, now: Instant, made_frames: bool) {
        let ran = self
            .began
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        self.failures = if made_frames && ran >= GOOD_RUN {
            0
        } else {
            self.failures + 1
        };
        let pause = PAUSE_MIN
            .saturating_mul(1 << self.failures.min(16))
            .min(PAUSE_MAX);
        self.due = Some(now + pause / 2 + random_share(pause / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew_after_a_good_run() {
        let now = Instant::now();
        let mut restarts = Restarts::default();
        assert!(restarts.is_due(now));
        let pause = |restarts: &mut Restarts, made_frames, ran| {
            restarts.began = now.checked_sub(ran);
            restarts.ended(now, made_frames);
            restarts.due.unwrap() - now
        };
        assert!(pause(&mut restarts, false, Duration::ZERO) <= Duration::from_secs(1));
        for _ in 0..40 {
            assert!(pause(&mut restarts, false, Duration::ZERO) <= PAUSE_MAX);
        }
        assert!(pause(&mut restarts, false, GOOD_RUN) >= PAUSE_MAX / 2);
        assert!(pause(&mut restarts, true, GOOD_RUN) <= PAUSE_MIN);
    }
}
