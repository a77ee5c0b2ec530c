//! TCP connections in place of the UDP port, for clients whose network lets no UDP through (RFC 6544,
//! passive). Each datagram has its length before it (RFC 4571).
//!
//! A connection belongs to a session once its first frame is an authentic check of one, and ends when
//! the session gives it up. It has one bounded queue; whoever sends never waits for it.

mod reader;

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::Notify,
};

pub(super) use self::reader::TcpReader;
use super::Sent;
use crate::awake;

/// Bytes that wait for a connection: the start of a broadcast with a high bit rate.
const QUEUE_BYTES_MAX: usize = 2 << 20;
/// How long bytes wait before no more are taken: pictures would be late, and a later keyframe is
/// better.
const QUEUE_TIME_MAX: Duration = Duration::from_secs(1);
/// Bytes that the kernel holds and has not sent: what waits there can no longer be dropped.
const UNSENT_BYTES: u32 = 64 << 10;
/// Time for a new connection to show that it is a session's.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a client to take what was handed over, and for the last bytes of a connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that media may travel over.
#[derive(Debug, Default)]
pub(super) struct TcpConnections {
    last: AtomicU64,
    open: RwLock<HashMap<u64, Arc<Outgoing>>>,
}

impl TcpConnections {
    /// A new connection. It is open until the returned value is dropped.
    pub(super) fn begin(&self) -> OpenConnection<'_> {
        let number = self.last.fetch_add(1, Relaxed);
        let outgoing = Arc::<Outgoing>::default();
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(number, Arc::clone(&outgoing));
        drop(open);
        OpenConnection {
            all: self,
            number,
            outgoing,
        }
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.len()
    }

    fn find(&self, number: u64) -> Option<Arc<Outgoing>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&number).cloned()
    }

    /// Sends `data` as frames of `segment` bytes each (the last may be shorter). Never waits.
    pub(super) fn send(&self, number: u64, data: &[u8], segment: usize) -> Sent {
        let found = self.find(number);
        found.map_or(Sent::Failed, |outgoing| {
            outgoing.send(data, segment, awake::now())
        })
    }

    /// A session has it.
    pub(super) fn claim(&self, number: u64) {
        if let Some(outgoing) = self.find(number) {
            outgoing.change(|queue| queue.claimed = true);
        }
    }

    /// No session has it any more: it ends once everything is sent.
    pub(super) fn end(&self, number: u64) {
        if let Some(outgoing) = self.find(number) {
            outgoing.change(|queue| queue.ended = true);
        }
    }
}

/// What waits for one connection.
#[derive(Debug, Default)]
struct Outgoing {
    queue: Mutex<SendQueue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct SendQueue {
    waiting: VecDeque<Frames>,
    bytes: usize,
    /// Since when the piece waits that the kernel is taking now.
    under_way: Option<Instant>,
    claimed: bool,
    ended: bool,
}

/// Frames that were sent at one moment.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    at: Instant,
}

impl SendQueue {
    fn has_room(&self, bytes: usize, now: Instant) -> bool {
        let first = self.waiting.front().map(|frames| frames.at);
        let late = |since: Instant| now.saturating_duration_since(since) >= QUEUE_TIME_MAX;
        self.bytes + bytes <= QUEUE_BYTES_MAX && !self.under_way.or(first).is_some_and(late)
    }
}

impl Outgoing {
    fn send(&self, data: &[u8], segment: usize, now: Instant) -> Sent {
        let bytes = framed(data, segment);
        let mut queue = self.queue();
        if queue.ended {
            return Sent::Failed;
        }
        if !queue.has_room(bytes.len(), now) {
            return Sent::Full;
        }
        queue.bytes += bytes.len();
        queue.waiting.push_back(Frames { bytes, at: now });
        drop(queue);
        self.changed.notify_one();
        Sent::Taken
    }

    fn change(&self, change: impl FnOnce(&mut SendQueue)) {
        change(&mut self.queue());
        self.changed.notify_one();
    }

    fn is_claimed(&self) -> bool {
        self.queue().claimed
    }

