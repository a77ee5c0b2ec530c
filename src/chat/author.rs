//! Who takes part, as far as the server can tell, and how participants are recognised again.

use std::time::Instant;

use crate::client::Network;

/// Sanctions that are remembered; the oldest is forgotten first.
pub(super) const SANCTIONS_MAX: usize = 1000;

/// Somebody who wants to take part, as their request shows them.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// Where they come from, unless only their proxy is known.
    pub network: Option<Network>,
    /// Whether they may speak.
    pub speaks: bool,
    /// Whether they may delete messages and silence others.
    pub moderates: bool,
    /// Whether they publish the broadcast.
    pub publishes: bool,
}

/// What identifies the author of a message after they have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    /// Their number.
    pub(super) number: u64,
    /// Their device's identifier; empty if the browser sends none.
    pub(super) device: String,
    /// Where they came from.
    pub(super) network: Option<Network>,
}

impl Author {
    /// Whether this is the same participant, or the same browser.
    fn is_device(&self, other: &Self) -> bool {
        self.number == other.number || (!self.device.is_empty() && self.device == other.device)
    }

    /// The same, or somebody from the same network.
    fn is_household(&self, other: &Self) -> bool {
        self.is_device(other) || (self.network.is_some() && self.network == other.network)
    }
}

/// Somebody who may not speak.
#[derive(Clone, Debug)]
pub(super) struct Sanction {
    pub(super) author: Author,
    /// `None`: for good, and for everyone in their network.
    pub(super) until: Option<Instant>,
}

impl Sanction {
    /// Whether it keeps this author from speaking.
    pub(super) fn silences(&self, author: &Author, now: Instant) -> bool {
        match self.until {
            None => self.author.is_household(author),
            Some(until) => now < until && self.author.is_device(author),
        }
    }
}
