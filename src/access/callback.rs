//! Asks another server who may publish and watch: a signed POST whose answer is cached for a while.
//!
//! Without an answer, nobody is let in. The number of simultaneous questions and of cached answers
//! is bounded; a waiting client holds nothing that others need.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::timeout};

use super::{Secret, TokenHash};
use crate::{
    outbound::{HttpClient, OutboundError, Signer},
    peer::sdp::Role,
    plan::Name,
};

/// Questions in flight at once; further ones wait, within the time limit.
const QUESTIONS_MAX: usize = 64;
/// The same for questions about running sessions, so that new clients cannot delay them.
const SESSION_QUESTIONS_MAX: usize = 64;
/// Answers that are kept.
const ANSWERS_MAX: usize = 10_000;
/// Shortest and longest life of an answer.
const LIFETIME_MIN: Duration = Duration::from_secs(1);
const LIFETIME_MAX: Duration = Duration::from_hours(24);
/// How much of a reason is passed on, in characters.
const REASON_CHARS_MAX: usize = 200;
/// How much of a name for the log is kept, in characters.
const USER_CHARS_MAX: usize = 64;

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackOptions {
    /// Where.
    pub url: Uri,
    /// Signs the questions.
    pub secret: Secret,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long an answer without a lifetime of its own is valid.
    pub lifetime: Duration,
}

/// A client and what it wants.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Whether to publish or to watch.
    pub role: Role,
    /// The broadcast.
    pub broadcast: &'a Name,
    /// The token that was sent, if any.
    pub token: Option<&'a str>,
    /// The address of the client.
    pub client: IpAddr,
    /// The client's user agent.
    pub user_agent: &'a str,
    /// Whether its session already runs.
    pub runs: bool,
}

impl Question<'_> {
    fn body(&self) -> Option<Vec<u8>> {
        let body = serde_json::to_vec(&QuestionBody {
            action: match self.role {
                Role::Publisher => "publish",
                Role::Viewer => "watch",
            },
            broadcast: self.broadcast.as_str(),
            token: self.token,
            client: self.client,
            user_agent: self.user_agent,
        });
        body.ok()
    }
}

/// What the other server allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackPermit {
    /// The broadcast: the requested one, or another.
    pub broadcast: Name,
    /// Identifies the client in the log.
    pub user: Option<String>,
    /// The most a publisher may send, in bit/s.
    pub bitrate: Option<u64>,
    /// When to ask again.
    pub until: Instant,
}

/// Why nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The answer is no.
    #[error("{0}")]
    Denied(String),
    /// There is no answer.
    #[error("cannot check at the moment whether this is allowed")]
    Unavailable,
}

/// The question as JSON.
#[derive(Serialize)]
struct QuestionBody<'a> {
    action: &'static str,
    broadcast: &'a str,
    token: Option<&'a str>,
    client: IpAddr,
    user_agent: &'a str,
}

/// The answer as JSON. Unknown members are refused: one could be a restriction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    allow: bool,
    reason: Option<String>,
    broadcast: Option<String>,
    user: Option<String>,
    /// Kilobits per second.
    bitrate: Option<u32>,
    /// Seconds.
    lifetime: Option<u32>,
}

type Verdict = Result<CallbackPermit, String>;

