//! Keeps secrets out of texts that are stored, logged or shown: the values of `vars` and URLs
//! contain stream keys and tokens, and GStreamer's messages and graphs quote both.
//!
//! A value is replaced by its variable's name, `${url}`, so that the text still says what it is
//! about, in whichever way GStreamer has quoted it. URLs written in pipeline files themselves lose
//! their user names, passwords and queries.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{PoisonError, RwLock},
};

/// Values shorter than this, in bytes, are not secrets, and are part of too many words.
const VALUE_BYTES_MIN: usize = 4;
/// The same for numbers: shorter ones are sizes and rates.
const NUMBER_BYTES_MIN: usize = 8;
/// The same for parts of a URL.
const PART_BYTES_MIN: usize = 6;
/// Most values remembered, in all ways to write them; a configuration has no more variables.
const VALUES_MAX: usize = 10_000;
/// Characters of URLs that GStreamer quotes in structures.
const IN_URLS: [char; 11] = ['@', '?', '=', '&', '%', ';', ',', '~', '!', '$', '*'];
/// Replaces a part of a URL.
const MARK: &str = "***";

/// The values of the variables of every pipeline that has been started, by value: GStreamer's log
/// does not say which pipeline a line belongs to.
static VALUES: RwLock<BTreeMap<String, String>> = RwLock::new(BTreeMap::new());

/// From now on, this variable's value is kept out of texts.
pub fn remember(name: &str, value: &str) {
    let mut values = VALUES.write().unwrap_or_else(PoisonError::into_inner);
    for written in secrets(value).into_iter().flat_map(ways_to_write) {
        if values.len() < VALUES_MAX && !values.contains_key(&written) {
            values.insert(written, format!("${{{name}}}"));
        }
    }
}

/// A text as it is, and as GStreamer quotes it: for structures, and each of both once or, in graphs,
/// twice as a string.
fn ways_to_write(text: &str) -> impl Iterator<Item = String> + use<> {
    let in_structure = quoted(text, is_plain_in_structures);
    [text.to_owned(), in_structure]
        .into_iter()
        .flat_map(|text| {
            let once = quoted(&text, is_plain_in_strings);
            let twice = quoted(&once, is_plain_in_strings);
            [text, once, twice]
        })
}

/// What `gst_value_serialize` does not quote.
fn is_plain_in_structures(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-+/:.".contains(&byte)
}

/// What `g_strescape` does not quote.
fn is_plain_in_strings(byte: u8) -> bool {
    is_printable(byte) && byte != b'"' && byte != b'\\'
}

fn is_printable(byte: u8) -> bool {
    (b' '..0x7f).contains(&byte)
}

/// A text with a backslash before every character that is not plain, which is written in octal if it
/// cannot be printed.
fn quoted(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        if !is_plain(byte) {
            quoted.push('\\');
        }
        if is_printable(byte) {
            quoted.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(quoted, "{byte:03o}");
        }
    }
    quoted
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
    let parts = [user, password, key, Some(path), Some(query)]
        .into_iter()
        .flatten()
        .chain(values);
    secrets.extend(parts.filter(|part| part.len() >= PART_BYTES_MIN));
    secrets
}

/// A text whose URLs have no user, password and query.
fn without_credentials(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let (url, behind) = after.split_at(end_of_url(after));
        redacted.push_str(before);
        redacted.push_str("://");
        push_url(&mut redacted, url);
        rest = behind;
    }
    redacted.push_str(rest);
    redacted
}

/// Where a URL ends that the text begins with. A backslash before one of its own characters belongs
/// to it.
fn end_of_url(text: &str) -> usize {
    let ends = |(at, c): &(usize, char)| match c {
        '\\' => {
            let behind = text.get(*at..).unwrap_or_default();
            !behind.trim_start_matches('\\').starts_with(IN_URLS)
        }
        c => c.is_whitespace() || "\"'<>".contains(*c),
    };
    let mut chars = text.char_indices();
    chars.find(ends).map_or(text.len(), |(at, _)| at)
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
    fn quoting_hides_no_value() {
        remember("redact_quoted", "p&q=\"é\\r");
        for text in [
            r#"key=p&q="é\r;"#,
            r#"key="p&q=\"\303\251\\r""#,
            r#"secret=(string)"p\&q\=\"\303\251\\r""#,
            r#"secret=(string)\"p\\&q\\=\\\"\\303\\251\\\\r\""#,
            r#"key=\"p&q=\\\"\\303\\251\\\\r\""#,
            r#"secret=(string)\\\"p\\\\&q\\\\=\\\\\\\"\\\\303\\\\251\\\\\\\\r\\\""#,
        ] {
            let shown = redact(text);
            assert!(shown.contains("${redact_quoted}"), "{text}: {shown}");
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
            (
                r#"(string)\"http://me:pw\\@h/x\\?k\\=v\""#,
                r#"(string)\"http://***@h/x\\?***\""#,
            ),
            ("no://", "no://"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
