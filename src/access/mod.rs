//! Who may publish, watch and operate the server: rules for tokens and networks, tokens of other
//! issuers (JWT), and a callback.
//!
//! A right is open until something grants it: the first token or network that may publish closes
//! publishing to everyone else. Watching works alike, except that `public` stays open. Metrics and
//! the operator's part of the API are never open. [`decide`] says which rule counts.

mod callback;
mod decision;
mod issuer;
mod jwt;
mod rule;
mod token;
#[cfg(test)]
mod web_server;

use std::{net::IpAddr, sync::Arc, time::SystemTime};

pub use self::{
    callback::{Callback, CallbackError, CallbackOptions, Question},
    decision::{AccessDecision, Facts, TokenFact, decide},
    issuer::{Issuer, KeyOrigin},
    jwt::{JwtKeys, JwtOptions},
    rule::{Grants, Right, Rule},
    token::{Secret, TokenHash},
};
use self::{jwt::JwtError, rule::matches};
use crate::{
    peer::sdp::Role,
    plan::{Name, Pattern},
};

/// The rules. The default has none and lets anyone publish and watch.
#[derive(Clone, Debug)]
pub struct Access {
    rules: Vec<Rule>,
    public: Vec<Pattern>,
    issuer: Option<Arc<Issuer>>,
    callback: Option<Arc<Callback>>,
}

/// What decides besides the rules. Either closes publishing and watching to everyone else.
#[derive(Debug, Default)]
pub struct Authorities {
    /// Whose tokens (JWT) are accepted.
    pub issuer: Option<Issuer>,
    /// The server that decides about clients.
    pub callback: Option<Callback>,
}

impl Authorities {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.issuer.is_none() && self.callback.is_none()
    }
}

/// What a request reveals about its sender.
#[derive(Clone, Debug)]
pub enum Presented {
    /// No token.
    Nothing,
    /// A token that nobody knows, and perhaps what is wrong with it.
    Unknown(Option<String>),
    /// A token that was right once.
    Expired,
    /// A known token.
    Known(Holder),
}

impl Default for Access {
    fn default() -> Self {
        Self::new(Vec::new(), None, Authorities::default())
    }
}

impl Access {
    /// `public` are the broadcasts that anyone may watch. Default: all, as long as no rule is about
    /// watching.
    pub fn new(rules: Vec<Rule>, public: Option<Vec<Pattern>>, authorities: Authorities) -> Self {
        let mut access = Self {
            rules,
            public: Vec::new(),
            issuer: authorities.issuer.map(Arc::new),
            callback: authorities.callback.map(Arc::new),
        };
        let unset = || {
            let is_open = !access.closes(Role::Viewer);
            is_open.then(Pattern::any).into_iter().collect()
        };
        access.public = public.unwrap_or_else(unset);
        access
    }

    /// The broadcasts that anyone may watch.
    pub fn public(&self) -> &[Pattern] {
        &self.public
    }

