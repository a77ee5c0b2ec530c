//! Texts of strangers, made harmless.

/// Whether a character could make a line look like another: it changes the order of the others, or
/// cannot be seen. The joiners of emoji stay.
const fn deceives(character: char) -> bool {
    matches!(
        character,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// One line: every run of white space is a space, and nothing deceives.
pub(super) fn line(text: &str) -> String {
    let seen = |character: &char| !deceives(*character);
    let plain: String = text
        .chars()
        .filter(seen)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn lines_are_harmless() {
        for (text, expected) in [
            ("  hello \n\n world\t", "hello world"),
            ("a\u{202e}b\u{0}c\u{200b}", "ab c"),
            ("👩‍💻 안녕", "👩‍💻 안녕"),
            (" \u{feff}\r\n", ""),
        ] {
            assert_eq!(line(text), expected, "{text:?}");
        }
    }
}
