//! A bad network: a UDP relay on loopback between one client and the server, which loses, delays,
//! reorders and repeats datagrams as configured. It treats the n-th datagram of a direction the
//! same way in every run. It can reach the server over TCP, for clients without.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::far::FarEnd;
use crate::rtc::clip::AUDIO;

/// Datagrams in flight in one direction; any beyond that are lost.
const QUEUE_MAX: usize = 10_000;
/// How often commands are checked.
const TICK: Duration = Duration::from_millis(20);
/// How much earlier a datagram arrives that overtakes others.
const OVERTAKING: Duration = Duration::from_millis(30);

/// What happens to datagrams in either direction. Shares are in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    pub(crate) lost: u32,
    /// How many are lost in a row; 0 means 1.
    pub(crate) burst: u32,
    pub(crate) overtaking: u32,
    pub(crate) twice: u32,
    /// Milliseconds, one way.
    pub(crate) delay: u64,
    /// Up to this many milliseconds more, without changing the order.
    pub(crate) jitter: u32,
}

/// A running relay. Dropping it stops it.
pub(crate) struct Relay {
    address: SocketAddr,
    way: Arc<Way>,
    threads: Vec<JoinHandle<()>>,
}

struct Way {
    path: Path,
    seen: IpAddr,
    /// Reaches the server over TCP.
    tcp: bool,
    near: Arc<UdpSocket>,
    far: Mutex<Arc<FarEnd>>,
    client: Mutex<Option<SocketAddr>>,
    server: Mutex<Option<SocketAddr>>,
    blackout: AtomicBool,
    deaf: AtomicBool,
    quit: AtomicBool,
    /// Packets of sound and of pictures (retransmissions included) that were lost.
    sounds: AtomicU64,
    pictures: AtomicU64,
}

impl Relay {
    pub(crate) fn start(path: Path) -> Self {
        Self::start_as(path, Ipv4Addr::LOCALHOST.into())
    }

    /// The server sees the client at this address, and is reached at one of the same family.
    pub(crate) fn start_as(path: Path, seen: IpAddr) -> Self {
        Self::start_over(path, seen, false)
    }

    /// The server is reached over TCP.
    pub(crate) fn start_tcp() -> Self {
        Self::start_over(Path::default(), Ipv4Addr::LOCALHOST.into(), true)
    }

    fn start_over(path: Path, seen: IpAddr, tcp: bool) -> Self {
        let near = socket();
        let address = near.local_addr().unwrap();
        let way = Arc::new(Way {
            path,
            seen,
            tcp,
            near: Arc::new(near),
            far: Mutex::new(Arc::new(FarEnd::udp(seen))),
            client: Mutex::default(),
            server: Mutex::default(),
            blackout: AtomicBool::default(),
            deaf: AtomicBool::default(),
            quit: AtomicBool::default(),
            sounds: AtomicU64::default(),
            pictures: AtomicU64::default(),
        });
        let threads = [true, false].map(|up| {
            let direction = Direction::new(Arc::clone(&way), up);
            thread::spawn(move || direction.run())
        });
        Self {
            address,
            way,
            threads: threads.into(),
        }
    }

    /// The offer without the client's own addresses: the server could reach them past the relay.
    pub(crate) fn offer(offer: &str) -> String {
        offer
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with("a=candidate:"))
            .collect()
    }

    /// The answer with the relay's address instead of the server's.
    pub(crate) fn answer(&self, answer: &str) -> String {
        let relayed = |line: &str| -> Option<String> {
            if !line.starts_with("a=candidate:") {
                return Some(line.to_owned());
            }
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let ip: IpAddr = words[4].parse().unwrap();
            let is_reached = ip.is_loopback() && ip.is_ipv4() == self.way.seen.is_ipv4();
            if !is_reached || words[2].eq_ignore_ascii_case("tcp") != self.way.tcp {
                return None;
            }
            let server = SocketAddr::new(ip, words[5].parse().unwrap());
            *self.way.server.lock().unwrap() = Some(server);
            words[4] = self.address.ip().to_string();
            words[5] = self.address.port().to_string();
            if self.way.tcp {
                *self.way.far.lock().unwrap() = Arc::new(FarEnd::tcp(server));
                "udp".clone_into(&mut words[2]);
                words.truncate(8);
                words[7] += "\r\n";
            }
            Some(words.join(" "))
        };
        let answer = answer.split_inclusive("\r\n").filter_map(relayed).collect();
        assert!(self.way.server.lock().unwrap().is_some(), "{answer}");
        answer
    }

    /// Leaves what the server sends from now on where it is.
    pub(crate) fn stop_reading(&self) {
        self.way.deaf.store(true, Relaxed);
    }

    pub(crate) fn set_blackout(&self, dark: bool) {
        self.way.blackout.store(dark, Relaxed);
    }

    /// Makes the server see the client at a new address, as after a change of network.
    pub(crate) fn rebind(&self) {
        *self.way.far.lock().unwrap() = Arc::new(FarEnd::udp(self.way.seen));
    }

    /// Packets lost so far: of sound, and of pictures.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let Way {
            sounds, pictures, ..
        } = &*self.way;
        (sounds.load(Relaxed), pictures.load(Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.way.quit.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // Err: it has panicked, which the test has noticed as a dead network.
            let _ = thread.join();
        }
    }
}

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// One direction, on a thread of its own.
struct Direction {
    way: Arc<Way>,
    /// From the client to the server.
    up: bool,
    random: Random,
    losing: u32,
    /// Datagrams that stay in order arrive no earlier than this.
    until: Instant,
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    number: u64,
}

