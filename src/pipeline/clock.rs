//! One clock and one base time for all pipelines of the process.
//!
//! The clock is the system's monotonic clock. A frame's `pts` is the clock time at which it is due,
//! minus the base time, whatever pipeline it comes from.

use std::{sync::OnceLock, time::Duration};

use gst::prelude::*;
use gstreamer as gst;

/// The clock that every pipeline uses.
pub(crate) fn clock() -> gst::Clock {
    gst::SystemClock::obtain()
}

static BASE: OnceLock<gst::ClockTime> = OnceLock::new();

/// The clock time that counts as zero: that of the first call, at startup.
pub(crate) fn base_time() -> gst::ClockTime {
    *BASE.get_or_init(now)
}

/// Takes over the base time of another process, so that running times are the same in both. Comes
/// too late after any other call.
pub(crate) fn set_base_time(base: Duration) {
    let base = base.try_into().unwrap_or(gst::ClockTime::ZERO);
    // Err: it is this process's own.
    let _ = BASE.set(base);
}

/// The server's current running time, to compare a frame's `pts` with.
pub fn running_time() -> Duration {
    let base = base_time(); // first, so that it is never later than now
    now().saturating_sub(base).into()
}

/// Makes a live pipeline run on the shared clock and base time: its running time is the server's.
pub(crate) fn share(pipeline: &gst::Pipeline) {
    pipeline.use_clock(Some(&clock()));
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(base_time());
}

fn now() -> gst::ClockTime {
    clock().time()
}
