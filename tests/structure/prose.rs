//! The server's own sentences in tests: log lines, errors and answers may be reworded, so no test may
//! depend on them.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Fewer words may be a name, or a coincidence.
const WORDS_MIN: usize = 3;
/// Macros and functions whose texts are for whoever reads a failure, with the number of arguments
/// before these.
const MESSAGES: [(&str, usize); 11] = [
    ("assert", 1),
    ("assert_eq", 2),
    ("assert_ne", 2),
    ("eprintln", 0),
    ("expect", 0),
    ("panic", 0),
    ("println", 0),
    ("unreachable", 0),
    ("until", 0),
    ("wait_for", 0),
    ("wait_for_line", 0),
];
/// Words of specifications, and of GStreamer.
const OF_OTHERS: [&str; 2] = ["typ host tcptype passive", "video audiotestsrc is-live"];

/// The sentences in code, apart for the server and its tests.
#[derive(Default)]
pub(super) struct Sentences {
    server: String,
    tests: BTreeSet<String>,
}

impl Sentences {
    /// Adds those of a file.
    pub(super) fn read(&mut self, text: &str, is_test: bool) {
        self.walk(text.parse().unwrap(), is_test);
    }

    fn walk(&mut self, tokens: TokenStream, is_test: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        // Where the item ends that only tests have.
        let mut test_end = 0;
        while let Some(token) = tokens.get(at) {
            let is_test = is_test || at < test_end;
            match token {
                TokenTree::Literal(literal) => self.add(&literal.to_string(), is_test),
                TokenTree::Group(group) if is_attribute(&tokens, at) => {
                    let words = group.stream().to_string().replace(' ', "");
                    if words.starts_with("cfg(test)") || words.starts_with("cfg(any(test") {
                        let length = tokens[at + 1..].iter().position(ends_item);
                        test_end = length.map_or(tokens.len(), |length| at + length + 2);
                    } else if words.starts_with("error(") {
                        self.walk(group.stream(), is_test);
                    }
                }
                TokenTree::Group(group) => {
                    let number = if is_test {
                        messages_from(&tokens, at)
                    } else {
                        None
                    };
                    self.walk(arguments(group.stream(), number), is_test);
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn add(&mut self, literal: &str, is_test: bool) {
        for sentence in sentences(literal) {
            if is_test {
                self.tests.insert(sentence);
            } else {
                self.server.push_str(&format!(" {sentence} \n"));
            }
        }
    }

    /// What tests have of the server's.
    pub(super) fn shared(&self) -> Vec<&str> {
        let tests = self.tests.iter().map(String::as_str);
        tests
            .filter(|text| !OF_OTHERS.contains(text))
            .filter(|text| self.server.contains(&format!(" {text} ")))
            .collect()
    }
}

/// Whether a group is that of an attribute; doc comments are attributes too.
fn is_attribute(tokens: &[TokenTree], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|at| tokens[at].to_string());
    let hash = match before(1).as_deref() {
        Some("!") => before(2),
        other => other.map(str::to_owned),
    };
    hash.as_deref() == Some("#")
}

fn ends_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => other.to_string() == ";",
    }
}

/// From which argument on the arguments before a position are messages.
fn messages_from(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let before = |back: usize| at.checked_sub(back).map(|at| tokens[at].to_string());
    let name = match before(1)?.as_str() {
        "!" => before(2)?,
        name => name.to_owned(),
    };
    let mut messages = MESSAGES.iter();
    Some(messages.find(|(message, _)| *message == name)?.1)
}

/// The first arguments; all of them without a number. The closure of a wait is no message.
fn arguments(tokens: TokenStream, number: Option<usize>) -> TokenStream {
    let Some(number) = number else {
        return tokens;
    };
    let mut commas = 0;
    let counted = tokens.into_iter().filter(|token| {
        commas += usize::from(token.to_string() == ",");
        commas < number || !matches!(token, TokenTree::Literal(_))
    });
    counted.collect()
}

/// The runs of words in a literal.
fn sentences(literal: &str) -> Vec<String> {
    let is_text = literal.ends_with(['"', '#']) && literal.contains('"');
    if !is_text {
        return Vec::new();
    }
    let is_word = |word: &&str| {
        let is_letter = |c: char| c.is_ascii_lowercase() || c == '\'' || c == '-';
        word.chars().all(is_letter) && !word.starts_with('-')
    };
    let mut found = Vec::new();
    let text = literal.replace("\\n", "\u{0}").replace("\\\n", " ");
    // Anything but a space ends a run.
    for part in text.split(|c: char| !(c.is_alphanumeric() || " '-_\n".contains(c))) {
        let words: Vec<_> = part.split_whitespace().collect();
        let runs = words.chunk_by(|one, other| is_word(one) == is_word(other));
        let runs = runs.filter(|run| run.len() >= WORDS_MIN && is_word(&run[0]));
        found.extend(runs.map(|run| run.join(" ")));
    }
    found
}

#[test]
fn the_servers_sentences_are_found_in_tests() {
    let mut read = Sentences::default();
    read.read(
        r#"/// In a comment that tests quote.
        fn f() { error!("the pipeline has \
                  ended: {why} by itself alone"); }
        #[error("not as {0} it should be")] struct E;
        #[cfg(test)]
        mod tests { fn g() { has("the pipeline has"); } }"#,
        false,
    );
    read.read(
        r#"fn g() {
            assert!(x.contains("as it should be"), "by itself alone");
            assert!(x.contains("it should be"));
            let table = ["by itself alone", "in a comment", "that tests quote"];
            wait_for("pipeline has ended", || line.has("pipeline has ended"));
        }"#,
        true,
    );
    assert_eq!(
        read.shared(),
        [
            "by itself alone",
            "it should be",
            "pipeline has ended",
            "the pipeline has"
        ]
    );
}
