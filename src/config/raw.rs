//! Flags, environment and file as text by key, with where each value comes from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Error, FileMark, NOT_SHOWN, Opt, ValueOrigin, broadcasts::BroadcastSection};
use crate::{
    access::Rule,
    amendments::OutputSwitch,
    plan::{Name, Value},
    webhooks::WebhookOptions,
};

/// The values of file, environment and flags; later ones override earlier ones.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    pub(super) values: BTreeMap<&'static str, (String, ValueOrigin)>,
    /// `[broadcasts.NAME]` and `[defaults]`.
    pub(super) broadcasts: Vec<BroadcastSection>,
    /// Whether the file has a `[broadcasts]` section, even an empty one.
    pub(super) has_broadcasts: bool,
    /// The file, if there is one.
    pub(super) file: Option<PathBuf>,
    /// The state of the file when it was read.
    pub(super) mark: Option<FileMark>,
    /// `[[auth.tokens]]`.
    pub(super) rules: Vec<Rule>,
    /// `[[webhooks]]`.
    pub(super) webhooks: Vec<WebhookOptions>,
    /// Outputs that the API has started or stopped.
    pub(super) outputs: Vec<(Name, OutputSwitch)>,
}

impl RawConfig {
    /// The file that it was read from, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The state of that file when it was read.
    pub const fn mark(&self) -> Option<FileMark> {
        self.mark
    }

    /// The value of `option`: what is set, else the default.
    pub(super) fn take<T: Value>(&self, option: &Opt) -> Result<T, Error> {
        let (text, origin) = self.values.get(option.key).map_or_else(
            || (option.default, ValueOrigin::Default),
            |(text, origin)| (text.as_str(), origin.clone()),
        );
        T::read_within(text, option.range).ok_or_else(|| {
            let given = if T::SECRET { NOT_SHOWN } else { text };
            Error::bad_value(&origin, option.key, &option.expected(), given)
        })
    }

    /// Where an option is set.
    pub(super) fn origin_of(&self, key: &str) -> ValueOrigin {
        self.values
            .get(key)
            .map_or(ValueOrigin::Default, |(_, origin)| origin.clone())
    }

    /// Where an option of this section is set, if any is: the first by name, and its key.
    pub(super) fn first_of(&self, section: &str) -> Option<(&'static str, &ValueOrigin)> {
        let mut values = self.values.iter();
        let (key, (_, origin)) = values.find(|(key, _)| key.starts_with(section))?;
        Some((key, origin))
    }
}
