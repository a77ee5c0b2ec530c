//! A fan-out worker that no longer turns: it is noticed, others take its place, and the server ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::{
    rtc::{Client, clip},
    support::{Server, wait_for},
};

/// A stopped thread. It goes on when this is dropped.
struct StoppedThread(Child);

impl StoppedThread {
    /// `None` if the system lets nobody stop it.
    fn new(thread: &str) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/threads/stop_thread.py");
        let child = Command::new("python3")
            .args([script, thread])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut stopped = Self(child.unwrap());
        let mut line = String::new();
        let output = stopped.0.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        (line == "stopped\n").then_some(stopped)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // Err: it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The fan-out's threads.
fn fanout_threads(server: &Server) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let threads = threads.map(|thread| thread.unwrap());
    let is_fanout = |name: &str| name.starts_with("fanout-");
    threads
        .filter(|thread| is_fanout(&fs::read_to_string(thread.path().join("comm")).unwrap()))
        .map(|thread| thread.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_worker_that_hangs_is_noticed_and_ends_the_server() {
    let mut server = Server::start(&[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let threads = fanout_threads(&server);
    // One on each worker.
    let viewers: Vec<_> = threads
        .iter()
        .map(|_| Client::watch(&server, "a"))
        .collect();
    for viewer in &viewers {
        viewer.wait_for_frames(10);
    }
    server.get("/healthz").expect(200);
    let Some(stopped) = StoppedThread::new(&threads[0]) else {
        println!("skipped: the system lets nobody stop a thread");
        return;
    };
    let unhealthy = wait_for("notice", || {
        let reply = server.get("/healthz");
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(unhealthy.problem(), "unhealthy");
    server.get("/readyz").expect(503);
    // Viewers that come now are served by another one.
    if threads.len() > 1 {
        let seen = || viewers.iter().map(Client::seen_pictures);
        let before: Vec<_> = seen().collect();
        Client::watch(&server, "a").wait_for_frames(10);
        let went_on = seen().zip(&before).filter(|(now, before)| now > *before);
        assert_eq!(went_on.count(), threads.len() - 1);
    }
    wait_for("end", || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
        status.unwrap().contains("State:\tZ").then_some(())
    });
    // Until then, the system keeps its thread for whoever has stopped it.
    drop(stopped);
    let exit = server.wait_for_exit();
    assert_eq!(exit.code(), Some(1));
    server.wait_for_line("reason", |line| {
        line.level == "ERROR" && line.has("part", "fanout")
    });
}
