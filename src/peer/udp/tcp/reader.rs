//! What clients send over TCP, on its way to the sessions.
//!
//! Unlike UDP, TCP lets a client be slowed down: whoever sends what nobody takes, or more than its
//! session can take, is read more slowly.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::super::{AddressPair, Port, routes::Offered};
use crate::{awake, media::TokenBucket};

/// Shortest frame that is taken, in bytes: the shortest of RTCP. All others are longer.
const FRAME_BYTES_MIN: usize = 8;
/// Longest frame that is taken, in bytes: as on UDP, no peer sends more.
const FRAME_BYTES_MAX: usize = 9216;
/// Longest first frame: a check. Its length, as the longest that begins with a zero byte.
const FIRST_BYTES_MAX: usize = 255;
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// Time without reading after a datagram that is refused, or that belongs to no session.
const REFUSAL_PAUSE: Duration = Duration::from_millis(5);
/// Such datagrams at once before the connection ends: a burst, or what was under way as a session
/// ended.
const REFUSALS_AT_ONCE: f64 = 200.0;
/// The same each second.
const REFUSALS_PER_SECOND: f64 = 10.0;
/// How long a datagram waits for room in its session's queue.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
/// Time between two looks at that queue.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// Reads one connection.
pub(in crate::peer::udp) struct TcpReader<'a> {
    port: &'a Port,
    ends: AddressPair,
    refusals: TokenBucket,
}

impl<'a> TcpReader<'a> {
    pub(in crate::peer::udp) fn new(port: &'a Port, ends: AddressPair) -> Self {
        Self {
            port,
            ends,
            refusals: TokenBucket::new(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, Instant::now()),
        }
    }

    /// Delivers datagrams until the stream ends.
    ///
    /// # Errors
    /// If the stream fails, or the client does not keep to the rules.
    pub(super) async fn run(mut self, mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        let mut length_max = FIRST_BYTES_MAX;
        loop {
            buffer.reserve(READ_BYTES);
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            while let Some(frame) = next_frame(&mut buffer, length_max)? {
                if length_max == FIRST_BYTES_MAX {
                    if !self.port.routes().is_check(&frame) {
                        return Err(io::Error::other("not a connectivity check of a session"));
                    }
                    length_max = FRAME_BYTES_MAX;
                }
                self.deliver(&frame).await?;
            }
            // A fast client must not keep the others waiting.
            tokio::task::yield_now().await;
        }
    }

    /// Hands a datagram to its session, and waits for room there.
    async fn deliver(&mut self, datagram: &[u8]) -> io::Result<()> {
        let (now, arrived) = (Instant::now(), awake::now());
        let Some(route) = self.port.route(self.ends, datagram, now) else {
            if !self.refusals.take(1.0, now) {
                return Err(io::Error::other("too many datagrams without a receiver"));
            }
            tokio::time::sleep(REFUSAL_PAUSE).await;
            return Ok(());
        };
        let taken = async {
            while route.offer(self.ends, datagram, arrived) != Offered::Taken {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
        };
        if awake::timeout(ROOM_WAIT_MAX, taken).await.is_err() {
            self.port.count_queue_dropped();
        }
        Ok(())
    }
}

/// Takes a frame that has arrived as a whole.
fn next_frame(buffer: &mut BytesMut, length_max: usize) -> io::Result<Option<BytesMut>> {
    let Some((head, rest)) = buffer.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*head));
    if length > length_max {
        return Err(io::Error::other("a frame is too long"));
    }
    if length < FRAME_BYTES_MIN {
        return Err(io::Error::other("a frame is too short"));
    }
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(head.len());
    Ok(Some(buffer.split_to(length)))
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
    };

    use super::{super::framed, *};
    use crate::{
        peer::udp::{
            DatagramLimits, DatagramRoute, Options, RemoteEnd,
            routes::tests::{UFRAG, check},
        },
        testing::block_on,
    };

    fn port() -> Port {
        Port::bind(&Options::at("127.0.0.1:0".parse().unwrap())).unwrap()
    }

    /// A session that has room from the offer with this number on. Returns the number of offers.
    fn register(port: &Port, room_from: u64) -> Arc<AtomicU64> {
        let offers = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&offers);
        let route = DatagramRoute::new(1, DatagramLimits::VIEWER, move |_| {
            counter.fetch_add(1, Relaxed) >= room_from
        });
        port.register(UFRAG, route);
        offers
    }

    fn read(port: &Port, bytes: &[u8]) -> io::Result<()> {
        let ends = AddressPair::from(RemoteEnd {
            address: SocketAddr::from(([127, 0, 0, 1], 5000)),
            connection: Some(1),
        });
        block_on(TcpReader::new(port, ends).run(bytes))
    }

    #[test]
    fn datagrams_arrive_as_they_were_sent() {
        let data: Vec<u8> = (0..250).collect();
        let mut buffer = BytesMut::new();
        let mut received = Vec::new();
        // Byte by byte.
        for byte in framed(&data, 100) {
            buffer.extend_from_slice(&[byte]);
            received.extend(next_frame(&mut buffer, 100).unwrap());
        }
        let lengths: Vec<_> = received.iter().map(BytesMut::len).collect();
        assert_eq!((received.concat(), lengths), (data, vec![100, 100, 50]));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_has_arrived() {
        let mut buffer = BytesMut::from(&[1, 0][..]);
        assert!(next_frame(&mut buffer, 256).unwrap().is_none());
        assert!(next_frame(&mut buffer, 255).is_err());
    }

    #[test]
    fn a_frame_that_is_too_short_ends_the_connection() {
        for length in [0, 1, 7] {
            let port = port();
            let offers = register(&port, 0);
            let bytes = [framed(&check(), 100), vec![0, length], vec![0x80; 7]].concat();
            assert!(read(&port, &bytes).is_err(), "{length}");
            assert_eq!(offers.load(Relaxed), 1, "{length}");
        }
        let port = port();
        register(&port, 0);
        let shortest = [framed(&check(), 100), framed(&[0x80; 8], 8)].concat();
        assert!(read(&port, &shortest).is_ok());
    }

    #[test]
    fn a_flood_that_nobody_takes_ends_the_connection() {
        let port = port();
        register(&port, 0);
        // Nothing is bound to this connection.
        let flood = framed(&vec![0x80; 8 * 10_000], 8);
        assert!(read(&port, &[framed(&check(), 100), flood].concat()).is_err());
        let unknown = port.counters().unknown.load(Relaxed);
        assert!((200..1000).contains(&unknown), "{unknown}");
    }

    #[test]
    fn a_flood_of_checks_ends_the_connection() {
        let port = port();
        register(&port, 0);
        let flood = framed(&check(), 100).repeat(10_000);
        assert!(read(&port, &flood).is_err());
        let refused = port.counters().refused.load(Relaxed);
        assert!((200..1000).contains(&refused), "{refused}");
    }

    #[test]
    fn a_full_queue_is_waited_for() {
        let port = port();
        let offers = register(&port, 3);
        assert!(read(&port, &framed(&check(), 100)).is_ok());
        let dropped = port.counters().queue_dropped.load(Relaxed);
        assert_eq!((offers.load(Relaxed), dropped), (4, 0));
    }

    #[test]
    fn a_queue_that_stays_full_is_not_waited_for_for_ever() {
        let port = port();
        register(&port, u64::MAX);
        assert!(read(&port, &framed(&check(), 100)).is_ok());
        assert_eq!(port.counters().queue_dropped.load(Relaxed), 1);
    }
}