/// See the module.
pub struct Callback {
    options: CallbackOptions,
    signer: Signer,
    client: Option<HttpClient>,
    questions: Semaphore,
    session_questions: Semaphore,
    answers: Mutex<HashMap<TokenHash, (Verdict, Instant)>>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl Callback {
    /// No question has been asked yet.
    pub fn new(options: CallbackOptions) -> Self {
        Self {
            signer: Signer::new(options.secret.bytes()),
            client: HttpClient::new(options.timeout)
                .inspect_err(|error| {
                    tracing::error!(%error, "cannot send requests to auth.callback");
                })
                .ok(),
            questions: Semaphore::new(QUESTIONS_MAX),
            session_questions: Semaphore::new(SESSION_QUESTIONS_MAX),
            answers: Mutex::default(),
            options,
        }
    }

    /// Whether it is configured alike, so that its answers remain valid.
    pub fn is_same(&self, other: &Self) -> bool {
        self.options == other.options
    }

    /// Asks, unless a cached answer is still valid.
    ///
    /// # Errors
    /// The answer is no, or there is none.
    pub async fn ask(&self, question: &Question<'_>) -> Result<CallbackPermit, CallbackError> {
        let body = question.body().ok_or(CallbackError::Unavailable)?;
        let id = TokenHash::of_bytes(&body);
        let verdict = match self.kept(&id) {
            Some(verdict) => verdict,
            None => self.fresh(id, question, body).await?,
        };
        verdict.map_err(CallbackError::Denied)
    }

    /// Whether a cached answer is still valid, so that no request is needed.
    pub fn has_answer(&self, question: &Question<'_>) -> bool {
        let body = question.body();
        body.is_some_and(|body| self.kept(&TokenHash::of_bytes(&body)).is_some())
    }

    async fn fresh(
        &self,
        id: TokenHash,
        question: &Question<'_>,
        body: Vec<u8>,
    ) -> Result<Verdict, CallbackError> {
        let slots = if question.runs {
            &self.session_questions
        } else {
            &self.questions
        };
        let asked = async {
            let _permit = slots.acquire().await.map_err(|error| error.to_string())?;
            self.send(body).await
        };
        let answer = match timeout(self.options.timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(OutboundError::Timeout(self.options.timeout).to_string()),
        };
        let judged = answer.and_then(|answer| self.judge(question, answer));
        let (verdict, until) = judged.map_err(|error| {
            tracing::warn!(error, "no usable answer from auth.callback: client refused");
            CallbackError::Unavailable
        })?;
        self.keep(id, verdict.clone(), until);
        Ok(verdict)
    }

    async fn send(&self, body: Vec<u8>) -> Result<Answer, String> {
        let client = self.client.as_ref().ok_or("TLS is not available")?;
        let request = self.signer.post(&self.options.url, Bytes::from(body));
        let request = request.map_err(|error| error.to_string())?;
        let reply = client
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        match reply.status() {
            StatusCode::OK => serde_json::from_slice(reply.body())
                .map_err(|error| format!("the answer is not in the documented form: {error}")),
            // Servers that answer with a status only.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Answer {
                allow: false,
                reason: None,
                broadcast: None,
                user: None,
                bitrate: None,
                lifetime: None,
            }),
            status => Err(format!("it answered with status {status}")),
        }
    }

    /// What an answer means, and until when.
    fn judge(&self, question: &Question<'_>, answer: Answer) -> Result<(Verdict, Instant), String> {
        let lifetime = answer
            .lifetime
            .map(|seconds| Duration::from_secs(seconds.into()));
        let lifetime = lifetime.unwrap_or(self.options.lifetime);
        let until = Instant::now() + lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX);
        if !answer.allow {
            let reason = answer.reason.unwrap_or_else(|| "not allowed".into());
            let reason = reason.chars().take(REASON_CHARS_MAX).collect();
            return Ok((Err(reason), until));
        }
        let broadcast = match &answer.broadcast {
            Some(text) => Name::new(text).ok_or("its `broadcast` is not a valid name")?,
            None => question.broadcast.clone(),
        };
        let permit = CallbackPermit {
            broadcast,
            user: answer
                .user
                .map(|user| user.chars().take(USER_CHARS_MAX).collect()),
            bitrate: answer.bitrate.map(|kilobits| u64::from(kilobits) * 1000),
            until,
        };
        Ok((Ok(permit), until))
    }

    fn kept(&self, id: &TokenHash) -> Option<Verdict> {
        let answers = self.answers();
        let (verdict, until) = answers.get(id)?;
        (Instant::now() < *until).then(|| verdict.clone())
    }

    /// Caches an answer, unless too many valid ones are cached already.
    fn keep(&self, id: TokenHash, verdict: Verdict, until: Instant) {
        let mut answers = self.answers();
        if answers.len() >= ANSWERS_MAX {
            let now = Instant::now();
            answers.retain(|_, (_, until)| now < *until);
        }
        if answers.len() < ANSWERS_MAX {
            answers.insert(id, (verdict, until));
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<TokenHash, (Verdict, Instant)>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
