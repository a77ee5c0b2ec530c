//! The values of a pipeline text's variables.

use std::collections::BTreeMap;

use super::{
    Error,
    codec::elements,
    expand::{expand, expand_plain},
};
use crate::media::Codec;

/// The values of a pipeline text's variables, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The variables of every pipeline of a broadcast: `name`, the broadcast's name, and `time`,
    /// the current UTC time as `20260131T235959Z`.
    pub fn of_broadcast(name: &str) -> Self {
        let now = glib::DateTime::now_utc().and_then(|now| now.format("%Y%m%dT%H%M%SZ"));
        let time = now.map(|now| now.to_string()).unwrap_or_default();
        Self::default().with("name", name).with("time", time)
    }

    /// Sets a value, replacing an older one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Sets each of these values.
    #[must_use]
    pub fn with_all(mut self, values: &BTreeMap<String, String>) -> Self {
        let values = values.iter();
        self.0
            .extend(values.map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// Sets `video_parser` to the parser of this codec.
    #[must_use]
    pub(crate) fn with_parser(self, codec: Codec) -> Self {
        self.with("video_parser", elements(codec).parser_name())
    }

    /// All names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Fills the values in: see [`super::expand()`].
    ///
    /// # Errors
    /// As [`super::expand()`].
    pub fn expand(&self, text: &str) -> Result<String, Error> {
        expand(text, |name| self.value(name))
    }

    /// The same for a text that is not one of gst-launch: nothing is escaped, and `#` means nothing.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn expand_plain(&self, text: &str) -> Result<String, String> {
        expand_plain(text, |name| self.value(name))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Variables {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(values: T) -> Self {
        let values = values.into_iter();
        Self(
            values
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
