//! Cut networks: each NATS server is on a machine of its own, and cables are cut between them.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    keys::Keys,
    machines::{Machine, machines},
    nats::Nats,
    node, wait_for_nodes, wait_for_pictures,
};
use crate::{
    interfaces::run_in_namespace,
    rtc::{Client, clip},
    support::{Server, wait_for},
};

/// Viewers of a node that is cut off wait for this long: choosing a leader takes some seconds.
const GRACE: [&str; 2] = ["--timeouts.grace", "50s"];

#[test]
fn a_cut_between_two_nats_servers_costs_no_frame() {
    run_in_namespace("cluster::cuts::with_a_cut_between_two");
}

#[test]
fn an_origin_that_is_cut_off_goes_on_and_gives_way_afterwards() {
    run_in_namespace("cluster::cuts::with_the_origin_cut_off");
}

#[test]
fn a_minority_that_is_cut_off_serves_itself_and_comes_back() {
    run_in_namespace("cluster::cuts::with_a_minority_cut_off");
}

/// Three NATS servers, each on its machine.
struct Site {
    machines: [Machine; 3],
    nats: [Nats; 3],
    keys: Keys,
}

impl Site {
    fn new() -> Self {
        let machines = machines();
        let keys = Keys::new();
        let nats = Nats::on(&machines, &keys.nats());
        Self {
            machines,
            nats,
            keys,
        }
    }

    /// A node that knows the servers with these numbers.
    fn node(&self, name: &str, servers: &[usize]) -> Server {
        let keys = self.keys.arguments();
        let mut arguments: Vec<_> = keys.iter().map(String::as_str).collect();
        arguments.extend(["--cluster.replicas", "3"]);
        arguments.extend(GRACE);
        let servers = servers.iter().map(|&server| &self.nats[server]);
        node(servers, name, &arguments)
    }

    /// The first server reaches the others no more.
    fn isolate(&self) {
        let [first, others @ ..] = &self.machines;
        for other in others {
            first.cut(other);
        }
    }

    fn heal(&self) {
        let [first, others @ ..] = &self.machines;
        for other in others {
            first.heal(other);
        }
    }
}

/// The longest time between two pictures of a viewer until it has this many more.
fn longest_pause(viewer: &Client, more: usize) -> Duration {
    let begun = viewer.seen_pictures();
    let (mut seen, mut since) = (begun, Instant::now());
    let mut longest = Duration::ZERO;
    wait_for("pictures", || {
        while viewer.seen_pictures() == seen && since.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(2));
        }
        longest = longest.max(since.elapsed());
        (seen, since) = (viewer.seen_pictures(), Instant::now());
        (seen >= begun + more).then_some(())
    });
    longest
}

#[test]
#[ignore = "cuts networks: run in a namespace"]
fn with_a_cut_between_two() {
    let site = Site::new();
    let [first, second, third] = &site.machines;
    // Each begins at a server of its own, because it does not reach the others.
    let origin = first.while_away(|| {
        third.while_away(|| {
            let origin = site.node("origin", &[0, 1, 2]);
            wait_for_nodes(&origin, 1);
            origin
        })
    });
    let edge = second.while_away(|| {
        third.while_away(|| {
            let edge = site.node("edge", &[0, 1, 2]);
            wait_for_nodes(&edge, 2);
            edge
        })
    });
    let _publisher = Client::live(&origin, "a", &clip::VP8);
    edge.wait_for_state("a", "live");
    let viewer = Client::watch(&edge, "a");
    wait_for_pictures(&viewer, 10);
    first.cut(second);
    let pause = longest_pause(&viewer, 60);
    println!("{} ms without a picture", pause.as_millis());
    // Half a second on a machine with nothing else to do; without a change to the third server, it
    // does not end.
    assert!(pause < Duration::from_secs(3), "{pause:?}");
    first.heal(second);
    wait_for_pictures(&viewer, 30);
    viewer.wait_for_all();
    viewer.video().expect_no_glitch(5);
    assert_eq!(edge.metric("aerial_cluster_frames_lost_total"), 0);
}

#[test]
#[ignore = "cuts networks: run in a namespace"]
fn with_the_origin_cut_off() {
    let site = Site::new();
    let origin = site.node("origin", &[0]);
    let others = ["other", "edge"].map(|name| site.node(name, &[1, 2]));
    let [other, edge] = &others;
    wait_for_nodes(&origin, 3);
    wait_for_nodes(edge, 3);
    let publisher = Client::live(&origin, "a", &clip::VP8);
    edge.wait_for_state("a", "live");
    let [local, remote] = [&origin, edge].map(|node| Client::watch(node, "a"));
    wait_for_pictures(&local, 10);
    wait_for_pictures(&remote, 10);

    site.isolate();
    wait_for_nodes(other, 2);
    let next = Client::live(other, "a", &clip::VP8);
    wait_for_pictures(&remote, 20);
    assert!(!remote.is_closed());
    // Nobody at the origin has noticed anything.
    assert!(!publisher.is_closed());
    let seen = local.video();
    assert_eq!(seen.missing(), 0);
    seen.expect_no_glitch(5);

    // The older of two claims ends, and its viewers go on with the newer one.
    site.heal();
    wait_for("end of the older publisher", || {
        publisher.is_closed().then_some(())
    });
    wait_for_pictures(&local, 20);
    wait_for_pictures(&remote, 20);
    assert!(!local.is_closed() && !remote.is_closed());
    let replaced = "aerial_sessions_ended_total{reason=\"replaced\"}";
    assert_eq!([&origin, other].map(|node| node.metric(replaced)), [1, 0]);
    let publishers = [&origin, other, edge].map(|node| node.metric("aerial_publishers"));
    assert_eq!(publishers, [0, 1, 0]);
    assert!(!next.is_closed());
}

#[test]
#[ignore = "cuts networks: run in a namespace"]
fn with_a_minority_cut_off() {
    let site = Site::new();
    let edge = site.node("edge", &[0]);
    let origin = site.node("origin", &[1, 2]);
    wait_for_nodes(&origin, 2);
    let _publisher = Client::live(&origin, "a", &clip::VP8);
    edge.wait_for_state("a", "live");
    let [local, remote] = [&origin, &edge].map(|node| Client::watch(node, "a"));
    wait_for_pictures(&local, 10);
    wait_for_pictures(&remote, 10);

    site.isolate();
    // Whoever publishes there does so for its own viewers, and for all when it is back.
    let _alone = Client::live(&edge, "b", &clip::VP8);
    let viewer = Client::watch(&edge, "b");
    wait_for_pictures(&viewer, 20);
    wait_for_pictures(&local, 60);
    assert!(!remote.is_closed());

    site.heal();
    wait_for_pictures(&remote, 30);
    assert!(!remote.is_closed());
    origin.wait_for_state("b", "live");
    let viewer = Client::watch(&origin, "b");
    wait_for_pictures(&viewer, 10);
    let seen = local.video();
    assert_eq!(seen.missing(), 0);
    seen.expect_no_glitch(5);
}
