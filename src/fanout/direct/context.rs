//! State that the viewers of one worker share, and the way that their packets leave.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::batch::{Batch, Out};
use crate::{
    awake,
    fanout::statistics::Totals,
    peer::{
        srtp,
        udp::{AddressPair, Port, Sent},
    },
    playout::ViewerCounters,
};

/// Timeouts after which a viewer is dropped.
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
    /// Until when a send may wait for room in the socket's buffer.
    pub(in crate::fanout) send_until: Instant,
}

impl Context {
    pub(in crate::fanout) fn new(port: Port, totals: Arc<Totals>, timeouts: Timeouts) -> Self {
        let now = awake::now();
        Self {
            port,
            batch: Batch::default(),
            totals,
            timeouts,
            epoch: Duration::ZERO,
            now,
            send_until: now,
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

/// Sends everything written. Returns false if the socket's buffer stayed full. Packets that cannot
/// be sent for another reason count as lost in the network: the viewer's connection ends if that
/// lasts.
pub(super) fn flush(cx: &mut Context, counters: &ViewerCounters, ends: &mut AddressPair) -> bool {
    let (packets, bytes) = (cx.batch.len() as u64, cx.batch.bytes() as u64);
    let Context {
        port,
        batch,
        totals,
        send_until,
        ..
    } = cx;
    let sent = batch.flush(port.segments_max(), |data, segment| {
        port.send_until(*send_until, ends, data, segment) != Sent::Full
    });
    if sent {
        counters.packets.fetch_add(packets, Relaxed);
        counters.bytes.fetch_add(bytes, Relaxed);
        totals.packets.fetch_add(packets, Relaxed);
        totals.bytes.fetch_add(bytes, Relaxed);
    }
    sent
}
