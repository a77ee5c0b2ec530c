//! Rules: who, shown by a token or a network, has which rights.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Secret, TokenHash};
use crate::{
    peer::sdp::Role,
    plan::{Name, Pattern},
};

/// Rights that do not concern a single broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read the metrics.
    Metrics,
    /// Inspect and change everything: graphs, reasons of failures, properties of pipelines.
    /// Includes the metrics.
    Admin,
}

impl Right {
    /// As the configuration and the log write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

/// The rights that one rule gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Broadcasts to publish.
    pub publish: Vec<Pattern>,
    /// Broadcasts to watch.
    pub watch: Vec<Pattern>,
    /// Broadcasts in whose chat to speak.
    pub chat: Vec<Pattern>,
    /// See [`Right::Metrics`].
    pub metrics: bool,
    /// See [`Right::Admin`].
    pub admin: bool,
}

impl Grants {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let patterns = [&self.publish, &self.watch, &self.chat];
        patterns.iter().all(|patterns| patterns.is_empty()) && !self.metrics && !self.admin
    }

    /// Whether this broadcast's chat may be spoken in.
    pub(super) fn allow_chat(&self, name: &Name) -> bool {
        matches(&self.chat, name)
    }

    /// The broadcasts that may be published or watched.
    pub(super) fn patterns(&self, role: Role) -> &[Pattern] {
        match role {
            Role::Publisher => &self.publish,
            Role::Viewer => &self.watch,
        }
    }

    /// Whether this broadcast may be published or watched.
    pub(super) fn allow(&self, role: Role, name: &Name) -> bool {
        matches(self.patterns(role), name)
    }

    pub(super) fn include(&self, right: Right) -> bool {
        match right {
            Right::Metrics => self.metrics || self.admin,
            Right::Admin => self.admin,
        }
    }
}

/// Whether any of the patterns means this broadcast.
pub(super) fn matches(patterns: &[Pattern], name: &Name) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// A section `[[auth.tokens]]`: rights for a token, for a network, or for a token that comes from a
/// network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Identifies it in the log.
    pub(super) name: String,
    /// `None`: the network is enough.
    token: Option<TokenHash>,
    /// Empty: all of them.
    networks: Vec<IpNet>,
    pub(super) grants: Grants,
    /// Whether its token could be guessed.
    pub(super) is_short: bool,
}

impl Rule {
    /// For holders of a token; `name` identifies it in the log.
    pub fn for_token(name: impl Into<String>, secret: &Secret, grants: Grants) -> Self {
        Self {
            is_short: secret.is_short(),
            ..Self::for_hash(name, secret.hash(), grants)
        }
    }

    /// For holders of a token of which only the hash is known.
    pub fn for_hash(name: impl Into<String>, hash: TokenHash, grants: Grants) -> Self {
        Self {
            name: name.into(),
            token: Some(hash),
            networks: Vec::new(),
            grants,
            is_short: false,
        }
    }

    /// For everyone in these networks.
    pub fn for_networks(name: impl Into<String>, networks: Vec<IpNet>, grants: Grants) -> Self {
        Self {
            name: name.into(),
            token: None,
            networks,
            grants,
            is_short: false,
        }
    }

    /// The same, but only from these networks, if there are any.
    #[must_use]
    pub fn within(self, networks: Vec<IpNet>) -> Self {
        Self { networks, ..self }
    }

    /// Whether this is its token.
    pub(super) fn is_of(&self, given: &TokenHash) -> bool {
        self.token.is_some_and(|hash| hash.equals(given))
    }

    /// Whether it needs no token from this client.
    pub(super) fn is_of_network(&self, client: Option<IpAddr>) -> bool {
        self.token.is_none() && self.reaches(client)
    }

    /// Whether the client is where the rule holds; one whose address is unknown is in no network.
    pub(super) fn reaches(&self, client: Option<IpAddr>) -> bool {
        let is_within = |client: IpAddr| {
            self.networks
                .iter()
                .any(|network| network.contains(&client))
        };
        self.networks.is_empty() || client.is_some_and(is_within)
    }
}
