//! What the ladder costs, as numbers, as tables, and against the targets.

use std::time::Duration;

use serde::Serialize;

use super::{
    super::{report::row_of, viewers::ViewerStats},
    RENDITIONS,
};

/// The resources that the processes used during the measurement.
pub(super) struct Used {
    pub(super) elapsed: Duration,
    pub(super) server: Duration,
    pub(super) fanout: Duration,
    pub(super) twin: Duration,
    pub(super) twin_frames_per_second: f64,
}

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct LadderWindow {
    viewers: usize,
    /// Why viewers did not watch.
    failures: Vec<String>,
    seconds: f64,
    /// The server's processor time.
    server_cores: f64,
    /// The part of it that its fan-out threads used.
    fanout_cores: f64,
    /// The figure of `gst-launch-1.0`.
    twin_cores: f64,
    packets_per_second: f64,
    lost: u64,
    /// Of the viewer that got fewest.
    frames_per_second: f64,
    /// Of the sink that got fewest.
    twin_frames_per_second: f64,
}

impl LadderWindow {
    #[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
    pub(super) fn new(used: &Used, viewers: &[ViewerStats]) -> Self {
        let seconds = used.elapsed.as_secs_f64();
        let cores = |cpu: Duration| cpu.as_secs_f64() / seconds;
        let packets = |viewer: &ViewerStats| viewer.video_packets + viewer.audio_packets;
        let rate = |viewer: &ViewerStats| viewer.video_frames as f64 / seconds;
        Self {
            viewers: viewers.len(),
            failures: viewers
                .iter()
                .filter_map(|viewer| viewer.failure.clone())
                .collect(),
            seconds,
            server_cores: cores(used.server),
            fanout_cores: cores(used.fanout),
            twin_cores: cores(used.twin),
            packets_per_second: viewers.iter().map(packets).sum::<u64>() as f64 / seconds,
            lost: viewers.iter().map(|viewer| viewer.lost).sum(),
            frames_per_second: viewers
                .iter()
                .map(rate)
                .reduce(f64::min)
                .unwrap_or(f64::NAN),
            twin_frames_per_second: used.twin_frames_per_second,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the number of viewers is small")]
    fn count(&self) -> f64 {
        self.viewers as f64
    }

    /// Processor time for each packet of all viewers, in microseconds.
    fn per_packet(&self, cores: f64) -> f64 {
        cores * 1e6 / self.packets_per_second
    }

    fn broken(&self) -> Option<String> {
        if let Some(first) = self.failures.first() {
            return Some(format!("{} viewers: {first}", self.failures.len()));
        }
        if self.lost > 0 {
            return Some(format!("{} packets lost", self.lost));
        }
        let silent = self.viewers > 0 && self.frames_per_second == 0.0;
        silent.then(|| format!("{} viewers: one got no picture", self.viewers))
    }

    /// The lower of the two processes' rates: pictures that one of them leaves out cost it nothing.
    fn frames_per_second_least(&self) -> f64 {
        let viewers = (self.viewers > 0).then_some(self.frames_per_second);
        viewers.map_or(self.twin_frames_per_second, |rate| {
            rate.min(self.twin_frames_per_second)
        })
    }
}

/// All measurements of one round.
#[derive(Clone, Debug, Default)]
pub(super) struct LadderRound {
    /// Nobody watches: the server receives, and makes no rendition.
    pub(super) idle: LadderWindow,
    /// Viewers spread over the renditions.
    pub(super) watched: Vec<LadderWindow>,
    /// The most viewers, all of the source: no rendition is made.
    pub(super) source: LadderWindow,
}

/// The findings of a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Costs {
    /// Decode and encodes in the server, against the same in `gst-launch-1.0`.
    ratio: f64,
    /// Processor time of one more viewer, in seconds per second.
    viewer_cores: f64,
}

impl LadderRound {
    /// The least squares of server = idle + ratio * gst-launch + viewers * a viewer's cost.
    fn costs(&self) -> Costs {
        let sum = |term: &dyn Fn(&LadderWindow) -> f64| self.watched.iter().map(term).sum::<f64>();
        let added = |window: &LadderWindow| window.server_cores - self.idle.server_cores;
        let tt = sum(&|window| window.twin_cores * window.twin_cores);
        let tn = sum(&|window| window.twin_cores * window.count());
        let nn = sum(&|window| window.count() * window.count());
        let ty = sum(&|window| window.twin_cores * added(window));
        let ny = sum(&|window| window.count() * added(window));
        let determinant = tt * nn - tn * tn;
        Costs {
            ratio: (ty * nn - ny * tn) / determinant,
            viewer_cores: (tt * ny - tn * ty) / determinant,
        }
    }

