//! `aerial bench --ladder`: what renditions cost, and how soon a cold one plays.
//!
//! A server makes three renditions of the clip from one decode, and beside it, on the same machine
//! at the same time, `gst-launch-1.0` runs the same text on the same pictures. The server does
//! more: it receives, cuts the renditions into packets and serves viewers. Receiving is measured
//! without viewers, when no rendition is made; the cost of a viewer, and that of the rest in units
//! of `gst-launch-1.0`, follow from runs with different numbers of viewers. Since both processes
//! always run at the same time, any other load on the machine affects both alike.

mod report;
mod twin;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

pub(super) use report::Ladder;
use report::{ColdTry, LadderRound, LadderWindow};
use twin::Twin;

use super::{
    BROADCAST, Options,
    clip::Clip,
    peer::Http,
    process::Usage,
    publisher::ClipPublisher,
    say,
    server::BenchServer,
    viewers,
    watch::{self, Schedule, Viewed},
};
use crate::plan::Engine;

/// The pipeline text, which the server knows by its name.
const TEXT: &str = include_str!("../../../pipelines/h264-ladder.launch");
/// What the server is to make.
const CONFIG: &str =
    "[broadcasts.bench]\nrenditions = [\"h264-ladder.launch\"]\ngrace = \"500ms\"\n";
/// The renditions that the text makes.
const RENDITIONS: [&str; 3] = ["720p", "480p", "240p"];
/// Between cold tries, so that each meets a different point between keyframes, which are 2 s apart.
const STAGGER: Duration = Duration::from_millis(370);

/// The resources that the processes have used so far.
struct Look {
    at: Instant,
    server: Usage,
    /// Of the server: its fan-out threads.
    fanout: Duration,
    twin: Usage,
}

/// All that a run needs.
struct Bench<'a> {
    options: &'a Options,
    clip: &'a Arc<Clip>,
    http: &'a Http,
    server: BenchServer,
}

/// Measures everything.
///
/// # Errors
///
/// If something could not be measured at all.
pub(super) async fn run(options: &Options, clip: &Arc<Clip>, http: &Http) -> Result<Ladder> {
    let mut counts: Vec<usize> = Vec::new();
    for &viewers in &options.viewers {
        counts.push(usize::try_from(viewers)?);
    }
    counts.sort_unstable();
    counts.dedup();
    ensure!(
        counts.len() > 1,
        "--ladder needs two numbers of viewers, to tell what one more costs"
    );
    let server = BenchServer::start(http, Engine::Direct, CONFIG).await?;
    let endpoint = server.url(&format!("/whip/{BROADCAST}"));
    let mut publisher = ClipPublisher::start(http, &endpoint, Arc::clone(clip)).await?;
    let mut bench = Bench {
        options,
        clip,
        http,
        server,
    };
    let ladder = tokio::select! {
        failure = publisher.failure() => return Err(failure),
        ladder = Box::pin(bench.measure(&counts)) => ladder?,
    };
    publisher.stop(http).await?;
    Ok(ladder)
}

impl Bench<'_> {
    async fn measure(&mut self, counts: &[usize]) -> Result<Ladder> {
        self.server.wait_live(self.http, BROADCAST).await?;
        sleep(self.options.settle()).await;
        let mut cold = Vec::new();
        for number in 0..self.options.rounds {
            say(&format!("cold renditions, try {}\n", number + 1))?;
            for rendition in RENDITIONS {
                cold.push(self.cold(rendition, STAGGER * number).await?);
            }
        }
        let mut twin = Twin::start(TEXT, self.clip)?;
        let mut rounds = Vec::new();
        for number in 0..self.options.rounds {
            say(&format!("round {}, {counts:?} viewers\n", number + 1))?;
            rounds.push(self.round(counts, &mut twin).await?);
        }
        Ok(Ladder::new(rounds, cold))
    }

    fn time(&self, settle: Duration) -> Schedule {
        Schedule {
            settle,
            window: self.options.window(),
        }
    }

    /// Joins as the first viewer of a rendition that nobody has watched.
    async fn cold(&mut self, rendition: &str, after: Duration) -> Result<ColdTry> {
        self.server.wait_idle(self.http, BROADCAST).await?;
        sleep(after).await;
        let at_once = Schedule {
            settle: Duration::ZERO,
            window: Duration::ZERO,
        };
        let measured = watch::measure(self.job(1, &[rendition]), at_once, || Ok(())).await?;
        let viewer = measured.viewers.into_iter().next();
        Ok(ColdTry::new(rendition, viewer.context("no viewer")?))
    }

    async fn round(&mut self, counts: &[usize], twin: &mut Twin) -> Result<LadderRound> {
        self.server.wait_idle(self.http, BROADCAST).await?;
        sleep(self.options.settle()).await;
        let begin = self.look(twin)?;
        tokio::select! {
            failure = twin.failure() => return Err(failure),
            () = sleep(self.options.window()) => {}
        }
        let idle = Viewed {
            elapsed: begin.at.elapsed(),
            looks: [begin, self.look(twin)?],
            viewers_usage: [Usage::of(std::process::id())?; 2],
            viewers: Vec::new(),
        };
        let mut watched = Vec::new();
        for &viewers in counts {
            watched.push(self.watched(self.job(viewers, &RENDITIONS), twin).await?);
        }
        self.server.wait_idle(self.http, BROADCAST).await?;
        let most = counts.last().copied().unwrap_or_default();
        let source = self.watched(self.job(most, &["source"]), twin).await?;
        Ok(LadderRound {
            idle: window(&idle, twin),
            watched,
            source,
        })
    }

    async fn watched(&self, job: viewers::ViewersJob, twin: &Twin) -> Result<LadderWindow> {
        let time = self.time(self.options.settle());
        let viewed = watch::measure(job, time, || self.look(twin)).await?;
        Ok(window(&viewed, twin))
    }

    fn job(&self, viewers: usize, renditions: &[&str]) -> viewers::ViewersJob {
        let endpoint = |rendition: &&str| {
            self.server
                .url(&format!("/whep/{BROADCAST}?rendition={rendition}"))
        };
        viewers::ViewersJob {
            endpoints: renditions.iter().map(endpoint).collect(),
            viewers,
            joins_per_second: f64::from(self.options.joins_per_second),
            sampled: 1,
        }
    }

    fn look(&self, twin: &Twin) -> Result<Look> {
        Ok(Look {
            at: Instant::now(),
            server: self.server.usage()?,
            fanout: self.server.fanout_cpu()?,
            twin: twin.usage()?,
        })
    }
}

fn window(viewed: &Viewed<Look>, twin: &Twin) -> LadderWindow {
    let [before, after] = &viewed.looks;
    let used = |pick: fn(&Look) -> Duration| pick(after).saturating_sub(pick(before));
    let used = report::Used {
        elapsed: viewed.elapsed,
        server: used(|look| look.server.cpu),
        fanout: used(|look| look.fanout),
        twin: used(|look| look.twin.cpu),
        twin_frames_per_second: twin.frames_per_second([before.at, after.at]),
    };
    LadderWindow::new(&used, &viewed.viewers)
}
