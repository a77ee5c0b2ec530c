//! IPv6 and IPv4 through one port, on both engines.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Stdio,
};

use super::{Path, Relay};
use crate::{
    rtc::{Client, clip},
    support::{Server, aerial},
};

const FAMILIES: [(&str, IpAddr); 2] = [
    ("ipv4", IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ("ipv6", IpAddr::V6(Ipv6Addr::LOCALHOST)),
];

#[test]
fn both_families_reach_the_direct_engine() {
    both_families_reach("direct");
}

#[test]
fn both_families_reach_webrtcbin() {
    both_families_reach("webrtcbin");
}

fn both_families_reach(engine: &str) {
    let arguments = [
        &["serve", "--listen", "127.0.0.1:0", "--udp", "[::]:0"][..],
        &["--demo", "false", "--webrtc.publisher_engine", engine],
        &["--webrtc.viewer_engine", engine],
    ];
    let mut command = aerial(&arguments.concat());
    let server = Server::attach(command.stderr(Stdio::piped()).spawn().unwrap());
    let relay = |seen| Relay::start_as(Path::default(), seen);
    let publishers = FAMILIES.map(|(name, seen)| {
        let relay = relay(seen);
        let publisher = Client::publish_through(&server, name, &clip::H264, &relay);
        server.wait_for_state(name, "live");
        (relay, publisher)
    });
    for (name, _) in FAMILIES {
        for (_, seen) in FAMILIES {
            let relay = relay(seen);
            Client::watch_through(&server, name, &relay).wait_for_frames(10);
        }
    }
    drop(publishers);
}