    fn most(&self) -> &LadderWindow {
        self.watched.last().unwrap_or(&self.idle)
    }

    /// The cost of one more viewer for each packet that it gets, in microseconds.
    fn viewer_us_per_packet(&self) -> f64 {
        let most = self.most();
        most.per_packet(self.costs().viewer_cores * most.count())
    }

    fn source_us_per_packet(&self) -> f64 {
        let added = self.source.server_cores - self.idle.server_cores;
        self.source.per_packet(added)
    }

    fn all(&self) -> impl Iterator<Item = &LadderWindow> {
        let watched = self.watched.iter();
        std::iter::once(&self.idle)
            .chain(watched)
            .chain([&self.source])
    }

    fn broken(&self) -> Option<String> {
        self.all().find_map(LadderWindow::broken)
    }
}

/// The first viewer of a rendition that was not running.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ColdTry {
    rendition: String,
    created_ms: f64,
    first_keyframe_ms: f64,
    failure: Option<String>,
}

impl ColdTry {
    pub(super) fn new(rendition: &str, viewer: ViewerStats) -> Self {
        Self {
            rendition: rendition.to_owned(),
            created_ms: viewer.times.created.unwrap_or(f64::NAN),
            first_keyframe_ms: viewer.times.first_keyframe.unwrap_or(f64::NAN),
            failure: viewer.failure,
        }
    }
}

/// All results.
#[derive(Debug, Serialize)]
pub(in super::super) struct Ladder {
    /// Medians of the rounds.
    ratio: f64,
    viewer_us_per_packet: f64,
    source_us_per_packet: f64,
    /// The longest time of a cold rendition.
    first_keyframe_max_ms: f64,
    rounds: Vec<RoundFigures>,
    cold: Vec<ColdTry>,
    #[serde(skip)]
    raw: Vec<LadderRound>,
}

#[derive(Debug, Serialize)]
struct RoundFigures {
    #[serde(flatten)]
    costs: Costs,
    windows: Vec<LadderWindow>,
}

/// The middle value; of an even number, the lower of the two.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(f64::NAN)
}

type Show = Box<dyn Fn(&LadderRound) -> f64>;

impl Ladder {
    pub(super) fn new(raw: Vec<LadderRound>, cold: Vec<ColdTry>) -> Self {
        let times = cold.iter().map(|tried| tried.first_keyframe_ms);
        let figures = |round: &LadderRound| RoundFigures {
            costs: round.costs(),
            windows: round.all().cloned().collect(),
        };
        Self {
            ratio: median(raw.iter().map(|round| round.costs().ratio)),
            viewer_us_per_packet: median(raw.iter().map(LadderRound::viewer_us_per_packet)),
            source_us_per_packet: median(raw.iter().map(LadderRound::source_us_per_packet)),
            first_keyframe_max_ms: times.max_by(f64::total_cmp).unwrap_or(f64::NAN),
            rounds: raw.iter().map(figures).collect(),
            cold,
            raw,
        }
    }

