//! What a cluster costs, as numbers, as a table, and against the targets.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use super::super::{
    report::{Percentiles, row_of},
    viewers::ViewerStats,
};

/// Pictures and sounds of the clip in a second.
const FRAMES_PER_SECOND: f64 = 80.0;
/// Longest time that the way through NATS may add, in milliseconds.
const DELAY_MAX: f64 = 20.0;
/// Longest time from a POST at an edge that nobody has watched at to the first keyframe, in
/// milliseconds.
const COLD_MAX: f64 = 300.0;

/// What the processes used while viewers watched.
pub(super) struct ClusterWindow {
    pub(super) elapsed: Duration,
    pub(super) origin: Duration,
    pub(super) nats: Duration,
    /// All edges together.
    pub(super) edges: Duration,
    /// The first one is at the origin, each of the others at an edge.
    pub(super) viewers: Vec<ViewerStats>,
}

/// The raw material of a [`ClusterRow`].
pub(super) struct ClusterRun {
    pub(super) edges: usize,
    /// The first viewer of each edge.
    pub(super) cold: Vec<ViewerStats>,
    /// A viewer at the origin, and nobody at an edge.
    pub(super) alone: ClusterWindow,
    /// One more at each edge.
    pub(super) lent: ClusterWindow,
}

/// The findings with one number of edges.
#[derive(Clone, Debug, Serialize)]
pub(in crate::bench) struct ClusterRow {
    edges: usize,
    /// Viewers that received both tracks.
    receiving: usize,
    failures: Vec<String>,
    lost: u64,
    /// How much later a picture comes to a viewer at an edge than to one at the origin.
    added_delay_ms: Percentiles,
    /// Processor time for each frame that is passed on, in microseconds: what the origin uses more
    /// than without edges,
    origin_us_per_frame: f64,
    /// the NATS server,
    nats_us_per_frame: f64,
    /// and one edge, with its viewer.
    edge_us_per_frame: f64,
    /// From the POST of the first viewer at an edge.
    cold_created_ms: Percentiles,
    cold_first_keyframe_ms: Percentiles,
}

impl ClusterRow {
    #[expect(clippy::cast_precision_loss, reason = "the number of edges is small")]
    pub(super) fn new(run: &ClusterRun) -> Self {
        let per_frame = |cpu: Duration, window: &ClusterWindow| {
            cpu.as_secs_f64() * 1e6 / (window.elapsed.as_secs_f64() * FRAMES_PER_SECOND)
        };
        let (alone, lent) = (&run.alone, &run.lent);
        let both = |viewer: &&ViewerStats| viewer.video_packets > 0 && viewer.audio_packets > 0;
        let all = || run.cold.iter().chain(&alone.viewers).chain(&lent.viewers);
        let cold = |pick: fn(&ViewerStats) -> Option<f64>| {
            Percentiles::of(run.cold.iter().filter_map(pick))
        };
        Self {
            edges: run.edges,
            receiving: lent.viewers.iter().filter(both).count(),
            failures: all().filter_map(|viewer| viewer.failure.clone()).collect(),
            lost: all().map(|viewer| viewer.lost).sum(),
            added_delay_ms: added_delay(&lent.viewers),
            origin_us_per_frame: per_frame(lent.origin, lent) - per_frame(alone.origin, alone),
            nats_us_per_frame: per_frame(lent.nats, lent) - per_frame(alone.nats, alone),
            edge_us_per_frame: (per_frame(lent.edges, lent) - per_frame(alone.edges, alone))
                / run.edges as f64,
            cold_created_ms: cold(|viewer| viewer.times.created),
            cold_first_keyframe_ms: cold(|viewer| viewer.times.first_keyframe),
        }
    }

    /// Why this is not a valid measurement: viewers without media, or media that did not arrive.
    pub(in crate::bench) fn broken(&self) -> Option<String> {
        let edges = self.edges;
        if let Some(first) = self.failures.first() {
            return Some(format!("{edges} edges: {first}"));
        }
        if self.receiving <= edges {
            return Some(format!(
                "{edges} edges: {} viewers got media",
                self.receiving
            ));
        }
        (self.lost > 0).then(|| format!("{edges} edges: {} packets lost", self.lost))
    }

    /// Every target that was missed, in words.
    pub(in crate::bench) fn missed(&self) -> Vec<String> {
        [
            ("added delay, ms, p99", self.added_delay_ms.p99, DELAY_MAX),
            (
                "cold edge, POST to first keyframe, ms, p99",
                self.cold_first_keyframe_ms.p99,
                COLD_MAX,
            ),
        ]
        .into_iter()
        .filter(|(_, value, most)| value.is_nan() || value > most)
        .map(|(name, value, most)| {
            format!("{} edges: {name}: {value:.2}, at most {most}", self.edges)
        })
        .collect()
    }

