//! The single UDP port of all sessions: routes incoming datagrams, and sends segmented.
//!
//! Each thread that sends much has a socket of its own, with the same address; the kernel spreads
//! the peers' datagrams over the sockets, and all are read.
//!
//! TCP connections can take its place, see `tcp`: then they lead to the same sessions.
//!
//! Knows STUN just well enough to find the session of a message; understands neither DTLS nor RTP.

mod addresses;
mod datagram;
mod ends;
mod families;
mod public;
mod reading;
mod routes;
mod socket;
pub(crate) mod stun;
mod tcp;
mod unsent;

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

pub use self::{
    addresses::LocalAddresses,
    ends::{AddressPair, RemoteEnd},
    public::Discovery,
    socket::{BufferSizes, Sent},
};
use self::{
    addresses::TcpAddresses,
    public::PublicAddresses,
    reading::{ReadTime, Receivers},
    routes::{Found, Offered, Routes},
    socket::{BUFFER_BYTES, PortSocket, ThreadPause, send_until},
    stun::Transaction,
    tcp::{TcpConnections, TcpReader},
};
pub(crate) use self::{
    datagram::Datagram,
    routes::{AddressRight, DatagramLimits, DatagramRoute},
    unsent::UnsentDatagrams,
};

/// How long media waits for room in the socket's buffer, from its arrival on. Longer than a keyframe
/// of 2 Mbit takes to a hundred viewers at 1 Gb/s; who sends it is behind by no more than this.
pub const SEND_PATIENCE: Duration = Duration::from_millis(250);
/// Characters in a local user name fragment: 48 random bits (RFC 8445 §5.3 asks for 24).
pub const UFRAG_CHARS: usize = 8;

/// Where the port listens and what it advertises to peers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Addresses to advertise besides the machine's own (NAT 1:1). Default: none.
    pub public_addresses: Vec<IpAddr>,
    /// Whether public addresses are advertised instead. Default: false.
    pub only_public: bool,
    /// Whether loopback addresses are advertised when `listen` is unspecified. Default: false.
    pub loopback: bool,
    /// Where connections are accepted that take the port's place, for [`Port::serve_tcp`]. Default:
    /// none.
    pub tcp: Vec<SocketAddr>,
}

impl Options {
    /// The defaults, at this address.
    pub const fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            public_addresses: Vec::new(),
            only_public: false,
            loopback: false,
            tcp: Vec::new(),
        }
    }
}

/// The port's counts so far.
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
    /// Datagrams dropped because their session had got too many, or checks from too many addresses.
    pub refused: AtomicU64,
    /// Panics of tasks that read a socket. Each cost the datagrams that had just been read.
    pub reader_panics: AtomicU64,
}

/// The UDP port shared by all sessions, and the socket that this handle sends from. Cheap to clone.
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
    public: PublicAddresses,
    only_public: bool,
    advertised_tcp: Vec<TcpAddresses>,
    connections: TcpConnections,
    buffers: BufferSizes,
    sessions: AtomicU64,
    routes: Mutex<Routes>,
    counters: PortCounters,
    receivers: Mutex<Receivers>,
    /// Sockets that should be read, and are not.
    unread: AtomicUsize,
}

impl Port {
    /// Binds the port.
    ///
    /// # Errors
    /// If the address cannot be bound, for example because the port is in use.
    pub fn bind(options: &Options) -> io::Result<Self> {
        Self::on(families::bind(options.listen, PortSocket::bind)?, options)
    }

    /// The port of a socket that another process has bound. If the system gives it no further
    /// sockets, all threads send through this one.
    ///
    /// # Errors
    /// If the system refuses to prepare it.
    pub fn adopt(socket: UdpSocket, options: &Options) -> io::Result<Self> {
        Self::on(PortSocket::adopt(socket)?, options)
    }

