//! The findings of a run: as numbers, as a table, and against the targets.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{
    floor,
    process::Usage,
    publisher::Sends,
    viewers::{JoinTimes, ViewerStats},
};
use crate::plan::Engine;

/// Median and 99th percentile, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    samples: usize,
}

impl Percentiles {
    /// Both, with this many decimals.
    pub(super) fn pair(self, decimals: usize) -> String {
        format!("{:.decimals$} / {:.decimals$}", self.p50, self.p99)
    }

    /// By nearest rank.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let samples = values.len();
        let rank = |percent: usize| {
            let rank = (samples * percent).div_ceil(100).saturating_sub(1);
            values.get(rank).copied().unwrap_or(f64::NAN)
        };
        Self {
            p50: rank(50),
            p99: rank(99),
            samples,
        }
    }
}

/// One run, with a fixed number of viewers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// What carries the viewers.
    pub(super) engine: &'static str,
    pub(super) viewers: usize,
    /// Viewers that received both tracks during the measurement.
    pub(super) receiving: usize,
    /// Why others did not.
    pub(super) failures: Vec<String>,
    pub(super) seconds: f64,
    pub(super) packets: u64,
    pub(super) packets_per_second: f64,
    pub(super) megabits_per_second: f64,
    pub(super) lost: u64,
    pub(super) cpu_cores: f64,
    pub(super) cpu_us_per_packet: f64,
    /// Of the viewers' process: it must not be the bottleneck.
    pub(super) viewers_cpu_cores: f64,
    pub(super) floor_us_per_packet: f64,
    pub(super) floor_lost: u64,
    pub(super) floor_ratio: f64,
    pub(super) threads_without_viewers: u64,
    pub(super) threads: u64,
    pub(super) memory_bytes_per_viewer: f64,
    pub(super) created_ms: Percentiles,
    pub(super) connected_ms: Percentiles,
    pub(super) first_packet_ms: Percentiles,
    pub(super) first_keyframe_ms: Percentiles,
    pub(super) transit_ms: Percentiles,
}

/// The raw material of a [`Row`].
pub(super) struct Measured {
    /// The server and its viewers.
    pub(super) watched: Watched,
    /// What the publisher sent.
    pub(super) sends: Sends,
    /// What the floor cost.
    pub(super) floor: floor::FloorReport,
    /// The part that arrived.
    pub(super) floor_received: u64,
}

/// What the server used and what its viewers saw.
pub(super) struct Watched {
    /// The server before the first viewer.
    pub(super) idle: Usage,
    /// The server at the beginning and the end of the measurement.
    pub(super) usage: [Usage; 2],
    /// The viewers' process likewise.
    pub(super) viewers_usage: [Usage; 2],
    /// How long the measurement was.
    pub(super) elapsed: Duration,
    /// What the viewers saw meanwhile.
    pub(super) viewers: Vec<ViewerStats>,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
    pub(super) fn new(engine: &'static str, measured: &Measured) -> Self {
        let Measured { watched, floor, .. } = measured;
        let Watched {
            idle,
            usage: [_, after],
            elapsed,
            viewers,
            ..
        } = watched;
        let seconds = elapsed.as_secs_f64();
        let both = |stats: &&ViewerStats| stats.video_packets > 0 && stats.audio_packets > 0;
        let packets: u64 = viewers
            .iter()
            .map(|v| v.video_packets + v.audio_packets)
            .sum();
        let bytes: u64 = viewers.iter().map(|v| v.bytes).sum();
        let spent =
            |[before, after]: [Usage; 2]| after.cpu.saturating_sub(before.cpu).as_secs_f64();
        let cpu = spent(watched.usage);
        let cpu_us_per_packet = cpu * 1e6 / packets as f64;
        let floor_us_per_packet = floor.cpu_us / floor.packets as f64;
        let memory = after.resident_bytes as f64 - idle.resident_bytes as f64;
        let times = |pick: fn(&JoinTimes) -> Option<f64>| {
            Percentiles::of(viewers.iter().filter_map(|v| pick(&v.times)))
        };
        Self {
            engine,
            viewers: viewers.len(),
            receiving: viewers.iter().filter(both).count(),
            failures: viewers.iter().filter_map(|v| v.failure.clone()).collect(),
            seconds,
            packets,
            packets_per_second: packets as f64 / seconds,
            megabits_per_second: bytes as f64 * 8.0 / 1e6 / seconds,
            lost: viewers.iter().map(|v| v.lost).sum(),
            cpu_cores: cpu / seconds,
            cpu_us_per_packet,
            viewers_cpu_cores: spent(watched.viewers_usage) / seconds,
            floor_us_per_packet,
            floor_lost: floor.packets_in_all.saturating_sub(measured.floor_received),
            floor_ratio: cpu_us_per_packet / floor_us_per_packet,
            threads_without_viewers: idle.threads,
            threads: after.threads,
            memory_bytes_per_viewer: memory / viewers.len() as f64,
            created_ms: times(|times| times.created),
            connected_ms: times(|times| times.connected),
            first_packet_ms: times(|times| times.first_packet),
            first_keyframe_ms: times(|times| times.first_keyframe),
            transit_ms: transit(&measured.sends, viewers),
        }
    }

