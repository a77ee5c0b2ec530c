//! Tokens in requests (RFC 6750): where they are, and the answer to requests without one.
//!
//! `access` decides what a token allows. A wrong token does not close what is open to anyone: some
//! clients send `Bearer undefined`. A wrong token counts as an attempt only if the request needs
//! one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::Method;
use headers::authorization::Basic;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use tokio::{sync::watch, task::JoinSet};
use zeroize::Zeroizing;

use super::{
    clients::ClientLimits,
    judgement::{AccessRefusal, Admitted, Asked, AuthOptions, Policy, RequestSender},
    problem::Problem,
    request::{Door, HttpRequest},
};
use crate::{
    access::{CallbackError, Holder, Presented, Right, TokenHash},
    broadcast::Session,
    chat::Guest,
    notices::Notices,
    peer::sdp::Role,
    plan::Name,
};

/// Decides who is let in.
pub(super) struct Auth {
    policy: watch::Sender<Arc<Policy>>,
    /// The tokens that sessions began with, by the number of the session. Each session removes its
    /// own.
    tokens: Mutex<HashMap<u64, TokenHash>>,
    /// The supervision of sessions.
    leases: Mutex<JoinSet<()>>,
    failures: ClientLimits,
    /// Questions to the callback that clients cause.
    questions: ClientLimits,
    notices: Notices,
}

/// The broadcasts that a client may see.
pub(super) enum Visible {
    /// All.
    Everything,
    /// Those that anyone may watch, and those that one of the holders may watch or publish.
    Part(Arc<Policy>, Vec<Holder>),
}

impl Visible {
    pub(super) fn shows(&self, name: &Name) -> bool {
        match self {
            Self::Everything => true,
            Self::Part(policy, holders) => {
                let asked = Asked::View(name);
                let mut holders = holders.iter();
                asked.is_open(policy.access(Door::Public))
                    || holders.any(|holder| asked.is_granted_to(holder))
            }
        }
    }
}

impl Auth {
    /// `client_offers`: offers per second from one client, and so questions about it.
    pub(super) fn new(options: AuthOptions, client_offers: usize) -> Self {
        Self {
            failures: ClientLimits::of_failures(options.source_failures),
            questions: ClientLimits::of_offers(client_offers),
            policy: watch::Sender::new(Arc::new(Policy::new(options))),
            tokens: Mutex::default(),
            leases: Mutex::default(),
            notices: Notices::of_requests(),
        }
    }

    /// Takes over these options. Sessions that they do not allow end. `questions`: how often a client
    /// may cause the callback to be asked.
    pub(super) fn reload(&self, options: AuthOptions, questions: ClientLimits) {
        let before = self.policy();
        self.failures
            .become_like(ClientLimits::of_failures(options.source_failures));
        self.questions.become_like(questions);
        let access = options.access.after(before.access(Door::Public));
        let options = AuthOptions { access, ..options };
        self.policy.send_replace(Arc::new(Policy::new(options)));
    }

    /// The present policy.
    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Notifies of policy changes.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Policy>> {
        self.policy.subscribe()
    }

    /// Runs what watches over a session, and ends with it.
    pub(super) fn spawn(&self, lease: impl Future<Output = ()> + Send + 'static) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        while leases.try_join_next().is_some() {}
        leases.spawn(lease);
    }

    /// The tokens that sessions began with.
    pub(super) fn tokens(&self) -> MutexGuard<'_, HashMap<u64, TokenHash>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether publishing, or watching some broadcasts, takes a token.
    pub(super) fn closes(&self, role: Role) -> bool {
        let policy = self.policy();
        let access = policy.access(Door::Public);
        match role {
            Role::Publisher => access.closes(role),
            Role::Viewer => !access.is_open_to_viewers(),
        }
    }

    /// Whether anyone may watch the broadcast of this name; without one, whether all.
    pub(super) fn is_public(&self, name: Option<&Name>) -> bool {
        let policy = self.policy();
        let access = policy.access(Door::Public);
        let is_open = |name: &Name| access.is_open(Role::Viewer, name);
        access.is_open_to_viewers() || name.is_some_and(is_open)
    }

    /// Identifies the sender of a request. Whether that is enough is decided with the request.
    pub(super) async fn identify(&self, request: &mut HttpRequest) {
        let policy = self.policy();
        let Some(token) = Self::token(&policy.options, request) else {
            return;
        };
        request.presented = policy
            .access(request.door)
            .identify(&token, request.known_ip())
            .await;
        request.token = Some(Zeroizing::new(token));
    }

    /// Lets the operator through, or somebody who has this right.
    ///
    /// # Errors
    /// 401 without a known token, 403 with one that lacks the right.
    pub(super) fn permit_right(&self, request: &HttpRequest, right: Right) -> Result<(), Problem> {
        if request.door == Door::Socket {
            return Ok(());
        }
        let sender = RequestSender::of(request);
        let admitted = self.policy().judge_right(&sender, right);
        let holder = admitted.map_err(|refusal| self.problem(request, refusal))?;
        tracing::debug!(
            client = %request.client, token = holder.name(), right = right.name(),
            "access granted"
        );
        Ok(())
    }

