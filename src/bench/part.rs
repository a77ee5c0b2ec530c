//! The benchmark's helper processes: what they do, and how the benchmark talks to them.
//!
//! A part is the same executable, started as `aerial bench-part`. Its first line of input is the
//! job as JSON; then come single words. It answers in lines of JSON.

use std::{io::Write, os::fd::AsFd, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::unix::pipe::Receiver,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{floor, process::Usage, viewers};

/// What a part does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub(super) enum Job {
    /// WHEP viewers.
    Viewers(viewers::Job),
    /// Sockets that count what arrives, for the floor.
    Sinks(floor::SinksJob),
    /// Encrypting and sending, and nothing else.
    Floor(floor::Job),
}

/// Runs as a part, as told on the standard input.
///
/// # Errors
///
/// If the job cannot be understood or done, or if the controlling process is gone.
pub fn run() -> Result<()> {
    // One thread: what a part measures must not depend on how its threads are scheduled.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let input = Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
        let mut controls = Controls {
            lines: BufReader::new(input).lines(),
        };
        let job = serde_json::from_str(&controls.line().await?).context("not a job")?;
        match job {
            Job::Viewers(job) => Box::pin(viewers::run(job, controls)).await,
            Job::Sinks(job) => floor::sinks(job, controls).await,
            Job::Floor(job) => floor::run(job, controls).await,
        }
    })
}

/// The part's side of the conversation.
pub(super) struct Controls {
    lines: Lines<BufReader<Receiver>>,
}

impl Controls {
    async fn line(&mut self) -> Result<String> {
        self.lines
            .next_line()
            .await?
            .context("the benchmark is gone")
    }

    /// Waits for a word; there is no time limit because the benchmark's end closes the pipe.
    pub(super) async fn expect(&mut self, word: &str) -> Result<()> {
        let line = self.line().await?;
        ensure!(line == word, "expected {word:?}, got {line:?}");
        Ok(())
    }

    /// Answers.
    #[expect(clippy::unused_self, reason = "only a part may speak")]
    pub(super) fn say(&self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        Ok(out.flush()?)
    }
}

/// The benchmark's side: a running part. It is killed when dropped.
pub(super) struct Part {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Part {
    /// Starts a part.
    pub(super) async fn start(job: &Job) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bench-part")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a helper process")?;
        let input = child.stdin.take().context("no pipe")?;
        let output = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let mut part = Self {
            child,
            input,
            output,
        };
        part.say(&serde_json::to_string(job)?).await?;
        Ok(part)
    }

    /// Gives the part its next line.
    pub(super) async fn say(&mut self, line: &str) -> Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id().context("a helper process has ended")?)
    }

    /// The part's next answer.
    pub(super) async fn answer<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T> {
        let line = timeout(within, self.output.next_line()).await;
        let line = line.context("a helper process did not answer in time")??;
        let Some(line) = line else {
            bail!("a helper process has ended: {}", self.child.wait().await?);
        };
        Ok(serde_json::from_str(&line)?)
    }
}
