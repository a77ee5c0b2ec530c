//! A worker's process, seen from the server: its last words, how it ended, what it uses.

use std::{
    collections::VecDeque,
    io,
    os::unix::process::ExitStatusExt as _,
    process::{Child, ChildStderr, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    time::{Instant, sleep},
};

use super::{
    log::{self, readable},
    queue::Outbox,
    usage::UsageEntry,
};
use crate::resources::ProcessFigures;

/// How long a killed process may take to end before it is left to the thread that reaps.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to look whether it has ended.
const END_INTERVAL: Duration = Duration::from_millis(2);
/// Lines of standard error that are kept.
const LINES_MAX: usize = 4;
/// Longest such line, in bytes.
const LINE_BYTES_MAX: u64 = 1000;
/// Pause in reading after too many lines: the full pipe then blocks the writer.
const READ_PAUSE: Duration = Duration::from_millis(10);

/// The signals that end a broken process, by number.
const SIGNALS: [(i32, &str); 12] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (15, "SIGTERM"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
];

/// A worker's process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    /// `None` once it has been collected.
    child: Option<MeasuredChild>,
    pid: u32,
    /// Collects it when it has been killed.
    reap: fn(MeasuredChild),
}

/// A child process whose last figures are taken when it is collected.
#[derive(Debug)]
pub(super) struct MeasuredChild {
    child: Child,
    usage: UsageEntry,
    /// Once it has ended.
    last: Option<ProcessFigures>,
}

impl MeasuredChild {
    pub(super) fn new(name: &str, child: Child) -> Self {
        Self {
            usage: UsageEntry::new(name, child.id()),
            child,
            last: None,
        }
    }

    /// Collects it, if it has ended.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.last.is_none() && self.has_ended() {
            self.last = Some(self.usage.end());
        }
        self.child.try_wait()
    }

    /// Whether it has ended; it is not collected.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_))))
    }
}

/// The end of a process.
#[derive(Debug)]
pub(super) struct ProcessEnd {
    /// How it ended, in words.
    pub(super) how: String,
    /// The kernel's last figures.
    pub(super) figures: Option<ProcessFigures>,
}

/// The last words of GStreamer and of the process itself.
#[derive(Clone, Debug, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl Process {
    pub(super) fn new(child: MeasuredChild, reap: fn(MeasuredChild)) -> Self {
        Self {
            pid: child.child.id(),
            child: Some(child),
            reap,
        }
    }

    /// A thread of this process.
    #[cfg(test)]
    pub(super) fn of_thread() -> Self {
        Self {
            child: None,
            pid: std::process::id(),
            reap: drop,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// It has got work: what it is called from now on, and what waits for it.
    pub(super) fn begin(&self, name: &str, outbox: &Arc<Outbox>) {
        if let Some(child) = &self.child {
            child.usage.begin(name, outbox);
        }
    }

    /// Takes note of what it uses.
    pub(super) fn measured(&self, figures: ProcessFigures) {
        if let Some(child) = &self.child {
            child.usage.set(figures);
        }
    }

    /// Whether it has not ended, as far as the system says.
    pub(super) fn is_alive(&mut self) -> bool {
        let ended = self.child.as_mut().map(MeasuredChild::try_wait);
        !matches!(ended, Some(Ok(Some(_)) | Err(_)))
    }

    /// Ends it, with whatever it has started.
    pub(super) fn kill(&mut self) {
        let Some(child) = &mut self.child else { return };
        // Nobody else has this number before it is collected.
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // Err: it has ended.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = child.child.kill();
    }

    /// Waits until it has ended, kills it at the deadline, and says how it ended.
    pub(super) async fn end(mut self, deadline: Instant) -> ProcessEnd {
        let mut killed = false;
        let mut deadline = deadline;
        loop {
            match self.child.as_mut().map(MeasuredChild::try_wait) {
                Some(Ok(Some(status))) => {
                    // Its children may go on.
                    let child = self.child.take();
                    return ProcessEnd {
                        how: describe(status, killed),
                        figures: child.and_then(|child| child.last),
                    };
                }
                Some(Ok(None)) => {}
                Some(Err(_)) | None => return ProcessEnd::unseen("is gone"),
            }
            if Instant::now() >= deadline {
                if killed {
                    return ProcessEnd::unseen("does not end");
                }
                self.kill();
                (killed, deadline) = (true, Instant::now() + END_TIMEOUT);
            }
            sleep(END_INTERVAL).await;
        }
    }
}

impl ProcessEnd {
    fn unseen(what: &str) -> Self {
        Self {
            how: format!("the pipeline's process {what}"),
            figures: None,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(child) = self.child.take() {
            (self.reap)(child);
        }
    }
}

/// How a process ended, in words.
fn describe(status: ExitStatus, killed: bool) -> String {
    let Some(signal) = status.signal() else {
        let code = status.code().unwrap_or_default();
        return format!("the pipeline's process ended with code {code}");
    };
    if killed {
        return "the pipeline's process did not end by itself".to_owned();
    }
    let name = SIGNALS.iter().find(|(number, _)| *number == signal);
    let name = name.map_or_else(
        || format!("signal {signal}"),
        |(_, name)| (*name).to_owned(),
    );
    format!("the pipeline's process was ended by {name}")
}

impl LastWords {
    /// Keeps a line.
    pub(super) fn push(&self, line: &str) {
        let line = readable(line.trim());
        if line.is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.contains(&line) {
            return;
        }
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// A reason with these words.
    pub(super) fn explain(&self, what: &str) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return what.to_owned();
        }
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        format!("{what} ({})", lines.join("; "))
    }
}

/// Keeps what a process writes to its standard error, line by line, until its end.
pub(super) async fn read_stderr(stderr: ChildStderr, words: LastWords) {
    let Ok(stderr) = tokio::process::ChildStderr::from_std(stderr) else {
        return;
    };
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    let limit = log::limit();
    // Whether what comes next belongs to a line that is too long.
    let mut goes_on = false;
    loop {
        line.clear();
        let mut piece = (&mut stderr).take(LINE_BYTES_MAX);
        match piece.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let cut_off = std::mem::replace(&mut goes_on, !line.ends_with(b"\n"));
        let text = String::from_utf8_lossy(&line);
        if !cut_off {
            words.push(&text);
        }
        match limit.line() {
            Some(left_out) if !cut_off => {
                tracing::debug!(target: "aerial::pipeline", left_out, "{}", readable(text.trim()));
            }
            Some(_) => {}
            None => sleep(READ_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_signal_and_the_last_words() {
        let words = LastWords::default();
        let reason = words.explain(&describe(ExitStatus::from_raw(11), false));
        assert!(reason.ends_with(" SIGSEGV"), "{reason}");
        for line in ["1", "2", "", "3", "4", "3", "videorate: assertion failed\n"] {
            words.push(line);
        }
        let reason = words.explain(&describe(ExitStatus::from_raw(6), false));
        let expected = " SIGABRT (2; 3; 4; videorate: assertion failed)";
        assert!(reason.ends_with(expected), "{reason}");
        let reason = describe(ExitStatus::from_raw(3 << 8), false);
        assert!(reason.ends_with(" 3"), "{reason}");
    }
}
