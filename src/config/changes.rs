//! What differs between two readings of the configuration, and which changes need no restart.

use super::{Opt, RawConfig, options};

/// Options that hold from the next reading on; a dot at the end stands for a whole section.
const LIVE: &[&str] = &[
    "pipelines",
    "log",
    "demo",
    "http.lenient_etag",
    "http.missing_is_404",
    "http.redirect_publishers",
    "http.redirect_viewers",
    "auth.",
    "limits.sessions",
    "limits.broadcasts",
    "limits.token_broadcasts",
    "limits.viewers",
    "limits.publisher_bitrate",
    "limits.transcodes",
    "limits.broadcast_transcodes",
    "limits.source_offers",
    "limits.source_failures",
    "limits.source_publishers",
    "limits.source_viewers",
    "limits.token_viewers",
    "limits.source_connections",
    "limits.source_streams",
    "limits.pipeline_memory",
    "limits.offer_bytes",
    "limits.fragment_bytes",
    "timeouts.first_check",
    "timeouts.media",
    "timeouts.stale",
    "timeouts.silent",
    "timeouts.ended",
    "timeouts.grace",
    "webrtc.publisher_engine",
    "webrtc.viewer_engine",
    "webrtc.ice_servers",
    "webrtc.turn_secret",
    "webrtc.turn_lifetime",
    "webrtc.jitter",
    "webrtc.replace_live",
];

/// The options that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChanges {
    /// Those that can change at once.
    pub live: Vec<String>,
    /// Those that take a restart.
    pub fixed: Vec<String>,
}

impl ConfigChanges {
    /// From one reading to the next.
    pub fn between(before: &RawConfig, after: &RawConfig) -> Self {
        let mut changes = Self::default();
        for option in options::all() {
            if before.text_of(option) == after.text_of(option) {
                continue;
            }
            let list = if is_live(option.key) {
                &mut changes.live
            } else {
                &mut changes.fixed
            };
            list.push(option.key.to_owned());
        }
        if before.rules != after.rules {
            changes.live.push("auth.tokens".to_owned());
        }
        if before.webhooks != after.webhooks {
            changes.fixed.push("webhooks".to_owned());
        }
        changes
    }
}

impl RawConfig {
    /// This reading, with what takes a restart as it was in the one that the server runs with.
    #[must_use]
    pub fn without_restart(mut self, running: &Self) -> Self {
        self.values.retain(|key, _| is_live(key));
        let fixed = running.values.iter().filter(|(key, _)| !is_live(key));
        self.webhooks.clone_from(&running.webhooks);
        self.values
            .extend(fixed.map(|(key, value)| (*key, value.clone())));
        self
    }

    fn text_of(&self, option: &'static Opt) -> &str {
        self.values
            .get(option.key)
            .map_or(option.default, |(text, _)| text)
    }
}

/// Whether an option can change while the server runs.
pub(super) fn is_live(key: &str) -> bool {
    let stands_for = |live: &str| key == live || live.ends_with('.') && key.starts_with(live);
    LIVE.iter().any(|live| stands_for(live))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[(&'static str, &str)]) -> RawConfig {
        let flags = flags.iter().map(|&(key, value)| (key, value.to_owned()));
        RawConfig::read(None, [], flags).unwrap()
    }

    #[test]
    fn every_live_option_exists() {
        for live in LIVE {
            let mut keys = options::all().map(|option| option.key);
            let exists = if live.ends_with('.') {
                keys.any(|key| key.starts_with(live))
            } else {
                keys.any(|key| key == *live)
            };
            assert!(exists, "{live}");
        }
        let documents = include_str!("../../docs/configuration.md");
        let (_, section) = documents.split_once("## Change without a restart").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        for live in LIVE {
            let written = live
                .strip_suffix('.')
                .map_or(format!("`{live}`"), |s| format!("`{s}.*`"));
            assert!(section.contains(&written), "{written}");
        }
        assert!(is_live("auth.query") && !is_live("log_format") && !is_live("authority"));
    }

    #[test]
    fn changes_are_told_apart() {
        let before = read(&[("log", "info"), ("limits.viewers", "5")]);
        let after = read(&[("listen", "[::1]:1"), ("limits.viewers", "6")]);
        let changes = ConfigChanges::between(&before, &after);
        assert_eq!(changes.live, ["limits.viewers"], "`info` is the default");
        assert_eq!(changes.fixed, ["listen"]);
        assert_eq!(
            ConfigChanges::between(&after, &after),
            ConfigChanges::default()
        );
    }

    #[test]
    fn options_that_need_a_restart_keep_their_values() {
        let running = read(&[("udp", "127.0.0.1:5"), ("limits.viewers", "5")]);
        let after = read(&[("listen", "[::1]:1"), ("limits.viewers", "6")]);
        let effective = after.clone().without_restart(&running);
        let changes = ConfigChanges::between(&running, &effective);
        assert_eq!((changes.live.len(), changes.fixed.len()), (1, 0));
        let still = ConfigChanges::between(&effective, &after);
        assert_eq!(still.fixed, ["listen", "udp"], "they are still to come");
    }
}
