//! When a certificate expires: as much of X.509 (RFC 5280 §4.1) as that takes. Pure.

use chrono::NaiveDateTime;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// One value in DER, and what follows it.
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

/// The end of a certificate's validity, in seconds since 1970; `None` if it is not a certificate.
pub(super) fn expiry(certificate: &[u8]) -> Option<i64> {
    let certificate = expect(certificate, SEQUENCE)?;
    let fields = expect(certificate.content, SEQUENCE)?.content;
    let first = value(fields)?;
    let serial = if first.tag == VERSION {
        first.rest
    } else {
        fields
    };
    let algorithm = expect(serial, INTEGER)?.rest;
    let issuer = expect(algorithm, SEQUENCE)?.rest;
    let validity = expect(issuer, SEQUENCE)?.rest;
    let begin = value(expect(validity, SEQUENCE)?.content)?;
    let end = value(begin.rest)?;
    let text = std::str::from_utf8(end.content).ok()?;
    let text = match end.tag {
        // Years from 1950 to 2049.
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some(time.and_utc().timestamp())
}

fn expect(bytes: &[u8], tag: u8) -> Option<Value<'_>> {
    value(bytes).filter(|value| value.tag == tag)
}

fn value(bytes: &[u8]) -> Option<Value<'_>> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = if first < 0x80 {
        (usize::from(first), bytes)
    } else {
        let (length, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
        if length.len() > 4 {
            return None;
        }
        let length = length
            .iter()
            .fold(0, |sum, &byte| (sum << 8) | usize::from(byte));
        (length, bytes)
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some(Value { tag, content, rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[tag, 0x81, length], content].concat()
    }

    /// A certificate that ends then, as far as it is read.
    fn certificate(version: &[u8], tag: u8, end: &str) -> Vec<u8> {
        let begin = der(UTC_TIME, b"250101000000Z");
        let validity = [begin, der(tag, end.as_bytes())].concat();
        let fields = [
            version.to_vec(),
            der(INTEGER, &[7]),
            der(SEQUENCE, b"algorithm"),
            der(SEQUENCE, b"issuer"),
            der(SEQUENCE, &validity),
        ];
        der(SEQUENCE, &der(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn the_end_of_the_validity() {
        let version = der(VERSION, &[INTEGER, 1, 2]);
        for (version, tag, end, expected) in [
            (&version[..], UTC_TIME, "300102030405Z", 1_893_553_445),
            (&[], UTC_TIME, "300102030405Z", 1_893_553_445),
            (&version, GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
        ] {
            let certificate = certificate(version, tag, end);
            assert_eq!(expiry(&certificate), Some(expected), "{end}");
            for length in 0..certificate.len() {
                assert_eq!(expiry(&certificate[..length]), None, "{length}");
            }
        }
        assert_eq!(expiry(&certificate(&[], UTC_TIME, "soon")), None);
    }
}