    /// Why this is not a valid measurement: viewers without media, or media that did not arrive.
    pub(super) fn broken(&self) -> Option<String> {
        if self.receiving < self.viewers || !self.failures.is_empty() {
            let first = self
                .failures
                .first()
                .map_or("no reason known", String::as_str);
            return Some(format!(
                "{} of {} viewers: {first}",
                self.receiving, self.viewers
            ));
        }
        if self.lost > 0 {
            return Some(format!("{} packets lost", self.lost));
        }
        if self.floor_lost > 0 {
            return Some(format!("{} packets of the floor lost", self.floor_lost));
        }
        (self.transit_ms.samples == 0).then(|| "no frame was recognised".to_owned())
    }
}

/// For each frame that a sampled viewer got, the time since the publisher last sent it.
fn transit(sends: &Sends, viewers: &[ViewerStats]) -> Percentiles {
    let mut by_tag: HashMap<u64, Vec<u64>> = HashMap::new();
    for (tag, at) in sends {
        by_tag.entry(*tag).or_default().push(*at);
    }
    let arrivals = viewers.iter().flat_map(|viewer| &viewer.arrivals);
    Percentiles::of(arrivals.filter_map(|(tag, at)| {
        let sent = by_tag.get(tag)?.iter().rfind(|sent| *sent <= at)?;
        Some(Duration::from_nanos(at - sent).as_secs_f64() * 1000.0)
    }))
}

/// CPU time per packet of the direct engine with the most viewers, relative to that with the
/// fewest: 1 is linear.
pub(super) fn linearity(rows: &[Row]) -> Option<f64> {
    let direct = || rows.iter().filter(|row| row.engine == DIRECT);
    let fewest = direct().min_by_key(|row| row.viewers)?;
    let most = direct().max_by_key(|row| row.viewers)?;
    (fewest.viewers < most.viewers).then(|| most.cpu_us_per_packet / fewest.cpu_us_per_packet)
}

