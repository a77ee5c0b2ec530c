//! What the server has used in the last half hour, for the operator's page.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::time::sleep;
use warp::reply::Response;

use super::{App, api, problem::Problem, request::HttpRequest, wire::json};
use crate::{access::Right, broadcast::Broadcasts, resources};

/// Between two readings.
const INTERVAL: Duration = Duration::from_secs(10);
/// Before the first one, so that a new server has something to show.
const FIRST: Duration = Duration::from_secs(1);
/// Readings that are kept: half an hour.
const READINGS_MAX: usize = 180;

/// What was in use at one moment, and how much passed since the one before.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = LoadReading)]
struct Reading {
    /// Seconds since 1970.
    time: u64,
    /// Processors in use by the server and its pipelines; 1.0 is one of them.
    cpu: f64,
    /// Memory of the server and its pipelines, in bytes.
    memory: u64,
    /// Open file descriptors.
    files: u64,
    /// Threads.
    threads: u64,
    sessions: usize,
    publishers: usize,
    viewers: usize,
    /// From publishers, in bits per second.
    received: u64,
    /// To viewers, in bits per second.
    sent: u64,
}

/// The last half hour.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ServerLoad)]
struct Document {
    /// Seconds between two readings.
    interval: u64,
    processors: usize,
    files_max: u64,
    threads_max: u64,
    /// Oldest first.
    readings: Vec<Reading>,
}

/// What only grows, or falls when part of it has gone.
#[derive(Clone, Copy)]
struct Totals {
    at: Instant,
    /// Of this process, and of those of pipelines.
    own_cpu: Duration,
    pipelines_cpu: Duration,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Totals {
    fn of(app: &App) -> Self {
        let pipelines = Broadcasts::pipeline_usage()
            .iter()
            .map(|one| one.cpu_ms)
            .sum();
        let publishers = app.broadcasts.publishers();
        Self {
            at: Instant::now(),
            own_cpu: resources::usage().cpu,
            pipelines_cpu: Duration::from_millis(pipelines),
            received_bytes: publishers.iter().map(|one| one.bytes).sum(),
            sent_bytes: app.fanout.statistics().bytes,
        }
    }

    /// Bits per second of what grew from one number of bytes to another.
    fn rate(self, earlier: Self, bytes: impl Fn(Self) -> u64) -> u64 {
        let grown = bytes(self).saturating_sub(bytes(earlier));
        let millis = self.at.saturating_duration_since(earlier.at).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX).max(1);
        grown.saturating_mul(8 * 1000) / millis
    }

    /// Processors in use since then.
    fn processors(self, earlier: Self) -> f64 {
        let own = self.own_cpu.saturating_sub(earlier.own_cpu);
        let pipelines = self.pipelines_cpu.saturating_sub(earlier.pipelines_cpu);
        let passed = self.at.saturating_duration_since(earlier.at);
        (own + pipelines).as_secs_f64() / passed.as_secs_f64().max(0.001)
    }
}

/// The readings, oldest first.
#[derive(Default)]
pub(super) struct Load {
    readings: Mutex<VecDeque<Reading>>,
}

impl Load {
    fn add(&self, reading: Reading) {
        let mut readings = self.lock();
        if readings.len() >= READINGS_MAX {
            readings.pop_front();
        }
        readings.push_back(reading);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Reading>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what is in use. Never ends by itself.
pub(super) async fn keep(app: Arc<App>) {
    let mut earlier = Totals::of(&app);
    sleep(FIRST).await;
    loop {
        let now = Totals::of(&app);
        app.load.add(read(&app, now, earlier));
        earlier = now;
        sleep(INTERVAL).await;
    }
}

fn read(app: &App, now: Totals, earlier: Totals) -> Reading {
    let usage = resources::usage();
    let pipelines = Broadcasts::pipeline_usage();
    let pipelines: u64 = pipelines.iter().filter_map(|one| one.memory_bytes).sum();
    let status = app.broadcasts.status();
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    Reading {
        time: time.unwrap_or_default().as_secs(),
        cpu: now.processors(earlier),
        memory: usage.memory + pipelines,
        files: usage.files,
        threads: usage.threads,
        sessions: app.broadcasts.sessions(),
        publishers: api::publishers(&status),
        viewers: api::viewers(&status),
        received: now.rate(earlier, |totals| totals.received_bytes),
        sent: now.rate(earlier, |totals| totals.sent_bytes),
    }
}

/// Get the last half hour
///
/// The resources that the server and its pipelines have used.
#[utoipa::path(
    get,
    path = "/api/v1/server/load",
    operation_id = "load",
    tag = "server",
    security(("token" = ["admin"])),
    responses((status = 200, body = Document))
)]
pub(super) fn answer(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    let usage = resources::usage();
    json(&Document {
        interval: INTERVAL.as_secs(),
        processors: available_parallelism().map_or(1, usize::from),
        files_max: usage.files_max,
        threads_max: usage.threads_max,
        readings: app.load.lock().iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(time: u64) -> Reading {
        Reading {
            time,
            cpu: 0.5,
            memory: 0,
            files: 0,
            threads: 0,
            sessions: 0,
            publishers: 0,
            viewers: 0,
            received: 0,
            sent: 0,
        }
    }

    #[test]
    fn half_an_hour_is_kept() {
        let load = Load::default();
        for time in 0..1000 {
            load.add(reading(time));
        }
        let readings = load.lock();
        assert_eq!(readings.len(), READINGS_MAX);
        assert_eq!(readings.front(), Some(&reading(820)));
        assert_eq!(readings.back(), Some(&reading(999)));
    }

    #[test]
    fn rates_are_per_second_and_never_negative() {
        let at = Instant::now();
        let earlier = Totals {
            at,
            own_cpu: Duration::from_secs(10),
            pipelines_cpu: Duration::from_secs(5),
            received_bytes: 5000,
            sent_bytes: 1000,
        };
        let now = Totals {
            at: at + Duration::from_secs(2),
            own_cpu: Duration::from_secs(13),
            pipelines_cpu: Duration::ZERO,
            received_bytes: 0,
            sent_bytes: 2000,
        };
        assert_eq!(now.rate(earlier, |totals| totals.sent_bytes), 4000);
        assert_eq!(now.rate(earlier, |totals| totals.received_bytes), 0);
        assert!((now.processors(earlier) - 1.5).abs() < 1e-9);
    }
}
