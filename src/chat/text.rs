//! Makes texts from strangers harmless.

/// Whether a character could make a line look like another: it changes the order of the others, or
/// cannot be seen. The joiners and variants of emoji and scripts stay.
const fn deceives(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a character only changes how others are drawn.
const fn joins(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Whether something of a line can be seen.
pub(super) fn is_visible(line: &str) -> bool {
    line.chars()
        .any(|character| !joins(character) && !character.is_whitespace())
}

/// The common form of lines that look alike.
pub(super) fn skeleton(line: &str) -> String {
    let plain: String = line.chars().filter(|one| !joins(*one)).collect();
    plain.to_lowercase()
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
    use super::{is_visible, line, skeleton};

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

    #[test]
    fn invisible_characters_make_no_difference() {
        let ignorable =
            "\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200c}\u{200d}\u{2800}\u{3164}\u{ffa0}\u{e0041}";
        for character in ignorable.chars() {
            let text = line(&format!("Mi{character}na"));
            assert_eq!(skeleton(&text), "mina", "{character:?}");
            assert!(!is_visible(&line(&character.to_string())), "{character:?}");
        }
        assert!(is_visible("안녕") && is_visible("👩‍💻"));
    }
}
