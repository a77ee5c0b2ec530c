//! What log lines are made of.

use proc_macro2::{TokenStream, TokenTree};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The values that log lines write as Rust's `Debug` does (`?value`), which operators cannot read.
pub(super) fn debug_values(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    search(&text.parse().unwrap(), &mut found);
    found
}

fn search(tokens: &TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let level = index.checked_sub(2).map(|level| tokens[level].to_string());
        let is_macro = index > 0 && tokens[index - 1].to_string() == "!";
        if is_macro && level.is_some_and(|level| LEVELS.contains(&level.as_str())) {
            found.extend(fields(&group.stream()));
        }
        search(&group.stream(), found);
    }
}

/// What stands behind a question mark at the beginning of a field's value.
fn fields(tokens: &TokenStream) -> Vec<String> {
    let words: Vec<_> = tokens
        .clone()
        .into_iter()
        .map(|token| token.to_string())
        .collect();
    let begins = |at: usize| at == 0 || [",", "="].contains(&words[at - 1].as_str());
    (0..words.len())
        .filter(|&at| words[at] == "?" && begins(at))
        .filter_map(|at| words.get(at + 1).cloned())
        .collect()
}

#[test]
fn debug_values_are_found() {
    let text = r#"fn a() {
        tracing::info!(?one, b = ?two.three, c = %four, five?, "text {six:?}", seven = eight?);
        if x { tracing::warn!(parent: span, ?nine) }
        other!(?ten);
    }"#;
    assert_eq!(debug_values(text), ["one", "two", "nine"]);
}
