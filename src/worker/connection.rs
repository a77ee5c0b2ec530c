//! The two directions of a socket between server and worker.

use std::{io, sync::Arc};

use bytes::Buf as _;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

use super::{
    monotonic,
    queue::{NextWrite, Outbox},
    wire::{Decoder, WireMessage},
};

/// Bytes read at once, unless a message is longer.
const READ_BYTES: usize = 32 << 10;
/// Less room than this is not worth a read.
const ROOM_BYTES_MIN: usize = 4 << 10;

/// What arrives.
#[derive(Debug)]
pub(super) struct Inbox<N> {
    socket: OwnedReadHalf,
    decoder: Decoder<N>,
}

impl<N: DeserializeOwned> Inbox<N> {
    pub(super) fn new(socket: OwnedReadHalf) -> Self {
        Self {
            socket,
            decoder: Decoder::new(),
        }
    }

    /// The next message; `None` at the end. Nothing is lost if it is cancelled.
    ///
    /// # Errors
    /// If the socket fails, or the other side does not send messages.
    pub(super) async fn next(&mut self) -> io::Result<Option<WireMessage<N>>> {
        loop {
            let message = self.decoder.next();
            let message =
                message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            if let Some(message) = message? {
                return Ok(Some(message));
            }
            let buffer = &mut self.decoder.buffer;
            if buffer.capacity() - buffer.len() < ROOM_BYTES_MIN {
                buffer.reserve(READ_BYTES);
            }
            if self.socket.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Writes what is queued, until the queue is closed.
///
/// # Errors
/// If the socket fails, or the other side does not read.
pub(super) async fn write(mut socket: OwnedWriteHalf, outbox: Arc<Outbox>) -> io::Result<()> {
    loop {
        match outbox.next(monotonic).await {
            NextWrite::Write(packed) => {
                let mut bytes = packed.head.chain(packed.data);
                socket.write_all_buf(&mut bytes).await?;
            }
            NextWrite::End => return socket.shutdown().await,
            NextWrite::Overflow => return Err(io::Error::other("the other side does not read")),
        }
    }
}
