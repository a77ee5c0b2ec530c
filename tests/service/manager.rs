//! What is said between Aerial and the service manager, and the sockets that pass.

use std::{
    net::UdpSocket,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    rtc::{Client, clip},
    support::{Server, aerial, free_port, starter::executing, wait_for},
};

/// A server under `manager.py`, which passes these sockets.
fn managed(pass: &str, arguments: &[&str]) -> Server {
    let program = aerial(&[&["serve", "--demo=false"], arguments].concat());
    let manager = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/manager.py");
    let mut command = Command::new("python3");
    command.arg(manager).env("PASS", pass);
    let mut command = executing(command, &program);
    let server = Server::attach(command.stderr(Stdio::piped()).spawn().unwrap());
    wait_for_notification(&server, "READY=1", 1);
    server
}

/// How often the server has told the manager this.
fn notifications(server: &Server, text: &str) -> usize {
    let line = format!("notify {text}");
    let log = server.log();
    log.lines().filter(|other| other.starts_with(&line)).count()
}

fn wait_for_notification(server: &Server, text: &str, count: usize) {
    wait_for(text, || {
        (notifications(server, text) >= count).then_some(())
    });
}

/// A port that is free at the moment.
fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Restarts the server while clients come, who all get an answer.
fn expect_seamless_restart(server: &Server) {
    let restarting = AtomicBool::new(true);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = 0;
                    while restarting.load(Ordering::Relaxed) {
                        server.get("/healthz").expect(200);
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        server.signal("HUP");
        wait_for_notification(server, "READY=1", 2);
        server.get("/healthz").expect(200);
        restarting.store(false, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
    assert_eq!(notifications(server, "STOPPING=1"), 1);
}

#[test]
fn a_restart_refuses_no_client_because_the_listener_is_kept() {
    let listen = format!("127.0.0.1:{}", free_port());
    let server = managed("", &["--listen", &listen, "--udp=127.0.0.1:0"]);
    assert_eq!(notifications(&server, "FDNAME=aerial-http"), 1);
    expect_seamless_restart(&server);
    assert_eq!(notifications(&server, "FDSTOREREMOVE=1"), 0);
}

#[test]
fn a_kept_listener_at_another_address_is_given_up() {
    let pass = format!("aerial-http=tcp:{}", free_port());
    let listen = format!("127.0.0.1:{}", free_port());
    let server = managed(&pass, &["--listen", &listen, "--udp=127.0.0.1:0"]);
    assert_eq!(server.address.to_string(), listen);
    wait_for_notification(&server, "FDNAME=aerial-http", 2);
    server.get("/healthz").expect(200);
}

#[test]
fn sockets_of_a_socket_unit_serve() {
    let (http, udp) = (free_port(), free_udp_port());
    let pass = format!("http=tcp:{http} udp=udp:{udp}");
    // Neither of them could be taken.
    let server = managed(&pass, &["--listen=192.0.2.1:80", "--udp=192.0.2.1:80"]);
    assert_eq!(server.address.port(), http);
    assert_eq!(notifications(&server, "FDSTORE=1"), 0, "systemd has it");
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(20);
    assert!(viewer.answer.contains(&format!(" {udp} typ host")));
    drop((publisher, viewer));
    expect_seamless_restart(&server);
}

#[test]
fn the_watchdog_gets_signs_of_life() {
    let server = managed("", &["--listen=127.0.0.1:0", "--udp=127.0.0.1:0"]);
    wait_for_notification(&server, "WATCHDOG=1", 3);
}

#[test]
fn a_drain_extends_the_time_to_stop() {
    let arguments = ["--listen=127.0.0.1:0", "--udp=127.0.0.1:0"];
    let drain = ["--timeouts.drain_sessions=2h", "--timeouts.drain=5s"];
    let mut server = managed("", &[&arguments[..], &drain[..]].concat());
    server.signal("TERM");
    let status = server.wait_for_exit();
    assert!(status.success(), "{status}");
    let time = Duration::from_hours(2) + Duration::from_secs(5 + 5);
    let told = format!("EXTEND_TIMEOUT_USEC={}", time.as_micros());
    assert_eq!(notifications(&server, &told), 1, "{}", server.log());
}