    /// Keeps the keys and answers that `before` has got, as far as they are still good.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        if let (Some(new), Some(old)) = (&self.issuer, &before.issuer)
            && new.is_same(old)
        {
            self.issuer = Some(Arc::clone(old));
        }
        if let (Some(new), Some(old)) = (&self.callback, &before.callback)
            && new.is_same(old)
        {
            self.callback = Some(Arc::clone(old));
        }
        self
    }

    /// Whether something grants this for any broadcast, so that it is not for everyone.
    pub fn closes(&self, role: Role) -> bool {
        let mut rules = self.rules.iter();
        self.issuer.is_some()
            || self.callback.is_some()
            || rules.any(|rule| !rule.grants.patterns(role).is_empty())
    }

    /// Whether something grants speaking in some chat, so that it is not for everyone. Tokens of
    /// other issuers may.
    pub fn closes_chat(&self) -> bool {
        let mut rules = self.rules.iter();
        self.issuer.is_some() || rules.any(|rule| !rule.grants.chat.is_empty())
    }

    /// The server that decides about clients, if there is one.
    pub fn callback(&self) -> Option<&Arc<Callback>> {
        self.callback.as_ref()
    }

    /// Whether anyone may do this, whatever token they send.
    pub fn is_open(&self, role: Role, name: &Name) -> bool {
        match role {
            Role::Publisher => !self.closes(role),
            Role::Viewer => matches(&self.public, name),
        }
    }

    /// Whether anyone may watch everything.
    pub fn is_open_to_viewers(&self) -> bool {
        self.public.contains(&Pattern::any())
    }

    /// The name in the log of tokens that are too short to be safe.
    pub fn short_tokens(&self) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter(|rule| rule.is_short)
            .map(|rule| rule.name.as_str())
    }

    /// Whether a rule grants this, so that the operator needs no other.
    pub fn grants(&self, right: Right) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.grants.include(right))
    }

    /// Adds a rule that changes nothing for everyone else.
    #[must_use]
    pub fn with(&self, rule: Rule) -> Self {
        let mut access = self.clone();
        access.rules.push(rule);
        access
    }

    /// The holder of a token sent from this address, if known.
    pub async fn identify(&self, token: &str, client: Option<IpAddr>) -> Presented {
        if let Some(holder) = self.holder(token, client) {
            return Presented::Known(holder);
        }
        let Some(issuer) = &self.issuer else {
            return Presented::Unknown(None);
        };
        match issuer.verify(token).await {
            Ok(holder) => Presented::Known(holder),
            Err(JwtError::Expired) => Presented::Expired,
            Err(JwtError::NotJwt) => Presented::Unknown(None),
            Err(error @ (JwtError::UnknownKey | JwtError::Wrong(_))) => {
                Presented::Unknown(Some(error.to_string()))
            }
        }
    }

    /// The holder of a configured token. Takes the same time for all texts of the same length.
    pub fn holder(&self, token: &str, client: Option<IpAddr>) -> Option<Holder> {
        let given = TokenHash::of_text(token);
        let known: Vec<_> = self
            .rules
            .iter()
            .filter(|rule| rule.is_of(&given))
            .collect();
        let valid = known.iter().filter(|rule| rule.reaches(client));
        Some(Holder {
            name: known.first()?.name.clone(),
            grants: valid.map(|rule| rule.grants.clone()).collect(),
            expires: None,
            bitrate: None,
        })
    }

    /// The rights of the client's address alone, and its name in the log.
    pub fn network(&self, client: Option<IpAddr>) -> Option<Holder> {
        let rules: Vec<_> = self
            .rules
            .iter()
            .filter(|rule| rule.is_of_network(client))
            .collect();
        Some(Holder {
            name: rules.first()?.name.clone(),
            grants: rules.iter().map(|rule| rule.grants.clone()).collect(),
            expires: None,
            bitrate: None,
        })
    }
}

/// Somebody with rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    name: String,
    /// Of each rule about the token: one may have several.
    grants: Vec<Grants>,
    expires: Option<SystemTime>,
    bitrate: Option<u64>,
}

impl Holder {
    /// When the token expires, if it does.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// The most that a publisher with it may send, in bit/s.
    pub fn bitrate(&self) -> Option<u64> {
        self.bitrate
    }

    /// What identifies the token in the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the token is for this.
    pub fn may(&self, role: Role, name: &Name) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grants| grants.allow(role, name))
    }

    /// Whether the token is for anything in this role.
    pub fn may_any(&self, role: Role) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grants| !grants.patterns(role).is_empty())
    }

    /// Whether the token is for speaking in the chat of this broadcast, which those who may publish
    /// it may, too.
    pub fn may_chat(&self, name: &Name) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grants| grants.allow_chat(name)) || self.moderates(name)
    }

    /// Whether the token is for keeping order in the chat of this broadcast.
    pub fn moderates(&self, name: &Name) -> bool {
        self.may(Role::Publisher, name) || self.has(Right::Admin)
    }

    /// Whether the token has this right.
    pub fn has(&self, right: Right) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grants| grants.include(right))
    }

    /// The one broadcast that the token is for in this role, if it is exactly one.
    pub fn only(&self, role: Role) -> Option<Name> {
        let grants = self.grants.iter();
        let mut patterns = grants.flat_map(|grants| grants.patterns(role));
        let first = patterns.next()?;
        patterns
            .all(|pattern| pattern == first)
            .then(|| first.name())?
    }
}

#[cfg(test)]
mod tests;
