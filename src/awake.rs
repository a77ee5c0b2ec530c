//! A clock that runs only while the process does. After a pause of the process or the machine
//! (SIGSTOP, a suspended laptop, a migrating virtual machine), clients must not count as gone: what
//! they have sent meanwhile has not been read yet. So deadlines use this clock, which stops during
//! a pause.
//!
//! A task beats several times a second. The first reader after a longer gap between two beats
//! removes that gap from the clock.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Time between two beats.
const BEAT: Duration = Duration::from_millis(100);
/// A gap between two beats that is longer than this is a pause. A busy machine delays a beat by
/// less.
const GAP: Duration = Duration::from_millis(600);

static CLOCK: AwakeClock = AwakeClock::new();

/// The time, without pauses.
pub(crate) fn now() -> Instant {
    CLOCK.at(Instant::now())
}

/// How long ago `then` was, without pauses.
pub(crate) fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// Like [`tokio::time::sleep`], but longer by the pauses meanwhile.
pub(crate) async fn sleep(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let before = paused();
        tokio::time::sleep(left).await;
        left = left.min(paused().saturating_sub(before));
    }
}

/// Time is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeIsUp;

/// Like [`tokio::time::timeout`], but longer by the pauses meanwhile.
///
/// # Errors
/// If the work is not done in time.
pub(crate) async fn timeout<W: Future>(limit: Duration, work: W) -> Result<W::Output, TimeIsUp> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = sleep(limit) => Err(TimeIsUp),
    }
}

/// Drives the clock. Never ends; without it, pauses count like other time.
pub(crate) async fn beat() {
    /// Afterwards nobody beats, so what follows is not a pause.
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            CLOCK.stop();
        }
    }
    let _stop = Stop;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        CLOCK.beat(Instant::now());
    }
}

/// All pauses so far.
fn paused() -> Duration {
    now();
    CLOCK.paused()
}

struct AwakeClock {
    begin: OnceLock<Instant>,
    /// Nanoseconds from `begin` to the last beat, plus one; 0 before the first.
    last: AtomicU64,
    /// Nanoseconds.
    paused: AtomicU64,
    /// Held while a beat or a gap is noted.
    noting: Mutex<()>,
}

impl AwakeClock {
    const fn new() -> Self {
        Self {
            begin: OnceLock::new(),
            last: AtomicU64::new(0),
            paused: AtomicU64::new(0),
            noting: Mutex::new(()),
        }
    }

    fn paused(&self) -> Duration {
        Duration::from_nanos(self.paused.load(Ordering::Acquire))
    }

    /// The time of this clock at `now`.
    fn at(&self, now: Instant) -> Instant {
        if self.gap(now) > GAP {
            self.beat(now);
        }
        now.checked_sub(self.paused()).unwrap_or(now)
    }

    /// How long ago the last beat was; nothing before the first.
    fn gap(&self, now: Instant) -> Duration {
        let Some(last) = self.last.load(Ordering::Acquire).checked_sub(1) else {
            return Duration::ZERO;
        };
        self.passed(now).saturating_sub(Duration::from_nanos(last))
    }

    fn stop(&self) {
        let _noting = self.noting.lock().unwrap_or_else(PoisonError::into_inner);
        self.last.store(0, Ordering::Release);
    }

    fn passed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.begin.get_or_init(|| now))
    }

    /// Notes that the process runs at `now`, and how long it has not, if that is a pause.
    fn beat(&self, now: Instant) {
        let _noting = self.noting.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = self.gap(now);
        if gap > GAP {
            let nanos = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
            self.paused.fetch_add(nanos, Ordering::Release);
            tracing::warn!(seconds = gap.as_secs_f64(), "the process was paused");
        }
        let last = u64::try_from(self.passed(now).as_nanos()).unwrap_or(u64::MAX - 1);
        self.last.fetch_max(last + 1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_still_during_a_pause() {
        let (clock, begin) = (AwakeClock::new(), Instant::now());
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        let shown = |seconds: f64| clock.at(at(seconds)) - begin;
        clock.beat(begin);
        clock.beat(at(0.5));
        assert_eq!(shown(1.0), Duration::from_secs(1));
        clock.beat(at(1.0));
        // Paused for 17 s: the first reader of the clock notices, and all see the same time.
        assert_eq!(shown(18.0), Duration::from_secs(1));
        assert_eq!(shown(18.1), at(1.1) - begin);
        clock.beat(at(18.5));
        assert_eq!(shown(18.5), at(1.5) - begin);
        // The next one shows at a beat.
        clock.beat(at(28.5));
        assert_eq!(shown(28.5), at(1.5) - begin);
        assert_eq!(shown(29.0), at(2.0) - begin);
    }

    #[test]
    fn without_a_beat_it_is_the_time() {
        let (clock, begin) = (AwakeClock::new(), Instant::now());
        for seconds in [0, 1, 100] {
            let now = begin + Duration::from_secs(seconds);
            assert_eq!(clock.at(now), now);
        }
    }

    #[tokio::test]
    async fn work_that_is_done_is_not_too_late() {
        assert_eq!(
            timeout(Duration::ZERO, std::future::ready(1)).await.ok(),
            Some(1)
        );
        let never = timeout(Duration::ZERO, std::future::pending::<()>()).await;
        assert!(never.is_err());
    }
}
