//! Self-contained tokens: signed claims (JWT, RFC 7519).
//!
//! The key determines the algorithm, whatever the header of a token says. Pure: another module
//! provides the keys.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Grants, Holder};
use crate::plan::{Pattern, Value as _};

/// Keys in use at the same time; further ones of a set are left out.
const KEYS_MAX: usize = 32;
/// Longest token that is read, in bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Shortest secret of HS256 (RFC 7518 §3.2), in bytes.
const SECRET_BYTES_MIN: usize = 32;
/// How much of a token's subject the log shows, in characters.
const SUBJECT_CHARS_MAX: usize = 64;

/// What a token must contain, besides a valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtOptions {
    /// The only issuer (`iss`), if it matters.
    pub issuer: Option<String>,
    /// The audience that must be among the token's (`aud`), if it matters. Without it, tokens may be
    /// for any.
    pub audience: Option<String>,
    /// The claim with the rights.
    pub claim: String,
    /// How far the clocks of issuer and server may differ.
    pub leeway: Duration,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is something else.
    #[error("it is not a JWT")]
    NotJwt,
    /// No key fits its algorithm and key id.
    #[error("no key for its algorithm and key id")]
    UnknownKey,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Something else is wrong with it.
    #[error("{0}")]
    Wrong(String),
}

/// One key.
#[derive(Debug)]
struct JwtKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys that tokens may be signed with.
#[derive(Debug, Default)]
pub struct JwtKeys(Vec<JwtKey>);

