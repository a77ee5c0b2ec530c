//! `aerial bench --cluster`: what it costs to pass a broadcast from node to node, and how long it
//! takes.
//!
//! One server is the origin, others are edges, and one NATS server is between them, all on this
//! machine. First a viewer joins at each edge that nobody has watched at. Then one viewer watches at
//! the origin alone, and then one more at each edge. All are in one process, and get the same
//! frames: how much later a frame comes to a viewer at an edge than to the one at the origin is the
//! delay that the way through NATS adds. How much more the origin uses than before is what
//! lending costs it.

mod nats;
mod report;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::time::sleep;

use nats::BenchNats;
pub(super) use report::ClusterRow;
use report::{ClusterRun, ClusterWindow};

use super::{
    BROADCAST, Options,
    clip::Clip,
    peer::Http,
    process::Usage,
    publisher::ClipPublisher,
    say,
    server::BenchServer,
    viewers::{ViewerStats, ViewersJob},
    watch::{self, Schedule},
};
use crate::plan::Engine;

/// After the last viewer of an edge: until it follows nothing any more.
const COOLING: Duration = Duration::from_secs(5);

/// The resources that all processes have used so far.
struct Look {
    origin: Usage,
    nats: Usage,
    edges: Duration,
}

/// A cluster, and what to do with it.
struct ClusterBench<'a> {
    options: &'a Options,
    http: &'a Http,
    // Dropped in this order: no node misses its NATS server.
    edges: Vec<BenchServer>,
    origin: BenchServer,
    nats: BenchNats,
}

/// Measures with each number of edges.
///
/// # Errors
///
/// If something could not be measured at all.
pub(super) async fn run(
    options: &Options,
    clip: &Arc<Clip>,
    http: &Http,
) -> Result<Vec<ClusterRow>> {
    let mut rows = Vec::new();
    for &edges in &options.edges {
        say(&format!("{edges} edges, {} s\n", options.seconds))?;
        let mut bench = ClusterBench::start(options, http, edges).await?;
        let endpoint = bench.origin.url(&format!("/whip/{BROADCAST}"));
        let mut publisher = ClipPublisher::start(http, &endpoint, Arc::clone(clip)).await?;
        let run = tokio::select! {
            failure = publisher.failure() => return Err(failure),
            run = Box::pin(bench.measure()) => run?,
        };
        publisher.stop(http).await?;
        rows.push(ClusterRow::new(&run));
    }
    Ok(rows)
}

impl<'a> ClusterBench<'a> {
    async fn start(options: &'a Options, http: &'a Http, count: u32) -> Result<Self> {
        let nats = BenchNats::start(&options.nats_server).await?;
        let node = async |name: &str| {
            let config = format!(
                "[cluster]\nnats = \"{}\"\nnode = \"{name}\"\n",
                nats.address
            );
            BenchServer::start(http, Engine::Direct, &config).await
        };
        let origin = node("origin").await?;
        let mut edges = Vec::new();
        for number in 0..count {
            edges.push(node(&format!("edge-{number}")).await?);
        }
        Ok(Self {
            options,
            http,
            edges,
            origin,
            nats,
        })
    }

    async fn measure(&mut self) -> Result<ClusterRun> {
        for server in [&mut self.origin].into_iter().chain(&mut self.edges) {
            server.wait_live(self.http, BROADCAST).await?;
        }
        sleep(self.options.settle()).await;
        let mut cold = Vec::new();
        for edge in &self.edges {
            cold.push(self.cold(edge).await?);
        }
        sleep(COOLING).await;
        let alone = self.watched(&[]).await?;
        let lent = self.watched(&self.edges).await?;
        Ok(ClusterRun {
            edges: self.edges.len(),
            cold,
            alone,
            lent,
        })
    }

    /// Joins as the first viewer at an edge.
    async fn cold(&self, edge: &BenchServer) -> Result<ViewerStats> {
        let at_once = Schedule {
            settle: Duration::ZERO,
            window: Duration::ZERO,
        };
        let measured = watch::measure(self.job([edge]), at_once, || Ok(())).await?;
        let viewer = measured.viewers.into_iter().next();
        viewer.context("no viewer")
    }

    /// One viewer at the origin, and one at each of these edges.
    async fn watched(&self, edges: &[BenchServer]) -> Result<ClusterWindow> {
        let time = Schedule {
            settle: self.options.settle(),
            window: self.options.window(),
        };
        let job = self.job([&self.origin].into_iter().chain(edges));
        let viewed = watch::measure(job, time, || self.look()).await?;
        let [before, after] = &viewed.looks;
        let used = |pick: fn(&Look) -> Duration| pick(after).saturating_sub(pick(before));
        Ok(ClusterWindow {
            elapsed: viewed.elapsed,
            origin: used(|look| look.origin.cpu),
            nats: used(|look| look.nats.cpu),
            edges: used(|look| look.edges),
            viewers: viewed.viewers,
        })
    }

    fn job<'s>(&self, servers: impl IntoIterator<Item = &'s BenchServer>) -> ViewersJob {
        let endpoint = |server: &BenchServer| server.url(&format!("/whep/{BROADCAST}"));
        let endpoints: Vec<_> = servers.into_iter().map(endpoint).collect();
        ViewersJob {
            viewers: endpoints.len(),
            sampled: endpoints.len(),
            endpoints,
            joins_per_second: f64::from(self.options.joins_per_second),
        }
    }

    fn look(&self) -> Result<Look> {
        let edges = self.edges.iter().map(|edge| Ok(edge.usage()?.cpu));
        Ok(Look {
            origin: self.origin.usage()?,
            nats: self.nats.usage()?,
            edges: edges.sum::<Result<Duration>>()?,
        })
    }
}
