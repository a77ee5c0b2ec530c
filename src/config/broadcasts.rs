//! The sections `[broadcasts.NAME]` and `[defaults]`, as written.

use std::{borrow::Cow, fmt::Debug, path::Path, time::Duration};

use serde_json::{Map, Value as Json};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Error, NOT_SHOWN, Opt, ValueOrigin,
    file::{File, text},
    hint::hint,
    option::range,
    pipelines,
};
use crate::plan::{
    Engine, Name, PageText, Pattern, PipelineFile, Setting, Settings, SlateFile, Value, Vars, keys,
};

/// Maximum outputs, or rendition files, of one broadcast: bounds what one publisher can start.
const FILES_MAX: usize = 16;
/// Maximum variables of one section.
const VARIABLES_MAX: usize = 64;

/// A type of key: how the file writes it, and what else it needs.
trait Key: Setting {
    /// Completes "this key takes ...".
    const TAKES: &'static str;
    /// The sections, until the pipeline files are read.
    type Written: Clone + Debug;

    /// Reads a value within a range; `None` if it is not one.
    fn read(value: &DeValue<'_>, range: Option<(&str, &str)>) -> Option<Self::Written>;

    /// Reads the files that it names.
    fn load(written: &Written<Self::Written>, files: Files<'_>) -> Result<Self, Error>;
}

/// Where pipeline files are: see [`pipelines::read`].
type Files<'a> = Option<&'a Path>;

/// A value as written, and where.
#[derive(Clone, Debug)]
struct Written<T> {
    value: T,
    origin: ValueOrigin,
}

impl<T: Value + Setting + Clone + Debug> Key for T {
    const TAKES: &'static str = <T as Value>::TAKES;
    type Written = T;

    fn read(value: &DeValue<'_>, range: Option<(&str, &str)>) -> Option<T> {
        T::read_within(&text(value)?, range)
    }

    fn load(written: &Written<T>, _: Files<'_>) -> Result<T, Error> {
        Ok(written.value.clone())
    }
}

impl Key for PipelineFile {
    const TAKES: &'static str = "the name of a pipeline file";
    type Written = String;

    fn read(value: &DeValue<'_>, _: Option<(&str, &str)>) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    fn load(written: &Written<String>, files: Files<'_>) -> Result<Self, Error> {
        pipelines::read(files, &written.value, &written.origin)
    }
}

impl Key for Vec<PipelineFile> {
    const TAKES: &'static str = "a list of at most 16 pipeline files, each once";
    type Written = Vec<String>;

    fn read(value: &DeValue<'_>, _: Option<(&str, &str)>) -> Option<Vec<String>> {
        let mut files: Vec<String> = Vec::new();
        for item in value.as_array()? {
            let file = item.get_ref().as_str()?;
            if files.iter().any(|known| known == file) {
                return None;
            }
            files.push(file.to_owned());
        }
        (files.len() <= FILES_MAX).then_some(files)
    }

    fn load(written: &Written<Vec<String>>, files: Files<'_>) -> Result<Self, Error> {
        written
            .value
            .iter()
            .map(|file| pipelines::read(files, file, &written.origin))
            .collect()
    }
}

impl Key for SlateFile {
    const TAKES: &'static str = "a pipeline file, or a picture (png or jpg)";
    type Written = String;

    fn read(value: &DeValue<'_>, _: Option<(&str, &str)>) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    fn load(written: &Written<String>, files: Files<'_>) -> Result<Self, Error> {
        pipelines::slate(files, &written.value, &written.origin)
    }
}

impl Key for Vars {
    const TAKES: &'static str = "a table of at most 64 texts and numbers";
    type Written = Self;

    fn read(value: &DeValue<'_>, _: Option<(&str, &str)>) -> Option<Self> {
        let mut vars = Self::new();
        for (key, value) in value.as_table()? {
            if value.get_ref().is_array() {
                return None;
            }
            vars.insert(key.get_ref().to_string(), text(value.get_ref())?);
        }
        (vars.len() <= VARIABLES_MAX).then_some(vars)
    }

    fn load(written: &Written<Self>, _: Files<'_>) -> Result<Self, Error> {
        Ok(written.value.clone())
    }
}

macro_rules! entries {
    ($($(#[doc = $help:literal])+
        $key:ident: $type:ty = $default:literal $(from $min:literal to $max:literal)?,)+) => {
        /// Every key, in the order of the documentation.
        const KEYS: &[Opt] = &[$(Opt {
            key: stringify!($key),
            help: concat!($($help),+),
            takes: <$type as Key>::TAKES,
            secret: false,
            default: $default,
            range: range!($($min $max)?),
        }),+];

        /// The content of a section.
        #[derive(Clone, Debug, Default)]
        struct Entries {
            $($key: Option<Written<<$type as Key>::Written>>,)+
        }

        impl Entries {
            /// Sets a key that is in [`KEYS`]; `None` if it does not take this value.
            fn set(&mut self, key: &str, value: &DeValue<'_>, origin: ValueOrigin) -> Option<()> {
                match key {
                    $(stringify!($key) => {
                        let value = <$type as Key>::read(value, range!($($min $max)?))?;
                        self.$key = Some(Written { value, origin });
                    })+
                    _ => {}
                }
                Some(())
            }

            fn load(&self, files: Files<'_>) -> Result<Settings, Error> {
                let Self { $($key),+ } = self;
                Ok(Settings {
                    $($key: $key
                        .as_ref()
                        .map(|written| <$type as Key>::load(written, files))
                        .transpose()?,)+
                })
            }
        }
    };
}
keys!(entries);

/// Every key of `[broadcasts.NAME]`, in the order of the documentation.
pub fn broadcast_keys() -> impl Iterator<Item = &'static Opt> {
    KEYS.iter()
}

/// The name of a section, and its origin.
struct Place<'a> {
    name: &'a str,
    origin: ValueOrigin,
}

/// A value as it is shown: without those of a table, which are variables.
fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::Boolean(value) => Json::Bool(*value),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(name, _)| (name.get_ref().to_string(), Json::from(NOT_SHOWN)))
            .collect(),
        other => text(other).map_or(Json::Null, Json::from),
    }
}

