//! The words of a gst-launch description, as far as roles and checks need them.

/// A token of gst-launch's grammar, as far as roles and checks need it.
pub(crate) struct LaunchToken {
    /// The line it begins in, from 1.
    pub(crate) line: usize,
    pub(crate) kind: TokenKind,
}

pub(crate) enum TokenKind {
    /// `property=value`, without quotation marks.
    Property(String, String),
    /// An element, a pad reference, caps, `!`...
    Word(String),
}

pub(crate) fn tokens(description: &str) -> Vec<LaunchToken> {
    let mut tokens = Vec::new();
    let mut rest = description.trim_start();
    let line = |rest: &str| {
        let seen = description.len().saturating_sub(rest.len());
        1 + description
            .get(..seen)
            .unwrap_or_default()
            .matches('\n')
            .count()
    };
    while !rest.is_empty() {
        let line = line(rest);
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "_-:".contains(c)))
            .unwrap_or(rest.len());
        let (word, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let kind = if !word.is_empty()
            && let Some(value) = tail.trim_start().strip_prefix('=')
        {
            let (value, tail) = string(value.trim_start());
            rest = tail.trim_start();
            TokenKind::Property(word.to_owned(), value)
        } else {
            let (word, tail) = string(rest);
            rest = tail.trim_start();
            TokenKind::Word(word)
        };
        tokens.push(LaunchToken { line, kind });
    }
    tokens
}

/// Takes one string: up to white space that is neither quoted nor escaped by a backslash.
fn string(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', _) => out.extend(chars.next().map(|(_, escaped)| escaped)),
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if open == c => quote = None,
            (_, None) if c.is_whitespace() => return (out, text.get(at..).unwrap_or("")),
            _ => out.push(c),
        }
    }
    (out, "")
}
