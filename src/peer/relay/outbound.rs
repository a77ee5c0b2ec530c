//! webrtcbin's datagrams on their way to the client.

use std::{io::ErrorKind, sync::Arc, time::Instant};

use super::Shared;
use crate::{
    awake,
    peer::udp::{Port, UnsentDatagrams, stun},
};

/// Room for one datagram: webrtcbin's packets fit Ethernet.
const DATAGRAM_BYTES: usize = 2048;
/// Room for what is sent at once: an ordinary frame.
const BATCH_BYTES: usize = 16 << 10;
/// Datagrams read before others get their turn.
const ROUND_MAX: usize = 64;

/// The task that carries them, and keeps the relay's time.
pub(super) struct Outbound {
    shared: Arc<Shared>,
    client: ToClient,
    batch: Box<[u8]>,
    /// Bytes in the batch.
    used: usize,
    /// Bytes of each of its datagrams but the last, which may be shorter.
    segment: usize,
}

impl Outbound {
    pub(super) fn new(shared: Arc<Shared>, port: Port) -> Self {
        Self {
            client: ToClient {
                shared: Arc::clone(&shared),
                port,
                unsent: UnsentDatagrams::default(),
            },
            shared,
            batch: vec![0; BATCH_BYTES].into(),
            used: 0,
            segment: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        // Until the runtime knows it, a new socket counts as full.
        let mut usable = shared.socket.writable().await;
        while usable.is_ok() {
            self.run_due();
            let wakes = [shared.state().wake(), self.client.unsent.wake()];
            let wake = wakes.into_iter().flatten().min();
            let rest = wake.map(|wake| wake.saturating_duration_since(awake::now()));
            let due = async {
                match rest {
                    Some(rest) => awake::sleep(rest).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                readable = shared.socket.readable() => {
                    usable = readable;
                    self.forward();
                }
                () = shared.signals.changed.notified() => {}
                () = due => {}
            }
        }
    }

    /// Sends what is due, and what no longer has to wait.
    fn run_due(&mut self) {
        let now = awake::now();
        self.client.retry(now);
        let check = {
            let mut state = self.shared.state();
            state.settle(now);
            state.agent.send_check(now);
            state.inside.due(now).map(<[u8]>::to_vec)
        };
        if let Some(check) = check {
            self.shared.to_engine(&check);
        }
        // In statements of their own, so that nothing is sent under the lock.
        while let Some(datagram) = { self.shared.state().next_inwards() } {
            self.shared.to_engine(&datagram);
        }
        while let Some(datagram) = { self.shared.state().next_outwards() } {
            self.client.send(&datagram, datagram.len());
        }
    }

    /// Reads what webrtcbin has sent, and passes it on in batches.
    fn forward(&mut self) {
        for _ in 0..ROUND_MAX {
            let Some(room) = self.batch.get_mut(self.used..) else {
                break;
            };
            match self.shared.socket.try_recv(room) {
                Ok(length) => self.take(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => tracing::trace!(%error, "webrtcbin does not listen"),
            }
        }
        self.flush();
    }

    /// Adds the datagram after the batch to it.
    fn take(&mut self, length: usize) {
        let arrived = self.used..self.used + length;
        let Some(datagram) = self.batch.get(arrived.clone()) else {
            return;
        };
        if datagram.is_empty() {
            return;
        }
        if stun::is_stun(datagram) {
            let reply = self.shared.state().check(datagram);
            if let Some(reply) = reply {
                self.shared.to_engine(&reply);
            }
            return;
        }
        if length > self.segment {
            self.flush();
            self.batch.copy_within(arrived, 0);
            self.segment = length;
        }
        self.used += length;
        let room = self.batch.len() - self.used;
        let segments = self.used.div_ceil(self.segment);
        if length < self.segment
            || room < DATAGRAM_BYTES
            || segments >= self.client.port.segments_max()
        {
            self.flush();
        }
    }

    /// Sends the batch, and empties it.
    fn flush(&mut self) {
        let used = std::mem::take(&mut self.used);
        let segment = std::mem::take(&mut self.segment);
        if let Some(data) = self.batch.get(..used)
            && !data.is_empty()
        {
            self.client.send(data, segment);
        }
    }
}

/// The way to the client.
struct ToClient {
    shared: Arc<Shared>,
    port: Port,
    /// What has found no room in the port's socket.
    unsent: UnsentDatagrams,
}

impl ToClient {
    /// Sends datagrams of `segment` bytes each (the last may be shorter), if the client may be sent
    /// to: now, or as soon as there is room.
    fn send(&mut self, data: &[u8], segment: usize) {
        let attempt = |data: &[u8], segment| attempt(&self.shared, &self.port, data, segment);
        let lost = self.unsent.send(awake::now(), data, segment, attempt);
        self.port.count_dropped(lost);
    }

    /// Tries again what has found no room, if it is time to.
    fn retry(&mut self, now: Instant) {
        let attempt = |data: &[u8], segment| attempt(&self.shared, &self.port, data, segment);
        let lost = self.unsent.retry(now, attempt);
        self.port.count_dropped(lost);
    }
}

/// Sends datagrams to the client, if it may be sent to; false if there is no room for them now.
fn attempt(shared: &Shared, port: &Port, data: &[u8], segment: usize) -> bool {
    let mut state = shared.state();
    let Some(before) = state.destination(awake::now(), data, segment) else {
        return true;
    };
    let is_proven = state.agent.proven().is_some();
    drop(state);
    let mut ends = before;
    let sent = if is_proven {
        port.try_send(&mut ends, data, segment)
    } else {
        // A handshake is repeated anyway, and each attempt would count as sent.
        Some(port.send(&mut ends, data, segment))
    };
    if ends != before {
        shared.state().agent.forget_local(ends.remote);
    }
    sent.is_some()
}
