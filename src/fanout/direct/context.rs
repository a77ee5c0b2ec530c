//! What the viewers of one worker share, and how their packets leave.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::batch::{Batch, Out};
use crate::{
    fanout::statistics::{Totals, ViewerCounters},
    peer::{srtp, udp::Port},
};

/// Timeouts after which a viewer is given up.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the answer to ICE and DTLS being up. Default: 15 s.
    pub connect: Duration,
    /// Without any STUN or RTCP from the viewer. Default: 15 s; RFC 7675 §5.1 allows 30 s at most.
    pub consent: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            consent: Duration::from_secs(15),
        }
    }
}

/// State that a worker's viewers share while one of them is served.
pub(in crate::fanout) struct Context {
    pub(in crate::fanout) port: Port,
    pub(in crate::fanout) batch: Batch,
    pub(in crate::fanout) totals: Arc<Totals>,
    pub(in crate::fanout) timeouts: Timeouts,
    /// NTP time of running time zero.
    pub(in crate::fanout) epoch: Duration,
    pub(in crate::fanout) now: Instant,
}

impl Context {
    pub(in crate::fanout) fn new(port: Port, totals: Arc<Totals>, timeouts: Timeouts) -> Self {
        Self {
            port,
            batch: Batch::default(),
            totals,
            timeouts,
            epoch: Duration::ZERO,
            now: Instant::now(),
        }
    }

    pub(super) fn out<'a>(&'a mut self, sender: &'a srtp::Sender) -> Out<'a> {
        Out {
            batch: &mut self.batch,
            sender,
            now: self.now,
        }
    }
}

/// Sends everything written. Returns false if the kernel did not take all of it.
pub(super) fn flush(cx: &mut Context, counters: &ViewerCounters, remote: SocketAddr) -> bool {
    let (packets, bytes) = (cx.batch.len() as u64, cx.batch.bytes() as u64);
    let Context {
        port,
        batch,
        totals,
        ..
    } = cx;
    let sent = batch.flush(port.segments_max(), |data, segment| {
        port.send(remote, data, segment)
    });
    if sent {
        counters.packets.fetch_add(packets, Relaxed);
        counters.bytes.fetch_add(bytes, Relaxed);
        totals.packets.fetch_add(packets, Relaxed);
        totals.bytes.fetch_add(bytes, Relaxed);
    }
    sent
}
