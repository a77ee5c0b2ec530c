//! Links to recordings: whoever knows one may play and download for a while. HLS players and
//! `<video>` send no token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{hmac, rand::SystemRandom};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// How long a link is good.
const LIFETIME: Duration = Duration::from_hours(12);

/// Makes links, and knows its own. Those of an earlier run of the server are good for nothing.
pub(super) struct RecordingKeys(Option<hmac::Key>);

impl RecordingKeys {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        if key.is_err() {
            tracing::error!("the system provides no random numbers: recordings cannot be played");
        }
        Self(key.ok())
    }

    /// The part of a link that opens this recording.
    pub(super) fn key(&self, recording: &str, now: SystemTime) -> Option<String> {
        let expires = (now + LIFETIME).duration_since(UNIX_EPOCH).ok()?.as_secs();
        let tag = hmac::sign(self.0.as_ref()?, signed(recording, expires).as_bytes());
        Some(format!("{expires}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Whether this part of a link opens this recording now.
    pub(super) fn opens(&self, recording: &str, key: &str, now: SystemTime) -> bool {
        let Some((expires, tag)) = key.split_once('.') else {
            return false;
        };
        let (Ok(expires), Ok(tag)) = (expires.parse::<u64>(), URL_SAFE_NO_PAD.decode(tag)) else {
            return false;
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signed = signed(recording, expires);
        let is_ours = |own| hmac::verify(own, signed.as_bytes(), &tag).is_ok();
        now < expires && self.0.as_ref().is_some_and(is_ours)
    }
}

fn signed(recording: &str, expires: u64) -> String {
    format!("{expires} {recording}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_one_recording_for_a_while() {
        let keys = RecordingKeys::new();
        let now = UNIX_EPOCH + Duration::from_hours(1000);
        let key = keys.key("a.mp4", now).unwrap();
        assert!(keys.opens("a.mp4", &key, now));
        assert!(keys.opens("a.mp4", &key, now + LIFETIME - Duration::from_secs(1)));
        assert!(!keys.opens("a.mp4", &key, now + LIFETIME));
        assert!(!keys.opens("b.mp4", &key, now));
        assert!(!RecordingKeys::new().opens("a.mp4", &key, now));
        let (expires, tag) = key.split_once('.').unwrap();
        let later = format!("{}.{tag}", expires.parse::<u64>().unwrap() + 1);
        for wrong in [later.as_str(), "", ".", "1.", "x.y", expires, tag] {
            assert!(!keys.opens("a.mp4", wrong, now), "{wrong}");
        }
    }
}
