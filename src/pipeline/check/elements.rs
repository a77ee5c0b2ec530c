//! Finds elements and properties that do not exist, and values that do not fit.

use gst::prelude::*;
use gstreamer as gst;

use super::{Findings, known};
use crate::pipeline::lexer::{LaunchToken, TokenKind};

/// Checks every element and its properties. Returns true if there is a problem.
pub(super) fn check(tokens: &[LaunchToken], found: &mut Findings<'_>) -> bool {
    let before = found.problems.len();
    let mut current = None;
    for token in tokens {
        match &token.kind {
            TokenKind::Word(word) => {
                current = None;
                if !is_element(word) {
                    continue;
                }
                match known(word) {
                    Ok(factory) => current = factory.create().build().ok(),
                    Err(error) => found.add(Some(token.line), error.to_string()),
                }
            }
            TokenKind::Property(name, value) => {
                if let Some(element) = &current
                    && let Err(text) = property(element, name, value)
                {
                    found.add(Some(token.line), text);
                }
            }
        }
    }
    found.problems.len() > before
}

/// The names of elements, in order.
pub(super) fn named(tokens: &[LaunchToken]) -> impl Iterator<Item = &str> {
    tokens.iter().filter_map(|token| match &token.kind {
        TokenKind::Word(word) if is_element(word) => Some(word.as_str()),
        _ => None,
    })
}

/// Whether a word can only be an element: no caps, pad reference, bracket or `!`.
fn is_element(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        && !matches!(word, "bin" | "pipeline")
}

fn property(element: &gst::Element, name: &str, value: &str) -> Result<(), String> {
    let factory = element.factory().map(|factory| factory.name().to_string());
    let factory = factory.unwrap_or_default();
    if name.contains("::") {
        return Ok(()); // belongs to a child, which may not exist yet
    }
    let Some(spec) = element.find_property(name) else {
        return Err(format!(
            "{factory} has no property {name}{}",
            alike(element, name)
        ));
    };
    if !spec.flags().contains(glib::ParamFlags::WRITABLE) {
        return Err(format!("{factory}: {name} is read-only"));
    }
    // Objects, caps and structures have a grammar of their own, which GStreamer's parser checks.
    let kind = spec.value_type();
    let plain = kind.is_a(glib::Type::ENUM)
        || kind.is_a(glib::Type::FLAGS)
        || [
            glib::Type::I32,
            glib::Type::U32,
            glib::Type::I64,
            glib::Type::U64,
        ]
        .contains(&kind)
        || [glib::Type::BOOL, glib::Type::F32, glib::Type::F64].contains(&kind);
    if plain && glib::Value::deserialize_with_pspec(value, &spec).is_err() {
        let kind = kind.name();
        return Err(format!(
            "{factory}: {name} cannot be {value}: it is a {kind}; see gst-inspect-1.0 {factory}"
        ));
    }
    Ok(())
}

/// Suggests the property with the most similar name.
fn alike(element: &gst::Element, name: &str) -> String {
    let same = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let properties = element.list_properties();
    let best = properties.iter().max_by_key(|spec| {
        let (first, last) = (same(spec.name(), name), {
            let (a, b): (String, String) = (
                spec.name().chars().rev().collect(),
                name.chars().rev().collect(),
            );
            same(&a, &b)
        });
        first + last
    });
    match best {
        Some(spec) if same(spec.name(), name) >= 2 => format!(": did you mean {}?", spec.name()),
        _ => String::new(),
    }
}
