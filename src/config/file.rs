//! The configuration file: where things are in it, and its values as text.

use std::path::Path;

use toml::de::DeValue;

use super::ValueOrigin;

pub(super) struct File<'a> {
    /// None for what comes through the API.
    pub(super) path: Option<&'a Path>,
    pub(super) text: &'a str,
}

impl File<'_> {
    pub(super) fn origin(&self, offset: usize) -> ValueOrigin {
        let Some(path) = self.path else {
            return ValueOrigin::Api;
        };
        let line = 1 + self
            .text
            .bytes()
            .take(offset)
            .filter(|&byte| byte == b'\n')
            .count();
        ValueOrigin::File(path.to_owned(), line)
    }
}

/// A scalar, or a list of scalars, as the text that a variable or flag would have.
pub(super) fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => (number.radix() == 10).then(|| number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| text(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
