//! When open files or memory run out, clients are refused, and running sessions continue.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    hostile::spoofed::status,
    rtc::{Client, clip},
    support::{PATIENCE, Server, fixture, log::Line, wait_for},
    threads::groups::{self, ControlGroup},
    workers::faults::limit,
};

/// Waits for the line that says which resource clients were refused for.
fn short_of(server: &Server, resource: &str) {
    server.wait_for_line(resource, |line| line.has("resource", resource));
}

/// A server that may have this many open files, and cannot raise the limit.
fn limited(files: usize) -> Server {
    started_after(&format!("ulimit -n {files}"))
}

/// A server that a shell has started after this command.
fn started_after(command: &str) -> Server {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command} && exec \"$@\""), "sh"]);
    Server::executed_by(shell, &["--timeouts.first_check=15s"])
}

#[test]
fn the_limit_of_open_files_is_raised_and_one_line_says_that_it_does_not_suffice() {
    let server = started_after("ulimit -S -n 64 && ulimit -H -n 2048");
    assert_eq!(limit(server.pid(), "Max open files"), 2048);
    let short = |line: &Line| line.field("files_needed").is_some();
    let line = server.wait_for_line("comparison", short);
    assert!(line.level == "WARN" && line.has("files", "2048"));
    let needed: u64 = line.field("files_needed").unwrap().parse().unwrap();
    assert!(needed > 2048, "{needed}");
    assert_eq!(server.lines().iter().filter(|line| short(line)).count(), 1);
    drop(server);
    // With limits that fit, there is nothing to say.
    let program = ["--http.connections=200", "--limits.sessions=20"];
    let server = Server::start(&[&program[..], &["--limits.broadcasts=20"]].concat());
    server.get("/readyz").expect(200);
    assert!(!server.lines().iter().any(short));
}

/// Opens an event stream and leaves it open; returns it with the status of the answer.
fn event_stream(server: &Server) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Err: refused already.
    let _ = stream.write_all(request);
    let mut status = [0; 12];
    let read = stream.read_exact(&mut status);
    let status = read.map(|()| String::from_utf8_lossy(&status[9..]).into_owned());
    (stream, status.unwrap_or_default())
}

#[test]
fn open_files_run_out_with_refusals_and_nothing_else() {
    let server = limited(128);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(10);

    let offer = fixture("obs-session-level");
    let begun: Vec<u16> = (0..60)
        .map(|number| {
            server
                .post_offer(&format!("/whip/b{number}"), &offer)
                .status
        })
        .collect();
    let refused = begun.iter().filter(|&&status| status == 503).count();
    assert!(begun.contains(&201) && refused > 10, "{begun:?}");
    let streams: Vec<_> = (0..300).map(|_| event_stream(&server)).collect();
    let refused = streams.iter().filter(|(_, status)| status != "200").count();
    assert!(refused > 100, "{refused} of {} refused", streams.len());
    viewer.wait_for_frames(60);
    viewer.wait_for_all();

    drop(streams);
    // The sessions never connected: they expire and make room.
    wait_for("room for a publisher", || {
        (server.post_offer("/whip/c", &offer).status == 201).then_some(())
    });
    server.delete(&publisher.session).expect(200);
}

#[test]
fn without_memory_clients_are_refused_and_the_server_says_so() {
    // It needs more for itself.
    let server = Server::start(&["--limits.memory", "16MiB"]);
    server.get("/healthz").expect(200);
    let unready = server.get("/readyz").expect(503);
    assert_eq!(unready.problem(), "unready");
    for (path, offer) in [
        ("/whip/a", "obs-session-level"),
        ("/whep/a", "chrome-whep-av"),
    ] {
        let refused = server.post_offer(path, &fixture(offer)).expect(503);
        assert_eq!(refused.problem(), "full", "{path}");
        short_of(&server, "memory");
        assert!(refused.header("retry-after").is_some());
    }
    server.get("/api/server").expect(200);
}

#[test]
fn a_server_is_ready_until_open_files_run_out() {
    let server = limited(256);
    assert_eq!(server.get("/readyz").expect(200).text().trim(), "ready");
    let idle: Vec<_> = (0..195)
        .map(|_| TcpStream::connect(server.address).unwrap())
        .collect();
    let unready = server.get("/readyz").expect(503);
    assert_eq!(unready.problem(), "unready");
    short_of(&server, "open files");
    server.get("/healthz").expect(200);
    drop(idle);
    wait_for("room", || {
        (server.get("/readyz").status == 200).then_some(())
    });
}

/// Sets the limit of a running server's address space, in kB.
fn limit_address_space(server: &Server, limit: &str) {
    let limited = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--as={limit}"))
        .status();
    assert!(limited.unwrap().success());
}

#[test]
fn a_limit_of_memory_on_a_running_server_refuses_clients_and_ends_nothing() {
    let server = Server::start(&[]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(10);
    server.get("/readyz").expect(200);

    // As `ulimit -v` does: half of what is kept back is left.
    let in_use = status(&server, "VmSize:") << 10;
    limit_address_space(&server, &format!("{}:", in_use + in_use / 16));
    let unready = wait_for("refusal", || {
        let reply = server.get("/readyz");
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(unready.problem(), "unready");
    for (path, offer) in [
        ("/whip/b", "obs-session-level"),
        ("/whep/a", "chrome-whep-av"),
    ] {
        let refused = server.post_offer(path, &fixture(offer)).expect(503);
        assert_eq!(refused.problem(), "full", "{path}");
        short_of(&server, "memory");
    }
    server.get("/healthz").expect(200);
    viewer.wait_for_frames(120);
    viewer.wait_for_all();
    assert!(!publisher.is_closed() && !viewer.is_closed());

    limit_address_space(&server, "unlimited:");
    wait_for("room", || {
        (server.get("/readyz").status == 200).then_some(())
    });
    Client::watch(&server, "a").wait_for_frames(10);
}

/// The limit of systemd's `MemoryMax` and of containers.
#[test]
fn a_limit_of_memory_for_the_control_group_refuses_clients_and_ends_nothing() {
    let Some(group) = ControlGroup::new(groups::MEMORY) else {
        println!("skipped: the system gives no control groups");
        return;
    };
    // Dropped before its group.
    let server = Server::start(&[]);
    group.take(&server);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(10);
    server.get("/readyz").expect(200);

    // Less than is kept back is left.
    group.limit(group.usage() + (8 << 20));
    let unready = wait_for("refusal", || {
        let reply = server.get("/readyz");
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(unready.problem(), "unready");
    let refused = server.post_offer("/whep/a", &fixture("chrome-whep-av"));
    assert_eq!(refused.expect(503).problem(), "full");
    viewer.wait_for_frames(60);
    viewer.wait_for_all();
    assert!(!publisher.is_closed() && !viewer.is_closed());

    group.limit(1 << 40);
    wait_for("room", || {
        (server.get("/readyz").status == 200).then_some(())
    });
}

#[test]
fn a_server_that_stops_is_not_ready() {
    let mut server = Server::start(&[]);
    let mut probe = TcpStream::connect(server.address).unwrap();
    probe.set_read_timeout(Some(PATIENCE)).unwrap();
    // A request that is on its way when the server is told to stop.
    probe
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: local")
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    wait_for("closed port", || {
        TcpStream::connect(server.address).is_err().then_some(())
    });
    probe
        .write_all(b"host\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    probe.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    assert!(server.wait_for_exit().success());
}
