//! Which session a datagram belongs to, and how many each session may get.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    AddressPair, RemoteEnd, UFRAG_CHARS,
    datagram::{Datagram, QueueShare},
    stun::{self, Stun, Transaction},
};
use crate::media::TokenBucket;

/// How long an address that has proven to be a session's stays its own without a sign of life.
const LIVE: Duration = Duration::from_secs(15);

/// How many datagrams a session may get. Excess is dropped before it is queued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatagramLimits {
    /// From the session's own addresses, each second and at once, apart from STUN.
    per_second: f64,
    /// How many may wait for the receiver, apart from STUN.
    waiting: usize,
}

impl DatagramLimits {
    /// A viewer sends feedback and checks: some tens a second, a few hundred on a bad network.
    /// All viewers of a worker thread share its queue.
    pub(crate) const VIEWER: Self = Self {
        per_second: 2000.0,
        waiting: 64,
    };
    /// A publisher sends media: this is 200 Mb/s in full packets. Its queue is its own.
    pub(crate) const PUBLISHER: Self = Self {
        per_second: 20_000.0,
        waiting: 4096,
    };
}

/// STUN messages of a session at once: a client with ten addresses that tries ten of the server's.
const CHECKS_AT_ONCE: f64 = 100.0;
/// The same each second.
const CHECKS_PER_SECOND: f64 = 50.0;

/// STUN messages that may wait for the receiver beside other datagrams.
const CHECKS_WAITING: usize = 16;

/// What is known of a datagram before anybody has authenticated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// STUN from an address that is not the session's own.
    ForeignCheck,
    /// STUN from one that is.
    OwnCheck,
    /// DTLS, RTP or RTCP, or garbage, with an address of the session's own as its source.
    Media,
}

/// The rest of a session's allowance.
#[derive(Debug)]
struct Budget {
    media: TokenBucket,
    /// Apart from media, so that no flood of garbage costs the session its consent checks.
    own_checks: TokenBucket,
    foreign_checks: TokenBucket,
    /// The session has proven an address. Until then it may do a handshake, and no more.
    proven: bool,
}

/// What happened to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    Taken,
    /// Too many of the session's own wait.
    TooMany,
    /// The queue that its receiver shares with others is full.
    NoRoom,
}

/// Takes a session's datagrams. Must not wait; returns false, and drops the datagram, if there is no
/// room.
type Deliver = Arc<dyn Fn(Datagram) -> bool + Send + Sync>;

/// A session's identity and its receiver of datagrams.
#[derive(Clone)]
pub(crate) struct DatagramRoute {
    session: u64,
    deliver: Deliver,
    budget: Arc<Mutex<Budget>>,
    waiting: QueueShare,
}

impl DatagramRoute {
    /// The route to a session. `session` is unique to it, see [`super::Port::next_session`].
    pub(crate) fn new(
        session: u64,
        limits: DatagramLimits,
        deliver: impl Fn(Datagram) -> bool + Send + Sync + 'static,
    ) -> Self {
        let now = Instant::now();
        let budget = Budget {
            media: TokenBucket::new(limits.per_second, limits.per_second, now),
            own_checks: TokenBucket::new(CHECKS_PER_SECOND, CHECKS_AT_ONCE, now),
            foreign_checks: TokenBucket::new(CHECKS_PER_SECOND, CHECKS_AT_ONCE, now),
            proven: false,
        };
        Self {
            session,
            deliver: Arc::new(deliver),
            budget: Arc::new(Mutex::new(budget)),
            waiting: QueueShare::new(limits.waiting),
        }
    }

    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    /// Offers the session a datagram.
    pub(super) fn offer(&self, ends: AddressPair, datagram: &[u8], arrived: Instant) -> Offered {
        let is_check = stun::read(datagram).is_some();
        let reserve = if is_check { CHECKS_WAITING } else { 0 };
        let Some(place) = self.waiting.enter(reserve) else {
            return Offered::TooMany;
        };
        let bytes = datagram.to_vec();
        let taken = (self.deliver)(Datagram {
            ends,
            bytes,
            arrived,
            place: Some(place),
        });
        if taken {
            Offered::Taken
        } else {
            Offered::NoRoom
        }
    }

    /// Counts a datagram; false if it is one too many. Datagrams from elsewhere do not use up the
    /// allowance of the session's own addresses.
    fn allows(&self, traffic: Traffic, now: Instant) -> bool {
        let mut budget = self.budget();
        let bucket = match traffic {
            Traffic::ForeignCheck => &mut budget.foreign_checks,
            Traffic::Media if budget.proven => &mut budget.media,
            Traffic::Media | Traffic::OwnCheck => &mut budget.own_checks,
        };
        bucket.take(1.0, now)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DatagramRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatagramRoute").field(&self.session).finish()
    }
}

/// A session's right to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressRight {
    /// An authentic check came from there; its source may be forged.
    Checked,
    /// The peer has proven that it receives there.
    Proven,
}

#[derive(Debug)]
struct Binding {
    route: DatagramRoute,
    /// When the session last had a sign of life from there, if it is proven.
    proven: Option<Instant>,
}

