//! Lists of sections that may hold secrets: `[[auth.tokens]]`, `[[webhooks]]`.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeValue, ValueDeserializer},
};

use super::{Error, NOT_SHOWN, ValueOrigin, file::File};

/// Reads the sections `[[table]]`, at most `max`, each with its number from 1 on. Errors show no
/// value.
pub(super) fn read<T: DeserializeOwned>(
    file: &File<'_>,
    table: &str,
    value: &Spanned<DeValue<'_>>,
    max: usize,
) -> Result<impl Iterator<Item = (Spanned<T>, usize)>, Error> {
    let sections = Vec::<Spanned<T>>::deserialize(ValueDeserializer::from(value.clone()));
    let sections = sections.map_err(|error| {
        let start = error.span().unwrap_or_else(|| value.span()).start;
        mistake(file.origin(start), table, error.message())
    })?;
    if sections.len() > max {
        let expected = format!("at most {max} sections [[{table}]]");
        let (origin, count) = (file.origin(value.span().start), sections.len().to_string());
        return Err(Error::bad_value(&origin, table, &expected, &count));
    }
    Ok(sections.into_iter().zip(1..))
}

/// The secret in an environment variable: not in an option of Aerial's own.
pub(super) fn variable<'a>(
    variables: &'a BTreeMap<String, String>,
    name: &str,
    key: &str,
    origin: &ValueOrigin,
) -> Result<&'a str, Error> {
    match variables.get(name) {
        Some(text) if !name.starts_with("AERIAL_") => Ok(text),
        _ => {
            let expected = "an environment variable that is set and does not begin with AERIAL_";
            Err(Error::bad_value(origin, key, expected, name))
        }
    }
}

/// The parser's message, without the values that it quotes.
fn mistake(origin: ValueOrigin, table: &str, message: &str) -> Error {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    if let Some(key) = what.strip_prefix("unknown field ") {
        return Error::UnknownKey {
            origin,
            key: format!("{table}.{}", key.trim_matches('`')),
            hint: format!("expected {expected}"),
        };
    }
    let expected = if expected.is_empty() { what } else { expected };
    Error::bad_value(&origin, table, expected, NOT_SHOWN)
}
