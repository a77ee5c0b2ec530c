//! What happens to workers, and what log and API call it.

use std::{process::Command, thread, time::Duration};

use super::{super::signal, kind::Victim};

/// What happens to a worker.
#[derive(Clone, Copy, Debug)]
enum Means {
    Signal(&'static str),
    /// Rust's own handler takes the first one, and goes back to where a true fault would happen again.
    SignalTwice(&'static str),
    /// The threads that pass media on do this harm. The process still answers.
    InMedia(Harm),
    /// The thread that reads and writes the socket does this harm.
    InReader(Harm),
}

/// What `inject.py` makes a thread do.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Loop,
    Leak,
    Flood,
}

impl Harm {
    const fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Leak => "leak",
            Self::Flood => "flood",
        }
    }
}

/// A fault, and what log and API call it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    means: Means,
    /// The codes of which one names it.
    codes: &'static [&'static str],
    /// What the reason says of a signal, if one has ended the process.
    signal: &'static str,
}

const KILL: Fault = Fault {
    means: Means::Signal("KILL"),
    codes: &["crashed"],
    signal: "SIGKILL",
};
const SEGV: Fault = Fault {
    means: Means::SignalTwice("SEGV"),
    codes: &["crashed"],
    signal: "SIGSEGV",
};
const ABRT: Fault = Fault {
    means: Means::Signal("ABRT"),
    codes: &["crashed"],
    signal: "SIGABRT",
};
/// Whether it is the silence that is found first, or that no media comes, is a matter of milliseconds.
const STOP: Fault = Fault {
    means: Means::Signal("STOP"),
    codes: &["hung", "stalled"],
    signal: "",
};
const LOOP: Fault = Fault {
    means: Means::InMedia(Harm::Loop),
    codes: &["stalled"],
    signal: "",
};
/// The socket fills.
const FILL: Fault = Fault {
    means: Means::InReader(Harm::Loop),
    codes: &["hung", "stalled"],
    signal: "",
};
/// Up to its limit of memory. Whoever asks next gets none, and how it ends depends on who that is.
const LEAK: Fault = Fault {
    means: Means::InMedia(Harm::Leak),
    codes: &["crashed"],
    signal: "SIG",
};
/// Perhaps in the middle of a message. The API has no code of its own for it.
const FLOOD: Fault = Fault {
    means: Means::InReader(Harm::Flood),
    codes: &["misbehaved", "failed"],
    signal: "",
};

/// The sets of workers, and what happens to each, one after the other. What has to be found takes longer
/// than what is seen at once.
pub(super) const PLANS: [(&str, [Fault; 4]); 2] = [
    ("a", [STOP, LOOP, KILL, SEGV]),
    ("b", [ABRT, FILL, LEAK, FLOOD]),
];

impl Fault {
    /// Whether a code and the text beside it name it.
    pub(super) fn is_named(&self, code: Option<&str>, text: Option<&str>) -> bool {
        code.is_some_and(|code| self.codes.contains(&code))
            && text.is_some_and(|text| text.contains(self.signal))
    }

    /// Whether only a debugger can do it.
    pub(super) const fn needs_a_debugger(&self) -> bool {
        matches!(self.means, Means::InMedia(_) | Means::InReader(_))
    }

    pub(super) fn strike(&self, victims: &[Victim]) {
        let pids = || victims.iter().map(|victim| victim.pid);
        match self.means {
            Means::Signal(name) => signal(name, pids()),
            Means::SignalTwice(name) => {
                signal(name, pids());
                thread::sleep(Duration::from_millis(100));
                signal(name, pids());
            }
            Means::InMedia(harm) => {
                let threads = victims.iter();
                let threads = threads.map(|victim| (victim.pid, victim.kind.media_threads()));
                assert!(inject(harm, threads), "a debugger was allowed before");
            }
            Means::InReader(harm) => {
                let threads = pids().map(|pid| (pid, "main"));
                assert!(inject(harm, threads), "a debugger was allowed before");
            }
        }
    }
}

/// Makes threads of processes do harm for ever. Returns false where the system lets no debugger do that.
fn inject<'a>(harm: Harm, threads: impl Iterator<Item = (u32, &'a str)>) -> bool {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/inject.py");
    let mut command = Command::new("python3");
    command.args([script, harm.name()]);
    for (pid, name) in threads {
        command.args([&pid.to_string(), name]);
    }
    let status = command.status().unwrap();
    assert!(matches!(status.code(), Some(0 | 3)), "{status}");
    status.success()
}

pub(super) fn a_debugger_is_allowed() -> bool {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let allowed = inject(Harm::Loop, [(child.id(), "main")].into_iter());
    child.kill().unwrap();
    child.wait().unwrap();
    allowed
}
