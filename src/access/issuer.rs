//! Where the keys of tokens come from: a file, or a URL whose answer is cached and refreshed.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard},
    time::{Duration, Instant},
};

use http::Uri;
use tokio::task::JoinSet;

use super::{
    Holder,
    jwt::{JwtError, JwtKeys, JwtOptions},
};
use crate::outbound::HttpClient;

/// Time for a server to send its keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Shortest time between two fetches, so that tokens with unknown keys cannot cause more.
const FETCH_INTERVAL: Duration = Duration::from_secs(5);
/// How long keys that cannot be refreshed stay good.
const KEYS_AGE_MAX: Duration = Duration::from_hours(24);

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum KeyOrigin {
    /// A file that has been read.
    File(Arc<JwtKeys>),
    /// A JWK Set that is refreshed after this time.
    Url(Uri, Duration),
}

/// Accepts the tokens of an issuer.
#[derive(Debug)]
pub struct Issuer {
    options: JwtOptions,
    origin: KeyOrigin,
    fetched: RwLock<Fetched>,
    /// Held during a fetch: there is one at a time.
    fetching: tokio::sync::Mutex<()>,
    /// Background fetches.
    refreshing: Mutex<JoinSet<()>>,
    client: Option<HttpClient>,
}

#[derive(Debug, Default)]
struct Fetched {
    keys: Option<(Arc<JwtKeys>, Instant)>,
    tried: Option<Instant>,
}

impl Issuer {
    /// Keys of a URL are fetched when the first token arrives.
    pub fn new(options: JwtOptions, origin: KeyOrigin) -> Self {
        let client = match origin {
            KeyOrigin::File(_) => None,
            KeyOrigin::Url(..) => HttpClient::new(FETCH_TIMEOUT)
                .inspect_err(|error| tracing::error!(%error, "no keys for signed tokens"))
                .ok(),
        };
        Self {
            options,
            origin,
            fetched: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
            refreshing: Mutex::default(),
            client,
        }
    }

    /// Whether it is configured alike, so that its keys remain valid.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_origin = match (&self.origin, &other.origin) {
            (KeyOrigin::Url(url, refresh), KeyOrigin::Url(other_url, other_refresh)) => {
                url == other_url && refresh == other_refresh
            }
            _ => false,
        };
        same_origin && self.options == other.options
    }

    /// The holder of this token. Waits for keys only if no known key fits, or the known ones are
    /// too old.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub async fn verify(self: &Arc<Self>, token: &str) -> Result<Holder, JwtError> {
        let (url, refresh) = match &self.origin {
            KeyOrigin::File(keys) => return keys.verify(&self.options, token),
            KeyOrigin::Url(url, refresh) => (url, *refresh),
        };
        let Some((keys, age)) = self.known() else {
            self.fetch(url).await;
            let Some((keys, _)) = self.known() else {
                return Err(JwtError::UnknownKey);
            };
            return keys.verify(&self.options, token);
        };
        if age >= refresh && self.may_fetch() {
            let issuer = Arc::clone(self);
            let url = url.clone();
            // One at a time, with a time limit.
            let mut refreshing = self
                .refreshing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            while refreshing.try_join_next().is_some() {}
            refreshing.spawn(async move { issuer.fetch(&url).await });
        }
        match keys.verify(&self.options, token) {
            // Keys change: a new one may have been made since.
            Err(JwtError::UnknownKey) => {
                self.fetch(url).await;
                let (keys, _) = self.known().ok_or(JwtError::UnknownKey)?;
                keys.verify(&self.options, token)
            }
            verified => verified,
        }
    }

    /// Whether the last attempt is long enough ago.
    fn may_fetch(&self) -> bool {
        self.fetched
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .tried
            .is_none_or(|at| at.elapsed() >= FETCH_INTERVAL)
    }

    /// The keys that were fetched last, and how long ago.
    fn known(&self) -> Option<(Arc<JwtKeys>, Duration)> {
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        let (keys, at) = fetched.keys.as_ref()?;
        let age = at.elapsed();
        (age < KEYS_AGE_MAX).then(|| (Arc::clone(keys), age))
    }

    /// Fetches the keys, unless somebody has just done so. If it fails, the previous ones stay.
    async fn fetch(&self, url: &Uri) {
        let _one = self.fetching.lock().await;
        if !self.may_fetch() {
            return;
        }
        self.fetched_mut().tried = Some(Instant::now());
        match self.read(url).await {
            Ok(keys) => {
                self.fetched_mut().keys = Some((Arc::new(keys), Instant::now()));
                tracing::debug!("keys for signed tokens fetched");
            }
            Err(error) => tracing::warn!(
                error,
                "cannot fetch the keys for signed tokens (auth.jwt_url)"
            ),
        }
    }

    fn fetched_mut(&self) -> RwLockWriteGuard<'_, Fetched> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.fetched.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, url: &Uri) -> Result<JwtKeys, String> {
        let client = self.client.as_ref().ok_or("TLS is not available")?;
        let reply = client.get(url).await.map_err(|error| error.to_string())?;
        if !reply.status().is_success() {
            return Err(format!("the server answered {}", reply.status()));
        }
        JwtKeys::of_public_set(reply.body())
            .map_err(|expected| format!("the answer is not {expected}"))
    }
}

#[cfg(test)]
mod tests;
