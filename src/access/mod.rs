//! Who may publish, watch and operate the server: rules for tokens and networks.
//!
//! A right is open until something grants it: the first token or network that may publish closes
//! publishing to everyone else, and so with watching, where `public` says what stays open. Metrics
//! and the operator's part of the API are never open. [`decide`] says which rule counts.

mod decision;
mod rule;
mod token;

use std::net::IpAddr;

use self::rule::matches;
pub use self::{
    decision::{Decision, Facts, TokenFact, decide},
    rule::{Grants, Right, Rule},
    token::{Secret, TokenHash},
};
use crate::{
    peer::sdp::Role,
    plan::{Name, Pattern},
};

/// The rules. The default has none and lets anyone publish and watch.
#[derive(Clone, Debug)]
pub struct Access {
    rules: Vec<Rule>,
    public: Vec<Pattern>,
}

/// What a request shows of who sent it.
#[derive(Clone, Debug)]
pub enum Presented {
    /// No token.
    Nothing,
    /// A token that nobody knows.
    Unknown,
    /// A known token.
    Known(Holder),
}

impl Default for Access {
    fn default() -> Self {
        Self::new(Vec::new(), None)
    }
}

impl Access {
    /// `public` are the broadcasts that anyone may watch. Default: all, as long as no rule is about
    /// watching.
    pub fn new(rules: Vec<Rule>, public: Option<Vec<Pattern>>) -> Self {
        let mut access = Self {
            rules,
            public: Vec::new(),
        };
        let unset = || {
            let is_open = !access.closes(Role::Viewer);
            is_open.then(Pattern::any).into_iter().collect()
        };
        access.public = public.unwrap_or_else(unset);
        access
    }

    /// The number of rules.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// The broadcasts that anyone may watch.
    pub fn public(&self) -> &[Pattern] {
        &self.public
    }

    /// Whether some rule grants this for any broadcast, so that it is not for everyone.
    pub fn closes(&self, role: Role) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| !rule.grants.patterns(role).is_empty())
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

    /// What stands in the log for tokens that are too short to be safe.
    pub fn short_tokens(&self) -> impl Iterator<Item = &str> {
        let short = self.rules.iter().filter(|rule| rule.is_short);
        short.map(|rule| rule.name.as_str())
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

    /// Who sends this token from this address. Takes the same time for all texts of the same length.
    pub fn identify(&self, token: &str, client: IpAddr) -> Presented {
        let given = TokenHash::of_text(token);
        let known = self.rules.iter().filter(|rule| rule.is_of(&given));
        let known: Vec<_> = known.collect();
        let Some(first) = known.first() else {
            return Presented::Unknown;
        };
        let valid = known.iter().filter(|rule| rule.reaches(client));
        Presented::Known(Holder {
            name: first.name.clone(),
            grants: valid.map(|rule| rule.grants.clone()).collect(),
        })
    }

    /// What the client's address alone is good for, and what stands for it in the log.
    pub fn network(&self, client: IpAddr) -> Option<Holder> {
        let rules = self.rules.iter().filter(|rule| rule.is_of_network(client));
        let rules: Vec<_> = rules.collect();
        Some(Holder {
            name: rules.first()?.name.clone(),
            grants: rules.iter().map(|rule| rule.grants.clone()).collect(),
        })
    }
}

/// Somebody with rights.
#[derive(Clone, Debug)]
pub struct Holder {
    name: String,
    /// Of each rule about the token: one may have several.
    grants: Vec<Grants>,
}

impl Holder {
    /// What stands for the token in the log.
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
