//! One socket of the port: its buffers, and segmented sends from a chosen address.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::ends::AddressPair;

/// Wanted size of a socket's buffers in bytes: 33 ms at 1 Gb/s. The kernel may grant less
/// (`net.core.wmem_max`, `net.core.rmem_max`).
pub(super) const BUFFER_BYTES: usize = 4 << 20;
/// Pause between two tries of a send that finds the buffer full; at 1 Gb/s it makes room for 20
/// packets.
pub(super) const RETRY_PAUSE: Duration = Duration::from_micros(250);

/// The outcome of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has taken it.
    Taken,
    /// The socket's buffer is full.
    Full,
    /// It cannot be sent, for example because there is no route: lost, as in the network.
    Failed,
}

/// Sizes of a socket's buffers in bytes, as granted by the kernel.
#[derive(Clone, Copy, Debug)]
pub struct BufferSizes {
    /// For datagrams on their way out.
    pub send: usize,
    /// For datagrams not yet read.
    pub receive: usize,
}

#[derive(Debug)]
pub(super) struct PortSocket {
    socket: UdpSocket,
    /// Replaced when it has drawn a wrong conclusion, see [`PortSocket::send`].
    state: RwLock<UdpSocketState>,
    /// An IPv6 socket carries IPv4 peers as mapped addresses (RFC 4291 §2.5.5.2).
    ipv6: bool,
    /// Bound to every address of the machine: a datagram's own address matters.
    unspecified: bool,
    /// Another process has bound it.
    adopted: bool,
}