    /// Whether the request may see what is only for the operator. Not an attempt to get in: the
    /// request needs no token.
    pub(super) fn is_operator(&self, request: &HttpRequest) -> bool {
        let holders = self.policy().holders(&RequestSender::of(request));
        request.door == Door::Socket || holders.iter().any(|holder| holder.has(Right::Admin))
    }

    /// Lets a session begin.
    ///
    /// # Errors
    /// 401 without a known token, 403 with one for something else, 429 after too many wrong ones,
    /// 503 if nobody says whether it may.
    pub(super) async fn permit(
        &self,
        request: &HttpRequest,
        role: Role,
        name: &Name,
    ) -> Result<Admitted, Problem> {
        self.judge(request, Asked::Session(role, name)).await
    }

    /// The name of a request's token, if it has a known one.
    pub(super) fn token_name(request: &HttpRequest) -> Option<&str> {
        match &request.presented {
            Presented::Known(holder) => Some(holder.name()),
            Presented::Nothing | Presented::Unknown(_) | Presented::Expired => None,
        }
    }

    /// Lets a request to a session through: its URL is secret, and proof enough unless configured
    /// otherwise. A token that is sent must still be right: the one that the session began with,
    /// or one for its broadcast.
    pub(super) async fn permit_session(
        &self,
        request: &HttpRequest,
        session: &Session,
    ) -> Result<(), Problem> {
        match &request.token {
            None if !self.policy().options.sessions => return Ok(()),
            Some(token) => {
                let own = self.tokens().get(&session.number).copied();
                if own == Some(TokenHash::of_text(token)) {
                    return Ok(());
                }
            }
            None => {}
        }
        let asked = Asked::Session(session.role, &session.broadcast);
        self.permit_exactly(request, asked, &session.broadcast)
            .await
    }

    /// The broadcast that the token is for, if it is only for one.
    pub(super) fn name(&self, request: &HttpRequest, role: Role) -> Result<Name, Problem> {
        let refused = |refusal| Err(self.problem(request, refusal));
        let holder = match &request.presented {
            Presented::Known(holder) => holder,
            Presented::Nothing => return refused(AccessRefusal::Missing),
            Presented::Unknown(reason) => return refused(AccessRefusal::Unknown(reason.clone())),
            Presented::Expired => return refused(AccessRefusal::Expired),
        };
        if !holder.may_any(role) {
            let detail = "this token does not allow that".to_owned();
            return refused(AccessRefusal::Insufficient(detail));
        }
        holder.only(role).ok_or_else(|| {
            let detail = "name the broadcast in the path or as ?broadcast=: this token allows \
                          several";
            Problem::bad_request(detail)
        })
    }

    /// The broadcasts that the client may see.
    ///
    /// # Errors
    /// 401 with a wrong token: a list without what it should show would mislead.
    pub(super) fn view(&self, request: &HttpRequest) -> Result<Visible, Problem> {
        let policy = self.policy();
        let is_open = policy.access(Door::Public).is_open_to_viewers();
        if is_open || self.is_operator(request) {
            return Ok(Visible::Everything);
        }
        let refused = |refusal| Err(self.problem(request, refusal));
        match &request.presented {
            Presented::Unknown(reason) => refused(AccessRefusal::Unknown(reason.clone())),
            Presented::Expired => refused(AccessRefusal::Expired),
            Presented::Nothing | Presented::Known(_) => {
                let holders = policy.holders(&RequestSender::of(request));
                Ok(Visible::Part(policy, holders))
            }
        }
    }

    /// Lets a client see one broadcast, whether or not it exists.
    ///
    /// # Errors
    /// Like [`Auth::permit`].
    pub(super) async fn permit_view(
        &self,
        request: &HttpRequest,
        name: &Name,
    ) -> Result<(), Problem> {
        if request.door == Door::Socket {
            return Ok(());
        }
        self.permit_exactly(request, Asked::View(name), name).await
    }

    /// Lets a client publish this very broadcast, and not another that a callback names instead.
    ///
    /// # Errors
    /// Like [`Auth::permit`].
    pub(super) async fn permit_publishing(
        &self,
        request: &HttpRequest,
        name: &Name,
    ) -> Result<(), Problem> {
        self.permit_exactly(request, Asked::Session(Role::Publisher, name), name)
            .await
    }

    /// Lets somebody keep order in the chat of a broadcast, and send data to its viewers: those whose
    /// token is for publishing it, and the operator. No network is enough, because pages of other
    /// sites send requests from it, too.
    ///
    /// # Errors
    /// 401 without a known token, 403 with one for something else.
    pub(super) fn permit_moderation(
        &self,
        request: &HttpRequest,
        name: &Name,
    ) -> Result<(), Problem> {
        let refusal = match &request.presented {
            _ if request.door == Door::Socket => return Ok(()),
            Presented::Known(holder) if holder.moderates(name) => return Ok(()),
            Presented::Known(_) => {
                let detail = format!("this token is not for publishing `{name}`");
                AccessRefusal::Insufficient(detail)
            }
            Presented::Nothing => AccessRefusal::Missing,
            Presented::Unknown(reason) => AccessRefusal::Unknown(reason.clone()),
            Presented::Expired => AccessRefusal::Expired,
        };
        Err(self.problem(request, refusal))
    }

