//! When a packet's media is due on the server's clock, from RTP timestamps, arrival times and
//! sender reports. Pure: time is an argument.
//!
//! One [`Timeline`] serves a publisher. Each stream's RTP clock is mapped to the server's running
//! time at its first packet. From then on two things correct the mapping, a little at a time and in
//! both directions: arrivals, because the sender's clock runs faster or slower than the server's,
//! and sender reports, which relate the streams of one sender to each other ([`relation`]).

mod relation;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::relation::Relation;

/// Arrivals are observed for this long before a correction, in microseconds: long enough to see
/// past jitter.
const WINDOW: i64 = 2_000_000;
/// Largest correction for drift per window, in microseconds: 0.1 %, as bad as a clock may be.
const DRIFT_MAX: i64 = 2_000;
/// Media this much earlier or later than it is due, in microseconds, shows a jump of the
/// timestamps.
const JUMP: i64 = 2_000_000;
/// A correction takes at least this many times its length: 5 ms a second. Nobody hears that.
const SLOWNESS: i64 = 200;
/// A stream in sync that turns out to be farther off, in microseconds, is corrected at once: a slow
/// correction would keep lips and voice apart for a minute.
const STEP_MIN: i64 = 250_000;
/// A stream without reports for this long, in microseconds, is no longer kept in sync.
const SILENCE_MAX: i64 = 60_000_000;

/// Maps the RTP clocks of a publisher's streams to the server's running time.
#[derive(Debug)]
pub(crate) struct Timeline {
    streams: Vec<Stream>,
    window_start: Option<i64>,
    /// Running time of the sender's time zero, once streams are in sync. May be negative.
    epoch: Option<i64>,
    /// When reports first showed a jump of the sender's clock; `None` once all streams have shown it.
    jump: Option<i64>,
}

#[derive(Debug)]
struct Stream {
    /// RTP clock rate in Hz.
    clock: u32,
    placing: Option<Placing>,
    relation: Relation,
    /// Whether it is kept in sync with others.
    in_sync: bool,
}

/// A stream's mapping to the server's clock.
#[derive(Debug)]
struct Placing {
    /// Running time of RTP timestamp zero, in microseconds. May be negative.
    offset: i64,
    /// Where the offset is heading.
    target: i64,
    /// When it last moved.
    moved: i64,
    /// How late the earliest packet of the window came, by the target.
    earliest: Option<i64>,
}

impl Timeline {
    /// A timeline of streams with these RTP clock rates, in Hz.
    pub(crate) fn new(clocks: impl IntoIterator<Item = u32>) -> Self {
        let stream = |clock| Stream {
            clock,
            placing: None,
            relation: Relation::default(),
            in_sync: false,
        };
        Self {
            streams: clocks.into_iter().map(stream).collect(),
            window_start: None,
            epoch: None,
            jump: None,
        }
    }

    /// Running time at which the media of a packet of a stream is due. `timestamp` is the extended
    /// RTP timestamp, `arrival` the running time now.
    pub(crate) fn due(&mut self, stream: usize, timestamp: u64, arrival: Duration) -> Duration {
        let Some(stream) = self.streams.get_mut(stream) else {
            return arrival;
        };
        let arrival = micros(arrival);
        let media = media_time(timestamp, stream.clock);
        let offset = stream.place(arrival, media);
        let start = *self.window_start.get_or_insert(arrival);
        if arrival - start > WINDOW {
            self.window_start = Some(arrival);
            self.follow_drift();
        }
        Duration::from_micros(u64::try_from(media + offset).unwrap_or(0))
    }

    /// Takes a sender report that came at `arrival`: `sender_time`, since any epoch, was the time
    /// of RTP timestamp `timestamp`.
    pub(crate) fn report(
        &mut self,
        stream: usize,
        timestamp: u64,
        sender_time: Duration,
        arrival: Duration,
    ) {
        let Some(stream) = self.streams.get_mut(stream) else {
            return;
        };
        let arrival = micros(arrival);
        let origin = micros(sender_time) - media_time(timestamp, stream.clock);
        if let Some(since) = stream.relation.take(arrival, origin) {
            self.jump = Some(self.jump.map_or(since, |jump| jump.max(since)));
        }
        self.synchronise(arrival);
    }

