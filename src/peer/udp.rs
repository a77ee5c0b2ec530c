//! The direct engine's single UDP port: routes incoming datagrams, and sends segmented.
//!
//! Each thread that sends much has a socket of its own, with the same address; the kernel spreads
//! the peers' datagrams over the sockets, and all are read.
//!
//! Knows STUN just well enough to distinguish sessions by the user name fragment; understands
//! neither DTLS nor RTP.

mod addresses;
mod socket;

use std::{
    collections::HashMap,
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use quinn_udp::{BATCH_SIZE, RecvMeta};
use tokio::{io::Interest, runtime::Handle, task::JoinSet};

use self::socket::{BUFFER_BYTES, PortSocket, ThreadPause, send_until};
pub use self::{
    addresses::LocalAddresses,
    socket::{AddressPair, BufferSizes, Sent},
};

/// The most the kernel hands over in one piece: one datagram, or several joined by GRO, in bytes.
const RECEIVE_BYTES: usize = 65_535;
/// Characters in a local user name fragment: 48 random bits (RFC 8445 §5.3 asks for 24).
pub const UFRAG_CHARS: usize = 8;

/// Where the port listens and what it advertises to peers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Addresses to advertise instead of the machine's own (NAT 1:1). Default: none.
    pub public_addresses: Vec<IpAddr>,
    /// Whether loopback addresses are advertised when `listen` is unspecified. Default: false.
    pub loopback: bool,
}

/// A datagram, and the addresses between which it travelled.
pub(crate) struct Datagram {
    pub(crate) ends: AddressPair,
    pub(crate) bytes: Vec<u8>,
}

/// Takes a session's datagrams. Must not wait; returns false, and drops the datagram, if there is no
/// room.
type Deliver = Arc<dyn Fn(Datagram) -> bool + Send + Sync>;

/// A session's identity and its receiver of datagrams.
#[derive(Clone)]
pub(crate) struct DatagramRoute {
    session: u64,
    deliver: Deliver,
}

impl DatagramRoute {
    /// The route to a session. `session` is unique to it, see [`Port::next_session`].
    pub(crate) fn new(
        session: u64,
        deliver: impl Fn(Datagram) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            session,
            deliver: Arc::new(deliver),
        }
    }

    pub(crate) const fn session(&self) -> u64 {
        self.session
    }
}

impl fmt::Debug for DatagramRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatagramRoute").field(&self.session).finish()
    }
}

#[derive(Debug, Default)]
struct Routes {
    by_ufrag: HashMap<[u8; UFRAG_CHARS], DatagramRoute>,
    by_address: HashMap<SocketAddr, DatagramRoute>,
}

/// What the port has counted so far.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Datagrams that belonged to no session.
    pub unknown: AtomicU64,
    /// Datagrams or frames' worth of segments dropped because the socket's buffer stayed full.
    pub send_dropped: AtomicU64,
    /// Sends that failed for another reason, such as no route to the peer.
    pub send_failed: AtomicU64,
    /// Datagrams dropped because their session's queue was full.
    pub queue_dropped: AtomicU64,
}

/// The UDP port shared by all sessions of the direct engine, and the socket that this handle sends
/// from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Port {
    shared: Arc<Shared>,
    socket: Arc<PortSocket>,
}

#[derive(Debug)]
struct Shared {
    /// The port's number.
    number: u16,
    advertised: LocalAddresses,
    buffers: BufferSizes,
    sessions: AtomicU64,
    routes: Mutex<Routes>,
    counters: PortCounters,
    receivers: Mutex<Receivers>,
}

/// The tasks that read the sockets. They hold the port, so [`Port::stop`] has to end them.
#[derive(Debug, Default)]
struct Receivers {
    tasks: JoinSet<()>,
    /// Sockets that nobody reads yet, because the port has not been started.
    waiting: Vec<Arc<PortSocket>>,
    /// Where the tasks run, once the port has been started.
    runtime: Option<Handle>,
}