impl JwtKeys {
    /// Reads a file: a public key (PEM), a set of keys (JWK Set), or else a secret.
    ///
    /// # Errors
    /// What is wrong with it, without its content.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Self::of_set(bytes);
        }
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Self::of_pem(bytes);
        }
        let secret = bytes.trim_ascii();
        if secret.len() < SECRET_BYTES_MIN || is_key_file(bytes) {
            return Err(format!(
                "a secret of at least {SECRET_BYTES_MIN} bytes, a public key (PEM) or a JWK Set"
            ));
        }
        let key = DecodingKey::from_secret(secret).map_err(|error| error.to_string())?;
        Ok(Self::one(Algorithm::HS256, key))
    }

    fn one(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self(vec![JwtKey {
            id: None,
            algorithm,
            key,
        }])
    }

    fn of_pem(bytes: &[u8]) -> Result<Self, String> {
        if bytes.windows(11).any(|part| part == b"PRIVATE KEY") {
            return Err("a public key; this is a private one, which only the issuer needs".into());
        }
        let read = [
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
            (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
        ];
        let key = read
            .into_iter()
            .find_map(|(kind, key)| Some((kind, key.ok()?)));
        let (algorithm, key) = key.ok_or("a public key for RS256, ES256 or EdDSA (PEM)")?;
        Ok(Self::one(algorithm, key))
    }

    /// A JWK Set that others can read, so it must not contain secrets.
    ///
    /// # Errors
    /// It cannot be read, or has no public key for this purpose.
    pub fn of_public_set(bytes: &[u8]) -> Result<Self, String> {
        let Self(mut keys) = Self::of_set(bytes)?;
        keys.retain(|key| key.algorithm != Algorithm::HS256);
        if keys.is_empty() {
            return Err("a JWK Set with a public key for RS256, ES256 or EdDSA".into());
        }
        Ok(Self(keys))
    }

    /// A JWK Set (RFC 7517 §5). Keys for other purposes are left out.
    fn of_set(bytes: &[u8]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(bytes).map_err(|error| {
            format!(
                "a JWK Set: line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        let keys: Vec<_> = set
            .keys
            .iter()
            .filter_map(JwtKey::of)
            .take(KEYS_MAX)
            .collect();
        if keys.is_empty() {
            return Err("a JWK Set with a key for HS256, RS256, ES256 or EdDSA".into());
        }
        Ok(Self(keys))
    }

    /// The holder of this token.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, options: &JwtOptions, token: &str) -> Result<Holder, JwtError> {
        if token.len() > TOKEN_BYTES_MAX || token.split('.').count() != 3 {
            return Err(JwtError::NotJwt);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| JwtError::NotJwt)?;
        let fits = |key: &&JwtKey| {
            let same_id = match (&key.id, &header.kid) {
                (Some(id), Some(wanted)) => id == wanted,
                _ => true,
            };
            key.algorithm == header.alg && same_id
        };
        let mut last = JwtError::UnknownKey;
        for key in self.0.iter().filter(fits) {
            match key.verify(options, token) {
                Ok(holder) => return Ok(holder),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Whether this looks like a key or a set of keys that was meant to be read as one: everybody may
/// know it, and so it must not become a secret.
fn is_key_file(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN";
    // Byte order marks (UTF-8, UTF-16), JSON, and DER: RSA, Ed25519 and P-256.
    const STARTS: [&[u8]; 7] = [
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"[",
        b"\x30\x82",
        b"\x30\x2a",
        b"\x30\x59",
    ];
    let text = bytes.trim_ascii_start();
    let mut parts = bytes.windows(BEGIN.len());
    STARTS.iter().any(|start| text.starts_with(start)) || parts.any(|part| part == BEGIN)
}

/// Whether a secret in base64url (RFC 7518 §6.4.1) is long enough.
fn is_long(value: &str) -> bool {
    value.trim_end_matches('=').len() * 3 / 4 >= SECRET_BYTES_MIN
}

impl JwtKey {
    /// The key of a set, if it is for signatures that are accepted here.
    fn of(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(_) => (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
            AlgorithmParameters::OctetKey(key) if is_long(&key.value) => {
                (Algorithm::HS256, KeyAlgorithm::HS256)
            }
            _ => return None,
        };
        if common.key_algorithm.is_some_and(|given| given != named) {
            return None;
        }
        Some(Self {
            id: common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }

    fn verify(&self, options: &JwtOptions, token: &str) -> Result<Holder, JwtError> {
        let mut validation = Validation::new(self.algorithm);
        validation.leeway = options.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        validation.validate_aud = options.audience.is_some();
        if let Some(audience) = &options.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &options.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let read = jsonwebtoken::decode::<Map<String, Json>>(token, &self.key, &validation);
        let claims = read.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => JwtError::Expired,
            ErrorKind::InvalidSignature => JwtError::Wrong("its signature is invalid".into()),
            ErrorKind::InvalidIssuer => {
                JwtError::Wrong("it comes from another issuer (iss)".into())
            }
            ErrorKind::InvalidAudience => {
                JwtError::Wrong("it is meant for another audience (aud)".into())
            }
            ErrorKind::ImmatureSignature => JwtError::Wrong("it is not yet valid (nbf)".into()),
            ErrorKind::MissingRequiredClaim(claim) => {
                JwtError::Wrong(format!("it has no `{claim}`"))
            }
            _ => JwtError::Wrong("its claims cannot be read".into()),
        })?;
        let holder = holder(options, &claims.claims)?;
        // RFC 7519 §4.1.4: not on the second itself either, which the library still accepts.
        if holder.expires.is_some_and(|at| at <= SystemTime::now()) {
            return Err(JwtError::Expired);
        }
        Ok(holder)
    }
}

/// The claim with the rights. Unknown members are refused: one could be a restriction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rights {
    #[serde(default)]
    publish: Names,
    #[serde(default)]
    watch: Names,
    #[serde(default)]
    chat: Names,
    #[serde(default)]
    metrics: bool,
    #[serde(default)]
    admin: bool,
    /// Kilobits per second.
    bitrate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Names {
    fn patterns(self, member: &str) -> Result<Vec<Pattern>, JwtError> {
        let text = match self {
            Self::One(text) => text,
            Self::Many(texts) => texts.join(","),
        };
        Vec::<Pattern>::read(&text).ok_or_else(|| {
            JwtError::Wrong(format!("`{member}` in its rights is not a list of names"))
        })
    }
}

fn holder(options: &JwtOptions, claims: &Map<String, Json>) -> Result<Holder, JwtError> {
    let claim = &options.claim;
    let rights = claims
        .get(claim)
        .ok_or_else(|| JwtError::Wrong(format!("it has no claim `{claim}` with rights")))?;
    let rights = Rights::deserialize(rights)
        .map_err(|error| JwtError::Wrong(format!("its claim `{claim}` is wrong: {error}")))?;
    let subject = claims.get("sub").and_then(Json::as_str).unwrap_or("jwt");
    let grants = Grants {
        publish: rights.publish.patterns("publish")?,
        watch: rights.watch.patterns("watch")?,
        chat: rights.chat.patterns("chat")?,
        metrics: rights.metrics,
        admin: rights.admin,
    };
    // Validated: it is there and a number.
    let expires = claims.get("exp").and_then(Json::as_f64).unwrap_or_default();
    let expires = Duration::try_from_secs_f64(expires).ok();
    let expires = expires.and_then(|time| SystemTime::UNIX_EPOCH.checked_add(time));
    Ok(Holder {
        name: subject.chars().take(SUBJECT_CHARS_MAX).collect(),
        grants: vec![grants],
        expires: expires.and_then(|time| time.checked_add(options.leeway)),
        bitrate: rights.bitrate.map(|kilobits| u64::from(kilobits) * 1000),
    })
}

#[cfg(test)]
mod tests;
