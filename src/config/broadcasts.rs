//! The sections `[broadcasts.NAME]` and `[defaults]`, as written.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Error, Origin,
    layers::{File, hint, text},
    value::Value,
};
use crate::{
    broadcast::{Name, Pattern},
    peer::Engine,
};

/// Outputs, or files of renditions, of one broadcast: bounds what one publisher can start.
const FILES_MAX: usize = 16;
/// Variables of one section.
const VARIABLES_MAX: usize = 64;
/// Limits of `gop_max`.
const GOP_MAX: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);
/// Limits of `stall`.
const STALL: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_mins(10);
/// The keys of a section.
const KEYS: [&str; 12] = [
    "source",
    "on_demand",
    "outputs",
    "renditions",
    "vars",
    "grace",
    "slate",
    "transcode",
    "gop_max",
    "stall",
    "publisher_engine",
    "viewer_engine",
];

/// A pipeline file that a section names.
pub(super) type Named = (String, Origin);

/// A section as written.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) pattern: Pattern,
    pub(super) source: Option<Named>,
    pub(super) outputs: Option<Vec<Named>>,
    pub(super) renditions: Option<Vec<Named>>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) on_demand: bool,
    pub(super) grace: Option<Duration>,
    pub(super) slate: Option<Named>,
    pub(super) transcode: Option<bool>,
    pub(super) gop_max: Option<Duration>,
    pub(super) stall: Option<Duration>,
    pub(super) publisher_engine: Option<Engine>,
    pub(super) viewer_engine: Option<Engine>,
}

impl Section {
    fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            source: None,
            outputs: None,
            renditions: None,
            variables: BTreeMap::new(),
            on_demand: false,
            grace: None,
            slate: None,
            transcode: None,
            gop_max: None,
            stall: None,
            publisher_engine: None,
            viewer_engine: None,
        }
    }

    /// `[broadcasts.NAME]`, where the name may be a pattern.
    pub(super) fn named(
        file: &File<'_>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Self, Error> {
        let written = key.get_ref();
        let bad = |expected: &str| Error::BadValue {
            origin: file.origin(key.span().start),
            key: "broadcasts".to_owned(),
            expected: expected.to_owned(),
            given: written.to_string(),
        };
        let pattern = Pattern::new(written).ok_or_else(|| bad(Name::RULE))?;
        let table = value.get_ref().as_table();
        let table = table.ok_or_else(|| bad("sections [broadcasts.NAME]"))?;
        Self::new(pattern).read(file, &format!("broadcasts.{written}"), table)
    }

    /// `[defaults]`: what every broadcast has whose own section says nothing else.
    pub(super) fn defaults(file: &File<'_>, table: &DeTable<'_>) -> Result<Self, Error> {
        Self::new(Pattern::any()).read(file, "defaults", table)
    }

    fn read(mut self, file: &File<'_>, name: &str, table: &DeTable<'_>) -> Result<Self, Error> {
        let mut on_demand_at = None;
        for (key, value) in table {
            let origin = file.origin(key.span().start);
            let full = format!("{name}.{}", key.get_ref());
            let value = value.get_ref();
            let bad = |expected: &str| {
                let given = text(value).unwrap_or_else(|| value.type_str().to_owned());
                bad(&origin, &full, expected, &given)
            };
            let files = || {
                let expected = format!("a list of at most {FILES_MAX} pipeline files, each once");
                files(value, &origin).ok_or_else(|| bad(&expected))
            };
            let flag = || value.as_bool();
            let time = || text(value).and_then(|text| Duration::read(&text));
            let within = |limits: RangeInclusive<_>| time().filter(|time| limits.contains(time));
            let engine = || text(value).and_then(|text| Engine::read(&text));
            match (key.get_ref().as_ref(), value) {
                ("source", DeValue::String(file)) if self.pattern.name().is_some() => {
                    self.source = Some((file.to_string(), origin));
                }
                ("source", DeValue::String(_)) => {
                    return Err(bad("a place under the one broadcast that it feeds"));
                }
                ("source", _) => return Err(bad("the name of a pipeline file")),
                ("on_demand", _) => {
                    self.on_demand = flag().ok_or_else(|| bad("true or false"))?;
                    on_demand_at = Some((origin, full));
                }
                ("outputs", _) => self.outputs = Some(files()?),
                ("renditions", _) => self.renditions = Some(files()?),
                ("vars", _) => {
                    let expected = format!("a table of at most {VARIABLES_MAX} texts and numbers");
                    self.variables = variables(value).ok_or_else(|| bad(&expected))?;
                }
                ("grace", _) => self.grace = Some(time().ok_or_else(|| bad(Duration::TAKES))?),
                ("slate", DeValue::String(file)) => self.slate = Some((file.to_string(), origin)),
                ("slate", _) => return Err(bad("a pipeline file, or a picture (png or jpg)")),
                ("transcode", _) => {
                    self.transcode = Some(flag().ok_or_else(|| bad("true or false"))?);
                }
                ("gop_max", _) => {
                    self.gop_max = Some(within(GOP_MAX).ok_or_else(|| bad("from 1s to 5m"))?);
                }
                ("stall", _) => {
                    self.stall = Some(within(STALL).ok_or_else(|| bad("from 500ms to 10m"))?);
                }
                ("publisher_engine", _) => {
                    self.publisher_engine = Some(engine().ok_or_else(|| bad(Engine::TAKES))?);
                }
                ("viewer_engine", _) => {
                    self.viewer_engine = Some(engine().ok_or_else(|| bad(Engine::TAKES))?);
                }
                (other, _) => {
                    let hint = hint(other, KEYS.into_iter());
                    return Err(Error::UnknownKey {
                        origin,
                        key: full,
                        hint,
                    });
                }
            }
        }
        self.checked(on_demand_at)
    }

    /// What is on demand has a source. `on_demand_at` is where it says so.
    fn checked(self, on_demand_at: Option<(Origin, String)>) -> Result<Self, Error> {
        match on_demand_at {
            Some((origin, key)) if self.on_demand && self.source.is_none() => Err(bad(
                &origin,
                &key,
                "a broadcast with a source beside it",
                "true",
            )),
            _ => Ok(self),
        }
    }
}

fn bad(origin: &Origin, key: &str, expected: &str, given: &str) -> Error {
    Error::BadValue {
        origin: origin.clone(),
        key: key.to_owned(),
        expected: expected.to_owned(),
        given: given.to_owned(),
    }
}

/// A list of file names, each with where it stands.
fn files(value: &DeValue<'_>, origin: &Origin) -> Option<Vec<Named>> {
    let DeValue::Array(items) = value else {
        return None;
    };
    let mut files: Vec<Named> = Vec::new();
    for item in items {
        let DeValue::String(file) = item.get_ref() else {
            return None;
        };
        if files.iter().any(|(known, _)| known == file) {
            return None;
        }
        files.push((file.to_string(), origin.clone()));
    }
    (files.len() <= FILES_MAX).then_some(files)
}

fn variables(value: &DeValue<'_>) -> Option<BTreeMap<String, String>> {
    let table = value.as_table()?;
    let one = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        let scalar = !matches!(value.get_ref(), DeValue::Array(_));
        let value = text(value.get_ref()).filter(|_| scalar)?;
        Some((key.to_string(), value))
    };
    let variables: BTreeMap<_, _> = table.iter().map(one).collect::<Option<_>>()?;
    (variables.len() <= VARIABLES_MAX).then_some(variables)
}
