//! A worker that prepares itself, or waits for its work.

use std::{io, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    task::JoinSet,
};
use tracing::Instrument as _;

use super::{
    connection::Inbox,
    log,
    note::{Preparation, ToServer, ToWorker},
    process::{self, LastWords, Process},
    spawn::Spawned,
    starting::Turn,
    wire::{Packed, VERSION, WireMessage},
};
use crate::{
    awake,
    pipeline::{Error, clock},
};

/// How long a worker may take to prepare itself: the first one may have to build GStreamer's registry.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a worker needs whatever it does: as this process has it.
pub(super) fn preparation(webrtcbin: bool) -> Preparation {
    Preparation {
        base_time: clock::base_time(),
        log: log::levels(),
        webrtcbin,
        sandbox: None,
    }
}

/// A worker without work.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) process: Process,
    pub(super) words: LastWords,
    /// Reads its standard error.
    pub(super) talking: JoinSet<()>,
    pub(super) incoming: Inbox<ToServer>,
    pub(super) writing: OwnedWriteHalf,
    /// Whether it has said which version it speaks.
    pub(super) greeted: bool,
    /// `None` once it is ready for its work.
    pub(super) turn: Option<Turn>,
}

impl Prepared {
    /// Tells a process how to prepare itself.
    ///
    /// # Errors
    /// If the socket fails.
    pub(super) async fn begin(spawned: Spawned, preparation: Preparation) -> io::Result<Self> {
        let Spawned {
            process,
            stderr,
            socket,
            turn,
        } = spawned;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(socket)?;
        let (reading, mut writing): (OwnedReadHalf, _) = socket.into_split();
        let words = LastWords::default();
        let mut talking = JoinSet::new();
        if let Some(stderr) = stderr {
            talking.spawn(process::read_stderr(stderr, words.clone()).in_current_span());
        }
        let note = Packed::note(&ToWorker::Prepare(preparation)).map_err(io::Error::other)?;
        // A new socket has room for it.
        writing.write_all(&note.head).await?;
        writing.write_all(&note.data).await?;
        Ok(Self {
            process,
            words,
            talking,
            incoming: Inbox::new(reading),
            writing,
            greeted: false,
            turn: Some(turn),
        })
    }

    /// Waits until it is ready for its work.
    ///
    /// # Errors
    /// If it ends, or says something else, or takes too long.
    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        let failed = |what: &str| Error::Failed(format!("a worker did not start: {what}"));
        let ready = async {
            loop {
                let message = self.incoming.next().await;
                match message.map_err(|error| failed(&error.to_string()))? {
                    Some(WireMessage::Note(ToServer::Hello { version: VERSION })) => {
                        self.greeted = true;
                    }
                    Some(WireMessage::Note(ToServer::Ready { .. })) if self.greeted => {
                        self.turn = None;
                        return Ok(());
                    }
                    Some(WireMessage::Note(ToServer::Log(line))) => line.emit(&line.text(), 0),
                    Some(WireMessage::Note(ToServer::Refused(error))) => return Err(error),
                    Some(_) => return Err(failed("it sent an unexpected message")),
                    None => return Err(failed("it has ended")),
                }
            }
        };
        let ready = awake::timeout(PREPARE_TIMEOUT, ready).await;
        ready.unwrap_or_else(|_| Err(failed("it took too long")))
    }
}
