//! One clock and one base time for all pipelines, whatever process they run in.
//!
//! The clock is the system's monotonic clock, which all processes share. A frame's `pts` is the clock
//! time at which it is due, minus the base time, whatever pipeline it comes from.

use std::{sync::OnceLock, time::Duration};

use gst::prelude::*;
use gstreamer as gst;
use rustix::time::{ClockId, clock_gettime};

/// The clock that every pipeline uses: it shows the same as [`monotonic`].
pub(crate) fn clock() -> gst::Clock {
    gst::SystemClock::obtain()
}

static BASE: OnceLock<Duration> = OnceLock::new();

/// The clock time that counts as zero: that of the first call, at startup.
pub(crate) fn base_time() -> Duration {
    *BASE.get_or_init(monotonic)
}

/// The same, for elements.
pub(crate) fn base_clock_time() -> gst::ClockTime {
    base_time().try_into().unwrap_or(gst::ClockTime::ZERO)
}

/// Takes over the base time of another process, so that running times are the same in both. Comes
/// too late after any other call.
pub(crate) fn set_base_time(base: Duration) {
    // Err: it is this process's own.
    let _ = BASE.set(base);
}

/// The server's current running time, to compare a frame's `pts` with.
pub fn running_time() -> Duration {
    let base = base_time(); // first, so that it is never later than now
    monotonic().saturating_sub(base)
}

/// Makes a live pipeline run on the shared clock and base time: its running time is the server's.
pub(crate) fn share(pipeline: &gst::Pipeline) {
    pipeline.use_clock(Some(&clock()));
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(base_clock_time());
}

/// The system's monotonic clock, which all processes share.
pub(crate) fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // Never negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_read_the_same_clock() {
        crate::pipeline::init().unwrap();
        let before = monotonic();
        let shown: Duration = clock().time().into();
        assert!((before..=monotonic()).contains(&shown));
    }
}