    /// The sender of a request, as the chat of a broadcast sees it.
    pub(super) fn guest(&self, request: &HttpRequest, name: &Name) -> Guest {
        let policy = self.policy();
        let holders = policy.holders(&RequestSender::of(request));
        let moderates = match &request.presented {
            Presented::Known(holder) => holder.moderates(name),
            Presented::Nothing | Presented::Unknown(_) | Presented::Expired => {
                request.door == Door::Socket
            }
        };
        Guest {
            network: request.is_client_known.then(|| request.client.network()),
            speaks: moderates
                || !policy.access(request.door).closes_chat()
                || holders.iter().any(|holder| holder.may_chat(name)),
            moderates,
            publishes: false,
        }
    }

    async fn permit_exactly(
        &self,
        request: &HttpRequest,
        asked: Asked<'_>,
        name: &Name,
    ) -> Result<(), Problem> {
        if !self.judge(request, asked).await?.is_for(name) {
            return Err(self.problem(request, AccessRefusal::Insufficient(asked.detail())));
        }
        Ok(())
    }

    async fn judge(&self, request: &HttpRequest, asked: Asked<'_>) -> Result<Admitted, Problem> {
        let sender = RequestSender::of(request);
        let policy = self.policy();
        if policy.sends_question(&sender, asked) && !self.questions.allow(request.client) {
            return Err(Problem::too_often(
                "too many requests came from this address",
            ));
        }
        policy
            .judge(&sender, asked)
            .await
            .map_err(|refusal| self.problem(request, refusal))
    }

    /// The response to a client that is not let in. Counts wrong tokens.
    fn problem(&self, request: &HttpRequest, refusal: AccessRefusal) -> Problem {
        match refusal {
            AccessRefusal::Missing => Problem::token_missing(),
            AccessRefusal::Expired => Problem::token_expired(),
            AccessRefusal::Insufficient(detail) => Problem::token_insufficient(&detail),
            AccessRefusal::Callback(CallbackError::Denied(reason)) => {
                let is_attempt = request.token.is_some() && request.method != Method::OPTIONS;
                if is_attempt && !self.count_attempt(request, Some(&reason)) {
                    return too_many_attempts();
                }
                Problem::denied(&reason)
            }
            AccessRefusal::Callback(error @ CallbackError::Unavailable) => {
                Problem::nobody_to_ask(&error.to_string())
            }
            AccessRefusal::Unknown(reason) => self.unknown(request, reason),
        }
    }

    /// Counts a wrong token.
    fn unknown(&self, request: &HttpRequest, reason: Option<String>) -> Problem {
        // Asking what would be allowed does not count as an attempt.
        if request.method == Method::OPTIONS {
            return Problem::token_missing();
        }
        if !self.count_attempt(request, reason.as_deref()) {
            return too_many_attempts();
        }
        let detail = match reason {
            Some(reason) => format!("this token is not accepted: {reason}"),
            None => "no such token; name the broadcast in the path or as ?broadcast=, not in the \
                     token"
                .to_owned(),
        };
        Problem::token_wrong(&detail)
    }

    /// Logs and counts a wrong token; false after too many.
    fn count_attempt(&self, request: &HttpRequest, reason: Option<&str>) -> bool {
        if let Some(left_out) = self.notices.line() {
            // Programs such as fail2ban read it: see docs/deployment.md.
            let (client, user_agent) = (request.client, request.user_agent());
            tracing::warn!(%client, user_agent, reason, left_out, "unknown token");
        }
        // Not before this point: neighbours behind the same address may hold valid tokens.
        self.failures.allow(request.client)
    }

    /// The token, wherever it is.
    fn token(options: &AuthOptions, request: &HttpRequest) -> Option<String> {
        let basic = || Some(request.credentials::<Basic>()?.password().to_owned());
        let query = || decoded(request.parameter("token")?);
        // The operator's port is on no proxy's way, and a graph is best seen in a browser.
        let in_query = options.query || request.door == Door::Admin;
        let token = request
            .bearer()
            .or_else(|| options.basic.then(basic)?)
            .or_else(|| in_query.then(query)?);
        token.filter(|token| !token.is_empty())
    }
}

fn too_many_attempts() -> Problem {
    Problem::too_often("too many wrong tokens came from this address")
}

/// A query value without percent encoding (RFC 3986 §2.1). A plus sign stays one: tokens have no
/// spaces.
fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        assert_eq!(decoded("a+b%2Bc%2f"), Some("a+b+c/".to_owned()));
        assert_eq!(decoded("%ff"), None);
    }
}
