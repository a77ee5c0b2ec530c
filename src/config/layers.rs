//! Flags, environment and file as text by key, with where each value comes from.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    DEFAULT_FILE, Error, FILE_VARIABLE,
    broadcasts::Section,
    options::{self, Opt},
    tokens,
    value::Value,
};
use crate::access::Token;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of the configuration file.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// What file, environment and flags say; the later beat the earlier.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, (String, Origin)>,
    broadcasts: Vec<Section>,
    has_broadcasts: bool,
    tokens: Vec<Token>,
}

impl Layers {
    /// Reads the file (`file`, else the one named by `AERIAL_CONFIG`, else `aerial.toml` if it
    /// exists), then `variables`, then `flags` (key and value).
    ///
    /// # Errors
    /// An unreadable or malformed file, or an unknown key.
    pub fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Error> {
        let mut variables: BTreeMap<_, _> = variables.into_iter().collect();
        let named = variables.remove(FILE_VARIABLE).map(PathBuf::from);
        let fallback = PathBuf::from(DEFAULT_FILE);
        let file = file
            .map(Path::to_owned)
            .or(named)
            .or_else(|| fallback.exists().then_some(fallback));
        let mut layers = Self::default();
        if let Some(path) = file {
            let text = fs::read_to_string(&path).map_err(|source| Error::Unreadable {
                path: path.clone(),
                source,
            })?;
            let tokens = layers.add_file(&path, &text)?;
            let tokens = tokens.iter().map(|token| token.resolve(&variables));
            layers.tokens = tokens.collect::<Result<_, _>>()?;
        }
        variables.retain(|name, _| name.starts_with("AERIAL_"));
        for (name, value) in variables {
            layers.add_variable(&name, value)?;
        }
        for (key, value) in flags {
            layers
                .values
                .insert(key, (value, Origin::Flag(key.to_owned())));
        }
        Ok(layers)
    }

    /// The value of `option`: what is set, else the default.
    pub(super) fn take<T: Value>(&self, option: &Opt) -> Result<T, Error> {
        let (text, origin) = self.values.get(option.key).map_or_else(
            || (option.default, Origin::Default),
            |(text, origin)| (text.as_str(), origin.clone()),
        );
        let in_range = |value: &T| {
            option.range.is_none_or(|(min, max)| {
                T::read(min).is_none_or(|min| min <= *value)
                    && T::read(max).is_none_or(|max| *value <= max)
            })
        };
        T::read(text)
            .filter(in_range)
            .ok_or_else(|| Error::BadValue {
                origin,
                key: option.key.to_owned(),
                expected: option.expected(),
                given: if T::SECRET {
                    "what is there (not shown)"
                } else {
                    text
                }
                .to_owned(),
            })
    }

    /// Where an option of this section is set, if any is: the first by name, and its key.
    pub(super) fn first_of(&self, section: &str) -> Option<(&'static str, &Origin)> {
        let mut values = self.values.iter();
        let (key, (_, origin)) = values.find(|(key, _)| key.starts_with(section))?;
        Some((key, origin))
    }

    /// The sections `[[auth.tokens]]`.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The sections `[broadcasts.NAME]` and `[defaults]`.
    pub(super) fn broadcasts(&self) -> &[Section] {
        &self.broadcasts
    }

    /// Whether the file has a `[broadcasts]` section, be it empty.
    pub(super) fn has_broadcasts(&self) -> bool {
        self.has_broadcasts
    }

    fn add_variable(&mut self, name: &str, value: String) -> Result<(), Error> {
        // Kubernetes puts such variables into every container next to a service `aerial`.
        if name.starts_with("AERIAL_SERVICE_") || name.starts_with("AERIAL_PORT") {
            return Ok(());
        }
        let origin = Origin::Variable(name.to_owned());
        let Some(option) = options::all().find(|option| option.variable() == name) else {
            let variables: Vec<_> = options::all().map(Opt::variable).collect();
            let hint = hint(name, variables.iter().map(String::as_str));
            return Err(Error::UnknownKey {
                origin,
                key: name.to_owned(),
                hint,
            });
        };
        self.values.insert(option.key, (value, origin));
        Ok(())
    }

    /// Returns the tokens, which may stand somewhere else.
    fn add_file(&mut self, path: &Path, text: &str) -> Result<Vec<tokens::Section>, Error> {
        let file = File { path, text };
        let mut tokens = Vec::new();
        let table = DeTable::parse(text).map_err(|error| Error::Syntax {
            origin: file.origin(error.span().map_or(0, |span| span.start)),
            message: error.message().replace('\n', ", "),
        })?;
        for (key, value) in table.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("broadcasts", DeValue::Table(sections)) => {
                    self.has_broadcasts = true;
                    for (key, value) in sections {
                        self.broadcasts.push(Section::named(&file, key, value)?);
                    }
                }
                ("defaults", DeValue::Table(table)) => {
                    self.broadcasts.push(Section::defaults(&file, table)?);
                }
                (section, DeValue::Table(table)) => {
                    for (key, value) in table {
                        let name = format!("{section}.{}", key.get_ref());
                        if name == "auth.tokens" {
                            tokens = tokens::read(&file, value)?;
                            continue;
                        }
                        self.add_key(&file, &name, key.span().start, value)?;
                    }
                }
                (name, _) => self.add_key(&file, name, key.span().start, value)?,
            }
        }
        Ok(tokens)
    }

    fn add_key(
        &mut self,
        file: &File<'_>,
        key: &str,
        offset: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Error> {
        let origin = file.origin(offset);
        let Some(option) = options::all().find(|option| option.key == key) else {
            let hint = hint(key, options::all().map(|option| option.key));
            return Err(Error::UnknownKey {
                origin,
                key: key.to_owned(),
                hint,
            });
        };
        let text = text(value.get_ref()).ok_or_else(|| Error::BadValue {
            origin: origin.clone(),
            key: key.to_owned(),
            expected: option.expected(),
            given: value.get_ref().type_str().to_owned(),
        })?;
        self.values.insert(option.key, (text, origin));
        Ok(())
    }
}

