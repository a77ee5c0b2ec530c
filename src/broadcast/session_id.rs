//! The secret in the URL of a session.

use std::fmt::{self, Write as _};

use super::Error;

/// The secret part of a session URL: 160 random bits (RFC 9725 §5).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// An id that begins with what tells which node it is at, if there are several.
    pub(super) fn random(node: &str) -> Result<Self, Error> {
        Ok(Self(format!("{node}{}", random_hex::<20>()?)))
    }

    /// The id in a URL, whether or not such a session exists.
    pub fn from_url(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as it appears in a URL. Whoever has it controls the session: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// `BYTES` random bytes of the system's generator, as hexadecimal digits.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String, Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::Failed(format!("the system provides no random numbers: {error}"))
    })?;
    Ok(bytes
        .iter()
        .fold(String::with_capacity(2 * BYTES), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_long_and_different() {
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| SessionId::random("").unwrap()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.as_str().len() == 40));
    }
}