type Figure = (&'static str, fn(&Row) -> String);

const FIGURES: &[Figure] = &[
    ("viewers receiving", |row| row.receiving.to_string()),
    ("packets delivered /s", |row| {
        format!("{:.0}", row.packets_per_second)
    }),
    ("Mb/s delivered", |row| {
        format!("{:.0}", row.megabits_per_second)
    }),
    ("packets lost", |row| row.lost.to_string()),
    ("server CPU, cores", |row| format!("{:.2}", row.cpu_cores)),
    ("server CPU, us a packet", |row| {
        format!("{:.2}", row.cpu_us_per_packet)
    }),
    ("floor, us a packet", |row| {
        format!("{:.2}", row.floor_us_per_packet)
    }),
    ("server / floor", |row| format!("{:.2}", row.floor_ratio)),
    ("viewers' CPU, cores", |row| {
        format!("{:.2}", row.viewers_cpu_cores)
    }),
    ("threads (without viewers)", |row| {
        format!("{} ({})", row.threads, row.threads_without_viewers)
    }),
    ("memory a viewer, kB", |row| {
        format!("{:.0}", row.memory_bytes_per_viewer / 1000.0)
    }),
    ("POST to 201, ms", |row| row.created_ms.pair(1)),
    ("POST to connected, ms", |row| row.connected_ms.pair(1)),
    ("POST to first packet, ms", |row| {
        row.first_packet_ms.pair(1)
    }),
    ("POST to first keyframe, ms", |row| {
        row.first_keyframe_ms.pair(1)
    }),
    ("server transit, ms", |row| row.transit_ms.pair(1)),
];

/// The figures as a table in Markdown, a column for each run.
pub(super) fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        row_of(
            "viewers (times: p50 / p99)",
            rows.iter()
                .map(|row| format!("{} {}", row.viewers, row.engine)),
        ),
        row_of("---", rows.iter().map(|_| "---:".to_owned())),
    ];
    lines.extend(
        FIGURES
            .iter()
            .map(|(name, show)| row_of(name, rows.iter().map(show))),
    );
    lines.concat()
}

/// A row of a table in Markdown.
pub(super) fn row_of(name: &str, cells: impl Iterator<Item = String>) -> String {
    let mut line = format!("| {name:<33} |");
    for cell in cells {
        // Writing to a string cannot fail.
        let _ = write!(line, " {cell:>15} |");
    }
    line.push('\n');
    line
}

