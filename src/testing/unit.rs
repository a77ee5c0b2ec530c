//! Processes, runtimes and counts for unit tests.

use std::{
    env, fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime;

/// How long the kernel may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs an ignored test of this program in a process of its own: other tests' threads come and go.
pub(crate) fn run_alone(test: &str) {
    run_ignored(Command::new(env::current_exe().unwrap()), test);
}

/// Runs an ignored test of this program with a network and mounts of its own, as their administrator.
/// Skips it where the system gives no namespaces, such as in most containers.
#[expect(clippy::print_stdout, reason = "a test says that it is skipped")]
pub(crate) fn run_in_namespace(test: &str) {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--map-root-user"]);
        command
    };
    let allowed = unshare().arg("true").output();
    if allowed.is_ok_and(|output| output.status.success()) {
        let mut command = unshare();
        command.arg(env::current_exe().unwrap());
        run_ignored(command, test);
        return;
    }
    let required = env::var_os("TEST_NAMESPACES").is_some_and(|value| value == "required");
    assert!(!required, "{test}: the system gives no namespaces");
    println!("skipped: {test} needs a namespace");
}

/// Runs `ip` with these arguments.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Limits the loopback device of the test's own namespace to 60 Mb/s. Its queue is long: only the
/// buffers of sockets refuse anything.
pub(crate) fn slow_loopback_down() {
    let limits = "qdisc add dev lo root tbf rate 60mbit burst 16kb limit 4mb";
    let limited = Command::new("tc").args(limits.split(' ')).status();
    assert!(limited.unwrap().success());
}

/// Adds an IPv6 address to the loopback device of the test's own namespace. The kernel makes it local
/// in its own time, and until then drops what is sent to it: this waits.
pub(crate) fn add_to_loopback(address: &str) {
    ip(&format!("addr add {address}/128 dev lo"));
    let end = Instant::now() + PATIENCE;
    let route = || {
        Command::new("ip")
            .args(["-6", "route", "get", address])
            .output()
    };
    while !route().unwrap().stdout.starts_with(b"local ") {
        assert!(Instant::now() < end, "{address} does not become local");
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn run_ignored(mut command: Command, test: &str) {
    let output = command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("G_DEBUG", "fatal-criticals")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{output:?}"
    );
}

/// Runs something on a runtime whose idle threads end at once, so that those left over count.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_millis(100))
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

/// Counts threads and open files of this process, each once the last ones have had time to end.
pub(crate) async fn count_threads_and_files() -> (usize, usize) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    (count("task"), count("fd"))
}
