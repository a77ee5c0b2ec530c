//! Who may publish and who may watch: tokens, each for broadcasts by name or pattern. Pure; knows
//! nothing about requests.
//!
//! Without tokens, anyone may do anything. With tokens, publishing requires one that lists the
//! broadcast under `publish`; watching requires one that lists it under `watch`, unless the
//! broadcast is public.

use std::fmt;

use aws_lc_rs::{constant_time, digest};

use crate::{
    peer::sdp::Role,
    plan::{Name, Pattern},
};

/// The secret text of a token: 1 to 256 visible ASCII characters. Never shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    /// Maximum length in characters.
    pub const CHARS_MAX: usize = 256;

    /// The secret, if a header can carry it.
    pub fn new(text: &str) -> Option<Self> {
        let legal = (1..=Self::CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What one token is for.
#[derive(Clone)]
pub struct Token {
    /// Only the hash is kept: all hashes have the same length, and no secret can be read from
    /// memory.
    digest: digest::Digest,
    publish: Vec<Pattern>,
    watch: Vec<Pattern>,
}

impl Token {
    /// A token that may publish and watch these broadcasts.
    pub fn new(secret: &Secret, publish: Vec<Pattern>, watch: Vec<Pattern>) -> Self {
        Self {
            digest: hash(&secret.0),
            publish,
            watch,
        }
    }

    fn patterns(&self, role: Role) -> &[Pattern] {
        match role {
            Role::Publisher => &self.publish,
            Role::Viewer => &self.watch,
        }
    }
}

/// Without the hash.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("publish", &self.publish)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

fn hash(text: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, text.as_bytes())
}

/// The rules. The default has no token and refuses nobody.
#[derive(Clone, Debug, Default)]
pub struct Access {
    tokens: Vec<Token>,
    public: Vec<Pattern>,
}

impl Access {
    /// `public` are the broadcasts that anyone may watch. Default: all, as long as no token is for
    /// watching.
    pub fn new(tokens: Vec<Token>, public: Option<Vec<Pattern>>) -> Self {
        let restricted = tokens.iter().any(|token| !token.watch.is_empty());
        let unset = || (!restricted).then(Pattern::any).into_iter().collect();
        Self {
            public: public.unwrap_or_else(unset),
            tokens,
        }
    }

    /// The number of tokens; without any, anyone may do anything.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The broadcasts that anyone may watch, if there are tokens.
    pub fn public(&self) -> &[Pattern] {
        &self.public
    }

    /// Whether anyone may do this, whatever token they send.
    pub fn is_open(&self, role: Role, name: &Name) -> bool {
        self.tokens.is_empty() || (role == Role::Viewer && matches(&self.public, name))
    }

    /// Whether anyone may watch everything.
    pub fn is_open_to_viewers(&self) -> bool {
        self.tokens.is_empty() || self.public.contains(&Pattern::any())
    }

    /// The holder of this token. Takes the same time for all texts of the same length.
    pub fn holder(&self, token: &str) -> Option<Holder> {
        let given = hash(token);
        let known = |token: &&Token| {
            constant_time::verify_slices_are_equal(token.digest.as_ref(), given.as_ref()).is_ok()
        };
        let tokens: Vec<_> = self.tokens.iter().filter(known).cloned().collect();
        (!tokens.is_empty()).then_some(Holder { tokens })
    }
}

fn matches(patterns: &[Pattern], name: &Name) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// Somebody with a known token.
#[derive(Clone, Debug)]
pub struct Holder {
    /// One secret may be configured more than once.
    tokens: Vec<Token>,
}

impl Holder {
    /// Whether the token is for this.
    pub fn may(&self, role: Role, name: &Name) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|token| matches(token.patterns(role), name))
    }

    /// Whether the token is for anything in this role.
    pub fn may_any(&self, role: Role) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|token| !token.patterns(role).is_empty())
    }

    /// The one broadcast that the token is for in this role, if it is exactly one.
    pub fn only(&self, role: Role) -> Option<Name> {
        let mut patterns = self.tokens.iter().flat_map(|token| token.patterns(role));
        let first = patterns.next()?;
        patterns
            .all(|pattern| pattern == first)
            .then(|| first.name())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().filter_map(|text| Pattern::new(text)).collect()
    }

    fn token(secret: &str, publish: &[&str], watch: &[&str]) -> Token {
        let secret = Secret::new(secret).unwrap();
        Token::new(&secret, patterns(publish), patterns(watch))
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn without_tokens_everything_is_open() {
        let access = Access::default();
        assert!(access.is_open(Role::Publisher, &name("a")));
        assert!(access.is_open(Role::Viewer, &name("a")));
        assert!(access.is_open_to_viewers());
        assert!(access.holder("").is_none());
    }

    #[test]
    fn watching_is_open_until_a_token_is_for_it() {
        let publish = token("p", &["live-*"], &[]);
        let access = Access::new(vec![publish.clone()], None);
        assert!(!access.is_open(Role::Publisher, &name("other")));
        assert!(access.is_open_to_viewers());
        let watch = token("w", &[], &["vip"]);
        let access = Access::new(vec![publish.clone(), watch], None);
        assert!(!access.is_open(Role::Viewer, &name("other")));
        let access = Access::new(vec![publish], Some(patterns(&["lobby"])));
        assert!(access.is_open(Role::Viewer, &name("lobby")));
        assert!(!access.is_open(Role::Viewer, &name("other")));
        assert!(!access.is_open_to_viewers());
    }

    #[test]
    fn tokens_are_for_a_role_and_for_names() {
        let access = Access::new(vec![token("p", &["live-*"], &["vip"])], None);
        let holder = access.holder("p").unwrap();
        assert!(holder.may(Role::Publisher, &name("live-1")));
        assert!(!holder.may(Role::Viewer, &name("live-1")));
        assert!(holder.may(Role::Viewer, &name("vip")));
        assert!(!holder.may(Role::Publisher, &name("vip")));
        for wrong in ["", "P", "p ", "pp"] {
            assert!(access.holder(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn the_same_token_twice_is_for_both() {
        let access = Access::new(vec![token("t", &["a"], &[]), token("t", &["b"], &[])], None);
        let holder = access.holder("t").unwrap();
        assert!(holder.may(Role::Publisher, &name("a")));
        assert!(holder.may(Role::Publisher, &name("b")));
        assert_eq!(holder.only(Role::Publisher), None);
        assert!(!holder.may_any(Role::Viewer));
    }

    #[test]
    fn a_token_for_one_broadcast_names_it() {
        let access = Access::new(vec![token("k", &["studio"], &["*"])], None);
        let holder = access.holder("k").unwrap();
        assert_eq!(holder.only(Role::Publisher), Some(name("studio")));
        assert_eq!(holder.only(Role::Viewer), None, "a pattern names nothing");
    }

    #[test]
    fn secrets_are_visible_ascii_and_not_shown() {
        for wrong in ["", "a b", "a\n", "ä", &"x".repeat(257)] {
            assert!(Secret::new(wrong).is_none(), "{wrong:?}");
        }
        let token = token("hunter2", &["a"], &[]);
        assert!(!format!("{token:?} {:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
