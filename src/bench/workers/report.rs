//! What workers cost, as numbers, as a table, and against the targets.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{AT_ONCE, Percentiles, RunFigures, answers::Answers};

/// The findings for one text, in this process and in a worker.
#[derive(Default)]
pub(super) struct Hop {
    here: PlaceFigures,
    worker: PlaceFigures,
    private_bytes: u64,
    threads: u64,
}

/// The findings for each text.
pub(super) struct Hops {
    pub(super) sound: Hop,
    pub(super) picture: Hop,
    pub(super) rendition: Hop,
}

/// The findings in one place.
#[derive(Default)]
struct PlaceFigures {
    ages: Vec<Duration>,
    /// CPU time of this process.
    own: Duration,
    /// With that of the worker.
    all: Duration,
}

impl Hop {
    /// Adds a run.
    pub(super) fn add(&mut self, in_worker: bool, figures: &RunFigures) {
        let place = if in_worker {
            self.private_bytes = self.private_bytes.max(figures.private_bytes);
            self.threads = self.threads.max(figures.threads);
            &mut self.worker
        } else {
            &mut self.here
        };
        place.ages.extend(&figures.ages);
        place.own += figures.own;
        place.all += figures.own + figures.worker;
    }

    fn figures(&self) -> HopFigures {
        let per_frame = |cpu: Duration, place: &PlaceFigures| {
            micros(cpu) / f64::from(u32::try_from(place.ages.len()).unwrap_or(u32::MAX)).max(1.0)
        };
        HopFigures {
            here: millis(&self.here.ages),
            worker: millis(&self.worker.ages),
            server_us_per_frame: per_frame(self.worker.own, &self.worker),
            extra_us_per_frame: per_frame(self.worker.all, &self.worker)
                - per_frame(self.here.all, &self.here),
            private_bytes: self.private_bytes,
            threads: self.threads,
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(times: &[Duration]) -> Percentiles {
    Percentiles::of(times.iter().map(|time| time.as_secs_f64() * 1e3))
}

/// How long starts and deaths took.
#[derive(Default)]
pub(super) struct Starts {
    pub(super) sound: Vec<Duration>,
    pub(super) picture: Vec<Duration>,
    pub(super) many: Vec<Duration>,
    pub(super) death: Vec<Duration>,
}

/// What one text costs.
#[derive(Clone, Copy, Debug, Serialize)]
struct HopFigures {
    /// Age of frames on arrival, in milliseconds, from a pipeline in this process.
    here: Percentiles,
    /// From one in a worker.
    worker: Percentiles,
    /// CPU time of this process for a frame of a worker, in microseconds.
    server_us_per_frame: f64,
    /// CPU time of both processes for a frame, beyond that of one process, in microseconds.
    extra_us_per_frame: f64,
    /// Memory of the worker that it shares with nobody.
    private_bytes: u64,
    threads: u64,
}

impl HopFigures {
    /// How much later the median frame arrives, in milliseconds.
    fn later(&self) -> f64 {
        self.worker.p50 - self.here.p50
    }

    /// The same for the slowest hundredth.
    fn later_p99(&self) -> f64 {
        self.worker.p99 - self.here.p99
    }
}

/// The findings of `--workers`.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct WorkersReport {
    sound: HopFigures,
    picture: HopFigures,
    rendition: HopFigures,
    /// From the request for a worker to its first frame, in milliseconds.
    start_sound: Percentiles,
    start_picture: Percentiles,
    /// To the first frame of the last of several that are wanted at once.
    start_many: Percentiles,
    /// From a worker's death to its report, in milliseconds.
    death: Percentiles,
    /// From a publisher's POST to its answer, in milliseconds, on webrtcbin and on the direct engine.
    answer_webrtcbin: Percentiles,
    answer_direct: Percentiles,
}

impl WorkersReport {
    pub(super) fn new(hops: &Hops, starts: &Starts, answers: &Answers) -> Self {
        Self {
            sound: hops.sound.figures(),
            picture: hops.picture.figures(),
            rendition: hops.rendition.figures(),
            start_sound: millis(&starts.sound),
            start_picture: millis(&starts.picture),
            start_many: millis(&starts.many),
            death: millis(&starts.death),
            answer_webrtcbin: millis(&answers.webrtcbin),
            answer_direct: millis(&answers.direct),
        }
    }

    /// The figures beside their targets.
    pub(in crate::bench) fn table(&self) -> String {
        let mut text = format!("{:<58} {:>10} {:>8}\n", "", "measured", "at most");
        for (what, measured, target) in self.rows() {
            let verdict = if measured <= target { "met" } else { "missed" };
            // Err: never, for a string.
            let _ = writeln!(text, "{what:<58} {measured:>10.3} {target:>8} {verdict}");
        }
        text
    }

    /// The targets that were missed.
    pub(in crate::bench) fn missed(&self) -> Vec<String> {
        self.rows()
            .into_iter()
            .filter(|(_, measured, target)| measured.is_nan() || measured > target)
            .map(|(what, measured, target)| format!("{what}: {measured:.3}, at most {target}"))
            .collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^52")]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn rows(&self) -> Vec<(String, f64, f64)> {
        let mut rows = Vec::new();
        let mut row =
            |what: String, measured: f64, target: f64| rows.push((what, measured, target));
        for (name, hop) in [("sound", &self.sound), ("picture", &self.picture)] {
            row(
                format!("{name}, later than in one process, p50, ms"),
                hop.later(),
                0.1,
            );
            row(
                format!("{name}, later than in one process, p99, ms"),
                hop.later_p99(),
                1.0,
            );
            row(
                format!("{name}, CPU of the server a frame, microseconds"),
                hop.server_us_per_frame,
                65.0,
            );
            row(
                format!("{name}, CPU of all a frame, beyond one process, microseconds"),
                hop.extra_us_per_frame,
                120.0,
            );
        }
        row(
            "rendition, later, p50, ms".to_owned(),
            self.rendition.later(),
            1.0,
        );
        row(
            "rendition, later, p99, ms".to_owned(),
            self.rendition.later_p99(),
            1.0,
        );
        let private = self.sound.private_bytes as f64 / 1e6;
        row(
            "worker of a trivial source, private MB".to_owned(),
            private,
            6.0,
        );
        let threads = self.sound.threads as f64;
        row(
            "worker of a trivial source, threads".to_owned(),
            threads,
            5.0,
        );
        row(
            "start to first frame, sound, p50, ms".to_owned(),
            self.start_sound.p50,
            60.0,
        );
        row(
            "start to first frame, picture, p50, ms".to_owned(),
            self.start_picture.p50,
            100.0,
        );
        row(
            format!("{AT_ONCE} starts at once, sound, p50, ms"),
            self.start_many.p50,
            500.0,
        );
        row("death to report, p99, ms".to_owned(), self.death.p99, 10.0);
        row(
            "POST to answer, webrtcbin, p50, ms".to_owned(),
            self.answer_webrtcbin.p50,
            40.0,
        );
        row(
            "POST to answer, direct, p50, ms".to_owned(),
            self.answer_direct.p50,
            3.0,
        );
        rows
    }
}
