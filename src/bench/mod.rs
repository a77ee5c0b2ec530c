//! The benchmark: `aerial bench`.
//!
//! Starts a server process, publishes a clip to it over WHIP in real time, connects viewers over
//! WHEP from a second process, everything over the loopback address, and measures what the
//! server costs and how long things take. Then it measures the floor, for comparison: the same
//! packets only encrypted and sent.
//!
//! What keeps the figures honest:
//! - the clip is really encoded, and sent by a real WebRTC client;
//! - every viewer has its own socket, ICE, DTLS and receiver reports, and must decrypt a whole
//!   keyframe before it counts as joined; receiving is not batched by the kernel (no `UDP_GRO`),
//!   because that would make sending over the loopback interface cheaper than it is;
//! - the CPU time is the server process's, from the operating system.
//!
//! With `--ladder` it measures renditions instead, with `--workers` processes, with `--cluster`
//! several servers as one service: see `ladder`, `workers` and `cluster`.
//!
//! What it does not show: real networks (loss, delay), congestion control feedback from viewers
//! that only count packets, and the cost of a network card.

mod clip;
mod cluster;
mod floor;
mod h264;
mod helper;
mod job;
mod ladder;
mod peer;
mod process;
mod publisher;
mod report;
mod rtp;
mod server;
mod viewers;
mod watch;
mod workers;

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

pub use job::run as run_part;

use clip::Clip;
use cluster::ClusterRow;
use helper::Helper;
use job::HelperJob;
use ladder::Ladder;
use peer::Http;
use publisher::ClipPublisher;
use report::{Measured, Row, Watched};
use server::BenchServer;
use watch::Schedule;
use workers::WorkersReport;

use crate::plan::{Engine, Value};

/// Name of the broadcast.
const BROADCAST: &str = "bench";
/// Viewers that decrypt everything and time every frame.
const SAMPLED_VIEWERS: usize = 8;
/// Between the last join and the measurement, and before the first join: until caches are full.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the floor is measured, at most.
const FLOOR_MAX: Duration = Duration::from_secs(5);
/// Load per core above which other work on the machine shows in the figures.
const BUSY_LOAD: f64 = 0.3;
/// How long a helper process may take to answer, beyond what its job takes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Options of `aerial bench`.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Options {
    /// Number of viewers; several numbers, separated by commas, make several runs; 10,50 unless
    /// given with --ladder
    #[arg(long, value_delimiter = ',', default_value = "200",
          default_value_if("ladder", "true", "10,50"),
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    viewers: Vec<u32>,
    /// What carries the viewers: direct, webrtcbin, or both, separated by commas, side by side
    #[arg(long, value_delimiter = ',', default_value = "direct", value_parser = engine)]
    engines: Vec<Engine>,
    /// Measure what three renditions of one publisher cost, next to gst-launch-1.0 with the same
    /// pipeline, and how soon an idle rendition plays
    #[arg(long, group = "repeated", conflicts_with = "engines")]
    ladder: bool,
    /// Measure what it costs to run pipelines in processes of their own, compared with the same
    /// pipelines in this process
    #[arg(long, group = "repeated", conflicts_with_all = ["engines", "viewers"])]
    workers: bool,
    /// Measure the cost and the delay of passing a broadcast from one server to others over NATS,
    /// with one viewer at each
    #[arg(long, conflicts_with_all = ["engines", "repeated", "viewers"])]
    cluster: bool,
    /// Number of servers that the broadcast is passed to; several numbers make several runs
    #[arg(long, value_delimiter = ',', default_value = "1,4,16", requires = "cluster",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    edges: Vec<u32>,
    /// The NATS server's program
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "nats-server",
        requires = "cluster"
    )]
    nats_server: PathBuf,
    /// Rounds of measurement with --ladder or --workers; the medians count
    #[arg(long, default_value_t = 5, requires = "repeated",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds measured, after all viewers have joined
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Viewers that join each second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    joins_per_second: u32,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with the project's targets (for 200 viewers, for growing numbers of viewers, for the
    /// ladder, for workers and for the cluster); the exit code is 1 if one is missed
    #[arg(long)]
    check: bool,
}

