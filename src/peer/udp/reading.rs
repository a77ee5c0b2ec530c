//! The tasks that read the port's sockets.

use std::{
    io::{self, IoSliceMut},
    panic::AssertUnwindSafe,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt as _;
use quinn_udp::{BATCH_SIZE, RecvMeta};
use tokio::{io::Interest, runtime::Handle, task::JoinSet};

use super::{Port, socket::PortSocket};
use crate::awake;

/// The most the kernel hands over in one piece: one datagram, or several joined by GRO, in bytes.
const RECEIVE_BYTES: usize = 65_535;
/// Pause before a socket is read again that could not be read.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// The same after a panic. Meanwhile datagrams wait in the socket's buffer.
const PANIC_PAUSE: Duration = Duration::from_millis(1);

/// A datagram has not waited longer in the socket's buffer: the system's clock was set meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The clocks at the moment of a read.
struct Clocks {
    now: Instant,
    awake: Instant,
    /// Since the epoch, as the kernel's.
    system: Duration,
}

impl Clocks {
    fn now() -> Self {
        Self {
            now: Instant::now(),
            awake: awake::now(),
            system: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
        }
    }

    /// When a datagram was read that came to the kernel at this time.
    fn read(&self, timestamp: Option<Duration>) -> ReadTime {
        let waited = timestamp.and_then(|time| self.system.checked_sub(time));
        let waited = waited.filter(|waited| *waited < WAIT_MAX);
        let arrived = self.awake.checked_sub(waited.unwrap_or_default());
        ReadTime {
            now: self.now,
            arrived: arrived.unwrap_or(self.awake),
        }
    }
}

/// When a datagram was read.
#[derive(Clone, Copy)]
pub(super) struct ReadTime {
    pub(super) now: Instant,
    /// When the kernel got it, on the clock of [`awake`]. Feedback for congestion control reports this
    /// time: on a busy machine, datagrams wait in the socket's buffer.
    pub(super) arrived: Instant,
}

/// The tasks that read the sockets. They hold the port, so [`Port::stop`] has to end them.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    tasks: JoinSet<()>,
    /// Sockets that nobody reads yet, because the port has not been started.
    waiting: Vec<Arc<PortSocket>>,
    /// Where the tasks run, once the port has been started.
    runtime: Option<Handle>,
}

impl Port {
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

    /// Whether every socket is read; if not, some clients are not heard.
    pub fn is_read(&self) -> bool {
        self.shared.unread.load(Relaxed) == 0
    }

    /// Reads a socket, from the start of the port on.
    pub(super) fn read(&self, socket: Arc<PortSocket>) {
        let mut receivers = self.receivers();
        let Some(runtime) = receivers.runtime.clone() else {
            receivers.waiting.push(socket);
            return;
        };
        let port = self.clone();
        let read = async move { port.keep_reading(&socket).await };
        receivers.tasks.spawn_on(read, &runtime);
    }

    fn receivers(&self) -> MutexGuard<'_, Receivers> {
        let receivers = self.shared.receivers.lock();
        receivers.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a socket forever. Whatever goes wrong, it is read again.
    async fn keep_reading(&self, socket: &PortSocket) {
        loop {
            let received = AssertUnwindSafe(self.receive(socket)).catch_unwind();
            let pause = if let Ok(error) = received.await {
                tracing::error!(%error, "cannot read the UDP port");
                ERROR_PAUSE
            } else {
                tracing::error!("task that reads the UDP port panicked: it starts over");
                self.counters().reader_panics.fetch_add(1, Relaxed);
                PANIC_PAUSE
            };
            self.shared.unread.fetch_add(1, Relaxed);
            tokio::time::sleep(pause).await;
            self.shared.unread.fetch_sub(1, Relaxed);
        }
    }

    /// Receives until the runtime cannot watch the socket. Errors of single receives are counted by
    /// the kernel and ignored: an ICMP error of one peer must not stop the others.
    async fn receive(&self, socket: &PortSocket) -> io::Error {
        let watched = match socket.watched() {
            Ok(watched) => watched,
            Err(error) => return error,
        };
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
            let clocks = Clocks::now();
            for (meta, slice) in metas.iter().zip(&slices).take(count) {
                let read = clocks.read(meta.timestamp);
                let data = slice.get(..meta.len).unwrap_or_default();
                let ends = socket.ends_of(meta);
                for datagram in data.chunks(meta.stride.max(1)) {
                    self.deliver(ends, datagram, read);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use tokio::{sync::mpsc, time::timeout};

    use super::*;
    use crate::peer::udp::{
        AddressRight, Datagram, DatagramLimits, DatagramRoute, Options, RemoteEnd,
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A client whose datagrams go to `take`.
    fn client(port: &Port, take: impl Fn(Datagram) -> bool + Send + Sync + 'static) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let session = port.next_session();
        let route = DatagramRoute::new(session, DatagramLimits::PUBLISHER, take);
        let from = RemoteEnd::from(socket.local_addr().unwrap());
        port.bind_address(from, &route, AddressRight::Proven, Instant::now());
        socket.connect(port.candidates()[0]).unwrap();
        socket
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_over_one_session_costs_the_others_a_moment() {
        let port = Port::bind(&Options::at("127.0.0.1:0".parse().unwrap())).unwrap();
        port.start();
        let (told, mut heard) = mpsc::channel(100);
        let bad = client(&port, |_| panic!("as told by a test"));
        let good = client(&port, move |_| told.try_send(()).is_ok());
        // Media, as far as the port knows.
        let datagram = [0x80; 20];
        let panics = || port.counters().reader_panics.load(Relaxed);
        for number in 1..=5 {
            bad.send(&datagram).unwrap();
            let seen = async {
                while panics() < number {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(PATIENCE, seen).await.expect("it is noticed");
            good.send(&datagram).unwrap();
            timeout(PATIENCE, heard.recv())
                .await
                .expect("the port is read again")
                .unwrap();
        }
        assert!(port.is_read());
        port.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn datagrams_arrive_when_the_kernel_gets_them() {
        const WAIT: Duration = Duration::from_millis(60);
        let port = Port::bind(&Options::at("127.0.0.1:0".parse().unwrap())).unwrap();
        let (told, mut heard) = mpsc::channel(100);
        let client = client(&port, move |datagram| {
            told.try_send(datagram.arrived).is_ok()
        });
        let before = awake::now();
        client.send(&[0x80; 20]).unwrap();
        tokio::time::sleep(WAIT / 2).await;
        client.send(&[0x80; 20]).unwrap();
        let sent = awake::now();
        tokio::time::sleep(WAIT).await;
        port.start();
        let mut arrived = Vec::new();
        while arrived.len() < 2 {
            arrived.push(timeout(PATIENCE, heard.recv()).await.unwrap().unwrap());
        }
        port.stop().await;
        // The clock of the timestamps runs a little differently.
        let slack = Duration::from_millis(5);
        assert!(arrived[0] + slack >= before && arrived[1] <= sent + slack);
        assert!(arrived[1] - arrived[0] + slack >= WAIT / 2, "{arrived:?}");
    }

    #[test]
    fn a_clock_that_was_set_changes_no_time() {
        let clocks = Clocks::now();
        let long = 2 * WAIT_MAX;
        for timestamp in [
            None,
            Some(clocks.system + long),
            Some(clocks.system.saturating_sub(long)),
        ] {
            assert_eq!(clocks.read(timestamp).arrived, clocks.awake);
        }
    }
}
