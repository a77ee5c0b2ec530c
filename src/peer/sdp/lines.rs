//! Splits text into lines and sections, with every bound on size. Knows no attribute's meaning.

use super::Error;

/// Most bytes in one line: the longest that an answer repeats is `a=fmtp`, and the answer must
/// stay below the 8192 bytes that `FFmpeg` reads.
const LINE_BYTES_MAX: usize = 2048;
/// Most lines in a description. Chromium's offer with every codec has about 300.
const LINES_MAX: usize = 4096;
/// Most m= sections. A publisher needs two, a viewer two and a data channel.
const SECTIONS_MAX: usize = 16;

/// One `<type>=<value>` line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) letter: char,
    pub(super) value: &'a str,
}

/// The attributes (`a=`) of the session part or of one m= section, in order.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a str)>);

/// One m= line and its attributes.
#[derive(Debug)]
pub(super) struct RawSection<'a> {
    /// What follows `m=`.
    pub(super) line: &'a str,
    pub(super) attributes: Attributes<'a>,
}

/// A description cut at its m= lines.
#[derive(Debug, Default)]
pub(super) struct Description<'a> {
    pub(super) session: Attributes<'a>,
    pub(super) sections: Vec<RawSection<'a>>,
}

pub(super) fn malformed(text: impl Into<String>) -> Error {
    Error::Malformed(text.into())
}

/// Cuts the text into lines; accepts CRLF and bare LF (RFC 8866 §5) and skips empty lines.
pub(super) fn read_lines(text: &[u8], bytes_max: usize) -> Result<Vec<Line<'_>>, Error> {
    if text.len() > bytes_max {
        return Err(malformed(format!("body is larger than {bytes_max} bytes")));
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| malformed("body is not UTF-8 text: send SDP as plain text"))?;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if lines.len() == LINES_MAX {
            return Err(malformed(format!("more than {LINES_MAX} lines")));
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(malformed(format!(
                "line {number} is longer than {LINE_BYTES_MAX} bytes"
            )));
        }
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(malformed(format!(
                "line {number} contains a control character"
            )));
        }
        match line.split_once('=') {
            Some((letter, value)) if letter.len() == 1 && letter.is_ascii() => {
                let letter = letter.chars().next().unwrap_or_default();
                lines.push(Line { letter, value });
            }
            _ => {
                return Err(malformed(format!(
                    "line {number} is not of the form <letter>=<value>: the body must be SDP \
                     text, not JSON or anything else"
                )));
            }
        }
    }
    Ok(lines)
}

impl<'a> Description<'a> {
    /// Groups lines by m= section; lines other than `m=` and `a=` carry nothing useful.
    pub(super) fn from_lines(lines: &[Line<'a>]) -> Result<Self, Error> {
        let mut description = Self::default();
        for line in lines {
            match line.letter {
                'm' if description.sections.len() == SECTIONS_MAX => {
                    return Err(malformed(format!("more than {SECTIONS_MAX} m= sections")));
                }
                'm' => description.sections.push(RawSection {
                    line: line.value,
                    attributes: Attributes::default(),
                }),
                'a' => {
                    let attribute = line.value.split_once(':').unwrap_or((line.value, ""));
                    match description.sections.last_mut() {
                        Some(section) => section.attributes.0.push(attribute),
                        None => description.session.0.push(attribute),
                    }
                }
                _ => {}
            }
        }
        Ok(description)
    }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute with this name; empty if it is a flag.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The values of every attribute with this name, in order.
    pub(super) fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        self.0
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, value)| value.trim())
    }

    /// Every attribute as name and value, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.0.iter().copied()
    }
}

impl<'a> RawSection<'a> {
    /// The value of an attribute that may also stand at session level.
    pub(super) fn inherited(&self, session: &Attributes<'a>, name: &str) -> Option<&'a str> {
        self.attributes.get(name).or_else(|| session.get(name))
    }
}