impl Port {
    /// Binds the port.
    ///
    /// # Errors
    /// If the address cannot be bound, for example because the port is in use.
    pub fn bind(options: &Options) -> io::Result<Self> {
        let socket = PortSocket::bind(options.listen)?;
        let local = socket.local_addr()?;
        let advertised = if options.public_addresses.is_empty() {
            LocalAddresses::of_listener(local.ip(), options.loopback)
        } else {
            LocalAddresses::fixed(options.public_addresses.clone())
        };
        let buffers = socket.buffer_sizes()?;
        let port = Self {
            shared: Arc::new(Shared {
                number: local.port(),
                advertised,
                buffers,
                sessions: AtomicU64::new(0),
                routes: Mutex::default(),
                counters: PortCounters::default(),
                receivers: Mutex::default(),
            }),
            socket: Arc::new(socket),
        };
        port.read(Arc::clone(&port.socket));
        Ok(port)
    }

    /// The same port with a socket of its own to send from: what others send does not fill its
    /// buffer.
    ///
    /// # Errors
    /// If the system refuses a socket.
    pub fn with_own_socket(&self) -> io::Result<Self> {
        let socket = Arc::new(self.socket.another()?);
        self.read(Arc::clone(&socket));
        Ok(Self {
            shared: Arc::clone(&self.shared),
            socket,
        })
    }

