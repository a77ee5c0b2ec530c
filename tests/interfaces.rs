//! Network interfaces and routes that change while the server runs, and ports that run out, each in
//! a network namespace of its own.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    process::{Command, Stdio},
};

use crate::{
    hostile::a_broadcast_goes_on,
    networks::{Path, Relay},
    rtc::{Client, wait_for_frames_of_all},
    support::{Server, aerial, fixture, wait_for},
};

#[test]
fn new_sessions_advertise_the_addresses_that_the_machine_has_now() {
    run_in_namespace("interfaces::with_addresses_that_come_and_go");
}

#[test]
fn viewers_that_become_unreachable_cost_the_others_nothing() {
    run_in_namespace("interfaces::with_routes_that_end");
}

#[test]
fn viewers_on_webrtcbin_that_become_unreachable_cost_the_others_nothing() {
    run_in_namespace("interfaces::with_routes_that_end_behind_webrtcbin");
}

/// Row W-104.
#[test]
fn an_internal_failure_leaves_no_session() {
    run_in_namespace("interfaces::without_ports");
}

/// Runs an ignored test where it may change the network.
pub(crate) fn run_in_namespace(test: &str) {
    let unshare = |rest: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user"]).args(rest);
        command.output().unwrap()
    };
    // Most containers give no namespaces.
    if !unshare(&["true"]).status.success() {
        let required = std::env::var_os("TEST_NAMESPACES").is_some_and(|value| value == "required");
        assert!(!required, "the system gives no namespaces");
        println!("skipped: needs a network namespace");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = unshare(&[program.to_str().unwrap(), "--exact", test, "--ignored"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{output:?}"
    );
}

#[test]
#[ignore = "changes interfaces: run in a namespace"]
fn with_addresses_that_come_and_go() {
    ip("link set lo up");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--udp", "0.0.0.0:0"];
    let mut command = aerial(&arguments);
    let server = Server::attach(command.stderr(Stdio::piped()).spawn().unwrap());
    server.wait_for_state("demo", "live");
    let sessions = [
        ("/whep/demo", "chrome-whep-av"),     // on the direct engine
        ("/whip/other", "obs-session-level"), // on webrtcbin
    ];
    for (change, expected) in [
        (
            "addr add 10.77.0.1/32 dev lo",
            &["10.77.0.1", "127.0.0.1"][..],
        ),
        (
            "addr add 10.77.0.2/32 dev lo",
            &["10.77.0.1", "10.77.0.2", "127.0.0.1"],
        ),
        ("addr del 10.77.0.1/32 dev lo", &["10.77.0.2", "127.0.0.1"]),
    ] {
        ip(change);
        for (path, offer) in sessions {
            wait_for(&format!("{expected:?} in the answer of {path}"), || {
                (candidates(&server, path, offer) == expected).then_some(())
            });
        }
    }
}

#[test]
#[ignore = "changes routes: run in a namespace"]
fn with_routes_that_end() {
    routes_end("direct");
}

#[test]
#[ignore = "changes routes: run in a namespace"]
fn with_routes_that_end_behind_webrtcbin() {
    routes_end("webrtcbin");
}

/// Makes viewers unreachable, for every reason that Linux knows.
fn routes_end(engine: &str) {
    const REASONS: [(&str, &str); 5] = [
        ("EHOSTUNREACH", "route add table local unreachable ADDRESS"),
        ("EINVAL", "route add table local blackhole ADDRESS"),
        ("EACCES", "route add table local prohibit ADDRESS"),
        ("ENETUNREACH", "route add table local throw ADDRESS"),
        // As a packet filter does.
        (
            "EPERM",
            "xfrm policy add src 0.0.0.0/0 dst ADDRESS dir out action block",
        ),
    ];
    ip("link set lo up");
    // Policies hold on loopback, too.
    fs::write("/proc/sys/net/ipv4/conf/lo/disable_xfrm", "0").unwrap();
    let server = Server::start(&["--webrtc.viewer_engine", engine]);
    let failed = || server.metric("aerial_send_failed_total");
    a_broadcast_goes_on(&server, |_, others| {
        let mut gone = Vec::new();
        for (last, (reason, change)) in (9..).zip(REASONS) {
            let address = Ipv4Addr::new(127, 0, 0, last);
            let relay = Relay::start_as(Path::default(), address.into());
            let viewer = Client::watch_through(&server, "live", &relay);
            viewer.wait_for_frames(10);
            ip(&change.replace("ADDRESS", &format!("{address}/32")));
            // The server goes on trying.
            let before = failed();
            wait_for(reason, || (failed() > before + 30).then_some(()));
            gone.push((reason, relay, viewer.seen_pictures(), viewer));
        }
        wait_for_frames_of_all(others, 90);
        for (reason, _, seen, viewer) in &gone {
            assert_eq!(viewer.seen_pictures(), *seen, "{reason}");
        }
    });
}

#[test]
#[ignore = "changes the system's ports: run in a namespace"]
fn without_ports() {
    ip("link set lo up");
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50099").unwrap();
    let mut held = Vec::new();
    while let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
        held.push(socket);
    }
    // webrtcbin gets this one, and its relay none.
    held.pop();
    let arguments = ["serve", "--listen", "127.0.0.1:8080"];
    let others = ["--udp", "127.0.0.1:8189", "--demo", "false"];
    let mut command = aerial(&[&arguments[..], &others].concat());
    let server = Server::attach(command.stderr(Stdio::piped()).spawn().unwrap());
    let offer = fixture("obs-media-level");
    server.post_offer("/whip/a", &offer).expect(500);
    assert_eq!(server.count("sessions"), 0);
    wait_for("end of the broadcast", || {
        server.state("a").is_none().then_some(())
    });
    held.clear();
    server.post_offer("/whip/a", &offer).expect(201);
}

pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// The addresses in the answer to this offer, in order; none if it is too early.
fn candidates(server: &Server, path: &str, offer: &str) -> Vec<String> {
    let reply = server.post_offer(path, &fixture(offer));
    if reply.status == 409 {
        return Vec::new(); // the previous session is still ending
    }
    let reply = reply.expect(201);
    server.delete(&reply.location()).expect(200);
    let mut addresses: Vec<_> = reply
        .text()
        .lines()
        .map(str::to_owned)
        .filter(|line| line.starts_with("a=candidate:"))
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}
