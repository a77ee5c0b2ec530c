//! How many connections and event streams there may be: in all, and of one client.
//!
//! The last part of each limit is a reserve: connections in it serve only what a full server must
//! still do, one request each.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use ::http::Method;

use super::{Options, problem::Problem, request::HttpRequest, router::Route};
use crate::{
    client::ClientAddress,
    notices::Notices,
    quota::{Quota, QuotaHolder, QuotaRequest, Share},
    resources,
};

/// The part of a limit that is a reserve: one in this many.
const RESERVE_SHARE: usize = 8;
/// Largest reserve.
const RESERVE_MAX: usize = 256;
/// How many times as many as an address (IPv6: a /64) its site may have.
const SITE_FACTOR: usize = 4;
/// Lines in the log about refusals: one each ten seconds.
const LINES_PER_SECOND: f64 = 0.1;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections in all; also event streams.
    pub(super) connections: usize,
    /// Connections of one client.
    pub(super) client_connections: usize,
    /// Event streams of one client.
    pub(super) client_streams: usize,
}

impl Limits {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            connections: options.connections_max,
            client_connections: options.client_connections_max,
            client_streams: options.client_streams_max,
        }
    }
}

/// What a connection may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Normal,
    Reserve,
}

/// Why a connection or a stream is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All clients together have too many connections.
    Connections,
    /// This one has.
    ClientConnections,
    /// All clients together have too many event streams.
    Streams,
    /// This one has.
    ClientStreams,
}

impl Refusal {
    pub(super) const ALL: [Self; 4] = [
        Self::Connections,
        Self::ClientConnections,
        Self::Streams,
        Self::ClientStreams,
    ];

    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ClientConnections => "client_connections",
            Self::Streams => "event_streams",
            Self::ClientStreams => "client_event_streams",
        }
    }

    /// Whether only this client has too many.
    pub(super) fn is_of_client(self) -> bool {
        matches!(self, Self::ClientConnections | Self::ClientStreams)
    }
}

/// A connection's place, for as long as it is held.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) lane: Lane,
    shares: Vec<Share>,
}

impl Place {
    fn new(lane: Lane, share: Share) -> Self {
        Self {
            lane,
            shares: vec![share],
        }
    }

    /// The place that both parts allow.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.shares.extend(other.shares);
        if other.lane == Lane::Reserve {
            self.lane = Lane::Reserve;
        }
        self
    }
}

/// Who counts.
pub(super) struct Admission {
    limits: RwLock<Limits>,
    connections: Quota,
    streams: Quota,
    refused: [AtomicU64; Refusal::ALL.len()],
    notices: Notices,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits: RwLock::new(limits),
            connections: Quota::default(),
            streams: Quota::default(),
            refused: Default::default(),
            notices: Notices::new(LINES_PER_SECOND, 1.0),
        }
    }

    fn limits(&self) -> Limits {
        // A poisoned lock is fine: nothing is ever left half-changed.
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limits. Open connections and streams stay.
    pub(super) fn set(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Lets a connection in; whose it is may not be known yet.
    pub(super) fn connection(&self) -> Result<Place, Refusal> {
        let max = self.limits().connections;
        let everyone = |max| {
            let holder = QuotaHolder::Everyone;
            self.connections.take(&[QuotaRequest { holder, max }])
        };
        if let Ok(share) = everyone(max - reserve(max)) {
            return Ok(Place::new(Lane::Normal, share));
        }
        let share = everyone(max).map_err(|_| Refusal::Connections)?;
        Ok(Place::new(Lane::Reserve, share))
    }

    /// Counts it for its client.
    pub(super) fn connection_of(&self, client: ClientAddress) -> Result<Place, Refusal> {
        let max = self.limits().client_connections;
        let take = |max| self.connections.take(&of_client(client, max));
        if let Ok(share) = take(max) {
            return Ok(Place::new(Lane::Normal, share));
        }
        let share =
            take(max.saturating_add(reserve(max))).map_err(|_| Refusal::ClientConnections)?;
        Ok(Place::new(Lane::Reserve, share))
    }

    /// Lets an event stream begin, which keeps its connection.
    ///
    /// # Errors
    /// 503 or 429 if there are too many.
    pub(super) fn stream(&self, client: ClientAddress) -> Result<Share, Problem> {
        resources::check().map_err(|short| Problem::full(short.to_string()))?;
        let [network, site] = of_client(client, self.limits().client_streams);
        let everyone = QuotaRequest {
            holder: QuotaHolder::Everyone,
            max: self.limits().connections,
        };
        self.streams.take(&[everyone, network, site]).map_err(|holder| {
            let refusal = match holder {
                QuotaHolder::Everyone => Refusal::Streams,
                QuotaHolder::Network(_) | QuotaHolder::Token(_) => Refusal::ClientStreams,
            };
            self.refuse(refusal, client);
            match refusal {
                Refusal::ClientStreams => Problem::too_many(
                    "too many event streams at this address: close some, or ask for a broadcast \
                     now and then instead",
                ),
                _ => Problem::full("the server has reached its limit of event streams"),
            }
        })
    }

    /// Whether a connection in this lane serves such a request.
    ///
    /// # Errors
    /// 503.
    pub(super) fn request(&self, lane: Lane, request: &HttpRequest) -> Result<(), Problem> {
        if lane == Lane::Normal || is_essential(&request.method, &request.path) {
            return Ok(());
        }
        self.refuse(Refusal::Connections, request.client);
        Err(Problem::full(
            "the server has reached its limit of connections",
        ))
    }

    /// Counts a refusal, and says so now and then.
    pub(super) fn refuse(&self, refusal: Refusal, client: ClientAddress) {
        let counters = self.refused.iter().zip(Refusal::ALL);
        for (counter, _) in counters.filter(|(_, counted)| *counted == refusal) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(left_out) = self.notices.line() {
            tracing::warn!(
                limit = refusal.name(),
                %client,
                connections = self.connections(),
                event_streams = self.streams(),
                left_out,
                "HTTP refused: too many at once"
            );
        }
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.held(&QuotaHolder::Everyone)
    }

    /// Event streams that run.
    pub(super) fn streams(&self) -> usize {
        self.streams.held(&QuotaHolder::Everyone)
    }

    /// Refusals so far.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.refused
            .iter()
            .zip(Refusal::ALL)
            .map(|(count, refusal)| (refusal.name(), count.load(Ordering::Relaxed)))
    }
}

