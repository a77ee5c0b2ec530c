//! Reads flags, environment and file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    DEFAULT_FILE, Error, FILE_VARIABLE, FileMark, Opt, RawConfig, ValueOrigin,
    broadcasts::BroadcastSection,
    file::{File, text},
    hint::hint,
    options,
    tokens::{self, TokenSection},
    webhooks,
};

impl RawConfig {
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
        let mut raw = Self::default();
        if let Some(path) = file {
            raw.mark = FileMark::of(&path);
            let text = fs::read_to_string(&path).map_err(|cause| Error::Unreadable {
                path: path.clone(),
                cause,
            })?;
            let tokens = raw.add_file(&path, &text, &variables)?;
            let tokens = tokens.iter().map(|token| token.resolve(&variables));
            raw.rules = tokens.collect::<Result<_, _>>()?;
            raw.file = Some(path);
        }
        variables.retain(|name, _| name.starts_with("AERIAL_"));
        for (name, value) in variables {
            raw.add_variable(&name, value)?;
        }
        for (key, value) in flags {
            raw.values
                .insert(key, (value, ValueOrigin::Flag(key.to_owned())));
        }
        Ok(raw)
    }

    fn add_variable(&mut self, name: &str, value: String) -> Result<(), Error> {
        // Kubernetes puts such variables into every container next to a service `aerial`.
        if name.starts_with("AERIAL_SERVICE_") || name.starts_with("AERIAL_PORT") {
            return Ok(());
        }
        let origin = ValueOrigin::Variable(name.to_owned());
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

    /// Returns the tokens, which may be stored elsewhere.
    fn add_file(
        &mut self,
        path: &Path,
        text: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Vec<TokenSection>, Error> {
        let file = File {
            path: Some(path),
            text,
        };
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
                        self.broadcasts
                            .push(BroadcastSection::named(&file, key, value)?);
                    }
                }
                ("defaults", DeValue::Table(table)) => {
                    self.broadcasts
                        .push(BroadcastSection::defaults(&file, key, table)?);
                }
                ("webhooks", _) => self.webhooks = webhooks::read(&file, value, variables)?,
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
        let text = text(value.get_ref()).ok_or_else(|| {
            let given = value.get_ref().type_str();
            Error::bad_value(&origin, key, &option.expected(), given)
        })?;
        self.values.insert(option.key, (text, origin));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Timeouts;

    fn parse(text: &str) -> Result<RawConfig, Error> {
        let mut raw = RawConfig::default();
        raw.add_file(Path::new("aerial.toml"), text, &BTreeMap::new())?;
        Ok(raw)
    }

    #[test]
    fn every_default_is_valid_and_every_variable_is_unique() {
        let mut variables: Vec<_> = options::all().map(Opt::variable).collect();
        let raw = RawConfig::default();
        options::Main::take(&raw).unwrap();
        options::Http::take(&raw).unwrap();
        options::Admin::take(&raw).unwrap();
        options::Auth::take(&raw).unwrap();
        options::Limits::take(&raw).unwrap();
        Timeouts::take(&raw).unwrap();
        options::WebRtc::take(&raw).unwrap();
        let all = variables.len();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), all);
    }

    #[test]
    fn flags_beat_variables_beat_the_file() {
        let mut raw = parse("[timeouts]\nstale = \"3s\"\nended = \"20s\"\ngrace = \"7s\"").unwrap();
        raw.add_variable("AERIAL_TIMEOUTS_ENDED", "30s".into())
            .unwrap();
        raw.add_variable("AERIAL_TIMEOUTS_GRACE", "8s".into())
            .unwrap();
        raw.values.insert(
            "timeouts.grace",
            ("9s".into(), ValueOrigin::Flag("timeouts.grace".into())),
        );
        let timeouts = Timeouts::take(&raw).unwrap();
        assert_eq!(timeouts.connect, Duration::from_secs(15));
        assert_eq!(timeouts.stale, Duration::from_secs(3));
        assert_eq!(timeouts.ended, Duration::from_secs(30));
        assert_eq!(timeouts.grace, Duration::from_secs(9));
    }

    #[test]
    fn errors_name_file_line_key_and_remedy() {
        let cases = [
            ("a\n", (1, &[][..])),
            ("\nlissten = \"x\"", (2, &["lissten", "listen"])),
            (
                "[webrtc]\nzzzz = 1",
                (2, &["webrtc.zzzz", "aerial serve --help"]),
            ),
            (
                "[broadcasts.a]\nsauce = \"x\"",
                (2, &["broadcasts.a.sauce", "source"]),
            ),
            ("[broadcasts.\"a b\"]\nsource = \"x\"", (1, &["broadcasts"])),
            (
                "[broadcasts.a]\nvars = { a = [1] }",
                (2, &["broadcasts.a.vars"]),
            ),
            (
                "[broadcasts.\"a-*\"]\nsource = \"x\"",
                (2, &["broadcasts.a-*.source"]),
            ),
            ("[defaults]\non_demand = true", (2, &["defaults.on_demand"])),
            (
                "[defaults]\nviewer_engine = \"str0m\"",
                (2, &["defaults.viewer_engine", "str0m"]),
            ),
            (
                "[defaults]\noutputs = [\"a\", \"a\"]",
                (2, &["defaults.outputs"]),
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            let (place, names) = expected;
            assert!(
                error.starts_with(&format!("aerial.toml:{place}: ")),
                "{error}"
            );
            for name in names {
                assert!(error.contains(&format!("`{name}`")), "{name}: {error}");
            }
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let raw = parse("[timeouts]\n\nconnect = \"0s\"").unwrap();
        let error = Timeouts::take(&raw).unwrap_err().to_string();
        for part in [
            "aerial.toml:3: ",
            "`timeouts.connect`",
            "100ms",
            "5m",
            "`0s`",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn lists_and_numbers_of_the_file() {
        let raw = parse("[webrtc]\npublic_addresses = [\"203.0.113.7\", \"2001:db8::1\"]\n[limits]\nsessions = 1_000").unwrap();
        assert_eq!(
            options::WebRtc::take(&raw).unwrap().public_addresses.len(),
            2
        );
        assert_eq!(options::Limits::take(&raw).unwrap().sessions, 1000);
    }
}
