//! A publisher that moves from node to node: for a long time, and not in `make test`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{nats::Nats, nodes, wait_for_pictures};
use crate::{
    rtc::{Client, Mode, clip},
    support::{Server, wait_for},
};

const TAKEOVERS: u32 = 20;
/// After this many, nothing may be left of earlier ones.
const WARM: u32 = 5;
/// Longest pause between two of them, in milliseconds.
const PAUSE_MAX: u32 = 20_000;
/// Files and threads that a node may have more at one moment than at another.
const SPARE: usize = 8;

/// How the publisher leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// It says so.
    Politely,
    /// Its network is gone.
    Silently,
    /// It sends nothing any more, and is still there.
    Stale,
}

/// What a node has open.
#[derive(Clone, Copy, Debug)]
struct Holding {
    files: usize,
    threads: usize,
}

impl Holding {
    fn of(node: &Server) -> Self {
        let count = |what| {
            let folder = format!("/proc/{}/{what}", node.pid());
            fs::read_dir(folder).unwrap().count()
        };
        Self {
            files: count("fd"),
            threads: count("task"),
        }
    }
}

/// Pseudorandom numbers (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(end)).unwrap()
    }
}

/// How many nodes are the origin of a live broadcast.
fn origins(nodes: &[Server]) -> u64 {
    nodes.iter().map(|node| node.count("publishers")).sum()
}

#[test]
#[ignore = "takes some minutes"]
fn twenty_takeovers_at_random_leave_one_origin_and_nothing_else() {
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut random = Random(seed);
    let nats = [Nats::alone("")];
    let nodes: [Server; 3] = nodes(&nats, &["--timeouts.grace", "30s"]);
    let mut at = 0;
    let mut publisher = Client::live(&nodes[at], "a", &clip::VP8);
    let viewers = nodes.each_ref().map(|node| {
        node.wait_for_state("a", "live");
        Client::watch(node, "a")
    });
    let mut held = None;
    for number in 0..TAKEOVERS {
        for viewer in &viewers {
            wait_for_pictures(viewer, 10);
            assert!(!viewer.is_closed());
        }
        if number == WARM {
            held = Some(nodes.each_ref().map(Holding::of));
        }
        let until = Instant::now() + Duration::from_millis(random.below(PAUSE_MAX).into());
        while Instant::now() < until {
            assert_eq!(origins(&nodes), 1);
            thread::sleep(Duration::from_millis(200));
        }
        let leaving =
            [Leaving::Politely, Leaving::Silently, Leaving::Stale][random.below(3) as usize];
        let next = (at + 1 + random.below(2) as usize) % nodes.len();
        println!("takeover {number}: from {at} to {next}, {leaving:?}");
        match leaving {
            Leaving::Politely => {
                nodes[at].delete(&publisher.session).expect(200);
            }
            Leaving::Silently => publisher.set(Mode::Vanish),
            Leaving::Stale => publisher.set(Mode::Silent),
        }
        wait_for("free name", || {
            (nodes[next].state("a").as_deref() != Some("live")).then_some(())
        });
        publisher = Client::live(&nodes[next], "a", &clip::VP8);
        at = next;
        wait_for("one origin", || (origins(&nodes) == 1).then_some(()));
    }
    for (node, before) in nodes.iter().zip(held.unwrap()) {
        let now = Holding::of(node);
        println!("{before:?}, then {now:?}");
        assert!(
            now.files <= before.files + SPARE,
            "{before:?}, then {now:?}"
        );
        assert!(
            now.threads <= before.threads + SPARE,
            "{before:?}, then {now:?}"
        );
    }
}
