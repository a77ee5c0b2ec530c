//! What fifty publishers cost on each engine, in the server and its workers. `AERIAL_BIN` names another
//! program to measure, such as an earlier version.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::all_workers;
use crate::{
    rtc::{Client, clip},
    support::Server,
};

const PUBLISHERS: usize = 50;
/// From the last publisher to the measurement.
const SETTLE: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(10);

/// What some processes use together.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    /// In ticks of 10 ms.
    cpu: u64,
    kilobytes: u64,
    threads: u64,
    files: usize,
}

impl Use {
    fn of(pids: &[u32]) -> Self {
        pids.iter().map(|&pid| Self::of_one(pid)).fold(
            Self::default(),
            |Self {
                 cpu,
                 kilobytes,
                 threads,
                 files,
             },
             other| Self {
                cpu: cpu + other.cpu,
                kilobytes: kilobytes + other.kilobytes,
                threads: threads + other.threads,
                files: files + other.files,
            },
        )
    }

    fn of_one(pid: u32) -> Self {
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let stat = read("stat");
        let fields: Vec<u64> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, fields)| {
            let fields = fields.split_whitespace();
            fields
                .map(|field| field.parse().unwrap_or_default())
                .collect()
        });
        let field = |number: usize| fields.get(number).copied().unwrap_or_default();
        let rollup = read("smaps_rollup");
        let shared = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let shared = shared.and_then(|size| size.split_whitespace().next()?.parse().ok());
        Self {
            cpu: field(11) + field(12),
            kilobytes: shared.unwrap_or_default(),
            threads: field(17),
            files: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
        }
    }
}

#[test]
#[ignore = "measures: cargo test --release --test aerial fifty_publishers -- --ignored --nocapture"]
fn fifty_publishers_are_measured_on_each_engine() {
    for engine in ["webrtcbin", "direct"] {
        let server = Server::start(&["--webrtc.publisher_engine", engine]);
        let _publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| Client::live(&server, &format!("b{number}"), &clip::H264))
            .collect();
        thread::sleep(SETTLE);
        let workers: Vec<_> = all_workers(&server)
            .into_iter()
            .map(|(_, pid)| pid)
            .collect();
        let all = [&[server.pid()], &workers[..]].concat();
        let (before, begin) = (Use::of(&all), Instant::now());
        thread::sleep(WINDOW);
        let after = Use::of(&all);
        let own = Use::of(&[server.pid()]);
        let millis = begin.elapsed().as_millis();
        let permille = u128::from(after.cpu - before.cpu) * 10_000 / millis;
        println!(
            "{PUBLISHERS} on {engine}: {permille} thousandths of a core, {} MB (server {} MB), {} threads (server {}), \
             {} descriptors (server {}), {} workers",
            after.kilobytes / 1024,
            own.kilobytes / 1024,
            after.threads,
            own.threads,
            after.files,
            own.files,
            workers.len(),
        );
    }
}
