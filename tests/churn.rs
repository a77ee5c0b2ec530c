//! Sessions that come and go leave nothing behind.

use std::{fs, process::Stdio, thread};

use crate::{
    rtc::{Client, Mode, clip},
    support::{Server, aerial, wait_for},
};

/// Each round has four broadcasts with ten viewers each: 200 joins in five rounds, done twice.
const ROUNDS: usize = 5;
const BROADCASTS: usize = 4;
const VIEWERS: usize = 10;

/// How much more memory the process may hold after the second 200 viewers and 20 publishers than
/// after the first. While connected, each takes 0.3 MB and 2 MB.
const GROWTH_KILOBYTES_MAX: usize = 8_000;

/// The resources of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
    pub(crate) kilobytes: usize,
}

impl Held {
    pub(crate) fn by(server: &Server) -> Self {
        Self::by_process(server.pid()).unwrap()
    }

    /// `None` if the process has ended.
    pub(crate) fn by_process(pid: u32) -> Option<Self> {
        let process = format!("/proc/{pid}");
        let count = |what: &str| Some(fs::read_dir(format!("{process}/{what}")).ok()?.count());
        let status = fs::read_to_string(format!("{process}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kilobytes = line?.split_whitespace().nth(1)?;
        Some(Self {
            threads: count("task")?,
            descriptors: count("fd")?,
            kilobytes: kilobytes.parse().ok()?,
        })
    }

    /// The most of each resource.
    pub(crate) fn largest(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |most, held| Self {
            threads: most.threads.max(held.threads),
            descriptors: most.descriptors.max(held.descriptors),
            kilobytes: most.kilobytes.max(held.kilobytes),
        })
    }
}

fn leave(server: &Server, client: Client, how: usize) {
    match how % 3 {
        0 => {
            // Only connected clients can be sent a goodbye.
            let connected = client.is_connected();
            server.delete(&client.session).expect(200);
            wait_for("goodbye", || {
                (client.is_closed() || !connected).then_some(())
            });
        }
        1 => {
            client.set(Mode::Close);
            wait_for("end of the client", || client.is_closed().then_some(()));
        }
        // Silently.
        _ => drop(client),
    }
}

/// One publisher, its viewers, and their ends.
fn broadcast(server: &Server, number: usize) {
    let name = format!("churn-{number}");
    let clip = if number.is_multiple_of(2) {
        &clip::H264
    } else {
        &clip::VP8
    };
    let publisher = Client::live(server, &name, clip);
    let viewers: Vec<_> = (0..VIEWERS).map(|_| Client::watch(server, &name)).collect();
    for (how, viewer) in viewers.into_iter().enumerate() {
        // Some leave before they are connected.
        if how % 5 != 4 {
            wait_for("media", || (viewer.video().frames.len() > 5).then_some(()));
        }
        leave(server, viewer, how);
    }
    leave(server, publisher, number);
}

fn round(server: &Server, number: usize) {
    thread::scope(|scope| {
        for place in 0..BROADCASTS {
            scope.spawn(move || broadcast(server, number * BROADCASTS + place));
        }
    });
}

fn wait_until_empty(server: &Server) {
    for what in ["sessions", "viewers", "publishers", "broadcasts"] {
        wait_for(&format!("end of all {what}"), || {
            (server.count(what) == 0).then_some(())
        });
    }
}

#[test]
fn two_hundred_joins_and_leaves_leave_nothing_behind() {
    // A single arena of the allocator: several would grow at random and hide a leak.
    let mut command = aerial(&[
        "serve",
        "--listen=127.0.0.1:0",
        "--udp=127.0.0.1:0",
        "--demo=false",
        "--timeouts.consent=4s",
        "--timeouts.ended=4s",
        "--timeouts.grace=500ms",
    ]);
    command.env("MALLOC_ARENA_MAX", "1").stderr(Stdio::piped());
    let server = Server::attach(command.spawn().unwrap());
    let cold = Held::by(&server);
    // Memory that is allocated once and kept: plugins, thread pools, room for this many sessions.
    (0..ROUNDS).for_each(|number| round(&server, number));
    wait_until_empty(&server);
    let warm = Held::by(&server);
    (ROUNDS..2 * ROUNDS).for_each(|number| round(&server, number));
    wait_until_empty(&server);
    // Pools keep idle threads (tokio's for 10 s, GLib's for 15 s) and a few descriptors.
    wait_for("the end of the last threads", || {
        let held = Held::by(&server);
        let few = held.threads <= cold.threads + 1 && held.descriptors <= cold.descriptors + 3;
        few.then_some(())
    });
    let held = Held::by(&server);
    println!("cold {cold:?}, warm {warm:?}, at the end {held:?}");
    let grown = held.kilobytes.saturating_sub(warm.kilobytes);
    assert!(grown < GROWTH_KILOBYTES_MAX, "grown by {grown} KB");
}