    /// The next bytes to send; `None` after the last.
    async fn next(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut queue = self.queue();
                queue.under_way = None;
                if let Some(Frames { bytes, at }) = queue.waiting.pop_front() {
                    queue.bytes -= bytes.len();
                    queue.under_way = Some(at);
                    return Some(bytes);
                }
                if queue.ended {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, SendQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is open.
pub(super) struct OpenConnection<'a> {
    all: &'a TcpConnections,
    pub(super) number: u64,
    outgoing: Arc<Outgoing>,
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        let mut open = self
            .all
            .open
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.number);
    }
}

impl OpenConnection<'_> {
    /// Carries datagrams until the connection ends.
    ///
    /// # Errors
    /// What ends it, other than its session and the client.
    pub(super) async fn run(&self, stream: TcpStream, reader: TcpReader<'_>) -> io::Result<()> {
        let socket = SockRef::from(&stream);
        if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT_BYTES) {
            tracing::debug!(%error, "the kernel keeps more of a TCP connection than it should");
        }
        let (incoming, outgoing) = stream.into_split();
        tokio::select! {
            ended = reader.run(incoming) => ended,
            ended = self.write(outgoing) => ended,
            () = self.unclaimed() => Err(io::Error::other("no session claims it")),
        }
    }

    /// Resolves if no session has claimed it in time.
    async fn unclaimed(&self) {
        awake::sleep(CLAIM_TIMEOUT).await;
        if self.outgoing.is_claimed() {
            std::future::pending::<()>().await;
        }
    }

    async fn write(&self, mut writer: OwnedWriteHalf) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        while let Some(bytes) = self.outgoing.next().await {
            let written = awake::timeout(WRITE_TIMEOUT, writer.write_all(&bytes)).await;
            written.map_err(late)??;
        }
        let end = awake::timeout(WRITE_TIMEOUT, writer.shutdown()).await;
        end.map_err(late)?
    }
}

/// Datagrams of `segment` bytes each (the last may be shorter) as frames.
fn framed(data: &[u8], segment: usize) -> Vec<u8> {
    let segment = segment.clamp(1, usize::from(u16::MAX));
    let mut bytes = Vec::with_capacity(data.len() + 2 * data.len().div_ceil(segment));
    for datagram in data.chunks(segment) {
        let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(datagram);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    #[test]
    fn a_queue_takes_no_more_bytes_than_it_has_room_for() {
        let (outgoing, now) = (Outgoing::default(), Instant::now());
        let data = vec![0; 60_000];
        let taken = (0..100).take_while(|_| outgoing.send(&data, 1200, now) == Sent::Taken);
        assert_eq!(taken.count(), QUEUE_BYTES_MAX / (60_000 + 50 * 2));
        assert_eq!(outgoing.send(&data, 1200, now), Sent::Full);
        // Room for a check is left.
        assert_eq!(outgoing.send(&[0; 100], 100, now), Sent::Taken);
    }

    #[test]
    fn a_queue_takes_nothing_while_its_oldest_bytes_are_late() {
        let (outgoing, now) = (Outgoing::default(), Instant::now());
        let late = now + QUEUE_TIME_MAX;
        assert_eq!(outgoing.send(&[1], 1, now), Sent::Taken);
        assert_eq!(outgoing.send(&[2], 1, late), Sent::Full);
        // The kernel is slow to take them.
        assert_eq!(block_on(outgoing.next()), Some(vec![0, 1, 1]));
        assert_eq!(outgoing.send(&[3], 1, late), Sent::Full);
        outgoing.change(|queue| queue.ended = true);
        assert_eq!(block_on(outgoing.next()), None, "the kernel has them");
        assert_eq!(outgoing.send(&[4], 1, now), Sent::Failed);
    }

    #[test]
    fn a_connection_is_known_for_as_long_as_it_is_open() {
        let all = TcpConnections::default();
        let connection = all.begin();
        let number = connection.number;
        assert_eq!((all.count(), all.send(number, &[1], 1)), (1, Sent::Taken));
        assert!(!connection.outgoing.is_claimed());
        all.claim(number);
        assert!(connection.outgoing.is_claimed());
        drop(connection);
        assert_eq!((all.count(), all.send(number, &[1], 1)), (0, Sent::Failed));
    }
}
