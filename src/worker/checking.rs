//! Pipeline files, checked in a worker: it creates their elements, which may crash or hang.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, time};

use super::{
    job::{no_worker, secrets},
    limits::WorkerLimits,
    note::{CheckSetup, ToServer, ToWorker},
    prepared::{Prepared, preparation},
    spawn,
    starting::Turn,
    wire::{Packed, WireMessage},
};
use crate::{
    awake,
    media::Codec,
    pipeline::{
        Error,
        check::{FileCheck, FileProblem},
    },
};

/// The name of such a worker in lists of processes.
const NAME: &str = "check";
/// How long one file may take: to create an element takes up to some tenths of a second.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a worker that fails may take to end, so that its own reason is seen.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);

/// The problems of each file, and why each of the texts cannot run on this machine. A file that ends or
/// holds the worker has that as its problem, and another worker goes on.
///
/// # Errors
/// If the system refuses a process, or GStreamer does not start.
pub async fn check(
    files: Vec<FileCheck>,
    texts: Vec<String>,
    memory: u64,
) -> Result<(Vec<Vec<FileProblem>>, Vec<Option<Error>>), Error> {
    let mut checker = FileChecker::new(&files, memory);
    let mut problems = Vec::new();
    for file in files {
        problems.push(checker.check(file).await?);
    }
    let mut lacking = Vec::new();
    for text in texts {
        lacking.push(checker.search(text).await?);
    }
    Ok((problems, lacking))
}

/// The video codecs that each of these outputs can take; none of those that end or hold the worker.
///
/// # Errors
/// As [`check`].
pub async fn video_codecs(files: Vec<FileCheck>, memory: u64) -> Result<Vec<Vec<Codec>>, Error> {
    let mut checker = FileChecker::new(&files, memory);
    let mut codecs = Vec::new();
    for file in files {
        codecs.push(checker.codecs(file).await?);
    }
    Ok(codecs)
}

/// Has files checked one by one, so that it is known which one a worker fails at.
struct FileChecker {
    setup: CheckSetup,
    memory: u64,
    /// `None` before the first file, and after one that has ended or held it.
    worker: Option<Prepared>,
}

impl FileChecker {
    fn new(files: &[FileCheck], memory: u64) -> Self {
        let secrets = files.iter().flat_map(|file| secrets(&file.variables));
        Self {
            setup: CheckSetup {
                secrets: secrets.collect(),
            },
            memory,
            worker: None,
        }
    }

    async fn check(&mut self, file: FileCheck) -> Result<Vec<FileProblem>, Error> {
        let mut worker = self.worker().await?;
        let name = file.file.clone();
        let why = match ask(&mut worker, &ToWorker::CheckFile(file)).await {
            Ok(ToServer::Checked(problems)) => {
                self.worker = Some(worker);
                return Ok(problems);
            }
            Ok(_) => something_else(),
            Err(error) => error,
        };
        let why = explain(worker, &why).await;
        Ok(vec![FileProblem {
            file: name,
            line: None,
            text: format!("cannot be checked: {why}"),
        }])
    }

    async fn codecs(&mut self, file: FileCheck) -> Result<Vec<Codec>, Error> {
        let mut worker = self.worker().await?;
        let answer = ask(&mut worker, &ToWorker::FindCodecs(file)).await;
        let Ok(ToServer::Codecs(codecs)) = answer else {
            return Ok(Vec::new());
        };
        self.worker = Some(worker);
        Ok(codecs)
    }

    async fn search(&mut self, text: String) -> Result<Option<Error>, Error> {
        let mut worker = self.worker().await?;
        let why = match ask(&mut worker, &ToWorker::FindElements(text)).await {
            Ok(ToServer::Searched(lacking)) => {
                self.worker = Some(worker);
                return Ok(lacking);
            }
            Ok(_) => something_else(),
            Err(error) => error,
        };
        Ok(Some(Error::Failed(explain(worker, &why).await)))
    }

    /// A worker that is ready to check a file.
    async fn worker(&mut self) -> Result<Prepared, Error> {
        if let Some(worker) = self.worker.take() {
            return Ok(worker);
        }
        let limits = WorkerLimits::new(self.memory);
        let spawned = spawn::spawn(NAME, limits, Turn::wait().await).await;
        let mut worker = Prepared::begin(spawned.map_err(no_worker)?, preparation(false))
            .await
            .map_err(no_worker)?;
        worker.ready().await?;
        send(&mut worker, &ToWorker::Check(self.setup.clone()))
            .await
            .map_err(no_worker)?;
        Ok(worker)
    }
}

/// Asks a worker something, and waits for the answer.
async fn ask(worker: &mut Prepared, note: &ToWorker) -> io::Result<ToServer> {
    let answer = async {
        send(worker, note).await?;
        loop {
            match worker.incoming.next().await? {
                Some(WireMessage::Note(ToServer::Log(line))) => {
                    worker.words.push(&line.words());
                    line.emit(&line.text(), 0);
                }
                Some(WireMessage::Note(answer)) => return Ok(answer),
                Some(WireMessage::Frame(_)) => return Err(something_else()),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    };
    let answer = awake::timeout(CHECK_TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "it took too long")))
}

async fn send(worker: &mut Prepared, note: &ToWorker) -> io::Result<()> {
    let note = Packed::note(note).map_err(io::Error::other)?;
    worker.writing.write_all(&note.head).await?;
    worker.writing.write_all(&note.data).await
}

fn something_else() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "its process sent an unexpected message",
    )
}

/// Why a worker has not answered: how it ended, if it did so by itself.
async fn explain(worker: Prepared, error: &io::Error) -> String {
    let Prepared {
        process,
        words,
        mut talking,
        ..
    } = worker;
    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::InvalidData) {
        return words.explain(&error.to_string());
    }
    let end = process.end(time::Instant::now() + LAST_TIMEOUT).await;
    // Err: something that it has started goes on talking.
    let _ = time::timeout(LAST_TIMEOUT, talking.join_next()).await;
    words.explain(&end.how)
}
