//! Tells other servers what happens: signed POSTs, in order, repeated until they are taken.
//!
//! Each receiver has a bounded queue and a task of its own, so that one that fails keeps nobody else
//! waiting: neither other receivers nor media.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Secret,
    events::{EventBus, EventFilter, ServerEvent},
    notices::Notices,
    outbound::{HttpClient, Signer},
};

/// Events that may wait for one receiver; further ones are lost.
const QUEUE_MAX: usize = 1000;
/// How often an event is sent before it is given up.
const ATTEMPTS_MAX: u32 = 6;
/// The pause before the second attempt. It doubles up to a limit.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a receiver may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Log lines about failing receivers at once, and per second in the long run.
const NOTICES_BURST: f64 = 5.0;
const NOTICES_PER_SECOND: f64 = 0.1;

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookOptions {
    /// For the log and the metrics.
    pub name: String,
    /// Where events are sent.
    pub url: Uri,
    /// Signs them.
    pub secret: Secret,
    /// Which.
    pub events: EventFilter,
}

/// Outcomes of the events for one receiver.
#[derive(Debug, Default)]
pub struct WebhookCounters {
    delivered: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

impl WebhookCounters {
    /// Events by outcome.
    pub fn results(&self) -> [(&'static str, u64); 3] {
        [
            ("delivered", &self.delivered),
            ("failed", &self.failed),
            ("lost", &self.lost),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// The figures of all receivers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WebhookFigures(Arc<Vec<(String, Arc<WebhookCounters>)>>);

impl WebhookFigures {
    /// Each receiver by its name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &WebhookCounters)> {
        self.0
            .iter()
            .map(|(name, counters)| (name.as_str(), &**counters))
    }
}

/// The tasks that serve the receivers.
pub struct Webhooks {
    figures: WebhookFigures,
    tasks: JoinSet<()>,
    stopping: CancellationToken,
}

impl Webhooks {
    /// Serves these receivers from now on.
    pub fn start(receivers: Vec<WebhookOptions>, bus: &EventBus) -> Self {
        let (mut tasks, mut figures) = (JoinSet::new(), Vec::new());
        let stopping = CancellationToken::new();
        for options in receivers {
            let counters = Arc::<WebhookCounters>::default();
            figures.push((options.name.clone(), Arc::clone(&counters)));
            let (queue, events) = mpsc::channel(QUEUE_MAX);
            tasks.spawn(collect(
                bus.follow(None).receiver,
                options.events.clone(),
                queue,
                Arc::clone(&counters),
                stopping.clone(),
            ));
            if let Some(hook) = Webhook::new(options, counters) {
                tasks.spawn(hook.serve(events));
            }
        }
        Self {
            figures: WebhookFigures(Arc::new(figures)),
            tasks,
            stopping,
        }
    }

    /// Outcomes so far.
    pub fn figures(&self) -> WebhookFigures {
        self.figures.clone()
    }

    /// Sends what waits, and ends. Takes as long as its receivers do.
    pub async fn finish(mut self) {
        self.stopping.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Puts the events that a receiver wants into its queue.
async fn collect(
    mut events: broadcast::Receiver<Arc<ServerEvent>>,
    wanted: EventFilter,
    queue: mpsc::Sender<Arc<ServerEvent>>,
    counters: Arc<WebhookCounters>,
    stopping: CancellationToken,
) {
    let lose = |count| counters.lost.fetch_add(count, Ordering::Relaxed);
    loop {
        let received = tokio::select! {
            biased;
            received = events.recv() => received,
            () = stopping.cancelled() => return,
        };
        match received {
            Ok(event) if wanted.wants(&event.what) => {
                if queue.try_send(event).is_err() {
                    lose(1);
                }
            }
            Ok(_) => {}
            Err(RecvError::Lagged(count)) => {
                lose(count);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// One receiver.
struct Webhook {
    options: WebhookOptions,
    signer: Signer,
    client: HttpClient,
    counters: Arc<WebhookCounters>,
    notices: Notices,
}

impl Webhook {
    fn new(options: WebhookOptions, counters: Arc<WebhookCounters>) -> Option<Self> {
        let client = HttpClient::new(ANSWER_TIMEOUT)
            .inspect_err(|error| tracing::error!(%error, webhook = options.name, "cannot send"));
        Some(Self {
            signer: Signer::new(options.secret.bytes()),
            client: client.ok()?,
            options,
            counters,
            notices: Notices::new(NOTICES_PER_SECOND, NOTICES_BURST),
        })
    }

    async fn serve(self, mut events: mpsc::Receiver<Arc<ServerEvent>>) {
        while let Some(event) = events.recv().await {
            let counter = if self.deliver(&event).await {
                &self.counters.delivered
            } else {
                &self.counters.failed
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends an event until it is taken; false if it is given up.
    async fn deliver(&self, event: &ServerEvent) -> bool {
        // Strings and numbers always serialize.
        let body = Bytes::from(serde_json::to_vec(event).unwrap_or_default());
        for attempt in 1..=ATTEMPTS_MAX {
            let Err(refusal) = self.send(event, body.clone()).await else {
                return true;
            };
            let is_last = refusal.is_final || attempt == ATTEMPTS_MAX;
            if let Some(left_out) = self.notices.line() {
                tracing::warn!(
                    webhook = self.options.name,
                    event = event.what.name(),
                    attempt,
                    error = refusal.why,
                    given_up = is_last,
                    left_out,
                    "webhook failed"
                );
            }
            if is_last {
                return false;
            }
            sleep(pause(attempt)).await;
        }
        false
    }

    async fn send(&self, event: &ServerEvent, body: Bytes) -> Result<(), Refusal> {
        let failed = |why: String| Refusal {
            why,
            is_final: false,
        };
        let request = self.signer.post(&self.options.url, body);
        let mut request = request.map_err(|error| failed(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert("Aerial-Event", HeaderValue::from_static(event.what.name()));
        if let Ok(id) = HeaderValue::from_str(&event.id) {
            headers.insert("Aerial-Event-Id", id);
        }
        let reply = self.client.send(request).await;
        let status = reply.map_err(|error| failed(error.to_string()))?.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Refusal {
            why: format!("the server answered with status {status}"),
            is_final: status == StatusCode::GONE,
        })
    }
}

/// Why an event was not taken.
struct Refusal {
    why: String,
    /// Whether retrying is useless.
    is_final: bool,
}

/// The pause after this many attempts.
fn pause(attempts: u32) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    doubled.min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let pauses: Vec<_> = (1..=8)
            .map(|attempts| pause(attempts).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
    }
}
