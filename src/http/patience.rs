//! How long HTTP waits for a client, on the clock that leaves out pauses of the server: what the
//! client has sent during one has not been read yet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::awake;

type Waiting = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The clock by which hyper drops clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct AwakeTimer;

struct AwakeSleep(Waiting);

impl Timer for AwakeTimer {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(AwakeSleep(Box::pin(awake::sleep(time))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        awake::now()
    }
}

impl Future for AwakeSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl Sleep for AwakeSleep {}

/// A connection that fails once its client has taken nothing for too long.
pub(super) struct WriteLimit<S> {
    stream: S,
    limit: Duration,
    /// While the client takes nothing.
    waiting: Option<Waiting>,
}

impl<S> WriteLimit<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            waiting: None,
        }
    }

    /// Gives up if this is still pending at the limit.
    fn limited<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(awake::sleep(limit)));
        waiting
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteLimit<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.limited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.limited(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limited(cx, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_dropped() {
        let (stream, mut client) = tokio::io::duplex(4);
        let mut stream = WriteLimit::new(stream, Duration::from_hours(1));
        stream.write_all(b"four").await.unwrap();
        assert!(stream.waiting.is_none(), "taken at once");
        let mut more = std::pin::pin!(stream.write_all(b"more"));
        assert!(futures_util::poll!(&mut more).is_pending());
        client.read_exact(&mut [0; 4]).await.unwrap();
        more.await.unwrap();
        assert!(stream.waiting.is_none(), "taken later");
        stream.limit = Duration::from_millis(1);
        assert_eq!(
            stream.write_all(b"deaf").await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }

    #[tokio::test]
    async fn hyper_waits_on_this_clock() {
        let begin = AwakeTimer.now();
        let time = Duration::from_millis(1);
        AwakeTimer.sleep_until(begin + time).await;
        assert!(awake::since(begin) >= time);
    }
}