impl PortSocket {
    /// The first socket of a port. Others can join it, but only while it is open; the address must
    /// be free. `[::]` is every address of both families.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // Whatever the system's default is (net.ipv6.bindv6only).
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.bind(&address.into())?;
        // Only now: before, it would let a second server share the port by mistake.
        socket.set_reuse_port(true)?;
        Self::new(socket.into(), false)
    }

    /// A socket that another process has bound. Others can join it if that process has the same user.
    pub(super) fn adopt(socket: UdpSocket) -> io::Result<Self> {
        SockRef::from(&socket).set_reuse_port(true)?;
        Self::new(socket, true)
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// One more socket with the same address.
    pub(super) fn another(&self) -> io::Result<Self> {
        let address = self.local_addr()?;
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(SockRef::from(&self.socket).only_v6()?)?;
        }
        socket.bind(&address.into())?;
        Self::new(socket.into(), false)
    }

    fn new(socket: UdpSocket, adopted: bool) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // The kernel takes what its limit allows. A small buffer only costs burst tolerance.
        for result in [
            state.set_send_buffer_size(UdpSockRef::from(&socket), BUFFER_BYTES),
            state.set_recv_buffer_size(UdpSockRef::from(&socket), BUFFER_BYTES),
        ] {
            if let Err(error) = result {
                tracing::debug!(%error, "socket buffer stays at the system's size");
            }
        }
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            state: RwLock::new(state),
            ipv6: address.is_ipv6(),
            unspecified: address.ip().is_unspecified(),
            adopted,
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Linux reports twice the usable size (socket(7)).
    pub(super) fn buffer_sizes(&self) -> io::Result<BufferSizes> {
        let socket = SockRef::from(&self.socket);
        Ok(BufferSizes {
            send: socket.send_buffer_size()? / 2,
            receive: socket.recv_buffer_size()? / 2,
        })
    }

    /// Makes the buffer for datagrams on their way out this small.
    #[cfg(test)]
    pub(super) fn limit_send_buffer(&self, bytes: usize) {
        SockRef::from(&self.socket)
            .set_send_buffer_size(bytes)
            .unwrap();
    }

    /// The same socket, for the runtime to watch.
    pub(super) fn watched(&self) -> io::Result<tokio::net::UdpSocket> {
        tokio::net::UdpSocket::from_std(self.socket.try_clone()?)
    }

    pub(super) fn recv(
        &self,
        slices: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.state()
            .recv(UdpSockRef::from(&self.socket), slices, metas)
    }

    /// The two ends of a datagram just received.
    pub(super) fn ends_of(&self, meta: &RecvMeta) -> AddressPair {
        let local = if self.unspecified { meta.dst_ip } else { None };
        AddressPair {
            remote: SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port()).into(),
            local: local.map(|ip| ip.to_canonical()),
        }
    }

    pub(super) fn segments_max(&self) -> usize {
        self.state().max_gso_segments()
    }

    /// Sends `data` as datagrams of `segment` bytes each (the last may be shorter). If the machine
    /// has lost the pair's local address, forgets it: the kernel chooses from now on.
    pub(super) fn send(&self, ends: &mut AddressPair, data: &[u8], segment: usize) -> Sent {
        match self.transmit(*ends, data, segment) {
            Ok(()) => Sent::Taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::Full,
            Err(error) => self.send_otherwise(ends, data, segment, &error),
        }
    }

    /// Finds out what is wrong with a send that has failed, and does without. An error of one
    /// peer's must not cost the others anything: quinn-udp takes every EINVAL for a refusal of
    /// segmentation, and would do without it for all of them.
    #[cold]
    fn send_otherwise(
        &self,
        ends: &mut AddressPair,
        data: &[u8],
        segment: usize,
        error: &io::Error,
    ) -> Sent {
        let is_invalid = error.kind() == ErrorKind::InvalidInput;
        // Linux says so of a source address that is none of the machine's: EINVAL for IPv6 and in
        // older kernels, ENETUNREACH for IPv4.
        if ends.local.is_some() && (is_invalid || error.kind() == ErrorKind::NetworkUnreachable) {
            let anywhere = AddressPair::from(ends.remote);
            if self.transmit(anywhere, data, segment).is_ok() {
                *ends = anywhere;
                self.renew_state();
                return Sent::Taken;
            }
        }
        if is_invalid {
            let mut datagrams = data.chunks(segment.max(1));
            if datagrams.all(|datagram| self.transmit(*ends, datagram, segment).is_ok()) {
                return Sent::Taken; // segmentation it was
            }
            self.renew_state();
        }
        tracing::trace!(%error, to = %ends.remote.address, "datagram not sent");
        Sent::Failed
    }

    fn transmit(&self, ends: AddressPair, data: &[u8], segment: usize) -> io::Result<()> {
        let AddressPair { remote, local } = ends;
        let remote = remote.address;
        let destination = match remote.ip() {
            IpAddr::V4(ip) if self.ipv6 => {
                SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), remote.port())
            }
            IpAddr::V4(_) | IpAddr::V6(_) => remote,
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: data,
            segment_size: (data.len() > segment).then_some(segment),
            src_ip: local,
        };
        self.state()
            .try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    fn renew_state(&self) {
        match UdpSocketState::new(UdpSockRef::from(&self.socket)) {
            Ok(state) => *self.state.write().unwrap_or_else(PoisonError::into_inner) = state,
            Err(error) => tracing::debug!(%error, "segmented sends stay off"),
        }
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, UdpSocketState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock: the thread's own clock and sleep, or a test's.
pub(super) trait Pause {
    fn now(&self) -> Instant;
    fn sleep(&mut self, time: Duration);
}

/// Real time.
pub(super) struct ThreadPause;

impl Pause for ThreadPause {
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a worker has a thread of its own"
    )]
    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Tries again while the buffer is full, until `deadline`; tries at least once.