fn reserve(max: usize) -> usize {
    (max / RESERVE_SHARE).min(RESERVE_MAX)
}

/// The quotas that a connection, a stream or a session of this client counts for.
pub(super) fn of_client(client: ClientAddress, max: usize) -> [QuotaRequest; 2] {
    [
        QuotaRequest {
            holder: QuotaHolder::Network(client.network()),
            max,
        },
        QuotaRequest {
            holder: QuotaHolder::Network(client.site()),
            max: max.saturating_mul(SITE_FACTOR),
        },
    ]
}

/// Whether even a full server must serve this request: sessions begin and end, and its health is
/// reported.
fn is_essential(method: &Method, path: &str) -> bool {
    let begins_or_ends = [Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS];
    begins_or_ends.contains(method)
        || matches!(
            Route::of(path),
            Some(Route::Health | Route::Ready | Route::Metrics)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    fn admission() -> Admission {
        Admission::new(Limits {
            connections: 40,
            client_connections: 8,
            client_streams: 2,
        })
    }

    #[test]
    fn the_last_connections_are_a_reserve() {
        let admission = admission();
        let places: Vec<_> = (0..50).map_while(|_| admission.connection().ok()).collect();
        assert_eq!(places.len(), 40);
        let normal = places.iter().take_while(|place| place.lane == Lane::Normal);
        assert_eq!(normal.count(), 35);
        assert_eq!(admission.connection().unwrap_err(), Refusal::Connections);
        drop(places);
        assert_eq!(admission.connection().unwrap().lane, Lane::Normal);
    }

    #[test]
    fn a_client_has_its_part_and_a_reserve_of_its_own() {
        let admission = admission();
        let take = |text: &str| admission.connection_of(client(text));
        let mut held = Vec::new();
        let mut lanes = |text: &str| {
            let places: Vec<_> = (0..50).map_while(|_| take(text).ok()).collect();
            let lanes: Vec<_> = places.iter().map(|place| place.lane).collect();
            held.extend(places);
            lanes
        };
        let expected = [vec![Lane::Normal; 8], vec![Lane::Reserve]].concat();
        assert_eq!(lanes("192.0.2.1"), expected);
        assert_eq!(take("192.0.2.1").unwrap_err(), Refusal::ClientConnections);
        assert_eq!(lanes("198.51.100.1"), expected);
        // A /48: four times as many.
        let site: usize = (0..10)
            .map(|net| lanes(&format!("2001:db8:0:{net}::1")).len())
            .sum();
        assert!((32..=36).contains(&site), "{site}");
    }

    #[test]
    fn streams_are_limited() {
        let admission = admission();
        let viewer = client("192.0.2.1");
        let streams = [(); 2].map(|()| admission.stream(viewer).unwrap());
        assert!(admission.stream(viewer).is_err());
        assert!(admission.stream(client("192.0.2.2")).is_ok());
        drop(streams);
        assert!(admission.stream(viewer).is_ok());
        let refused: Vec<_> = admission.refused().map(|(_, count)| count).collect();
        assert_eq!(refused, [0, 0, 0, 1]);
    }

    #[test]
    fn a_reserve_serves_what_is_essential() {
        let served = |method, path| is_essential(&method, path);
        assert!(served(Method::POST, "/whep/a") && served(Method::GET, "/healthz"));
        assert!(served(Method::DELETE, "/whep/s/a") && served(Method::GET, "/metrics"));
        assert!(!served(Method::GET, "/") && !served(Method::GET, "/api/events"));
    }
}