/// A section as written.
#[derive(Clone, Debug)]
pub(super) struct BroadcastSection {
    pattern: Pattern,
    entries: Entries,
    origin: ValueOrigin,
    /// The keys that it sets, with their values as JSON.
    shown: Map<String, Json>,
}

impl BroadcastSection {
    /// `[broadcasts.NAME]`, where the name may be a pattern.
    pub(super) fn named(
        file: &File<'_>,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Self, Error> {
        let written = key.get_ref();
        let bad = |expected| {
            Error::bad_value(
                &file.origin(key.span().start),
                "broadcasts",
                expected,
                written,
            )
        };
        let pattern = Pattern::new(written).ok_or_else(|| bad(Name::RULE))?;
        let table = value
            .get_ref()
            .as_table()
            .ok_or_else(|| bad("sections [broadcasts.NAME]"))?;
        let place = Place {
            name: &format!("broadcasts.{written}"),
            origin: file.origin(key.span().start),
        };
        Self::read(pattern, file, place, table)
    }

    /// `[defaults]`: what every broadcast has unless its own section says otherwise.
    pub(super) fn defaults(
        file: &File<'_>,
        key: &Spanned<Cow<'_, str>>,
        table: &DeTable<'_>,
    ) -> Result<Self, Error> {
        let place = Place {
            name: "defaults",
            origin: file.origin(key.span().start),
        };
        Self::read(Pattern::any(), file, place, table)
    }

    /// Which broadcasts it is for, where it is, and what it sets. The values of variables, which may be
    /// secret, are left out.
    pub(super) fn shown(&self) -> (&Pattern, &ValueOrigin, &Map<String, Json>) {
        (&self.pattern, &self.origin, &self.shown)
    }

    fn read(
        pattern: Pattern,
        file: &File<'_>,
        place: Place<'_>,
        table: &DeTable<'_>,
    ) -> Result<Self, Error> {
        let Place {
            name,
            origin: section,
        } = place;
        let mut entries = Entries::default();
        let mut shown = Map::new();
        for (key, value) in table {
            let origin = file.origin(key.span().start);
            let key = key.get_ref().as_ref();
            let full = format!("{name}.{key}");
            let Some(option) = KEYS.iter().find(|option| option.key == key) else {
                return Err(Error::UnknownKey {
                    origin,
                    key: full,
                    hint: hint(key, KEYS.iter().map(|option| option.key)),
                });
            };
            let value = value.get_ref();
            entries.set(key, value, origin.clone()).ok_or_else(|| {
                let given = text(value).unwrap_or_else(|| value.type_str().to_owned());
                Error::bad_value(&origin, &full, &option.expected(), &given)
            })?;
            shown.insert(key.to_owned(), json(value));
        }
        let section = Self {
            pattern,
            entries,
            origin: section,
            shown,
        };
        section.check(name)?;
        Ok(section)
    }

    /// A source belongs to a single named broadcast; `on_demand` requires a source.
    fn check(&self, name: &str) -> Result<(), Error> {
        let Entries {
            source, on_demand, ..
        } = &self.entries;
        if let Some(Written { value, origin }) = source
            && self.pattern.name().is_none()
        {
            let expected = "a section of one named broadcast";
            return Err(Error::bad_value(
                origin,
                &format!("{name}.source"),
                expected,
                value,
            ));
        }
        if let Some(Written {
            value: true,
            origin,
        }) = on_demand
            && source.is_none()
        {
            let key = format!("{name}.on_demand");
            let expected = "a source in the same section";
            return Err(Error::bad_value(origin, &key, expected, "true"));
        }
        Ok(())
    }

    /// Reads the pipeline files that it names from this folder, or the built-in ones.
    pub(super) fn load(&self, directory: Option<&Path>) -> Result<(Pattern, Settings), Error> {
        Ok((self.pattern.clone(), self.entries.load(directory)?))
    }
}
