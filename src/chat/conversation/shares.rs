//! How much of the common allowance one address may use, and what returning participants get.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{super::participant::Allowance, CONTROL_PACE, CONTROL_PACE_BURST, PACE, PACE_BURST};
use crate::{client::Network, media::TokenBucket};

/// The most people that one address counts as in slow mode.
const HOUSEHOLD: u32 = 10;
/// The part of the common allowance that one address may use.
const SHARE: f64 = 0.25;
/// Requests of any kind of an address per second in the long run, and at once.
const ACTS: f64 = 50.0;
const ACTS_BURST: f64 = 200.0;
/// Addresses that are counted; further ones count as one.
const NETWORKS_MAX: usize = 20_000;
/// Allowances of people who have left that are remembered of an address.
const LEFT_MAX: usize = 10;
/// Shortest time between two searches for addresses that need not be counted any more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The rest of an address's allowance.
struct NetworkShare {
    says: TokenBucket,
    acts: TokenBucket,
    controls: TokenBucket,
    spoke: Option<Instant>,
    /// Of those who have left, so that returning resets nothing.
    left: VecDeque<Allowance>,
}

impl NetworkShare {
    fn new(now: Instant) -> Self {
        Self {
            says: TokenBucket::new(PACE * SHARE, PACE_BURST * SHARE, now),
            acts: TokenBucket::new(ACTS, ACTS_BURST, now),
            controls: TokenBucket::new(CONTROL_PACE * SHARE, CONTROL_PACE_BURST * SHARE, now),
            spoke: None,
            left: VecDeque::new(),
        }
    }

    fn is_whole(&self, slow: Duration, now: Instant) -> bool {
        let mut buckets = [&self.says, &self.acts, &self.controls].into_iter();
        buckets.all(|bucket| bucket.is_full(now))
            && self.spoke.is_none_or(|spoke| spoke + slow <= now)
            && self.left.iter().all(|left| left.is_whole(slow, now))
    }
}

/// The shares of all addresses. Those whose address is not known have none, and no bounds here.
pub(super) struct NetworkShares {
    /// Without an address: of all for which there was no room.
    shares: HashMap<Option<Network>, NetworkShare>,
    swept: Option<Instant>,
    /// Slow mode.
    pub(super) slow: Duration,
}

impl NetworkShares {
    pub(super) fn new(slow: Duration) -> Self {
        Self {
            shares: HashMap::new(),
            swept: None,
            slow,
        }
    }

    fn of(&mut self, network: Option<Network>, now: Instant) -> Option<&mut NetworkShare> {
        network?;
        let is_new = !self.shares.contains_key(&network);
        if is_new && self.shares.len() >= NETWORKS_MAX {
            self.sweep(now);
        }
        let is_counted = !is_new || self.shares.len() < NETWORKS_MAX;
        let key = if is_counted { network } else { None };
        Some(
            self.shares
                .entry(key)
                .or_insert_with(|| NetworkShare::new(now)),
        )
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.shares
            .retain(|_, share| !share.is_whole(self.slow, now));
    }

    pub(super) fn may_act(&mut self, network: Option<Network>, now: Instant) -> bool {
        let share = self.of(network, now);
        share.is_none_or(|share| share.acts.take(1.0, now))
    }

    pub(super) fn may_say(&mut self, network: Option<Network>, now: Instant) -> bool {
        let share = self.of(network, now);
        share.is_none_or(|share| share.says.take(1.0, now))
    }

    pub(super) fn may_control(&mut self, network: Option<Network>, now: Instant) -> bool {
        let share = self.of(network, now);
        share.is_none_or(|share| share.controls.take(1.0, now))
    }

    /// How long an address has to wait in slow mode, if it has to.
    pub(super) fn wait(&mut self, network: Option<Network>, now: Instant) -> Option<Duration> {
        let pause = self.slow / HOUSEHOLD;
        let next = self.of(network, now)?.spoke? + pause;
        (now < next).then(|| next - now)
    }

    pub(super) fn spoke(&mut self, network: Option<Network>, now: Instant) {
        if let Some(share) = self.of(network, now) {
            share.spoke = Some(now);
        }
    }

    /// Keeps the allowance of somebody who leaves.
    pub(super) fn keep(&mut self, network: Option<Network>, left: Allowance, now: Instant) {
        if left.is_whole(self.slow, now) {
            return;
        }
        if let Some(share) = self.of(network, now) {
            if share.left.len() == LEFT_MAX {
                share.left.pop_front();
            }
            share.left.push_back(left);
        }
    }

    /// The allowance of a new participant: that of one who has left, if there is one.
    pub(super) fn allowance(&mut self, network: Option<Network>, now: Instant) -> Allowance {
        let slow = self.slow;
        let left = self.of(network, now).and_then(|share| {
            share.left.retain(|left| !left.is_whole(slow, now));
            share.left.pop_back()
        });
        left.unwrap_or_else(|| Allowance::new(now))
    }
}
