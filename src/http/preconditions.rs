//! Entity tags in conditional requests (RFC 9110 §13). Pure.

use ::http::{HeaderMap, header};

/// The value of `If-Match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The request may proceed.
    Holds,
    /// The client knows another state.
    Fails,
    /// There is no such header.
    Missing,
}

/// Compares `If-Match` with `etag` (quoted, strong), strongly. The wildcard may be quoted, as the
/// examples of RFC 9725 print it.
pub(super) fn if_match(headers: &HeaderMap, etag: &str) -> Precondition {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return Precondition::Missing;
    }
    let holds = values
        .filter_map(|value| value.to_str().ok())
        .any(|value| tags(value).any(|tag| tag == etag || tag == "*" || tag == "\"*\""));
    if holds {
        Precondition::Holds
    } else {
        Precondition::Fails
    }
}

/// Whether `If-None-Match` names `etag`, compared weakly: then the client has the file already.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            tags(value).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
        })
}

/// The members of a list of entity tags; commas inside quotes do not separate them.
fn tags(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value
        .split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn check(values: &[&'static str]) -> Precondition {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_static(value));
        }
        if_match(&headers, "\"e1\"")
    }

    #[test]
    fn strong_comparison_of_lists_and_wildcards() {
        assert_eq!(check(&[]), Precondition::Missing);
        for holds in ["\"e1\"", "*", "\"*\"", "\"x\", \"e1\"", "\"a,b\",\"e1\""] {
            assert_eq!(check(&[holds]), Precondition::Holds, "{holds}");
        }
        assert_eq!(check(&["\"x\"", "\"e1\""]), Precondition::Holds);
        for fails in ["\"stale\"", "W/\"e1\"", "e1", "", "\"x,\"e1\""] {
            assert_eq!(check(&[fails]), Precondition::Fails, "{fails}");
        }
    }
}
