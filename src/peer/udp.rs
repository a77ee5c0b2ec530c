//! The direct engine's single UDP port: routes incoming datagrams, and sends segmented.
//!
//! Knows STUN just well enough to distinguish sessions by the user name fragment; understands
//! neither DTLS nor RTP.

use std::{
    collections::HashMap,
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::{io::Interest, task::JoinSet};

/// Wanted size of the socket's buffers in bytes; the kernel may grant less (`net.core.wmem_max`).
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
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

/// A datagram and where it came from.
pub(crate) type Datagram = (SocketAddr, Vec<u8>);

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
    /// Datagrams or frames' worth of segments the kernel did not take at once.
    pub send_dropped: AtomicU64,
    /// Datagrams dropped because their session's queue was full.
    pub queue_dropped: AtomicU64,
}

/// One UDP socket shared by all sessions of the direct engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Port {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    state: UdpSocketState,
    candidates: Vec<SocketAddr>,
    sessions: AtomicU64,
    /// An IPv6 socket carries IPv4 peers as mapped addresses (RFC 4291 §2.5.5.2).
    ipv6: bool,
    routes: Mutex<Routes>,
    counters: PortCounters,
    /// The receiving task; it holds the port, so [`Port::stop`] has to end it.
    receiver: Mutex<JoinSet<()>>,
}

impl Port {
    /// Binds the port.
    ///
    /// # Errors
    /// If the address cannot be bound, for example because the port is in use.
    pub fn bind(options: &Options) -> io::Result<Self> {
        let socket = UdpSocket::bind(options.listen)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // A small buffer only costs burst tolerance: keep what the system gives.
        for result in [
            state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER_BYTES),
            state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER_BYTES),
        ] {
            if let Err(error) = result {
                tracing::debug!(%error, "socket buffer stays at the system's size");
            }
        }
        let local = socket.local_addr()?;
        let candidates = advertised(options, local)?;
        Ok(Self {
            shared: Arc::new(Shared {
                socket,
                state,
                candidates,
                sessions: AtomicU64::new(0),
                ipv6: local.is_ipv6(),
                routes: Mutex::default(),
                counters: PortCounters::default(),
                receiver: Mutex::default(),
            }),
        })
    }

    /// The host candidates to put into answers, best first.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        self.shared.candidates.clone()
    }

    /// What the port has counted so far.
    pub fn counters(&self) -> &PortCounters {
        &self.shared.counters
    }

    /// The address that sessions give as their own towards `peer`. It does not matter at which of
    /// the advertised addresses a datagram really arrived: all are the same socket.
    pub(crate) fn local(&self, peer: SocketAddr) -> Option<SocketAddr> {
        self.shared
            .candidates
            .iter()
            .find(|own| own.is_ipv4() == peer.is_ipv4())
            .copied()
    }

    /// Number of datagrams one segmented send may carry: 1 where the kernel cannot segment.
    pub fn segments_max(&self) -> usize {
        self.shared.state.max_gso_segments()
    }

    /// Sends `data` as datagrams of `segment` bytes each (the last may be shorter). Returns false
    /// if the kernel took none of it; a live stream does not wait: the frame is lost.
    pub fn send(&self, to: SocketAddr, data: &[u8], segment: usize) -> bool {
        let destination = match to.ip() {
            IpAddr::V4(ip) if self.shared.ipv6 => {
                SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), to.port())
            }
            IpAddr::V4(_) | IpAddr::V6(_) => to,
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: data,
            segment_size: (data.len() > segment).then_some(segment),
            src_ip: None,
        };
        let sent = self
            .shared
            .state
            .try_send(UdpSockRef::from(&self.shared.socket), &transmit)
            .inspect_err(|error| tracing::trace!(%error, %to, "datagram not sent"))
            .is_ok();
        if !sent {
            self.shared
                .counters
                .send_dropped
                .fetch_add(1, Ordering::Relaxed);
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
        let port = self.clone();
        self.receiver().spawn(async move {
            if let Err(error) = port.receive().await {
                tracing::error!(%error, "cannot read the UDP port");
            }
        });
    }

    /// Stops receiving.
    pub async fn stop(&self) {
        let mut receiver = std::mem::take(&mut *self.receiver());
        receiver.shutdown().await;
    }

    fn receiver(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        let receiver = self.shared.receiver.lock();
        receiver.unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives for ever. Errors of single receives are counted by the kernel and ignored: an ICMP
    /// error of one peer must not stop the others.
    ///
    /// # Errors
    /// If the socket cannot be watched by the runtime.
    async fn receive(&self) -> io::Result<()> {
        let watched = tokio::net::UdpSocket::from_std(self.shared.socket.try_clone()?)?;
        let mut buffers = vec![0; RECEIVE_BYTES * BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        loop {
            let mut slices: Vec<IoSliceMut<'_>> = buffers
                .chunks_mut(RECEIVE_BYTES)
                .map(IoSliceMut::new)
                .collect();
            let received = watched
                .async_io(Interest::READABLE, || {
                    self.shared.state.recv(
                        UdpSockRef::from(&self.shared.socket),
                        &mut slices,
                        &mut metas,
                    )
                })
                .await;
            let Ok(count) = received else {
                tokio::task::yield_now().await;
                continue;
            };
            for (meta, slice) in metas.iter().zip(&slices).take(count) {
                let data = slice.get(..meta.len).unwrap_or_default();
                let source = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
                for datagram in data.chunks(meta.stride.max(1)) {
                    let Some(route) = self.route(source, datagram) else {
                        self.shared.counters.unknown.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    if !(route.deliver)((source, datagram.to_vec())) {
                        self.shared
                            .counters
                            .queue_dropped
                            .fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

/// The addresses to advertise for a socket bound to `local`.
fn advertised(options: &Options, local: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    let port = local.port();
    if !options.public_addresses.is_empty() {
        return Ok(options
            .public_addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect());
    }
    if !local.ip().is_unspecified() {
        return Ok(vec![local]);
    }
    let mut addresses: Vec<IpAddr> = local_addresses()?
        .into_iter()
        .filter(|ip| ip.is_ipv4() || local.is_ipv6())
        .filter(|ip| options.loopback || !ip.is_loopback())
        .collect();
    // Real interfaces first: FFmpeg takes the first host candidate only.
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    if addresses.is_empty() {
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port))
        .collect())
}

/// The machine's addresses that a peer could reach: no link-local ones.
///
/// # Errors
/// If the system does not list its interfaces.
pub fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    Ok(if_addrs::get_if_addrs()?
        .into_iter()
        .map(|i| i.ip())
        .filter(usable)
        .collect())
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
