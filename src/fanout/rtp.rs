//! The RTCP that describes what has been sent (RFC 3550 §6).

/// Appends BYE for one stream (RFC 3550 §6.6).
pub(super) fn write_goodbye(out: &mut Vec<u8>, ssrc: u32) {
    out.extend_from_slice(&[0x81, 203, 0, 1]);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

/// Appends the source description that makes a compound packet complete (RFC 3550 §6.1, §6.5).
pub(super) fn write_source_description(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let name = cname.as_bytes();
    // One chunk: SSRC, type, length, text, and at least one zero up to a word boundary.
    let len = (4 + 2 + name.len() + 1).next_multiple_of(4);
    let words = u16::try_from(len / 4).unwrap_or(u16::MAX);
    out.extend_from_slice(&[0x81, 202]);
    out.extend_from_slice(&words.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    out.extend_from_slice(name);
    out.resize(out.len() + len - 6 - name.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_description_ends_on_a_word() {
        for name in ["a", "ab", "abc", "abcd", "abcdefgh"] {
            let mut out = Vec::new();
            write_source_description(&mut out, 1, name);
            let words = usize::from(u16::from_be_bytes([out[2], out[3]]));
            assert_eq!(out.len(), 4 * (words + 1));
            assert_eq!(out.last(), Some(&0));
        }
    }
}