impl Options {
    /// How long a measurement lasts.
    fn window(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The pause before the first join and before a measurement. One of a few seconds only shows whether everything
    /// arrives.
    fn settle(&self) -> Duration {
        SETTLE.min(self.window() / 2)
    }
}

/// Everything that `--json` writes.
#[derive(serde::Serialize)]
struct BenchFigures<'a> {
    version: &'static str,
    /// Processor cores of this machine.
    cores: usize,
    /// Processes that wanted to run in the minute before.
    load: f64,
    debug_build: bool,
    runs: &'a [Row],
    /// The findings of `--ladder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ladder: Option<Ladder>,
    /// The findings of `--workers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<WorkersReport>,
    /// The findings of `--cluster`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cluster: Vec<ClusterRow>,
    /// CPU time per packet with the most viewers, relative to that with the fewest.
    linearity: Option<f64>,
}

fn engine(text: &str) -> Result<Engine, String> {
    Engine::read(text).ok_or_else(|| format!("it accepts {}", Engine::TAKES))
}

/// Runs the benchmark and prints what it finds. The exit code is 1 if viewers got no media or
/// lost packets, or if `--check` found a target missed.
///
/// # Errors
///
/// If something could not be measured at all.
pub fn run(options: &Options) -> Result<ExitCode> {
    // The publisher shares this thread with nothing that takes long.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Dropping the work ends the processes.
        tokio::select! {
            done = Box::pin(measure_all(options)) => done,
            _ = interrupt.recv() => Ok(ExitCode::from(130)),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
        }
    })
}

async fn measure_all(options: &Options) -> Result<ExitCode> {
    let cores = std::thread::available_parallelism()?.get();
    let load = process::load()?;
    #[expect(clippy::cast_precision_loss, reason = "the number of cores is small")]
    if load > BUSY_LOAD * cores as f64 {
        say(&format!(
            "this machine is busy (load {load}): times will be too long\n"
        ))?;
    }
    let (mut rows, mut ladder, mut workers, mut nodes) = (Vec::new(), None, None, Vec::new());
    if options.workers {
        workers = Some(Box::pin(workers::run(options)).await?);
    } else {
        say("encoding the clip\n")?;
        let clip = Arc::new(clip::make().await?);
        let http = peer::http_client();
        if options.ladder {
            ladder = Some(Box::pin(ladder::run(options, &clip, &http)).await?);
        } else if options.cluster {
            nodes = Box::pin(cluster::run(options, &clip, &http)).await?;
        } else {
            rows = measure_rows(options, &clip, &http).await?;
        }
    }
    let figures = BenchFigures {
        version: env!("CARGO_PKG_VERSION"),
        cores,
        load,
        debug_build: cfg!(debug_assertions),
        linearity: report::linearity(&rows),
        runs: &rows,
        ladder,
        workers,
        cluster: nodes,
    };
    if let Some(file) = &options.json {
        let json = serde_json::to_vec_pretty(&figures)?;
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    say(&format!("\n{}", tables(&figures)))?;
    if let Some(linearity) = figures.linearity {
        say(&format!(
            "\ncost of a packet, most viewers against fewest: {linearity:.2}\n"
        ))?;
    }
    if figures.debug_build {
        say("\nThis is a debug build: the figures say nothing about a release.\n")?;
    }
    verdict(options, &figures)
}

/// The findings as Markdown.
fn tables(figures: &BenchFigures<'_>) -> String {
    if let Some(ladder) = &figures.ladder {
        return ladder.tables();
    }
    if let Some(workers) = &figures.workers {
        return workers.table();
    }
    if figures.cluster.is_empty() {
        report::table(figures.runs)
    } else {
        ClusterRow::table(&figures.cluster)
    }
}

async fn measure_rows(options: &Options, clip: &Arc<Clip>, http: &Http) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &engine in &options.engines {
        for &viewers in &options.viewers {
            let name = engine.name();
            let seconds = options.seconds;
            say(&format!("{viewers} viewers on {name}, {seconds} s\n"))?;
            let viewers = usize::try_from(viewers)?;
            let measured = Box::pin(measure(options, engine, viewers, clip, http)).await?;
            rows.push(Row::new(name, &measured));
        }
    }
    Ok(rows)
}