    /// The figures as a table in Markdown, a column for each number of edges.
    pub(in crate::bench) fn table(rows: &[Self]) -> String {
        let line = |name: &str, show: fn(&Self) -> String| row_of(name, rows.iter().map(show));
        [
            line("edges (times: p50 / p99)", |row| row.edges.to_string()),
            line("---", |_| "---:".to_owned()),
            line("added delay, ms", |row| row.added_delay_ms.pair(2)),
            line("origin, us a frame more", |row| {
                format!("{:.0}", row.origin_us_per_frame)
            }),
            line("NATS, us a frame", |row| {
                format!("{:.0}", row.nats_us_per_frame)
            }),
            line("one edge, us a frame", |row| {
                format!("{:.0}", row.edge_us_per_frame)
            }),
            line("cold edge, POST to 201, ms", |row| {
                row.cold_created_ms.pair(1)
            }),
            line("cold edge, POST to keyframe, ms", |row| {
                row.cold_first_keyframe_ms.pair(1)
            }),
            line("packets lost", |row| row.lost.to_string()),
        ]
        .concat()
    }
}

/// For each picture at an edge, how much later it came than the same one at the origin. Negative if
/// the viewers' process looked at the edge's socket first.
#[expect(
    clippy::cast_precision_loss,
    reason = "two moments are less than an hour apart"
)]
fn added_delay(viewers: &[ViewerStats]) -> Percentiles {
    let Some((origin, edges)) = viewers.split_first() else {
        return Percentiles::default();
    };
    let mut by_tag: HashMap<u64, Vec<u64>> = HashMap::new();
    for (tag, at) in &origin.arrivals {
        by_tag.entry(*tag).or_default().push(*at);
    }
    let arrivals = edges.iter().flat_map(|viewer| &viewer.arrivals);
    Percentiles::of(arrivals.filter_map(|(tag, at)| {
        // The clip repeats its pictures every few seconds: the nearest one is the same.
        let moments = by_tag.get(tag)?;
        let nearest = moments.iter().min_by_key(|moment| moment.abs_diff(*at))?;
        let distance = nearest.abs_diff(*at) as f64 / 1e6;
        Some(if at < nearest { -distance } else { distance })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(arrivals: &[(u64, u64)]) -> ViewerStats {
        ViewerStats {
            arrivals: arrivals.to_vec(),
            video_packets: 1,
            audio_packets: 1,
            ..ViewerStats::default()
        }
    }

    fn window(cpu: Duration, viewers: Vec<ViewerStats>) -> ClusterWindow {
        ClusterWindow {
            elapsed: Duration::from_secs(1),
            origin: cpu,
            nats: cpu,
            edges: cpu,
            viewers,
        }
    }

    #[test]
    fn delay_and_cost_are_what_the_edges_add() {
        const MS: u64 = 1_000_000;
        let origin = viewer(&[(1, 0), (2, 33 * MS), (1, 4000 * MS)]);
        let edge = viewer(&[(1, 2 * MS), (2, 32 * MS), (1, 4003 * MS), (9, 5)]);
        let run = ClusterRun {
            edges: 2,
            cold: Vec::new(),
            alone: window(Duration::from_millis(8), vec![origin.clone()]),
            lent: window(Duration::from_millis(24), vec![origin, edge.clone(), edge]),
        };
        let row = ClusterRow::new(&run);
        assert_eq!(row.added_delay_ms.pair(1), "2.0 / 3.0");
        let costs = [
            row.origin_us_per_frame,
            row.nats_us_per_frame,
            row.edge_us_per_frame,
        ];
        assert_eq!(
            costs.map(|cost| format!("{cost:.0}")),
            ["200", "200", "100"]
        );
        assert_eq!(row.broken(), None);
        assert_eq!(row.missed().len(), 1, "no cold edge was measured");
    }

    #[test]
    fn a_viewer_without_media_is_no_measurement() {
        let silent = ViewerStats::default();
        let run = ClusterRun {
            edges: 1,
            cold: Vec::new(),
            alone: window(Duration::ZERO, vec![viewer(&[])]),
            lent: window(Duration::ZERO, vec![viewer(&[]), silent]),
        };
        assert!(ClusterRow::new(&run).broken().is_some());
    }
}
