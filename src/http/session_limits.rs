//! How many sessions there may be at once: of one client, and with one token.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{admission::of_client, problem::Problem};
use crate::{
    client::ClientAddress,
    peer::sdp::Role,
    quota::{Quota, QuotaHolder, QuotaRequest, Share},
};

/// The limits of one role.
#[derive(Clone, Copy, Debug)]
pub struct SessionMaxima {
    /// Of one client.
    pub client: usize,
    /// With one token. Publishers have none here: `broadcast` limits the broadcasts of a token.
    pub token: Option<usize>,
}

/// Counts sessions per client and token.
pub(super) struct SessionLimits {
    publishers: RoleLimits,
    viewers: RoleLimits,
}

struct RoleLimits {
    role: Role,
    maxima: Mutex<SessionMaxima>,
    quota: Quota,
    refused: AtomicU64,
}

impl SessionLimits {
    pub(super) fn new(publishers: SessionMaxima, viewers: SessionMaxima) -> Self {
        Self {
            publishers: RoleLimits::new(Role::Publisher, publishers),
            viewers: RoleLimits::new(Role::Viewer, viewers),
        }
    }

    /// Lets a session begin, which counts for as long as it holds the share. `token` stands
    /// for the token that let it in, if it needed one.
    ///
    /// # Errors
    /// 429 if there are too many.
    pub(super) fn take(
        &self,
        role: Role,
        client: ClientAddress,
        token: Option<&str>,
    ) -> Result<Share, Problem> {
        self.of(role).take(client, token)
    }

    /// Sessions refused so far.
    pub(super) fn refused(&self, role: Role) -> u64 {
        self.of(role).refused.load(Ordering::Relaxed)
    }

    /// Changes the limits for sessions that begin from now on.
    pub(super) fn set(&self, role: Role, maxima: SessionMaxima) {
        *self.of(role).maxima() = maxima;
    }

    fn of(&self, role: Role) -> &RoleLimits {
        match role {
            Role::Publisher => &self.publishers,
            Role::Viewer => &self.viewers,
        }
    }
}

impl RoleLimits {
    fn new(role: Role, maxima: SessionMaxima) -> Self {
        Self {
            role,
            maxima: Mutex::new(maxima),
            quota: Quota::default(),
            refused: AtomicU64::new(0),
        }
    }

    fn maxima(&self) -> MutexGuard<'_, SessionMaxima> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.maxima.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, client: ClientAddress, token: Option<&str>) -> Result<Share, Problem> {
        let maxima = *self.maxima();
        let mut requests = of_client(client, maxima.client).to_vec();
        if let (Some(token), Some(max)) = (token, maxima.token) {
            requests.push(QuotaRequest {
                holder: QuotaHolder::Token(token.to_owned()),
                max,
            });
        }
        self.quota.take(&requests).map_err(|full| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let what = match self.role {
                Role::Publisher => "publishers",
                Role::Viewer => "viewers",
            };
            let (whose, option) = match full {
                QuotaHolder::Token(_) => ("with this token", "token"),
                QuotaHolder::Network(_) | QuotaHolder::Everyone => ("at this address", "source"),
            };
            Problem::too_many(format!(
                "too many {what} {whose}: end one and try again (limits.{option}_{what})"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_count_for_their_client_and_their_token() {
        let maxima = |client, token| SessionMaxima { client, token };
        let limits = SessionLimits::new(maxima(2, None), maxima(2, Some(3)));
        let guests = Some("guests");
        let client = |text: &str| ClientAddress::new(text.parse().unwrap());
        let mut held = Vec::new();
        let mut watch = |address, token| {
            let share = limits.take(Role::Viewer, client(address), token);
            share.map(|share| held.push(share)).is_ok()
        };
        assert!(watch("192.0.2.1", None) && watch("192.0.2.1", guests));
        assert!(!watch("192.0.2.1", guests), "its address has two");
        assert!(watch("192.0.2.2", guests) && watch("192.0.2.2", guests));
        assert!(!watch("192.0.2.3", guests), "its token has three");
        assert!(watch("192.0.2.3", None));
        assert_eq!(limits.refused(Role::Viewer), 2);
        let publisher = limits.take(Role::Publisher, client("192.0.2.1"), guests);
        assert!(publisher.is_ok(), "publishers count apart");
        held.clear();
        let again = limits.take(Role::Viewer, client("192.0.2.1"), guests);
        assert!(again.is_ok());
    }
}
