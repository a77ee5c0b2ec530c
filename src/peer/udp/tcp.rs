//! TCP connections in place of the UDP port, for clients whose network lets no UDP through (RFC 6544,
//! passive). Each datagram has its length before it (RFC 4571).
//!
//! A connection belongs to a session once its first frame is an authentic check of one, and ends when
//! the session gives it up. It has one bounded queue; whoever sends never waits for it.

mod queue;
mod reader;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
};

use self::queue::Outgoing;
pub(super) use self::reader::TcpReader;
use super::Sent;
use crate::awake;

/// Bytes that the kernel holds and has not sent: what waits there can no longer be dropped.
const UNSENT_BYTES: u32 = 64 << 10;
/// Time for a new connection to show that it is a session's.
const BIND_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that wait for all connections together, apart from the first few of each.
const ALL_BYTES_MAX: usize = 256 << 20;
/// Time for a client to take the end of a connection.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that media may travel over.
#[derive(Debug)]
pub(super) struct TcpConnections {
    last: AtomicU64,
    /// One permit for each byte that may still wait.
    room: Arc<Semaphore>,
    open: RwLock<HashMap<u64, Arc<Outgoing>>>,
}

impl Default for TcpConnections {
    fn default() -> Self {
        Self {
            last: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(ALL_BYTES_MAX)),
            open: RwLock::default(),
        }
    }
}

impl TcpConnections {
    /// A new connection. It is open until the returned value is dropped.
    pub(super) fn begin(&self) -> OpenConnection<'_> {
        let number = self.last.fetch_add(1, Relaxed);
        let outgoing = Arc::new(Outgoing::new(Arc::clone(&self.room)));
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
        self.find(number).map_or(Sent::Failed, |outgoing| {
            outgoing.send(data, segment, awake::now())
        })
    }

    /// A session has it.
    pub(super) fn bind(&self, number: u64) {
        if let Some(outgoing) = self.find(number) {
            outgoing.bind();
        }
    }

    /// No session has it any more: it ends once everything is sent.
    pub(super) fn end(&self, number: u64) {
        if let Some(outgoing) = self.find(number) {
            outgoing.end();
        }
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
            () = self.unbound() => Err(io::Error::other("no session uses it")),
        }
    }

    /// Resolves if no session has bound it in time.
    async fn unbound(&self) {
        awake::sleep(BIND_TIMEOUT).await;
        if self.outgoing.is_bound() {
            std::future::pending::<()>().await;
        }
    }

    async fn write(&self, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        while let Some(frames) = self.outgoing.next().await {
            let left = frames
                .time_left(awake::now())
                .ok_or(io::ErrorKind::TimedOut)?;
            let written = awake::timeout(left, stream.write_all(&frames.bytes)).await;
            written.map_err(late)??;
        }
        let end = awake::timeout(END_TIMEOUT, stream.shutdown()).await;
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
    fn a_connection_is_known_for_as_long_as_it_is_open() {
        let all = TcpConnections::default();
        let connection = all.begin();
        let number = connection.number;
        assert_eq!((all.count(), all.send(number, &[1], 1)), (1, Sent::Taken));
        assert!(!connection.outgoing.is_bound());
        all.bind(number);
        assert!(connection.outgoing.is_bound());
        drop(connection);
        assert_eq!((all.count(), all.send(number, &[1], 1)), (0, Sent::Failed));
    }

    #[test]
    fn a_connection_that_has_been_late_for_long_ends() {
        let all = TcpConnections::default();
        let now = awake::now();
        let send = |connection: &OpenConnection<'_>, before: u64| {
            let at = now.checked_sub(Duration::from_secs(before)).unwrap();
            assert_eq!(connection.outgoing.send(&[9; 10], 10, at), Sent::Taken);
        };
        // As if the line had taken everything before it, piece by piece.
        let connection = all.begin();
        send(&connection, 12);
        let error = block_on(connection.write(tokio::io::sink())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let connection = all.begin();
        send(&connection, 2);
        all.end(connection.number);
        let mut written = Vec::new();
        block_on(connection.write(&mut written)).unwrap();
        assert_eq!(written, framed(&[9; 10], 10));
    }
}
