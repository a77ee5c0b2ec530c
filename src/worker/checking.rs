//! Pipeline files, checked in a worker: it creates their elements, which may crash or hang.

use std::time::Duration;

use super::{
    job::{no_worker, secrets},
    limits::WorkerLimits,
    note::{CheckSetup, CheckedFiles, ToServer, ToWorker},
    prepared::{Prepared, preparation},
    spawn,
    starting::Turn,
    wire::{Packed, WireMessage},
};
use crate::{
    awake,
    pipeline::{
        Error,
        check::{FileCheck, FileProblem},
    },
};

/// The name of such a worker in lists of processes.
const NAME: &str = "check";
/// How long it may take: to create an element takes up to some tenths of a second.
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);
/// How long one that fails may take to end, so that its own reason is seen.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);

/// The problems of each file, and why each of the texts cannot run on this machine.
///
/// # Errors
/// If GStreamer does not start, or the worker ends or hangs.
pub async fn check(
    files: Vec<FileCheck>,
    texts: Vec<String>,
    memory: u64,
) -> Result<(Vec<Vec<FileProblem>>, Vec<Option<Error>>), Error> {
    let secrets = files.iter().flat_map(|file| secrets(&file.variables));
    let setup = CheckSetup {
        secrets: secrets.collect(),
        files,
        texts,
    };
    let (count, texts) = (setup.files.len(), setup.texts.len());
    let spawned = spawn::spawn(NAME, WorkerLimits::new(memory), Turn::wait().await).await;
    let worker = Prepared::begin(spawned.map_err(no_worker)?, preparation(false)).await;
    let mut worker = worker.map_err(no_worker)?;
    let checked = awake::timeout(CHECK_TIMEOUT, ask(&mut worker, setup)).await;
    let checked = checked.unwrap_or_else(|_| Err(failed("it took too long")));
    let CheckedFiles { problems, lacking } = match checked {
        Ok(checked) => checked,
        Err(error) => return Err(explain(worker, error).await),
    };
    if problems.len() != count || lacking.len() != texts {
        return Err(failed("it has left something out"));
    }
    Ok((problems, lacking))
}

/// Sends the files, and waits for what is wrong with them.
async fn ask(worker: &mut Prepared, setup: CheckSetup) -> Result<CheckedFiles, Error> {
    use tokio::io::AsyncWriteExt as _;

    worker.ready().await?;
    let note = Packed::note(&ToWorker::Check(Box::new(setup)));
    let note = note.map_err(|error| failed(&error.to_string()))?;
    for part in [&note.head, &note.data] {
        let written = worker.writing.write_all(part).await;
        written.map_err(|error| failed(&error.to_string()))?;
    }
    loop {
        let message = worker.incoming.next().await;
        match message.map_err(|error| failed(&error.to_string()))? {
            Some(WireMessage::Note(ToServer::Checked(checked))) => return Ok(checked),
            Some(WireMessage::Note(ToServer::Log(line))) => {
                worker.words.push(&line.words());
                line.emit(&line.text(), 0);
            }
            Some(_) => return Err(failed("it sent an unexpected message")),
            None => return Err(failed("it has ended")),
        }
    }
}

/// An error, with how the worker ended if it did.
async fn explain(worker: Prepared, error: Error) -> Error {
    let Error::Failed(reason) = error else {
        return error;
    };
    let deadline = tokio::time::Instant::now() + LAST_TIMEOUT;
    let how = worker.process.end(deadline).await;
    failed(&worker.words.explain(&format!("{reason}; {how}")))
}

fn failed(why: &str) -> Error {
    Error::Failed(format!("the pipeline files cannot be checked: {why}"))
}
