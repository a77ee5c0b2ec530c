//! The conversation with a helper process of the benchmark.
//!
//! A helper is the same executable, started as `aerial bench-part`. The first line it reads is its
//! job as JSON; single words follow. It answers in lines of JSON.

use std::{io::Write, os::fd::AsFd, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::unix::pipe::Receiver,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::process::Usage;

/// The helper's side of the conversation: its standard input and output.
pub(super) struct HelperControls {
    lines: Lines<BufReader<Receiver>>,
}

impl HelperControls {
    /// Takes over this process's standard input.
    pub(super) fn new() -> Result<Self> {
        let input = Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
        Ok(Self {
            lines: BufReader::new(input).lines(),
        })
    }

    /// The job, which comes first.
    pub(super) async fn job<T: DeserializeOwned>(&mut self) -> Result<T> {
        serde_json::from_str(&self.line().await?).context("not a job")
    }

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

    /// Sends an answer.
    #[expect(clippy::unused_self, reason = "only a helper may speak")]
    pub(super) fn say(&self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        Ok(out.flush()?)
    }
}

/// The benchmark's side: a running helper, killed when dropped.
pub(super) struct Helper {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts a helper and gives it its job.
    pub(super) async fn start(job: &impl Serialize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bench-part")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a helper process")?;
        let input = child.stdin.take().context("no pipe")?;
        let output = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let mut helper = Self {
            child,
            input,
            output,
        };
        helper.say(&serde_json::to_string(job)?).await?;
        Ok(helper)
    }

    /// Sends the next line.
    pub(super) async fn say(&mut self, line: &str) -> Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// The resources it has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id().context("a helper process has ended")?)
    }

    /// The next answer.
    pub(super) async fn answer<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T> {
        let line = timeout(within, self.output.next_line()).await;
        let line = line.context("a helper process did not answer in time")??;
        let Some(line) = line else {
            bail!("a helper process has ended: {}", self.child.wait().await?);
        };
        Ok(serde_json::from_str(&line)?)
    }
}