    fn on(socket: PortSocket, options: &Options) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let advertised = LocalAddresses::of_listener(local.ip(), options.loopback);
        let buffers = socket.buffer_sizes()?;
        let tcp = options.tcp.iter();
        let port = Self {
            shared: Arc::new(Shared {
                number: local.port(),
                advertised,
                public: PublicAddresses::new(options.public_addresses.clone()),
                only_public: options.only_public,
                advertised_tcp: tcp.map(|at| TcpAddresses::new(*at, options)).collect(),
                connections: TcpConnections::default(),
                buffers,
                sessions: AtomicU64::new(0),
                routes: Mutex::default(),
                counters: PortCounters::default(),
                receivers: Mutex::default(),
                unread: AtomicUsize::new(0),
            }),
            socket: Arc::new(socket),
        };
        port.read(Arc::clone(&port.socket));
        Ok(port)
    }

    /// The same port with a socket of its own to send from, if the system allows: what others send
    /// does not fill its buffer.
    ///
    /// # Errors
    /// If the system refuses a socket.
    pub fn with_own_socket(&self) -> io::Result<Self> {
        let socket = match self.socket.another() {
            Ok(socket) => Arc::new(socket),
            // The kernel lets only one user's sockets share a port (socket(7), SO_REUSEPORT).
            Err(error) if self.socket.is_adopted() && error.kind() == io::ErrorKind::AddrInUse => {
                tracing::debug!("all threads share the UDP socket that was passed");
                return Ok(self.clone());
            }
            Err(error) => return Err(error),
        };
        self.read(Arc::clone(&socket));
        Ok(Self {
            shared: Arc::clone(&self.shared),
            socket,
        })
    }

    /// TCP connections that are open.
    pub fn tcp_connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// The port's counts so far.
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
                    option,
                    granted,
                    "the kernel limits the UDP buffers: packets may be lost with many viewers. \
                     Set `sysctl -w {option}={BUFFER_BYTES}`"
                );
            }
        }
    }

    /// Number of datagrams one segmented send may carry: 1 where the kernel cannot segment.
    pub fn segments_max(&self) -> usize {
        self.socket.segments_max()
    }

    /// Sends `data` as datagrams of `segment` bytes each (the last may be shorter). A local address
    /// that the machine has lost is taken out of `ends`.
    pub fn send(&self, ends: &mut AddressPair, data: &[u8], segment: usize) -> Sent {
        self.count(match ends.remote.connection {
            Some(connection) => self.shared.connections.send(connection, data, segment),
            None => self.socket.send(ends, data, segment),
        })
    }

    /// Like [`Port::send`], but waits until `deadline` for room in the socket's buffer. Blocks the
    /// thread. Over TCP, nobody waits for a client.
    pub fn send_until(
        &self,
        deadline: Instant,
        ends: &mut AddressPair,
        data: &[u8],
        segment: usize,
    ) -> Sent {
        if ends.remote.connection.is_some() {
            return self.send(ends, data, segment);
        }
        let sent = send_until(deadline, &mut ThreadPause, || {
            self.socket.send(ends, data, segment)
        });
        self.count(sent)
    }

    /// Like [`Port::send`], for one who tries again: `None` if the socket's buffer is full, which is
    /// not counted. Over TCP, nobody waits for a client.
    pub(crate) fn try_send(
        &self,
        ends: &mut AddressPair,
        data: &[u8],
        segment: usize,
    ) -> Option<Sent> {
        if ends.remote.connection.is_some() {
            return Some(self.send(ends, data, segment));
        }
        let sent = self.socket.send(ends, data, segment);
        (sent != Sent::Full).then(|| self.count(sent))
    }

    /// Makes the buffer for datagrams on their way out this small.
    #[cfg(test)]
    pub(crate) fn limit_send_buffer(&self, bytes: usize) {
        self.socket.limit_send_buffer(bytes);
    }

    /// Counts sends that found no room in time.
    pub(crate) fn count_dropped(&self, sends: u64) {
        let dropped = &self.shared.counters.send_dropped;
        dropped.fetch_add(sends, Ordering::Relaxed);
    }

    fn count(&self, sent: Sent) -> Sent {
        let counters = &self.shared.counters;
        match sent {
            Sent::Taken => {}
            Sent::Full => self.count_dropped(1),
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
        self.routes().register(ufrag, route);
    }

    /// Datagrams with this user name fragment belong to nobody any more.
    pub(crate) fn forget_ufrag(&self, ufrag: [u8; UFRAG_CHARS]) {
        self.routes().forget_ufrag(ufrag);
    }

    /// From now on datagrams from `address` belong to this session, unless another one has a better
    /// right to it.
    pub(crate) fn bind_address(
        &self,
        address: RemoteEnd,
        route: &DatagramRoute,
        right: AddressRight,
        now: Instant,
    ) {
        self.routes().bind(address, route, right, now);
        if let Some(connection) = address.connection {
            self.shared.connections.bind(connection);
        }
    }

    /// Datagrams from `address` no longer belong to this session. If it is a connection of the
    /// session's own, the connection ends.
    pub(crate) fn release_address(&self, address: RemoteEnd, session: u64) {
        let released = self.routes().release(address, session);
        if let Some(connection) = address.connection
            && released
        {
            self.shared.connections.end(connection);
        }
    }

    /// The response to this request belongs to this session, wherever it comes from.
    pub(crate) fn expect_response(&self, transaction: Transaction, route: DatagramRoute) {
        self.routes().expect(transaction, route);
    }

    /// No response to this request is expected any more.
    pub(crate) fn forget_response(&self, transaction: Transaction) {
        self.routes().forget_transaction(transaction);
    }

    /// Counts a check refused because its session already has too many addresses.
    pub(crate) fn count_refused(&self) {
        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn routes(&self) -> std::sync::MutexGuard<'_, Routes> {
        self.shared
            .routes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries the datagrams of a client over this connection until it ends. `client` is the
    /// client's address, as far as it is known.
    ///
    /// # Errors
    /// If the client is in no session, or does not keep to the rules.
    pub async fn serve_tcp(&self, stream: TcpStream, client: SocketAddr) -> io::Result<()> {
        let connection = self.shared.connections.begin();
        let ends = AddressPair::from(RemoteEnd {
            address: client,
            connection: Some(connection.number),
        });
        connection.run(stream, TcpReader::new(self, ends)).await
    }

    /// Hands a datagram to its session.
    fn deliver(&self, ends: AddressPair, datagram: &[u8], read: ReadTime) {
        let Some(route) = self.route(ends, datagram, read.now) else {
            return;
        };
        match route.offer(ends, datagram, read.arrived) {
            Offered::Taken => {}
            Offered::TooMany => {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            }
            Offered::NoRoom => self.count_queue_dropped(),
        }
    }

    /// The session that takes a datagram. If none does, that is counted.
    fn route(&self, ends: AddressPair, datagram: &[u8], now: Instant) -> Option<DatagramRoute> {
        let counters = &self.shared.counters;
        let found = self.routes().find(ends.remote, datagram, now);
        let lost = match found {
            Found::Session(route) => return Some(route),
            Found::Refused => &counters.refused,
            Found::Unknown => &counters.unknown,
        };
        lost.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Counts a datagram dropped because its session had no room for it.
    fn count_queue_dropped(&self) {
        let dropped = &self.shared.counters.queue_dropped;
        dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_address_is_advertised() {
        let options = Options::at("127.0.0.1:0".parse().unwrap());
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
        let ips = |port: Port| -> Vec<IpAddr> {
            port.candidates().into_iter().map(|at| at.ip()).collect()
        };
        let both = [public.public_addresses[0], public.listen.ip()];
        assert_eq!(ips(port), both);
        let only_public = Options {
            only_public: true,
            ..public
        };
        assert_eq!(ips(Port::bind(&only_public).unwrap()), both[..1]);
    }
}
