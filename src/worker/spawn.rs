//! The one thread that starts workers, and collects those that nobody waits for.
//!
//! The kernel ends a worker when the **thread** that started it ends: this one lives as long as the
//! process does.

use std::{
    collections::VecDeque,
    env,
    ffi::OsString,
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{ChildStderr, Command, Stdio},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    limits::{Options, WorkerLimits},
    process::{MeasuredChild, Process},
    starting::Turn,
};

/// Starts that may wait for the thread.
const REQUESTS_MAX: usize = 1024;
/// How often to check whether killed workers have ended.
const REAP_INTERVAL: Duration = Duration::from_millis(20);
/// The program, even after its file has been replaced.
const PROGRAM: &str = "/proc/self/exe";

/// The environment that workers get. All else may hold secrets, such as tokens.
const KEPT: [&str; 34] = [
    "ALL_PROXY",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "FREI0R_PATH",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "G_DEBUG",
    "G_MESSAGES_DEBUG",
    "G_SLICE",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LOGNAME",
    "NO_PROXY",
    "PATH",
    "RUST_BACKTRACE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "LLVM_PROFILE_FILE",
];
/// Variables whose names begin so are kept, too.
const KEPT_PREFIXES: [&str; 13] = [
    "ALSA_",
    "CUDA_",
    "FONTCONFIG_",
    "GST_",
    "LC_",
    "LIBVA_",
    "MALLOC_",
    "NVIDIA_",
    "PIPEWIRE_",
    "PULSE_",
    "VDPAU_",
    "XDG_",
    "ORC_",
];

/// A worker that has been started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) process: Process,
    /// `None` for a thread of a test.
    pub(super) stderr: Option<ChildStderr>,
    /// The server's end of the socket.
    pub(super) socket: UnixStream,
    /// Until it is ready for its work.
    pub(super) turn: Turn,
}

struct Request {
    options: Options,
    turn: Turn,
    reply: oneshot::Sender<io::Result<Spawned>>,
}

/// The thread's work.
struct Desk {
    requests: VecDeque<Request>,
    /// Killed workers.
    remains: Vec<MeasuredChild>,
    staffed: bool,
}

static DESK: Mutex<Desk> = Mutex::new(Desk {
    requests: VecDeque::new(),
    remains: Vec::new(),
    staffed: false,
});
static BELL: Condvar = Condvar::new();

/// Starts a worker.
///
/// # Errors
/// If the system refuses a process, a socket or a thread.
#[cfg(not(test))]
pub(super) use self::spawn_process as spawn;

/// Starts a worker as a thread of the test.
#[cfg(test)]
#[expect(clippy::unused_async, reason = "as the other one")]
pub(super) async fn spawn(_name: &str, limits: WorkerLimits, turn: Turn) -> io::Result<Spawned> {
    let (socket, theirs) = UnixStream::pair()?;
    let host = super::host::Host::Thread;
    let serve = move || super::host::serve(theirs, limits.finishes(), host);
    thread::Builder::new().spawn(serve)?;
    Ok(Spawned {
        process: Process::of_thread(),
        stderr: None,
        socket,
        turn,
    })
}

/// Starts a worker as a process.
///
/// # Errors
/// If the system refuses a process, a socket or a thread.
pub(super) async fn spawn_process(
    name: &str,
    limits: WorkerLimits,
    turn: Turn,
) -> io::Result<Spawned> {
    let (reply, spawned) = oneshot::channel();
    {
        let mut desk = desk();
        desk.staff()?;
        if desk.requests.len() >= REQUESTS_MAX {
            let full = "too many workers start at once";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, full));
        }
        let options = Options::new(name, limits);
        desk.requests.push_back(Request {
            options,
            turn,
            reply,
        });
    }
    BELL.notify_one();
    spawned
        .await
        .map_err(|_| io::Error::other("the thread that starts workers is gone"))?
}

/// Killed workers that have not ended.
pub fn remains() -> usize {
    desk().remains.len()
}

/// Collects a killed worker when it has ended.
fn reap(child: MeasuredChild) {
    desk().remains.push(child);
    BELL.notify_one();
}

fn desk() -> MutexGuard<'static, Desk> {
    // A poisoned lock is fine: nothing is ever left half-changed.
    DESK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    fn staff(&mut self) -> io::Result<()> {
        if !self.staffed {
            thread::Builder::new()
                .name("workers".to_owned())
                .spawn(serve)?;
            self.staffed = true;
        }
        Ok(())
    }
}

/// Lives as long as the process does.
fn serve() {
    let mut desk = desk();
    loop {
        if let Some(request) = desk.requests.pop_front() {
            drop(desk);
            // If nobody waits for it any more, it is killed when it is dropped.
            drop(request.reply.send(start(&request.options, request.turn)));
            desk = self::desk();
            continue;
        }
        desk.remains
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        desk = if desk.remains.is_empty() {
            BELL.wait(desk).unwrap_or_else(PoisonError::into_inner)
        } else {
            BELL.wait_timeout(desk, REAP_INTERVAL)
                .unwrap_or_else(PoisonError::into_inner)
                .0
        };
    }
}

fn start(options: &Options, turn: Turn) -> io::Result<Spawned> {
    let (socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(PROGRAM)
        .arg0("aerial")
        .arg(super::COMMAND)
        .args(options.arguments())
        .env_clear()
        .envs(environment())
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(Spawned {
        stderr: child.stderr.take(),
        process: Process::new(MeasuredChild::new(options.name(), child), reap),
        socket,
        turn,
    })
}

fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_kept))
}

fn is_kept(name: &str) -> bool {
    KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_no_secrets_from_the_environment() {
        for (name, kept) in [
            ("PATH", true),
            ("GST_PLUGIN_PATH", true),
            ("XDG_CACHE_HOME", true),
            ("LC_ALL", true),
            ("AERIAL_AUTH_TOKENS", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("PATH_TO_SECRETS", false),
        ] {
            assert_eq!(is_kept(name), kept, "{name}");
        }
    }
}
