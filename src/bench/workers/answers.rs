//! How long a publisher waits for its answer, on each engine.

use std::time::{Duration, Instant};

use anyhow::Result;
use str0m::media::Direction;
use tokio::time::sleep;

use crate::{
    bench::{
        Options,
        peer::{self, BenchConnection, Http},
        server::BenchServer,
    },
    plan::Engine,
};

/// A broadcast on each engine.
const CONFIG: &str = "[broadcasts.webrtcbin]\npublisher_engine = \"webrtcbin\"\n\
                      [broadcasts.direct]\npublisher_engine = \"direct\"\n";
/// From one publisher to the next: a worker is ready again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often in a round.
const TIMES: u32 = 5;

/// From the POST of an offer to its answer.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) webrtcbin: Vec<Duration>,
    pub(super) direct: Vec<Duration>,
}

/// Publishes again and again to a server of its own.
pub(super) async fn measure(options: &Options) -> Result<Answers> {
    let http = peer::http_client();
    let server = BenchServer::start(&http, Engine::Direct, CONFIG).await?;
    let mut answers = Answers::default();
    for _ in 0..TIMES * options.rounds {
        sleep(PAUSE).await;
        answers
            .webrtcbin
            .push(time_one(&http, &server.url("/whip/webrtcbin")).await?);
        answers
            .direct
            .push(time_one(&http, &server.url("/whip/direct")).await?);
    }
    Ok(answers)
}

async fn time_one(http: &Http, endpoint: &str) -> Result<Duration> {
    let (_peer, offer) = BenchConnection::new(Direction::SendOnly).await?;
    let begin = Instant::now();
    let (_answer, session) = BenchConnection::negotiate(http, endpoint, offer).await?;
    let took = begin.elapsed();
    peer::end_session(http, &session).await?;
    Ok(took)
}