fn verdict(options: &Options, figures: &BenchFigures<'_>) -> Result<ExitCode> {
    let broken = figures.runs.iter().filter_map(Row::broken);
    let mut faults: Vec<String> = broken.collect();
    faults.extend(figures.ladder.iter().flat_map(Ladder::broken));
    faults.extend(figures.cluster.iter().filter_map(ClusterRow::broken));
    if options.check {
        faults.extend(report::missed(figures.runs));
        faults.extend(figures.ladder.iter().flat_map(Ladder::missed));
        faults.extend(figures.workers.iter().flat_map(WorkersReport::missed));
        faults.extend(figures.cluster.iter().flat_map(ClusterRow::missed));
    }
    for fault in &faults {
        say(&format!("FAILED {fault}\n"))?;
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One run: a fresh server, its publisher, its viewers, then the floor.
async fn measure(
    options: &Options,
    engine: Engine,
    viewers: usize,
    clip: &Arc<Clip>,
    http: &Http,
) -> Result<Measured> {
    let window = options.window();
    let mut server = BenchServer::start(http, engine, "").await?;
    let endpoint = server.url(&format!("/whip/{BROADCAST}"));
    let mut publisher = ClipPublisher::start(http, &endpoint, Arc::clone(clip)).await?;
    let watched = tokio::select! {
        failure = publisher.failure() => return Err(failure),
        watched = Box::pin(watch(options, viewers, http, &mut server)) => watched?,
    };
    let sends = publisher.sends();
    publisher.stop(http).await?;
    drop(server);
    let (floor, floor_received) = measure_floor(viewers, clip, window.min(FLOOR_MAX)).await?;
    Ok(Measured {
        watched,
        sends,
        floor,
        floor_received,
    })
}

async fn watch(
    options: &Options,
    viewers: usize,
    http: &Http,
    server: &mut BenchServer,
) -> Result<Watched> {
    server.wait_live(http, BROADCAST).await?;
    sleep(options.settle()).await;
    let idle = server.usage()?;
    let job = viewers::ViewersJob {
        endpoints: vec![server.url(&format!("/whep/{BROADCAST}"))],
        viewers,
        joins_per_second: f64::from(options.joins_per_second),
        sampled: SAMPLED_VIEWERS,
    };
    let time = Schedule {
        settle: options.settle(),
        window: options.window(),
    };
    let viewed = watch::measure(job, time, || server.usage()).await?;
    Ok(Watched {
        idle,
        usage: viewed.looks,
        viewers_usage: viewed.viewers_usage,
        elapsed: viewed.elapsed,
        viewers: viewed.viewers,
    })
}

async fn measure_floor(
    destinations: usize,
    clip: &Clip,
    window: Duration,
) -> Result<(floor::FloorReport, u64)> {
    let mut sinks = Helper::start(&HelperJob::Sinks(floor::SinksJob {
        count: destinations,
    }))
    .await?;
    let ports = sinks.answer(ANSWER_TIMEOUT).await?;
    let mut sender =
        Helper::start(&HelperJob::Floor(floor::FloorJob::new(clip, ports, window))).await?;
    let report = sender.answer(window + ANSWER_TIMEOUT).await?;
    sinks.say("stop").await?;
    Ok((report, sinks.answer(ANSWER_TIMEOUT).await?))
}

/// The clock that all processes of the benchmark share, in nanoseconds. It is the wall clock: a
/// step during a measurement would show as an impossible transit time.
fn clock_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
