//! Notices when a job produces nothing although media goes in, and when its input changes codec.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{feed::TapCounters, meters::BufferMeter};
use crate::{awake, media::Kind, pipeline::Event};

/// How often the counters are checked.
const PERIOD: Duration = Duration::from_millis(250);

/// A job that has produced nothing yet may take this many times longer.
const FIRST_FACTOR: u32 = 3;

/// The counters that show whether a job makes progress.
pub(super) struct Progress {
    pub(super) inputs: Vec<(Kind, Arc<TapCounters>)>,
    /// What the job produces. For an output, what it consumes: a stuck sink stops that.
    pub(super) made: Vec<Arc<BufferMeter>>,
}

impl Progress {
    fn offered(&self) -> u64 {
        self.inputs
            .iter()
            .map(|(_, counters)| counters.offered())
            .sum()
    }

    fn made(&self) -> u64 {
        self.made.iter().map(|meter| meter.frames()).sum()
    }
}

/// Runs until the job is stopped, or a change of its media requires a restart.
pub(super) async fn run(progress: Progress, stall: Duration, events: mpsc::Sender<Event>) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stalls = Stalls::default();
    loop {
        tick.tick().await;
        let now = awake::now();
        let changed = progress
            .inputs
            .iter()
            .find(|(_, counters)| counters.codec_changed());
        if let Some((kind, _)) = changed {
            let event = Event::Failed(format!("the {kind} track has changed its codec"));
            events.send(event).await.ok();
            return;
        }
        if progress
            .inputs
            .iter()
            .any(|(_, counters)| counters.is_reshaped())
        {
            events.send(Event::Reshaped).await.ok();
            return;
        }
        let made = progress.made();
        // It may have to wait for a keyframe first.
        let factor = if made == 0 { FIRST_FACTOR } else { 1 };
        let limit = stall.saturating_mul(factor);
        let event = stalls.look(now, progress.offered(), made, limit);
        if let Some(event) = event {
            events.send(event).await.ok();
        }
    }
}

/// Whether nothing comes out although media goes in.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    offered: u64,
    made: u64,
    /// When media last went in.
    offered_at: Option<Instant>,
    /// Since when media has gone in without anything coming out.
    since: Option<Instant>,
    stalled: bool,
}

impl Stalls {
    /// Compares the counters with the last ones.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        offered: u64,
        made: u64,
        limit: Duration,
    ) -> Option<Event> {
        let offered_more = std::mem::replace(&mut self.offered, offered) != offered;
        if std::mem::replace(&mut self.made, made) != made {
            self.since = None;
            return std::mem::take(&mut self.stalled).then_some(Event::Resumed);
        }
        if !offered_more {
            return None; // no publisher: nothing is expected
        }
        let before = self.offered_at.replace(now).unwrap_or(now);
        if now.saturating_duration_since(before) >= limit {
            self.since = None; // the publisher has paused, and what comes now takes its time
        }
        let since = *self.since.get_or_insert(now);
        let stalled = !self.stalled && now.saturating_duration_since(since) >= limit;
        self.stalled |= stalled;
        stalled.then_some(Event::Stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_once_and_resumes_once() {
        let (begin, limit) = (Instant::now(), Duration::from_secs(2));
        let mut stalls = Stalls::default();
        let mut look = |ms, offered, made| {
            stalls.look(begin + Duration::from_millis(ms), offered, made, limit)
        };
        assert_eq!(look(0, 5, 3), None);
        assert_eq!(look(1000, 10, 3), None);
        assert_eq!(look(2900, 15, 3), None);
        assert_eq!(look(3000, 20, 3), Some(Event::Stalled));
        assert_eq!(look(6000, 25, 3), None);
        assert_eq!(look(6250, 30, 4), Some(Event::Resumed));
        assert_eq!(look(6500, 35, 5), None);
        assert_eq!(look(60_000, 35, 5), None);
    }

    #[test]
    fn a_pause_of_the_publisher_is_no_stall() {
        let (begin, limit) = (Instant::now(), Duration::from_secs(2));
        let mut stalls = Stalls::default();
        let mut look = |ms, offered, made| {
            stalls.look(begin + Duration::from_millis(ms), offered, made, limit)
        };
        assert_eq!(look(0, 5, 3), None);
        // The last frame before the pause is still in the encoder.
        assert_eq!(look(250, 6, 3), None);
        assert_eq!(look(60_000, 6, 3), None);
        assert_eq!(look(60_250, 7, 3), None);
        assert_eq!(look(61_000, 10, 3), None);
        assert_eq!(look(62_250, 15, 3), Some(Event::Stalled));
    }
}
