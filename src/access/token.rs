//! The text of a token, and its hash.

use std::{fmt, io};

use aws_lc_rs::{constant_time, digest};

use crate::outbound::hex;

/// Length of a secret that is made, in bytes.
const RANDOM_BYTES: usize = 16;

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

    /// A secret that nobody can guess, and its text.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn random() -> io::Result<(Self, String)> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let text = hex(&bytes);
        Ok((Self(text.clone()), text))
    }

    /// Whether it could be guessed.
    pub(super) fn is_short(&self) -> bool {
        self.0.len() < Self::CHARS_GOOD
    }

    /// Its bytes, as a key of HMAC.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Its hash.
    pub(super) fn hash(&self) -> TokenHash {
        TokenHash::of_text(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The SHA-256 hash of a token. Of configured tokens only this is kept: all hashes have the same
/// length, and no secret can be read from memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; digest::SHA256_OUTPUT_LEN]);

impl TokenHash {
    /// The hash of a text.
    pub fn of_text(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    pub(super) fn of_bytes(text: &[u8]) -> Self {
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
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

    /// As 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    pub(super) fn equals(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// Without the hash: that of a short token gives the token away.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_visible_ascii_and_not_shown() {
        for wrong in ["", "a b", "a\n", "ä", &"x".repeat(257)] {
            assert!(Secret::new(wrong).is_none(), "{wrong:?}");
        }
        let secret = Secret::new("hunter2").unwrap();
        assert!(!format!("{secret:?} {:?}", secret.hash()).contains("hunter2"));
    }

    #[test]
    fn hashes_are_as_sha256sum_prints_them() {
        let written = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        let hash = TokenHash::from_hex(written).unwrap();
        assert!(hash.equals(&TokenHash::of_text("hunter2")));
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