pub(super) fn send_until(
    deadline: Instant,
    pause: &mut impl Pause,
    mut attempt: impl FnMut() -> Sent,
) -> Sent {
    loop {
        let outcome = attempt();
        if outcome != Sent::Full || pause.now() >= deadline {
            return outcome;
        }
        pause.sleep(RETRY_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{add_to_loopback, ip, run_in_namespace, slow_loopback_down};

    /// How long a datagram may take over loopback.
    const PATIENCE: Duration = Duration::from_secs(10);

    struct Virtual(Instant);

    impl Pause for Virtual {
        fn now(&self) -> Instant {
            self.0
        }

        fn sleep(&mut self, time: Duration) {
            self.0 += time;
        }
    }

    fn socket(address: &str) -> PortSocket {
        PortSocket::bind(address.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_send_that_finds_no_room_is_tried_again_until_its_deadline() {
        let begin = Instant::now();
        let patience = RETRY_PAUSE * 10;
        let mut time = Virtual(begin);
        let mut refusals = 4;
        let sent = send_until(begin + patience, &mut time, || {
            if refusals == 0 {
                return Sent::Taken;
            }
            refusals -= 1;
            Sent::Full
        });
        assert_eq!(sent, Sent::Taken);
        assert_eq!(time.0, begin + RETRY_PAUSE * 4);

        let mut tries = 0;
        let sent = send_until(begin + patience, &mut time, || {
            tries += 1;
            Sent::Full
        });
        assert_eq!((sent, tries), (Sent::Full, 7));
        assert_eq!(time.0, begin + patience);

        // What is late already gets one try, so that a worker catches up.
        tries = 0;
        send_until(begin, &mut time, || {
            tries += 1;
            Sent::Full
        });
        assert_eq!(tries, 1);
    }

    #[test]
    fn unsendable_packets_are_not_retried() {
        let begin = Instant::now();
        let mut time = Virtual(begin);
        let sent = send_until(begin + RETRY_PAUSE, &mut time, || Sent::Failed);
        assert_eq!((sent, time.0), (Sent::Failed, begin));
    }

    #[test]
    fn a_port_in_use_is_refused_although_its_owner_has_several_sockets() {
        let first = socket("127.0.0.1:0");
        let address = first.local_addr().unwrap();
        let second = first.another().unwrap();
        assert_eq!(second.local_addr().unwrap(), address);
        for _ in 0..2 {
            assert_eq!(
                PortSocket::bind(address).unwrap_err().kind(),
                ErrorKind::AddrInUse
            );
        }
    }

    #[test]
    fn a_lost_address_costs_nobody_segmentation() {
        for (listen, here, lost) in [
            ("0.0.0.0:0", "127.0.0.1:0", "192.0.2.1"),
            ("[::]:0", "127.0.0.1:0", "192.0.2.1"),
            ("[::]:0", "[::1]:0", "2001:db8::1"),
        ] {
            let socket = socket(listen);
            let segments = socket.segments_max();
            let peer = UdpSocket::bind(here).unwrap();
            let mut ends = AddressPair {
                remote: peer.local_addr().unwrap().into(),
                local: Some(lost.parse().unwrap()),
            };
            assert_eq!(socket.send(&mut ends, &[1; 300], 100), Sent::Taken);
            assert_eq!(ends.local, None, "the kernel chooses from now on");
            assert_eq!(socket.segments_max(), segments);
            let mut buffer = [0; 200];
            for _ in 0..3 {
                assert_eq!(peer.recv(&mut buffer).unwrap(), 100);
            }
        }
    }

    #[test]
    fn an_ipv6_address_other_than_the_first_is_answered_from() {
        run_in_namespace("peer::udp::socket::tests::inside_a_namespace_with_ipv6");
    }

    #[test]
    #[ignore = "adds addresses: run by `an_ipv6_address_other_than_the_first_is_answered_from`"]
    fn inside_a_namespace_with_ipv6() {
        ip("link set lo up");
        add_to_loopback("fd77::1");
        add_to_loopback("fd77::2");
        let port = socket("[::]:0");
        let number = port.local_addr().unwrap().port();
        let peer = UdpSocket::bind("[::]:0").unwrap();
        // Loopback, too, may take a moment.
        for socket in [&port.socket, &peer] {
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        for here in ["fd77::1", "fd77::2", "::1"] {
            let here: IpAddr = here.parse().unwrap();
            peer.send_to(b"check", (here, number)).unwrap();
            let (mut buffer, mut metas) = ([0; 100], [RecvMeta::default()]);
            let received = port.recv(&mut [IoSliceMut::new(&mut buffer)], &mut metas);
            assert_eq!(received.unwrap(), 1);
            let mut ends = port.ends_of(&metas[0]);
            assert_eq!(ends.local, Some(here));
            assert_eq!(port.send(&mut ends, b"answer", 6), Sent::Taken);
            let (_, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!(from, SocketAddr::new(here, number));
        }
    }

    #[test]
    fn nothing_is_lost_to_a_queue_that_fills_up() {
        run_in_namespace("peer::udp::socket::tests::inside_a_namespace_with_a_slow_queue");
    }

    #[test]
    #[ignore = "slows loopback down: run by `nothing_is_lost_to_a_queue_that_fills_up`"]
    fn inside_a_namespace_with_a_slow_queue() {
        const FRAMES: usize = 30;
        const BATCHES: usize = 8;
        const SEGMENT: usize = 1200;
        const SEGMENTS: usize = 10;
        /// Half of what a frame takes. The queue holds more: only the socket's buffer refuses.
        const BUFFER: usize = 48 << 10;
        ip("link set lo up");
        slow_loopback_down();
        let socket = socket("127.0.0.1:0");
        socket.limit_send_buffer(BUFFER);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        SockRef::from(&peer)
            .set_recv_buffer_size(BUFFER_BYTES)
            .unwrap();
        let mut ends = AddressPair::from(peer.local_addr().unwrap());
        let (mut refusals, mut came) = (0, 0);
        let mut buffer = [0; 2 * SEGMENT];
        for _ in 0..FRAMES {
            let deadline = Instant::now() + Duration::from_millis(250);
            for _ in 0..BATCHES {
                let sent = send_until(deadline, &mut ThreadPause, || {
                    let sent = socket.send(&mut ends, &[1; SEGMENT * SEGMENTS], SEGMENT);
                    refusals += usize::from(sent == Sent::Full);
                    sent
                });
                assert_eq!(sent, Sent::Taken);
                peer.set_nonblocking(true).unwrap();
                while peer.recv(&mut buffer).is_ok() {
                    came += 1;
                }
            }
        }
        assert!(refusals > FRAMES, "{refusals} refusals");
        peer.set_nonblocking(false).unwrap();
        while came < FRAMES * BATCHES * SEGMENTS {
            peer.recv(&mut buffer).unwrap();
            came += 1;
        }
    }

    #[test]
    fn peers_without_a_route_cost_nobody_segmentation() {
        run_in_namespace("peer::udp::socket::tests::inside_a_namespace");
    }

    #[test]
    #[ignore = "changes routes: run by `peers_without_a_route_cost_nobody_segmentation`"]
    fn inside_a_namespace() {
        ip("link set lo up");
        ip("route add blackhole 10.77.0.1"); // EINVAL
        ip("route add unreachable 10.77.0.2"); // EHOSTUNREACH
        ip("route add prohibit 10.77.0.3"); // EACCES
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        for listen in ["0.0.0.0:0", "[::]:0"] {
            let socket = socket(listen);
            let segments = socket.segments_max();
            for last in 1..5 {
                let remote = SocketAddr::from(([10, 77, 0, last], 9));
                for local in [None, Some(IpAddr::from([127, 0, 0, 1]))] {
                    let remote = remote.into();
                    let mut ends = AddressPair { remote, local };
                    let sent = socket.send(&mut ends, &[1; 300], 100);
                    assert_eq!((sent, ends.local), (Sent::Failed, local), "{remote:?}");
                }
            }
            assert_eq!(socket.segments_max(), segments);
            let mut ends = AddressPair::from(here.local_addr().unwrap());
            assert_eq!(socket.send(&mut ends, &[1; 300], 100), Sent::Taken);
        }
    }
}