/// A datagram's destination.
pub(super) enum Found {
    Session(DatagramRoute),
    /// Its session has used up its budget.
    Refused,
    /// It belongs to no session.
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Routes {
    /// By the user name fragment in checks.
    ufrags: HashMap<[u8; UFRAG_CHARS], DatagramRoute>,
    /// The checks of ours that wait for a response, at most one of each session.
    transactions: HashMap<Transaction, DatagramRoute>,
    /// For everything else.
    addresses: HashMap<RemoteEnd, Binding>,
}

impl Routes {
    pub(super) fn register(&mut self, ufrag: [u8; UFRAG_CHARS], route: DatagramRoute) {
        self.ufrags.insert(ufrag, route);
    }

    pub(super) fn forget_ufrag(&mut self, ufrag: [u8; UFRAG_CHARS]) {
        self.ufrags.remove(&ufrag);
    }

    pub(super) fn expect(&mut self, transaction: Transaction, route: DatagramRoute) {
        self.transactions.insert(transaction, route);
    }

    pub(super) fn forget_transaction(&mut self, transaction: Transaction) {
        self.transactions.remove(&transaction);
    }

    /// Gives an address to a session. Another session's proven, live address goes to whoever has
    /// proven more recently to be there, and to nobody else.
    pub(super) fn bind(
        &mut self,
        address: RemoteEnd,
        route: &DatagramRoute,
        right: AddressRight,
        now: Instant,
    ) {
        let bound = self.addresses.get(&address);
        let taken = bound.is_some_and(|bound| {
            let live = |at| now.saturating_duration_since(at) < LIVE;
            bound.route.session != route.session && bound.proven.is_some_and(live)
        });
        if taken && right == AddressRight::Checked {
            return;
        }
        if right == AddressRight::Proven {
            route.budget().proven = true;
        }
        let binding = Binding {
            route: route.clone(),
            proven: (right == AddressRight::Proven).then_some(now),
        };
        self.addresses.insert(address, binding);
    }

    /// Takes an address from a session; false if it does not have it.
    pub(super) fn release(&mut self, address: RemoteEnd, session: u64) -> bool {
        let bound = self.addresses.get(&address);
        let has_it = bound.is_some_and(|bound| bound.route.session == session);
        if has_it {
            self.addresses.remove(&address);
        }
        has_it
    }

    /// Whether a datagram is a check of a session's client.
    pub(super) fn is_check(&self, datagram: &[u8]) -> bool {
        match stun::read(datagram) {
            Some(Stun::Request(ufrag)) => self.ufrags.contains_key(&ufrag),
            Some(Stun::Success(_)) | None => false,
        }
    }

