//! Ends sessions whose token expires or is taken away, and asks callbacks again in time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::sleep;

use super::{
    auth::Auth,
    judgement::{AccessRefusal, Admitted, Asked, RequestSender, Until},
};
use crate::{
    access::{CallbackError, TokenHash},
    broadcast::{Revocation, Session},
    plan::Name,
};

/// Longest time until the wall clock, which may be set, is checked again.
const CLOCK_INTERVAL: Duration = Duration::from_mins(1);
/// How often a callback that does not answer is asked again, and how long after.
const RETRIES_MAX: u32 = 3;
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// A session that has been let in.
pub(super) struct Lease {
    pub(super) auth: Arc<Auth>,
    pub(super) session: Arc<Session>,
    pub(super) sender: RequestSender,
    /// The broadcast as it was requested.
    pub(super) name: Name,
    pub(super) admitted: Admitted,
}

impl Lease {
    /// Watches over the session until it ends.
    pub(super) fn start(self) {
        let number = self.session.number;
        if let Some(token) = &self.sender.token {
            let hash = TokenHash::of_text(token);
            self.auth.tokens().insert(number, hash);
        }
        let auth = Arc::clone(&self.auth);
        auth.spawn(async move {
            let auth = Arc::clone(&self.auth);
            let session = Arc::clone(&self.session);
            tokio::select! {
                () = session.ended() => {}
                why = self.until_refused() => session.revoke(why),
            }
            auth.tokens().remove(&number);
        });
    }

    /// Resolves when the session may go on no longer.
    async fn until_refused(mut self) -> Revocation {
        let mut policies = self.auth.changes();
        let mut failures = 0;
        let mut until = self.admitted.until;
        loop {
            let is_due = tokio::select! {
                biased;
                changed = policies.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    false
                }
                () = due(until) => true,
            };
            let policy = self.auth.policy();
            let asked = Asked::Session(self.session.role, &self.name);
            match policy.judge_again(&mut self.sender, asked, is_due).await {
                Ok(None) => {}
                Ok(Some(admitted)) => {
                    let broadcast = admitted.broadcast.as_ref().unwrap_or(&self.name);
                    if *broadcast != self.session.broadcast {
                        return Revocation::Withdrawn;
                    }
                    failures = 0;
                    until = admitted.until;
                }
                Err(AccessRefusal::Callback(CallbackError::Unavailable))
                    if failures < RETRIES_MAX =>
                {
                    failures += 1;
                    until = Until::AskedAgain(Instant::now() + RETRY_INTERVAL);
                }
                Err(AccessRefusal::Expired) => return Revocation::Expired,
                Err(_) => return Revocation::Withdrawn,
            }
        }
    }
}

/// Resolves when it is time to judge again.
pub(super) async fn due(until: Until) {
    match until {
        Until::Changed => std::future::pending().await,
        Until::AskedAgain(at) => sleep(at.saturating_duration_since(Instant::now())).await,
        Until::Expiry(at) => {
            while let Ok(left) = at.duration_since(SystemTime::now()) {
                // The validation counts in whole seconds.
                sleep(left.min(CLOCK_INTERVAL) + Duration::from_secs(1)).await;
            }
        }
    }
}