    /// The figures as tables in Markdown.
    pub(in super::super) fn tables(&self) -> String {
        let rounds = 1..=self.raw.len();
        let heads = rounds.map(|number| format!("round {number}"));
        let mut text = row_of("", heads.chain(["median".to_owned()]));
        text += &row_of("---", (0..=self.raw.len()).map(|_| "---:".to_owned()));
        for (name, digits, show) in self.figures() {
            let shown = |value: f64| format!("{value:.digits$}");
            let values = self.raw.iter().map(&show);
            let cells: Vec<_> = values.clone().map(shown).collect();
            text += &row_of(&name, cells.into_iter().chain([shown(median(values))]));
        }
        text.push('\n');
        let heads = ["POST to 201, ms", "to keyframe, ms"].map(str::to_owned);
        text += &row_of("cold rendition (p50 / max)", heads.into_iter());
        text += &row_of("---", ["---:", "---:"].map(str::to_owned).into_iter());
        for rendition in RENDITIONS {
            let tries = self
                .cold
                .iter()
                .filter(|tried| tried.rendition == rendition);
            let pair = |pick: fn(&ColdTry) -> f64| {
                let times = tries.clone().map(pick);
                let most = times.clone().max_by(f64::total_cmp).unwrap_or(f64::NAN);
                format!("{:.0} / {most:.0}", median(times))
            };
            let cells = [
                pair(|tried| tried.created_ms),
                pair(|tried| tried.first_keyframe_ms),
            ];
            text += &row_of(rendition, cells.into_iter());
        }
        text
    }

    fn figures(&self) -> Vec<(String, usize, Show)> {
        let windows = self.raw.first().map_or(&[][..], |round| &round.watched);
        let of = |at: usize, pick: fn(&LadderWindow) -> f64| -> Show {
            Box::new(move |round| round.watched.get(at).map_or(f64::NAN, pick))
        };
        let mut figures: Vec<(String, usize, Show)> = vec![(
            "server, nobody watches, cores".to_owned(),
            3,
            Box::new(|round| round.idle.server_cores),
        )];
        for (at, window) in windows.iter().enumerate() {
            let viewers = window.viewers;
            let mut add = |name: &str, digits, pick: fn(&LadderWindow) -> f64| {
                figures.push((format!("{viewers} viewers: {name}"), digits, of(at, pick)));
            };
            add("server, cores", 3, |window| window.server_cores);
            add("gst-launch, cores", 3, |window| window.twin_cores);
            add("fan-out, us a packet", 2, |window| {
                window.per_packet(window.fanout_cores)
            });
            add("frames a second", 2, |window| window.frames_per_second);
            add("gst-launch's", 2, |window| window.twin_frames_per_second);
        }
        let last: [(&str, usize, Show); 4] = [
            (
                "decode and encodes, cores",
                3,
                Box::new(|round| round.costs().ratio * round.most().twin_cores),
            ),
            ("... / gst-launch", 3, Box::new(|round| round.costs().ratio)),
            (
                "one viewer more, us a packet",
                2,
                Box::new(LadderRound::viewer_us_per_packet),
            ),
            (
                "viewers of the source, likewise",
                2,
                Box::new(LadderRound::source_us_per_packet),
            ),
        ];
        figures.extend(last.map(|(name, digits, show)| (name.to_owned(), digits, show)));
        figures
    }

    /// Why this is not a valid measurement.
    pub(in super::super) fn broken(&self) -> Vec<String> {
        let cold = self.cold.iter().filter_map(|tried| tried.failure.clone());
        let rounds = self.raw.iter().filter_map(LadderRound::broken);
        cold.chain(rounds).collect()
    }