    /// Finds a datagram's session and counts it there.
    pub(super) fn find(&self, sender: RemoteEnd, datagram: &[u8], now: Instant) -> Found {
        let bound = self.addresses.get(&sender).map(|bound| &bound.route);
        let stun = stun::read(datagram);
        let route = match stun {
            // A request names its session; this is how an address is learnt or changes.
            Some(Stun::Request(ufrag)) => self.ufrags.get(&ufrag),
            Some(Stun::Success(transaction)) => self.transactions.get(&transaction),
            None => bound,
        };
        let Some(route) = route else {
            return Found::Unknown;
        };
        let own = bound.is_some_and(|bound| bound.session == route.session);
        let traffic = match stun {
            None => Traffic::Media,
            Some(_) if own => Traffic::OwnCheck,
            Some(_) => Traffic::ForeignCheck,
        };
        if route.allows(traffic, now) {
            Found::Session(route.clone())
        } else {
            Found::Refused
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;

    use super::*;

    const MEDIA: [u8; 12] = [0x80; 12];

    fn address(port: u16) -> RemoteEnd {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    fn route(session: u64) -> DatagramRoute {
        DatagramRoute::new(session, DatagramLimits::VIEWER, |_| true)
    }

    pub(in crate::peer::udp) const UFRAG: [u8; UFRAG_CHARS] = *b"abcdefgh";

    /// A check for the session with this fragment.
    pub(in crate::peer::udp) fn check() -> Vec<u8> {
        let mut check = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        check.extend([1; 12]);
        check.extend(*b"\0\x06\0\x0aabcdefgh:x\0\0");
        check
    }

    /// How many of many such datagrams get through at once.
    fn passed(routes: &Routes, sender: RemoteEnd, datagram: &[u8], now: Instant) -> usize {
        let all = (0..60_000).map(|_| routes.find(sender, datagram, now));
        all.filter(|found| matches!(found, Found::Session(_)))
            .count()
    }

    fn session(routes: &Routes, sender: RemoteEnd, datagram: &[u8]) -> Option<u64> {
        match routes.find(sender, datagram, Instant::now()) {
            Found::Session(route) => Some(route.session),
            Found::Refused | Found::Unknown => None,
        }
    }

    #[test]
    fn a_checked_address_does_not_take_a_proven_live_one() {
        let (now, home) = (Instant::now(), address(5000));
        let (holder, thief) = (route(1), route(2));
        let mut routes = Routes::default();
        routes.bind(home, &holder, AddressRight::Proven, now);
        let later = now + LIVE.mul_f64(0.9);
        routes.bind(home, &thief, AddressRight::Checked, later);
        assert_eq!(session(&routes, home, &MEDIA), Some(1));
        // Its session gives no sign of life.
        routes.bind(home, &thief, AddressRight::Checked, now + LIVE);
        assert_eq!(session(&routes, home, &MEDIA), Some(2));
        // The holder's authentic check binds it again: the thief has proven nothing.
        routes.bind(home, &holder, AddressRight::Checked, now + LIVE);
        assert_eq!(session(&routes, home, &MEDIA), Some(1));
    }

    #[test]
    fn the_session_that_proved_itself_last_has_the_address() {
        let (now, home) = (Instant::now(), address(5000));
        let mut routes = Routes::default();
        routes.bind(home, &route(1), AddressRight::Proven, now);
        routes.bind(home, &route(2), AddressRight::Proven, now);
        assert_eq!(session(&routes, home, &MEDIA), Some(2));
        routes.release(home, 1);
        assert_eq!(session(&routes, home, &MEDIA), Some(2));
        // The session has moved elsewhere.
        routes.bind(home, &route(2), AddressRight::Checked, now);
        routes.bind(home, &route(3), AddressRight::Checked, now);
        assert_eq!(session(&routes, home, &MEDIA), Some(3));
        routes.release(home, 3);
        assert_eq!(session(&routes, home, &MEDIA), None);
    }

    #[test]
    fn a_response_finds_its_session_at_an_address_of_another() {
        let mut routes = Routes::default();
        routes.bind(
            address(5000),
            &route(1),
            AddressRight::Proven,
            Instant::now(),
        );
        routes.expect([7; 12], route(2));
        let response = [&[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        assert_eq!(session(&routes, address(5000), &response), Some(2));
        routes.forget_transaction([7; 12]);
        assert_eq!(session(&routes, address(5000), &response), None);
    }

    #[test]
    fn a_flood_of_checks_is_refused_and_leaves_the_session_its_budget() {
        let (now, home) = (Instant::now(), address(1));
        let mut routes = Routes::default();
        routes.register(*b"abcdefgh", route(1));
        routes.bind(home, &route(1), AddressRight::Proven, now);
        let check = check();
        let passed = (2..60_000)
            .filter(|port| matches!(routes.find(address(*port), &check, now), Found::Session(_)));
        assert_eq!(passed.count(), 100);
        let media =
            (0..60_000).filter(|_| matches!(routes.find(home, &MEDIA, now), Found::Session(_)));
        assert_eq!(media.count(), 2000);
        assert!(matches!(routes.find(home, &MEDIA, now), Found::Refused));
        assert!(matches!(
            routes.find(address(2), &MEDIA, now),
            Found::Unknown
        ));
    }

    #[test]
    fn garbage_with_a_forged_source_leaves_a_session_its_checks() {
        let (now, home) = (Instant::now(), address(1));
        let mut routes = Routes::default();
        routes.register(*b"abcdefgh", route(1));
        let holder = routes.ufrags[b"abcdefgh"].clone();
        routes.bind(home, &holder, AddressRight::Proven, now);
        assert_eq!(passed(&routes, home, &MEDIA, now), 2000);
        assert_eq!(passed(&routes, home, &check(), now), 100);
        // One that moves keeps what it has proven.
        let later = now + Duration::from_secs(2);
        routes.bind(address(2), &holder, AddressRight::Checked, later);
        assert_eq!(passed(&routes, address(2), &MEDIA, later), 2000);
    }

    #[test]
    fn a_session_has_few_places_in_the_queue_and_some_more_for_checks() {
        let queue = Arc::new(Mutex::new(Vec::new()));
        let receiver = Arc::clone(&queue);
        let route = DatagramRoute::new(1, DatagramLimits::VIEWER, move |datagram| {
            receiver.lock().unwrap().push(datagram);
            true
        });
        let ends = AddressPair::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let offered = |datagram: &[u8]| {
            (0..1000)
                .map(|_| route.offer(ends, datagram, Instant::now()))
                .filter(|offered| *offered == Offered::Taken)
                .count()
        };
        assert_eq!(offered(&MEDIA), DatagramLimits::VIEWER.waiting);
        assert_eq!(offered(&check()), CHECKS_WAITING);
        queue.lock().unwrap().clear();
        assert_eq!(offered(&MEDIA), DatagramLimits::VIEWER.waiting);
    }

    #[test]
    fn a_session_that_never_connects_gets_little_through() {
        let (now, home) = (Instant::now(), address(1));
        let mut routes = Routes::default();
        routes.register(*b"abcdefgh", route(1));
        let holder = routes.ufrags[b"abcdefgh"].clone();
        routes.bind(home, &holder, AddressRight::Checked, now);
        let all = passed(&routes, home, &check(), now) + passed(&routes, home, &MEDIA, now);
        assert_eq!(all, 100);
    }
}