    /// Forgets a stream whose timestamps start over.
    pub(crate) fn restart(&mut self, stream: usize) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.placing = None;
            stream.relation = Relation::default();
            stream.in_sync = false;
        }
    }

    /// Maps the streams that report to one common sender's clock. Does nothing while their reports
    /// contradict themselves, or come from different clocks.
    fn synchronise(&mut self, now: i64) {
        let jump = self.jump;
        let members = || self.streams.iter().filter(|stream| stream.reports(now));
        let behind = |stream: &Stream| jump.is_some_and(|since| !stream.has_reported_since(since));
        if members().any(|stream| stream.relation.is_in_doubt() || behind(stream)) {
            return;
        }
        if members().count() < 2 {
            return;
        }
        let joining = members().any(|stream| !stream.in_sync);
        let jumped = self.jump.take().is_some();
        if joining || jumped {
            // Media can be late, not early: streams that are ahead wait for the last one.
            self.epoch = members().filter_map(Stream::epoch).max();
        }
        let Some(epoch) = self.epoch else { return };
        for stream in &mut self.streams {
            let was_in_sync = stream.in_sync;
            stream.in_sync = stream.reports(now);
            if stream.in_sync {
                stream.aim(epoch, if was_in_sync { STEP_MIN } else { 0 });
            }
        }
    }

    /// Corrects the targets by how late packets were in the window: each stream's separately, but
    /// those in sync together, by the latest of them.
    fn follow_drift(&mut self) {
        let mut latest = None;
        for stream in &mut self.streams {
            let Some(late) = stream
                .placing
                .as_mut()
                .and_then(|placing| placing.earliest.take())
            else {
                continue;
            };
            if stream.in_sync {
                latest = latest.max(Some(late));
            } else {
                stream.shift(late);
            }
        }
        let Some(late) = latest else { return };
        self.epoch = self
            .epoch
            .map(|epoch| epoch + late.clamp(-DRIFT_MAX, DRIFT_MAX));
        for stream in self.streams.iter_mut().filter(|stream| stream.in_sync) {
            stream.shift(late);
        }
    }
}

impl Stream {
    /// The offset for a packet with this media time: near the arrivals, and moving towards the
    /// target.
    fn place(&mut self, arrival: i64, media: i64) -> i64 {
        // This offset would make the packet due right when it came.
        let candidate = arrival - media;
        let target = self.placing.as_ref().map(|placing| placing.target);
        if target.is_none_or(|target| candidate.abs_diff(target) > JUMP.unsigned_abs()) {
            // A beginning. Reports on other timestamps do not apply to these.
            if target.is_some() {
                self.relation = Relation::default();
                self.in_sync = false;
            }
            self.placing = Some(Placing {
                offset: candidate,
                target: candidate,
                moved: arrival,
                earliest: None,
            });
            return candidate;
        }
        self.placing.as_mut().map_or(candidate, |placing| {
            let late = candidate - placing.target;
            placing.earliest = Some(placing.earliest.map_or(late, |earliest| earliest.min(late)));
            placing.approach(arrival);
            placing.offset
        })
    }

    /// Running time of the sender's time zero, according to this stream.
    fn epoch(&self) -> Option<i64> {
        Some(self.placing.as_ref()?.target - self.relation.origin()?)
    }

    /// Whether its sender reports say where it lies.
    fn reports(&self, now: i64) -> bool {
        self.placing.is_some() && self.has_reported_since(now - SILENCE_MAX)
    }

    fn has_reported_since(&self, time: i64) -> bool {
        self.relation.last_report().is_some_and(|last| last >= time)
    }

    /// Sets the target by the sender's clock; a distance of more than `step_min` is closed at once.
    fn aim(&mut self, epoch: i64, step_min: i64) {
        let (Some(placing), Some(origin)) = (&mut self.placing, self.relation.origin()) else {
            return;
        };
        let target = epoch + origin;
        let by = target - placing.target;
        placing.target = target;
        placing.earliest = placing.earliest.map(|earliest| earliest - by);
        if (target - placing.offset).abs() > step_min {
            placing.offset = target;
        }
    }

    /// Corrects the target for drift.
    fn shift(&mut self, late: i64) {
        if let Some(placing) = &mut self.placing {
            placing.target += late.clamp(-DRIFT_MAX, DRIFT_MAX);
        }
    }
}

impl Placing {
    /// Moves the offset towards its target, as far as the elapsed time allows.
    fn approach(&mut self, now: i64) {
        let far = (now - self.moved) / SLOWNESS;
        if far > 0 {
            self.offset += (self.target - self.offset).clamp(-far, far);
            self.moved = now;
        }
    }
}

/// A time in microseconds, signed to allow for differences.
fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// An RTP timestamp in microseconds.
fn media_time(timestamp: u64, clock: u32) -> i64 {
    let micros = u128::from(timestamp) * 1_000_000 / u128::from(clock.max(1));
    i64::try_from(micros).unwrap_or(i64::MAX)
}
