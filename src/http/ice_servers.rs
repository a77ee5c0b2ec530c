//! The STUN and TURN servers that are announced to clients (RFC 9725 §4.6), with passwords made for
//! each session: a TURN server that shares a secret with this one knows no users, and believes
//! whoever proves with it until when a name is good (draft-uberti-behave-turn-rest).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::access::Secret;

/// The servers of the configuration.
#[derive(Clone, Debug, Default)]
pub struct IceServers {
    /// `Link` values that are the same for all.
    pub fixed: Vec<String>,
    /// URLs of TURN servers that share a secret with this one.
    pub shared: Vec<String>,
    /// The secret shared with the TURN servers.
    pub turn: Option<TurnSecret>,
}

/// What passwords for TURN are made from.
#[derive(Clone, Debug)]
pub struct TurnSecret {
    /// What the TURN servers know, too.
    pub secret: Secret,
    /// How long a password may be used to begin.
    pub lifetime: Duration,
}

impl IceServers {
    /// The `Link` values for one client, which the TURN servers' logs will call `who`.
    pub(super) fn links(&self, who: &str, now: SystemTime) -> Vec<String> {
        let made = self.turn.iter().flat_map(|turn| {
            let login = turn.login(who, now);
            self.shared.iter().map(move |url| login.link(url))
        });
        self.fixed.iter().cloned().chain(made).collect()
    }
}

impl TurnSecret {
    fn login(&self, who: &str, now: SystemTime) -> TurnLogin {
        let expiry = (now + self.lifetime).duration_since(UNIX_EPOCH);
        let user = format!("{}:{who}", expiry.unwrap_or_default().as_secs());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.secret.bytes());
        let password = BASE64_STANDARD.encode(hmac::sign(&key, user.as_bytes()));
        TurnLogin { user, password }
    }
}

struct TurnLogin {
    user: String,
    password: String,
}

impl TurnLogin {
    /// The parameters in the order that clients look for them; none has a quote in it.
    fn link(&self, url: &str) -> String {
        let Self { user, password } = self;
        format!(
            "<{url}>; rel=\"ice-server\"; username=\"{user}\"; credential=\"{password}\"; \
             credential-type=\"password\""
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_what_a_turn_server_computes() {
        let servers = IceServers {
            fixed: vec!["<stun:a.example>; rel=\"ice-server\"".to_owned()],
            shared: vec!["turn:a.example".to_owned(), "turns:a.example".to_owned()],
            turn: Some(TurnSecret {
                secret: Secret::new("north").unwrap(),
                lifetime: Duration::from_hours(1),
            }),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        // printf 1700003600:7 | openssl dgst -sha1 -hmac north -binary | base64
        let login = "; rel=\"ice-server\"; username=\"1700003600:7\"; \
                     credential=\"3SXD73xvzbKOJb8QpzBT3wJ3nzU=\"; credential-type=\"password\"";
        let expected = [
            "<stun:a.example>; rel=\"ice-server\"".to_owned(),
            format!("<turn:a.example>{login}"),
            format!("<turns:a.example>{login}"),
        ];
        assert_eq!(servers.links("7", now), expected);
    }
}