type BenchTarget = (&'static str, f64, fn(&Row) -> f64);

/// The engine that most targets are for.
const DIRECT: &str = Engine::Direct.name();
/// How many viewers its targets are for.
const TARGETS_VIEWERS: usize = 200;
/// How many viewers webrtcbin's targets are for.
const WEBRTCBIN_TARGETS_VIEWERS: usize = 40;
/// Maximum of each figure on webrtcbin.
const WEBRTCBIN_TARGETS: &[BenchTarget] = &[
    #[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
    ("packets lost", 0.0, |row| row.lost as f64),
    ("server CPU, us a packet", 50.0, |row| row.cpu_us_per_packet),
];
/// Maximum of each figure on the direct engine.
const TARGETS: &[BenchTarget] = &[
    #[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
    ("packets lost", 0.0, |row| row.lost as f64),
    ("server CPU, us a packet", 5.0, |row| row.cpu_us_per_packet),
    ("server / floor", 3.0, |row| row.floor_ratio),
    #[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
    ("threads added by viewers", 0.0, |row| {
        row.threads as f64 - row.threads_without_viewers as f64
    }),
    ("memory a viewer, kB", 500.0, |row| {
        row.memory_bytes_per_viewer / 1000.0
    }),
    ("POST to 201, ms, p50", 10.0, |row| row.created_ms.p50),
    ("POST to first packet, ms, p50", 45.0, |row| {
        row.first_packet_ms.p50
    }),
    ("POST to first keyframe, ms, p50", 60.0, |row| {
        row.first_keyframe_ms.p50
    }),
    ("server transit, ms, p50", 5.0, |row| row.transit_ms.p50),
    ("server transit, ms, p99", 25.0, |row| row.transit_ms.p99),
];
/// Maximum cost of a packet with the most viewers, relative to that with the fewest.
const LINEARITY_MAX: f64 = 1.2;

/// Every target that was missed, in words.
pub(super) fn missed(rows: &[Row]) -> Vec<String> {
    let mut missed = Vec::new();
    for row in rows {
        let targets = match (row.engine, row.viewers) {
            (DIRECT, TARGETS_VIEWERS) => TARGETS,
            (DIRECT, _) => continue,
            (_, WEBRTCBIN_TARGETS_VIEWERS) => WEBRTCBIN_TARGETS,
            _ => continue,
        };
        for (name, most, value) in targets {
            let value = value(row);
            if value.is_nan() || value > *most {
                missed.push(format!(
                    "{} viewers: {name}: {value:.2}, at most {most}",
                    row.viewers
                ));
            }
        }
    }
    if let Some(linearity) = linearity(rows).filter(|linearity| *linearity > LINEARITY_MAX) {
        missed.push(format!(
            "cost grows {linearity:.2} times, at most {LINEARITY_MAX}"
        ));
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let usage = |cpu, threads, resident_bytes| Usage {
            cpu: Duration::from_millis(cpu),
            threads,
            resident_bytes,
        };
        let times = JoinTimes {
            created: Some(4.0),
            ..JoinTimes::default()
        };
        let viewer = ViewerStats {
            times,
            video_packets: 900,
            audio_packets: 100,
            bytes: 1_000_000,
            arrivals: vec![(1, 12_000_000), (2, 20_000_000), (3, 1)],
            ..ViewerStats::default()
        };
        let watched = Watched {
            idle: usage(0, 9, 1_000_000),
            usage: [usage(100, 9, 0), usage(110, 9, 1_800_000)],
            viewers_usage: [usage(0, 1, 0), usage(20, 1, 0)],
            elapsed: Duration::from_secs(2),
            viewers: vec![viewer.clone(), viewer],
        };
        Measured {
            watched,
            sends: vec![
                (1, 5_000_000),
                (2, 6_000_000),
                (1, 10_000_000),
                (1, 30_000_000),
            ],
            floor: floor::FloorReport {
                packets: 1000,
                cpu_us: 2000.0,
                packets_in_all: 1500,
            },
            floor_received: 1500,
        }
    }

    #[test]
    fn figures_are_computed_per_packet_and_per_viewer() {
        let row = Row::new(DIRECT, &measured());
        assert_eq!((row.viewers, row.receiving, row.packets), (2, 2, 2000));
        assert!((row.cpu_us_per_packet - 5.0).abs() < 1e-9);
        assert!((row.floor_ratio - 2.5).abs() < 1e-9);
        assert!((row.memory_bytes_per_viewer - 400_000.0).abs() < 1e-9);
        assert!((row.megabits_per_second - 8.0).abs() < 1e-9);
        assert_eq!(row.floor_lost, 0);
        assert_eq!(row.broken(), None);
    }

    #[test]
    fn transit_takes_the_last_send_before_the_arrival() {
        let row = Row::new(DIRECT, &measured());
        assert_eq!(row.transit_ms.samples, 4);
        assert!((row.transit_ms.p50 - 2.0).abs() < 1e-9);
        assert!((row.transit_ms.p99 - 14.0).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let all = Percentiles::of((1..=200).map(f64::from));
        assert_eq!(
            all,
            Percentiles {
                p50: 100.0,
                p99: 198.0,
                samples: 200
            }
        );
    }

    #[test]
    fn lost_packets_and_silent_viewers_break_a_run() {
        let mut lossy = measured();
        lossy.watched.viewers[0].lost = 1;
        assert!(Row::new(DIRECT, &lossy).broken().is_some());
        let mut silent = measured();
        silent.watched.viewers[0].audio_packets = 0;
        assert!(Row::new(DIRECT, &silent).broken().is_some());
        assert_eq!(Row::new(DIRECT, &measured()).broken(), None);
    }

    #[test]
    fn figures_that_are_missing_miss_their_target() {
        let mut row = Row {
            viewers: 200,
            ..Row::new(DIRECT, &measured())
        };
        assert!(
            missed(std::slice::from_ref(&row))
                .iter()
                .any(|text| text.contains("keyframe"))
        );
        row.cpu_us_per_packet = 5.1;
        assert!(
            missed(std::slice::from_ref(&row))
                .iter()
                .any(|text| text.contains("5.10"))
        );
        row.viewers = 100;
        assert_eq!(missed(&[row]), [""; 0]);
    }

    #[test]
    fn linearity_compares_fewest_and_most() {
        let row = Row::new(DIRECT, &measured());
        assert_eq!(linearity(std::slice::from_ref(&row)), None);
        let more = Row {
            viewers: 8,
            cpu_us_per_packet: 6.0,
            ..row.clone()
        };
        assert!((linearity(&[more, row]).unwrap() - 1.2).abs() < 1e-9);
    }
}
