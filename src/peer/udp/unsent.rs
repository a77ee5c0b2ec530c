//! Datagrams that found the socket's buffer full, for one who cannot stand still until there is
//! room: they are tried again until they are late. Pure: no socket, no clock.

use std::{collections::VecDeque, time::Instant};

use super::{SEND_PATIENCE, socket::RETRY_PAUSE};

/// Most bytes that wait: two of the largest keyframes of a picture in 4K.
const BYTES_MAX: usize = 2 << 20;
/// Most datagrams that wait. However small they are, they cost no more than this.
const DATAGRAMS_MAX: usize = 4096;

/// What waits, in the order in which it is to be sent.
#[derive(Debug, Default)]
pub(crate) struct UnsentDatagrams {
    waiting: VecDeque<Unsent>,
    bytes: usize,
    datagrams: usize,
    /// When to try again.
    retry_at: Option<Instant>,
}

/// Datagrams of one segmented send.
#[derive(Debug)]
struct Unsent {
    data: Box<[u8]>,
    segment: usize,
    deadline: Instant,
}

impl Unsent {
    fn datagrams(&self) -> usize {
        self.data.len().div_ceil(self.segment.max(1))
    }
}

impl UnsentDatagrams {
    /// Sends `data` as datagrams of `segment` bytes each (the last may be shorter), behind what waits.
    /// `attempt` says false if the socket's buffer is full. Returns how many sends are lost.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        data: &[u8],
        segment: usize,
        mut attempt: impl FnMut(&[u8], usize) -> bool,
    ) -> u64 {
        let lost = self.retry(now, &mut attempt);
        if self.waiting.is_empty() {
            if attempt(data, segment) {
                return lost;
            }
            self.retry_at = Some(now + RETRY_PAUSE);
        }
        let unsent = Unsent {
            data: data.into(),
            segment,
            deadline: now + SEND_PATIENCE,
        };
        if self.bytes + data.len() > BYTES_MAX
            || self.datagrams + unsent.datagrams() > DATAGRAMS_MAX
        {
            return lost + 1;
        }
        self.bytes += data.len();
        self.datagrams += unsent.datagrams();
        self.waiting.push_back(unsent);
        lost
    }

    /// When to call [`UnsentDatagrams::retry`].
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Tries again, if it is time to. Returns how many sends are lost, because they are late.
    pub(crate) fn retry(
        &mut self,
        now: Instant,
        mut attempt: impl FnMut(&[u8], usize) -> bool,
    ) -> u64 {
        if self.retry_at.is_none_or(|at| now < at) {
            return 0;
        }
        self.retry_at = None;
        let (mut room, mut lost) = (true, 0);
        while let Some(first) = self.waiting.front() {
            room = room && attempt(&first.data, first.segment);
            if !room && now < first.deadline {
                self.retry_at = Some(now + RETRY_PAUSE);
                break;
            }
            lost += u64::from(!room);
            self.bytes -= first.data.len();
            self.datagrams -= first.datagrams();
            self.waiting.pop_front();
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A socket's buffer with room for so many sends, and what it has taken.
    #[derive(Default)]
    struct Buffer {
        room: usize,
        taken: Vec<u8>,
        attempts: usize,
    }

    impl Buffer {
        fn attempt(&mut self, data: &[u8]) -> bool {
            self.attempts += 1;
            let fits = self.room > 0;
            if fits {
                self.room -= 1;
                self.taken.push(data[0]);
            }
            fits
        }
    }

    /// A session that sends, its socket's buffer, and the time.
    struct Stage {
        unsent: UnsentDatagrams,
        buffer: Buffer,
        now: Instant,
    }

    impl Stage {
        fn new(room: usize) -> Self {
            Self {
                unsent: UnsentDatagrams::default(),
                buffer: Buffer {
                    room,
                    ..Buffer::default()
                },
                now: Instant::now(),
            }
        }

        fn send(&mut self, number: u8, bytes: usize, segment: usize) -> u64 {
            let buffer = &mut self.buffer;
            let data = vec![number; bytes];
            self.unsent
                .send(self.now, &data, segment, |data, _| buffer.attempt(data))
        }

        /// Lets time pass, and tries again whenever it is time to.
        fn run(&mut self, time: Duration) -> u64 {
            let end = self.now + time;
            let mut lost = 0;
            while let Some(at) = self.unsent.wake().filter(|at| *at <= end) {
                self.now = at;
                let buffer = &mut self.buffer;
                lost += self.unsent.retry(at, |data, _| buffer.attempt(data));
            }
            self.now = end;
            lost
        }
    }

    #[test]
    fn packets_without_room_go_later_and_in_order() {
        let mut stage = Stage::new(2);
        for number in 0..6 {
            assert_eq!(stage.send(number, 3000, 1200), 0);
        }
        assert_eq!(stage.buffer.taken, [0, 1]);
        stage.buffer.room = 1;
        assert_eq!(stage.run(RETRY_PAUSE), 0);
        assert_eq!(stage.buffer.taken, [0, 1, 2]);
        stage.buffer.room = 10;
        assert_eq!(stage.send(6, 3000, 1200), 0);
        assert_eq!(stage.run(RETRY_PAUSE), 0);
        assert_eq!(stage.buffer.taken, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((stage.unsent.bytes, stage.unsent.datagrams), (0, 0));
        assert_eq!(stage.unsent.wake(), None, "nothing waits");
        stage.send(7, 10, 10);
        assert_eq!(stage.buffer.taken.last(), Some(&7));
    }

    #[test]
    fn late_packets_are_dropped_and_later_ones_sent() {
        let mut stage = Stage::new(0);
        stage.send(0, 100, 100);
        assert_eq!(stage.run(SEND_PATIENCE / 2), 0);
        stage.send(1, 100, 100);
        assert_eq!(stage.run(SEND_PATIENCE / 2 + RETRY_PAUSE), 1);
        stage.buffer.room = 10;
        assert_eq!(stage.run(RETRY_PAUSE), 0);
        assert_eq!(stage.buffer.taken, [1]);
    }

    #[test]
    fn a_full_buffer_is_asked_now_and_then_and_costs_a_bounded_amount() {
        let mut stage = Stage::new(0);
        let lost: u64 = (0..10_000).map(|_| stage.send(1, 1200, 1200)).sum();
        assert_eq!(stage.buffer.attempts, 1, "the others wait behind it");
        let held = BYTES_MAX / 1200;
        assert_eq!(lost, 10_000 - held as u64);
        assert!(stage.unsent.bytes <= BYTES_MAX);
        // Small ones are bounded by their number.
        let mut stage = Stage::new(0);
        let lost: u64 = (0..10_000).map(|_| stage.send(1, 10, 1)).sum();
        assert_eq!(stage.unsent.datagrams, DATAGRAMS_MAX / 10 * 10);
        assert_eq!(lost, 10_000 - DATAGRAMS_MAX as u64 / 10);
        // All of them are late at the same time: one attempt finds out.
        let before = stage.buffer.attempts;
        let (late, buffer) = (stage.now + SEND_PATIENCE, &mut stage.buffer);
        let lost = stage.unsent.retry(late, |data, _| buffer.attempt(data));
        assert_eq!(lost, DATAGRAMS_MAX as u64 / 10);
        assert_eq!(stage.buffer.attempts, before + 1);
    }
}
