//! The counters of a publisher's session.

use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    time::Instant,
};

use crate::moment::Moment;

#[derive(Debug)]
pub(super) struct ReceptionCounters {
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Whether an authentic check has arrived.
    pub(super) checked: AtomicBool,
    pub(super) last_packet: Moment,
    pub(super) last_sign: Moment,
    /// A text was lost because too many were waiting in the data channel.
    pub(super) channel_behind: AtomicBool,
}

impl ReceptionCounters {
    pub(super) const fn new(begin: Instant) -> Self {
        Self {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            checked: AtomicBool::new(false),
            last_packet: Moment::never(begin),
            last_sign: Moment::never(begin),
            channel_behind: AtomicBool::new(false),
        }
    }
}