pub(super) struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    pub(super) fn origin(&self, offset: usize) -> Origin {
        let line = 1 + self
            .text
            .bytes()
            .take(offset)
            .filter(|&byte| byte == b'\n')
            .count();
        Origin::File(self.path.to_owned(), line)
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

/// What to do about an unknown key: the nearest known one, if it is near.
pub(super) fn hint<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|known| (distance(key, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 2 + known.len() / 6 => {
            format!("did you mean `{known}`?")
        }
        _ => "`aerial serve --help` lists all".to_owned(),
    }
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let cost = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(*cell + 1);
            diagonal = *cell;
            left = cost;
            *cell = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Timeouts;

    fn parse(text: &str) -> Result<Layers, Error> {
        let mut layers = Layers::default();
        layers.add_file(Path::new("aerial.toml"), text)?;
        Ok(layers)
    }

    #[test]
    fn every_default_is_valid_and_every_variable_is_unique() {
        let mut variables: Vec<_> = options::all().map(Opt::variable).collect();
        let layers = Layers::default();
        options::Main::take(&layers).unwrap();
        options::Http::take(&layers).unwrap();
        options::Auth::take(&layers).unwrap();
        options::Limits::take(&layers).unwrap();
        Timeouts::take(&layers).unwrap();
        options::WebRtc::take(&layers).unwrap();
        let all = variables.len();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), all);
    }

    #[test]
    fn flags_beat_variables_beat_the_file() {
        let mut layers =
            parse("[timeouts]\nstale = \"3s\"\nended = \"20s\"\ngrace = \"7s\"").unwrap();
        layers
            .add_variable("AERIAL_TIMEOUTS_ENDED", "30s".into())
            .unwrap();
        layers
            .add_variable("AERIAL_TIMEOUTS_GRACE", "8s".into())
            .unwrap();
        layers.values.insert(
            "timeouts.grace",
            ("9s".into(), Origin::Flag("timeouts.grace".into())),
        );
        let timeouts = Timeouts::take(&layers).unwrap();
        assert_eq!(timeouts.connect, Duration::from_secs(15));
        assert_eq!(timeouts.stale, Duration::from_secs(3));
        assert_eq!(timeouts.ended, Duration::from_secs(30));
        assert_eq!(timeouts.grace, Duration::from_secs(9));
    }

    #[test]
    fn errors_name_file_line_key_and_remedy() {
        let cases = [
            ("a\n", "aerial.toml:1: not valid TOML"),
            (
                "\nlissten = \"x\"",
                "aerial.toml:2: unknown key `lissten`; did you mean `listen`?",
            ),
            (
                "[webrtc]\nzzzz = 1",
                "aerial.toml:2: unknown key `webrtc.zzzz`; `aerial serve --help`",
            ),
            (
                "[broadcasts.a]\nsauce = \"x\"",
                "aerial.toml:2: unknown key `broadcasts.a.sauce`; did",
            ),
            (
                "[broadcasts.\"a b\"]\nsource = \"x\"",
                "aerial.toml:1: `broadcasts` takes",
            ),
            (
                "[broadcasts.a]\nvars = { a = [1] }",
                "aerial.toml:2: `broadcasts.a.vars` takes",
            ),
            (
                "[broadcasts.\"a-*\"]\nsource = \"x\"",
                "aerial.toml:2: `broadcasts.a-*.source` takes",
            ),
            (
                "[defaults]\non_demand = true",
                "aerial.toml:2: `defaults.on_demand` takes",
            ),
            (
                "[defaults]\nviewer_engine = \"str0m\"",
                "aerial.toml:2: `defaults.viewer_engine` takes webrtcbin or direct, not `str0m`",
            ),
            (
                "[defaults]\noutputs = [\"a\", \"a\"]",
                "aerial.toml:2: `defaults.outputs` takes",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let layers = parse("[timeouts]\n\nconnect = \"0s\"").unwrap();
        assert_eq!(
            Timeouts::take(&layers).unwrap_err().to_string(),
            "aerial.toml:3: `timeouts.connect` takes a time with its unit, such as 500ms, 5s or \
             2m, from 100ms to 5m, not `0s`",
        );
    }

    #[test]
    fn lists_and_numbers_of_the_file() {
        let layers = parse("[webrtc]\npublic_addresses = [\"203.0.113.7\", \"2001:db8::1\"]\n[limits]\nsessions = 1_000").unwrap();
        assert_eq!(
            options::WebRtc::take(&layers)
                .unwrap()
                .public_addresses
                .len(),
            2
        );
        assert_eq!(options::Limits::take(&layers).unwrap().sessions, 1000);
    }
}
