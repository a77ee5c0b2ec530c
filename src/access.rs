//! Who may publish, watch and operate the server: tokens, each with its rights. Pure; knows nothing
//! about requests.
//!
//! Without tokens, anyone may publish and watch. With tokens, publishing requires one that lists the
//! broadcast under `publish`; watching requires one that lists it under `watch`, unless the
//! broadcast is public. Metrics and the operator's part of the API always require a right.

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
    /// Length below which it could be guessed, in characters.
    pub const CHARS_GOOD: usize = 16;

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

/// The SHA-256 hash of a token. Only this is kept: all hashes have the same length, and no secret
/// can be read from memory.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; digest::SHA256_OUTPUT_LEN]);

impl TokenHash {
    fn of_text(text: &str) -> Self {
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }

    /// The hash written as 64 hexadecimal digits, as `sha256sum` prints it.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, start) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(start..start + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn equals(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// Without the hash: that of a short token gives the token away.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// What is not about one broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read the metrics.
    Metrics,
    /// Inspect and change everything: graphs, reasons of failures, properties of pipelines.
    /// Includes the metrics.
    Admin,
}

/// What one token is for.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Broadcasts to publish.
    pub publish: Vec<Pattern>,
    /// Broadcasts to watch.
    pub watch: Vec<Pattern>,
    /// See [`Right::Metrics`].
    pub metrics: bool,
    /// See [`Right::Admin`].
    pub admin: bool,
}

impl Grants {
    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.publish.is_empty() && self.watch.is_empty() && !self.metrics && !self.admin
    }

    fn patterns(&self, role: Role) -> &[Pattern] {
        match role {
            Role::Publisher => &self.publish,
            Role::Viewer => &self.watch,
        }
    }

    fn include(&self, right: Right) -> bool {
        match right {
            Right::Metrics => self.metrics || self.admin,
            Right::Admin => self.admin,
        }
    }
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Stands for it in the log.
    name: String,
    hash: TokenHash,
    grants: Grants,
    /// Whether it could be guessed.
    short: bool,
}

impl Token {
    /// A token that is for this; `name` stands for it in the log.
    pub fn new(name: impl Into<String>, secret: &Secret, grants: Grants) -> Self {
        Self {
            short: secret.0.len() < Secret::CHARS_GOOD,
            ..Self::hashed(name, TokenHash::of_text(&secret.0), grants)
        }
    }

    /// A token of which only the hash is known.
    pub fn hashed(name: impl Into<String>, hash: TokenHash, grants: Grants) -> Self {
        Self {
            name: name.into(),
            hash,
            grants,
            short: false,
        }
    }

    /// Whether this text is the token.
    fn is(&self, given: &TokenHash) -> bool {
        self.hash.equals(given)
    }
}

/// The rules. The default has no token and lets anyone publish and watch.
#[derive(Clone, Debug, Default)]
pub struct Access {
    tokens: Vec<Token>,
    public: Vec<Pattern>,
}

impl Access {
    /// `public` are the broadcasts that anyone may watch. Default: all, as long as no token is for
    /// watching.
    pub fn new(tokens: Vec<Token>, public: Option<Vec<Pattern>>) -> Self {
        let restricted = tokens.iter().any(|token| !token.grants.watch.is_empty());
        let unset = || (!restricted).then(Pattern::any).into_iter().collect();
        Self {
            public: public.unwrap_or_else(unset),
            tokens,
        }
    }

    /// The number of tokens; without any, anyone may publish and watch.
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

    /// What stands in the log for tokens that are too short to be safe.
    pub fn short_tokens(&self) -> impl Iterator<Item = &str> {
        let short = self.tokens.iter().filter(|token| token.short);
        short.map(|token| token.name.as_str())
    }

    /// Whether a token is for this, so that the operator needs no other.
    pub fn grants(&self, right: Right) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|token| token.grants.include(right))
    }

    /// Adds a token that changes nothing for those without one.
    #[must_use]
    pub fn with(&self, token: Token) -> Self {
        let mut access = self.clone();
        access.tokens.push(token);
        access
    }

    /// The holder of this token. Takes the same time for all texts of the same length.
    pub fn holder(&self, token: &str) -> Option<Holder> {
        let given = TokenHash::of_text(token);
        let known = self.tokens.iter().filter(|token| token.is(&given));
        let tokens: Vec<_> = known.cloned().collect();
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
    /// What stands for the token in the log.
    pub fn name(&self) -> &str {
        self.tokens.first().map_or("", |token| &token.name)
    }

    /// Whether the token is for this.
    pub fn may(&self, role: Role, name: &Name) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|token| matches(token.grants.patterns(role), name))
    }

    /// Whether the token is for anything in this role.
    pub fn may_any(&self, role: Role) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|token| !token.grants.patterns(role).is_empty())
    }

    /// Whether the token has this right.
    pub fn has(&self, right: Right) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|token| token.grants.include(right))
    }

    /// The one broadcast that the token is for in this role, if it is exactly one.
    pub fn only(&self, role: Role) -> Option<Name> {
        let tokens = self.tokens.iter();
        let mut patterns = tokens.flat_map(|token| token.grants.patterns(role));
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
        let grants = Grants {
            publish: patterns(publish),
            watch: patterns(watch),
            ..Grants::default()
        };
        Token::new(secret, &Secret::new(secret).unwrap(), grants)
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
        let secret = Secret::new("hunter2").unwrap();
        let token = Token::new("studio", &secret, Grants::default());
        assert!(!format!("{token:?} {secret:?}").contains("hunter2"));
    }

    #[test]
    fn rights_are_apart_from_broadcasts() {
        let operator = |metrics, admin| Grants {
            metrics,
            admin,
            ..Grants::default()
        };
        let token =
            |secret: &str, grants| Token::new(secret, &Secret::new(secret).unwrap(), grants);
        let access = Access::new(vec![token("a", operator(false, true))], None);
        let access = access.with(token("m", operator(true, false)));
        let (admin, metrics) = (access.holder("a").unwrap(), access.holder("m").unwrap());
        assert!(admin.has(Right::Admin) && admin.has(Right::Metrics));
        assert!(metrics.has(Right::Metrics) && !metrics.has(Right::Admin));
        for holder in [admin, metrics] {
            assert!(!holder.may_any(Role::Publisher) && !holder.may_any(Role::Viewer));
        }
        assert!(access.grants(Right::Admin));
        assert!(!Access::default().grants(Right::Metrics));
        // Such tokens are tokens: publishing now needs one. Watching stays open.
        assert!(!access.is_open(Role::Publisher, &name("a")));
        assert!(access.is_open_to_viewers());
    }

    #[test]
    fn hashes_are_as_sha256sum_prints_them() {
        let written = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        let hash = TokenHash::from_hex(written).unwrap();
        let access = Access::new(vec![Token::hashed("t", hash, Grants::default())], None);
        assert_eq!(access.holder("hunter2").unwrap().name(), "t");
        assert!(TokenHash::from_hex(&written.to_uppercase()).is_some());
        for wrong in [
            "",
            "f5",
            &written.replace('f', "g"),
            &format!("{written}00"),
        ] {
            assert!(TokenHash::from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
