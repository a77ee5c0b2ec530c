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

/// The clock time that counts as zero: the time of the first call, at start-up.
pub(crate) fn base_time() -> gst::ClockTime {
    static BASE: OnceLock<gst::ClockTime> = OnceLock::new();
    *BASE.get_or_init(now)
}

/// The server's running time now: what the `pts` of a frame is compared with.
pub fn running_time() -> Duration {
    let base = base_time(); // first, so that it is not later than now
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