impl Direction {
    fn new(way: Arc<Way>, up: bool) -> Self {
        Self {
            way,
            up,
            random: Random(u64::from(up)),
            losing: 0,
            until: Instant::now(),
            under_way: BTreeMap::new(),
            number: 0,
        }
    }

    fn run(mut self) {
        let mut buffer = [0; 2000];
        while !self.way.quit.load(Relaxed) {
            let now = Instant::now();
            let due = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let wait = due.map_or(TICK, |due| due.saturating_duration_since(now));
            let wait = wait.clamp(Duration::from_millis(1), TICK);
            if self.up {
                let near = Arc::clone(&self.way.near);
                near.set_read_timeout(Some(wait)).unwrap();
                // Err: nothing has arrived, or the client is gone.
                if let Ok((length, source)) = near.recv_from(&mut buffer) {
                    *self.way.client.lock().unwrap() = Some(source);
                    self.take(&buffer[..length]);
                }
            } else if self.way.deaf.load(Relaxed) {
                thread::sleep(wait);
            } else {
                let far = Arc::clone(&self.way.far.lock().unwrap());
                if let Some(length) = far.receive(&mut buffer, wait) {
                    self.take(&buffer[..length]);
                }
            }
            self.send_due();
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let path = self.way.path;
        let burst = path.burst.max(1);
        if self.losing == 0 && self.random.below(1000 * burst) < path.lost {
            self.losing = burst;
        }
        let unlucky = self.losing > 0;
        self.losing = self.losing.saturating_sub(1);
        let dark = self.way.blackout.load(Relaxed);
        if unlucky || dark || self.under_way.len() >= QUEUE_MAX {
            self.count_lost(datagram);
            return;
        }
        let jitter = self.random.below(path.jitter + 1);
        let now = Instant::now();
        let mut at = now + Duration::from_millis(path.delay + u64::from(jitter));
        if self.random.below(1000) < path.overtaking {
            at = at.checked_sub(OVERTAKING).map_or(now, |at| at.max(now));
        } else {
            at = at.max(self.until);
            self.until = at;
        }
        self.later(at, datagram);
        if self.random.below(1000) < path.twice {
            self.later(at + Duration::from_millis(5), datagram);
        }
    }

    fn later(&mut self, at: Instant, datagram: &[u8]) {
        self.number += 1;
        self.under_way.insert((at, self.number), datagram.to_vec());
    }

    fn send_due(&mut self) {
        while let Some(first) = self.under_way.first_entry()
            && first.key().0 <= Instant::now()
        {
            let datagram = first.remove();
            let target = if self.up {
                *self.way.server.lock().unwrap()
            } else {
                *self.way.client.lock().unwrap()
            };
            let Some(target) = target else { continue };
            if self.up {
                let far = Arc::clone(&self.way.far.lock().unwrap());
                far.send(&datagram, target);
            } else {
                // Err: the client is gone.
                let _ = self.way.near.send_to(&datagram, target);
            }
        }
    }

    /// RTP begins with version 2 (RFC 7983 §7); payload types 64 to 95 are RTCP (RFC 5761 §4).
    fn count_lost(&self, datagram: &[u8]) {
        let [first, second, ..] = *datagram else {
            return;
        };
        let pt = second & 0x7f;
        if first >> 6 != 2 || (64..96).contains(&pt) {
            return;
        }
        let count = if pt == AUDIO {
            &self.way.sounds
        } else {
            &self.way.pictures
        };
        count.fetch_add(1, Relaxed);
    }
}

/// Pseudorandom numbers (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        let Self(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((*state >> 33) % u64::from(end)).unwrap()
    }
}