    /// Every target that was missed, in words.
    pub(in super::super) fn missed(&self) -> Vec<String> {
        let least = self
            .raw
            .iter()
            .flat_map(LadderRound::all)
            .map(LadderWindow::frames_per_second_least)
            .min_by(f64::total_cmp);
        let left_out = FRAMES_PER_SECOND - least.unwrap_or(f64::NAN);
        let targets = [
            ("frames a second left out, at worst", left_out, LEFT_OUT_MAX),
            ("decode and encodes / gst-launch", self.ratio, RATIO_MAX),
            (
                "cold rendition, POST to first keyframe, ms",
                self.first_keyframe_max_ms,
                FIRST_KEYFRAME_MAX_MS,
            ),
        ];
        let missed = targets
            .iter()
            .filter(|(_, value, most)| value.is_nan() || value > most);
        missed
            .map(|(name, value, most)| format!("{name}: {value:.2}, at most {most}"))
            .collect()
    }
}

/// Maximum cost of decode and encodes, relative to `gst-launch-1.0`.
const RATIO_MAX: f64 = 1.1;
/// Longest time that the first viewer of a cold rendition may wait for its first keyframe.
const FIRST_KEYFRAME_MAX_MS: f64 = 1000.0;
/// The frame rate of the published clip.
const FRAMES_PER_SECOND: f64 = 30.0;
/// If one of the two processes leaves out more frames than this, they did not do the same work.
const LEFT_OUT_MAX: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(viewers: usize, server_cores: f64, twin_cores: f64) -> LadderWindow {
        LadderWindow {
            viewers,
            server_cores,
            twin_cores,
            #[expect(clippy::cast_precision_loss, reason = "few")]
            packets_per_second: 100.0 * viewers as f64,
            frames_per_second: 30.0,
            twin_frames_per_second: 30.0,
            ..LadderWindow::default()
        }
    }

    fn round() -> LadderRound {
        // The machine was slower in the second window.
        LadderRound {
            idle: window(0, 0.05, 0.3),
            watched: vec![
                window(10, 0.05 + 1.1 * 0.3 + 10.0 * 0.001, 0.3),
                window(50, 0.05 + 1.1 * 0.4 + 50.0 * 0.001, 0.4),
            ],
            source: window(50, 0.15, 0.3),
        }
    }

    #[test]
    fn the_costs_of_renditions_and_viewers_are_told_apart() {
        let costs = round().costs();
        assert!((costs.ratio - 1.1).abs() < 1e-9);
        assert!((costs.viewer_cores - 0.001).abs() < 1e-9);
        assert!((round().viewer_us_per_packet() - 10.0).abs() < 1e-6);
        assert!((round().source_us_per_packet() - 20.0).abs() < 1e-6);
    }

    #[test]
    fn medians_count_and_targets_are_missed() {
        let cold = |first_keyframe_ms| ColdTry {
            rendition: "480p".to_owned(),
            created_ms: 300.0,
            first_keyframe_ms,
            failure: None,
        };
        let mut outlier = round();
        outlier
            .watched
            .iter_mut()
            .for_each(|window| window.server_cores *= 2.0);
        let ladder = Ladder::new(vec![outlier, round(), round()], vec![cold(900.0)]);
        assert!((ladder.ratio - 1.1).abs() < 1e-9);
        assert_eq!((ladder.broken(), ladder.missed()), (vec![], vec![]));
        assert!(ladder.tables().contains("900 / 900"));

        let ladder = Ladder::new(vec![round()], vec![cold(900.0), cold(1001.0)]);
        assert!(ladder.missed().iter().any(|text| text.contains("1001")));
        let mut lazy = round();
        lazy.watched[0].twin_frames_per_second = 25.0;
        let failed = Ladder::new(vec![lazy], vec![cold(f64::NAN)]).missed();
        assert!(failed.iter().any(|text| text.contains("NaN")));
        assert!(failed.iter().any(|text| text.contains("5.00")));
    }

    #[test]
    fn viewers_without_media_break_a_run() {
        let mut lossy = round();
        lossy.source.lost = 2;
        assert!(lossy.broken().is_some());
        let mut silent = round();
        silent.watched[1].frames_per_second = 0.0;
        assert!(silent.broken().is_some());
        assert_eq!(round().broken(), None);
    }
}
