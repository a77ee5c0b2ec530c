//! Keeps secrets out of texts that are stored, logged or shown: the values of `vars` and URLs
//! contain stream keys and tokens, and GStreamer's messages and graphs quote both.
//!
//! A value is replaced by its variable's name, `${url}`, so that the text still says what it is
//! about. URLs written in pipeline files themselves lose their user names, passwords and queries.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

/// Values shorter than this, in bytes, are not secrets, and are part of too many words.
const VALUE_BYTES_MIN: usize = 4;
/// The same for numbers: shorter ones are sizes and rates.
const NUMBER_BYTES_MIN: usize = 8;
/// The same for parts of a URL.
const PART_BYTES_MIN: usize = 6;
/// Most values remembered; a configuration has no more variables than this.
const VALUES_MAX: usize = 10_000;
/// Replaces a part of a URL.
const MARK: &str = "***";

/// The values of the variables of every pipeline that has been started, by value: GStreamer's log
/// does not say which pipeline a line belongs to.
static VALUES: RwLock<BTreeMap<String, String>> = RwLock::new(BTreeMap::new());

/// From now on, this variable's value is kept out of texts.
pub fn remember(name: &str, value: &str) {
    let mut values = VALUES.write().unwrap_or_else(PoisonError::into_inner);
    for secret in secrets(value) {
        if values.len() < VALUES_MAX && !values.contains_key(secret) {
            values.insert(secret.to_owned(), format!("${{{name}}}"));
        }
    }
}

/// A text without its secrets.
pub fn redact(text: &str) -> String {
    let values = VALUES.read().unwrap_or_else(PoisonError::into_inner);
    let found = values
        .iter()
        .filter(|(value, _)| text.contains(value.as_str()));
    let mut found: Vec<_> = found.collect();
    // a whole URL before its parts
    found.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    let mut text = text.to_owned();
    for (value, name) in found {
        text = text.replace(value.as_str(), name);
    }
    drop(values);
    without_credentials(&text)
}

/// The parts of a value that may be quoted alone: the whole, and of a URL its end, its query and
/// the parts of these.
fn secrets(value: &str) -> Vec<&str> {
    let mut secrets = Vec::new();
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let bytes_min = if is_number {
        NUMBER_BYTES_MIN
    } else {
        VALUE_BYTES_MIN
    };
    if value.len() >= bytes_min {
        secrets.push(value);
    }
    let Some((_, rest)) = value.split_once("://") else {
        return secrets;
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let password = user
        .and_then(|user| user.split_once(':'))
        .map(|both| both.1);
    let (folder, query) = path.split_once('?').unwrap_or((path, ""));
    let key = folder.rsplit('/').next();
    let values = query
        .split('&')
        .filter_map(|pair| pair.split_once('=').map(|both| both.1));
    let parts = [user, password, key, Some(path), Some(query)];
    let parts = parts.into_iter().flatten().chain(values);
    secrets.extend(parts.filter(|part| part.len() >= PART_BYTES_MIN));
    secrets
}

/// A text whose URLs have no user, password and query.
fn without_credentials(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let ends = |c: char| c.is_whitespace() || "\"'<>\\".contains(c);
        let (url, behind) = after.split_at(after.find(ends).unwrap_or(after.len()));
        redacted.push_str(before);
        redacted.push_str("://");
        push_url(&mut redacted, url);
        rest = behind;
    }
    redacted.push_str(rest);
    redacted
}

fn push_url(text: &mut String, url: &str) {
    let (authority, path) = url.split_at(url.find(['/', '?']).unwrap_or(url.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => {
            text.push_str(MARK);
            text.push('@');
            text.push_str(host);
        }
        None => text.push_str(authority),
    }
    match path.split_once('?') {
        Some((path, _)) => {
            text.push_str(path);
            text.push('?');
            text.push_str(MARK);
        }
        None => text.push_str(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_their_variable() {
        remember(
            "redact_url",
            "rtmp://u:pass@redact.example/app/stream-key-1",
        );
        remember("redact_token", "s3cr");
        for (text, expected) in [
            (
                "cannot open rtmp://u:pass@redact.example/app/stream-key-1!",
                "cannot open ${redact_url}!",
            ),
            (
                "stream 'stream-key-1' refused",
                "stream '${redact_url}' refused",
            ),
            (
                "token s3cr, again s3cr",
                "token ${redact_token}, again ${redact_token}",
            ),
            ("nothing secret", "nothing secret"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn numbers_and_short_words_stay() {
        assert_eq!(secrets("2000"), [""; 0]);
        assert_eq!(secrets("2500000"), [""; 0]);
        assert_eq!(secrets("4711081542"), ["4711081542"], "a stream key");
        assert_eq!(secrets("/x"), [""; 0]);
        assert_eq!(secrets("/recordings"), ["/recordings"]);
    }

    #[test]
    fn parts_of_urls_are_secret_alone() {
        let url = "srt://user:password@host:9000/live/key123?streamid=abcdef&x=1";
        assert_eq!(
            secrets(url),
            [
                url,
                "user:password",
                "password",
                "key123",
                "/live/key123?streamid=abcdef&x=1",
                "streamid=abcdef&x=1",
                "abcdef"
            ]
        );
    }

    #[test]
    fn urls_in_files_lose_credentials() {
        for (text, expected) in [
            ("a http://me:pw@h:80/x?k=v b", "a http://***@h:80/x?*** b"),
            ("\"srt://h:1?k=@v\" c", "\"srt://h:1?***\" c"),
            ("http://h/a https://i/b?c", "http://h/a https://i/b?***"),
            ("no://", "no://"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
