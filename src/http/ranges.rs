//! The part of a file that a request asks for (RFC 9110 §14). Pure.

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileRange {
    /// Everything.
    Whole,
    /// These bytes.
    Part {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// None: there are no such bytes.
    Unsatisfiable,
}

impl FileRange {
    /// The value of `Range`. Whatever else it says is ignored, as the RFC allows: other units, and
    /// several parts at once.
    pub(super) fn of(header: Option<&str>, length: u64) -> Self {
        let range = header.and_then(|header| header.trim().strip_prefix("bytes="));
        let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
            return Self::Whole;
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) if last < first => return Self::Whole,
            (Some(first), Some(last)) => (first, last),
            (Some(first), None) if last.is_empty() => (first, u64::MAX),
            (None, Some(0)) if first.is_empty() => return Self::Unsatisfiable,
            (None, Some(count)) if first.is_empty() => (length.saturating_sub(count), u64::MAX),
            _ => return Self::Whole,
        };
        if first >= length {
            return Self::Unsatisfiable;
        }
        let last = last.min(length - 1);
        Self::Part { first, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, last| FileRange::Part { first, last };
        for (header, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=2-", part(2, 9)),
            ("bytes=2-99999999999999999999999", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=10-", FileRange::Unsatisfiable),
            ("bytes=-0", FileRange::Unsatisfiable),
            ("bytes=5-2", FileRange::Whole),
            ("bytes=0-1,3-4", FileRange::Whole),
            ("bytes=-", FileRange::Whole),
            ("bytes=a-b", FileRange::Whole),
            ("bytes=+1-2", FileRange::Whole),
            ("items=0-1", FileRange::Whole),
        ] {
            assert_eq!(FileRange::of(Some(header), 10), expected, "{header}");
        }
        assert_eq!(FileRange::of(None, 10), FileRange::Whole);
        assert_eq!(FileRange::of(Some("bytes=0-"), 0), FileRange::Unsatisfiable);
    }
}
