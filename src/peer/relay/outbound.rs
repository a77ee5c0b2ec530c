//! webrtcbin's datagrams on their way to the client.

use std::{io::ErrorKind, sync::Arc};

use super::Shared;
use crate::{
    awake,
    peer::udp::{Port, stun},
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
    port: Port,
    batch: Box<[u8]>,
    /// Bytes in the batch.
    used: usize,
    /// Bytes of each of its datagrams but the last, which may be shorter.
    segment: usize,
}

impl Outbound {
    pub(super) fn new(shared: Arc<Shared>, port: Port) -> Self {
        Self {
            shared,
            port,
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
            let wake = shared.state().wake();
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
    fn run_due(&self) {
        let now = awake::now();
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
            self.to_client(&datagram, datagram.len());
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
        if length < self.segment || room < DATAGRAM_BYTES || segments >= self.port.segments_max() {
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
            self.to_client(data, segment);
        }
    }

    /// Sends datagrams of `segment` bytes each (the last may be shorter), if the client may be sent
    /// to.
    fn to_client(&self, data: &[u8], segment: usize) {
        let destination = {
            let mut state = self.shared.state();
            state.destination(awake::now(), data, segment)
        };
        let Some(before) = destination else { return };
        let mut ends = before;
        self.port.send(&mut ends, data, segment);
        if ends != before {
            self.shared.state().agent.forget_local(ends.remote);
        }
    }
}