    /// The host candidates to put into answers, as the machine's addresses are now, best first.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        let addresses = self.shared.advertised.now().into_iter();
        addresses
            .map(|ip| SocketAddr::new(ip, self.shared.number))
            .collect()
    }

    /// What the port has counted so far.
    pub fn counters(&self) -> &PortCounters {
        &self.shared.counters
    }

    /// The buffers of each socket.
    pub fn buffer_sizes(&self) -> BufferSizes {
        self.shared.buffers
    }

    /// Warns if the kernel grants less buffer than wanted.
    pub fn check_buffers(&self) {
        let BufferSizes { send, receive } = self.shared.buffers;
        for (option, granted) in [("net.core.wmem_max", send), ("net.core.rmem_max", receive)] {
            if granted < BUFFER_BYTES {
                tracing::warn!(
                    granted,
                    "the kernel limits the UDP buffers: packets may be lost when many watch. \
                     Set `sysctl -w {option}={BUFFER_BYTES}`"
                );
            }
        }
    }

    /// The address that sessions give str0m as their own towards `peer`. All addresses of the
    /// machine are one to it: answers leave from where the check arrived.
    pub(crate) fn local(&self, peer: SocketAddr) -> SocketAddr {
        let [ipv4, ipv6] = self.locals();
        if peer.is_ipv4() { ipv4 } else { ipv6 }
    }

    /// Every address that [`Port::local`] may return.
    pub(crate) fn locals(&self) -> [SocketAddr; 2] {
        [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]
        .map(|ip| SocketAddr::new(ip, self.shared.number))
    }

    /// Number of datagrams one segmented send may carry: 1 where the kernel cannot segment.
    pub fn segments_max(&self) -> usize {
        self.socket.segments_max()
    }

    /// Sends `data` as datagrams of `segment` bytes each (the last may be shorter). A local address
    /// that the machine has lost is taken out of `ends`.
    pub fn send(&self, ends: &mut AddressPair, data: &[u8], segment: usize) -> Sent {
        self.count(self.socket.send(ends, data, segment))
    }

    /// Like [`Port::send`], but waits until `deadline` for room in the socket's buffer. Blocks the
    /// thread.
    pub fn send_until(
        &self,
        deadline: Instant,
        ends: &mut AddressPair,
        data: &[u8],
        segment: usize,
    ) -> Sent {
        let sent = send_until(deadline, &mut ThreadPause, || {
            self.socket.send(ends, data, segment)
        });
        self.count(sent)
    }

    fn count(&self, sent: Sent) -> Sent {
        let counters = &self.shared.counters;
        match sent {
            Sent::Taken => {}
            Sent::Full => {
                counters.send_dropped.fetch_add(1, Ordering::Relaxed);
            }
            Sent::Failed => {
                counters.send_failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        sent
    }

    /// A number for a new session, different from all others of this port.
    pub(crate) fn next_session(&self) -> u64 {
        self.shared.sessions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn register(&self, ufrag: [u8; UFRAG_CHARS], route: DatagramRoute) {
        self.routes().by_ufrag.insert(ufrag, route);
    }

    /// From now on datagrams from `address` belong to the session that has proved its presence
    /// there by passing ICE's integrity check.
    pub(crate) fn bind_address(&self, address: SocketAddr, route: DatagramRoute) {
        self.routes().by_address.insert(address, route);
    }

    /// Forgets a session.
    pub(crate) fn unregister(
        &self,
        ufrag: [u8; UFRAG_CHARS],
        addresses: impl IntoIterator<Item = SocketAddr>,
        session: u64,
    ) {
        let mut routes = self.routes();
        routes.by_ufrag.remove(&ufrag);
        for address in addresses {
            let bound = routes.by_address.get(&address);
            if bound.is_some_and(|route| route.session == session) {
                routes.by_address.remove(&address);
            }
        }
    }

    fn routes(&self) -> std::sync::MutexGuard<'_, Routes> {
        self.shared
            .routes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, source: SocketAddr, datagram: &[u8]) -> Option<DatagramRoute> {
        let routes = self.routes();
        match stun_ufrag(datagram) {
            // A binding request names its session; this is how an address is learnt or changes.
            Some(ufrag) => routes.by_ufrag.get(&ufrag).cloned(),
            None => routes.by_address.get(&source).cloned(),
        }
    }

    /// Starts receiving. Must be called inside a tokio runtime.
    pub fn start(&self) {
        let mut receivers = self.receivers();
        receivers.runtime = Some(Handle::current());
        let waiting = std::mem::take(&mut receivers.waiting);
        drop(receivers);
        for socket in waiting {
            self.read(socket);
        }
    }

    /// Stops receiving.
    pub async fn stop(&self) {
        let mut receivers = std::mem::take(&mut *self.receivers());
        receivers.tasks.shutdown().await;
    }

    /// Reads a socket, from the start of the port on.
    fn read(&self, socket: Arc<PortSocket>) {
        let mut receivers = self.receivers();
        let Some(runtime) = receivers.runtime.clone() else {
            receivers.waiting.push(socket);
            return;
        };
        let port = self.clone();
        let read = async move {
            if let Err(error) = port.receive(&socket).await {
                tracing::error!(%error, "cannot read the UDP port");
            }
        };
        receivers.tasks.spawn_on(read, &runtime);
    }

    fn receivers(&self) -> std::sync::MutexGuard<'_, Receivers> {
        let receivers = self.shared.receivers.lock();
        receivers.unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives for ever. Errors of single receives are counted by the kernel and ignored: an ICMP
    /// error of one peer must not stop the others.
    ///
    /// # Errors
    /// If the socket cannot be watched by the runtime.
    async fn receive(&self, socket: &PortSocket) -> io::Result<()> {
        let watched = socket.watched()?;
        let mut buffers = vec![0; RECEIVE_BYTES * BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        loop {
            let mut slices: Vec<IoSliceMut<'_>> = buffers
                .chunks_mut(RECEIVE_BYTES)
                .map(IoSliceMut::new)
                .collect();
            let received = watched
                .async_io(Interest::READABLE, || socket.recv(&mut slices, &mut metas))
                .await;
            let Ok(count) = received else {
                tokio::task::yield_now().await;
                continue;
            };
            for (meta, slice) in metas.iter().zip(&slices).take(count) {
                let data = slice.get(..meta.len).unwrap_or_default();
                let ends = socket.ends_of(meta);
                for datagram in data.chunks(meta.stride.max(1)) {
                    self.deliver(ends, datagram);
                }
            }
        }
    }

    /// Hands a datagram to its session.
    fn deliver(&self, ends: AddressPair, datagram: &[u8]) {
        let counters = &self.shared.counters;
        let Some(route) = self.route(ends.remote, datagram) else {
            counters.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let datagram = Datagram {
            ends,
            bytes: datagram.to_vec(),
        };
        if !(route.deliver)(datagram) {
            counters.queue_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The local user name fragment in a STUN binding request (RFC 8489 §5, RFC 8445 §7.1.1: the
/// USERNAME is the receiver's fragment, a colon and the sender's).
fn stun_ufrag(datagram: &[u8]) -> Option<[u8; UFRAG_CHARS]> {
    const BINDING_REQUEST: u16 = 1;
    const USERNAME: u16 = 6;
    let value = stun_attribute(datagram, BINDING_REQUEST, USERNAME)?;
    let (ufrag, rest) = value.split_first_chunk::<UFRAG_CHARS>()?;
    rest.starts_with(b":").then_some(*ufrag)
}

/// Whether a STUN binding request nominates its pair (RFC 8445 §7.1.2).
pub(crate) fn stun_nominates(datagram: &[u8]) -> bool {
    stun_attribute(datagram, 1, 0x25).is_some()
}

/// Whether this is a STUN success response to a binding request.
pub(crate) fn is_stun_success(datagram: &[u8]) -> bool {
    matches!(datagram, [1, 1, _, _, 0x21, 0x12, 0xa4, 0x42, ..])
}

/// Everything read from a datagram before its session is known.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn look(datagram: &[u8]) {
    let _ = (
        stun_ufrag(datagram),
        stun_nominates(datagram),
        is_stun_success(datagram),
    );
}

fn stun_attribute(datagram: &[u8], message: u16, wanted: u16) -> Option<&[u8]> {
    let (header, mut rest) = datagram.split_first_chunk::<20>()?;
    let [t0, t1, _, _, 0x21, 0x12, 0xa4, 0x42, ..] = *header else {
        return None;
    };
    if u16::from_be_bytes([t0, t1]) != message {
        return None;
    }
    while let Some(([a0, a1, l0, l1], after)) = rest.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*a0, *a1]) == wanted {
            return after.get(..len);
        }
        rest = after.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding_request(username: &[u8], nominate: bool) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend([7; 12]);
        message.extend([0, 6]);
        message.extend(u16::try_from(username.len()).unwrap().to_be_bytes());
        message.extend(username);
        message.resize(message.len().next_multiple_of(4), 0);
        if nominate {
            message.extend([0, 0x25, 0, 0]);
        }
        message
    }

    #[test]
    fn a_binding_request_names_its_session() {
        let request = binding_request(b"abcdefgh:xyzz", true);
        assert_eq!(stun_ufrag(&request), Some(*b"abcdefgh"));
        assert!(stun_nominates(&request));
        assert!(!stun_nominates(&binding_request(b"abcdefgh:x", false)));
    }

    #[test]
    fn other_datagrams_name_none() {
        for datagram in [
            binding_request(b"abcdefghi:x", false),
            binding_request(b"abc:x", false),
            vec![22, 254, 253],
            vec![0x90; 40],
            vec![],
        ] {
            assert_eq!(stun_ufrag(&datagram), None);
        }
        let mut cut = binding_request(b"abcdefgh:xyzz", false);
        cut.truncate(30);
        assert_eq!(stun_ufrag(&cut), None);
    }

    #[test]
    fn the_bound_address_is_advertised() {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_addresses: vec![],
            loopback: false,
        };
        let port = Port::bind(&options).unwrap();
        let [candidate] = port.candidates()[..] else {
            panic!("one candidate")
        };
        assert_eq!(candidate.ip(), options.listen.ip());
        assert_ne!(candidate.port(), 0);

        let public = Options {
            public_addresses: vec!["192.0.2.1".parse().unwrap()],
            ..options
        };
        let port = Port::bind(&public).unwrap();
        assert_eq!(port.candidates()[0].ip(), public.public_addresses[0]);
    }
}
