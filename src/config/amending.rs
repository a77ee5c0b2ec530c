//! Changes made through the API: read from the state folder, written to it, and applied on top of
//! the rest.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value as Json};
use toml::de::DeTable;

use super::{
    Error, NOT_SHOWN, Opt, RawConfig, ValueOrigin,
    broadcasts::BroadcastSection,
    changes::is_live,
    file::File,
    hint::hint,
    options::{self, Main},
    pipelines,
};
use crate::{
    amendments::{Amendments, OutputSwitch},
    plan::{Name, Pattern, Plans, SwitchedOutput},
};

/// The file in the state folder.
const FILE: &str = "api.toml";
/// It may hold secrets: the values of variables.
const FILE_MODE: u32 = 0o600;
/// Outputs of one broadcast, those of the configuration included.
const OUTPUTS_MAX: usize = 16;

impl RawConfig {
    /// The API's changes, as far as they have been kept.
    ///
    /// # Errors
    /// If the file cannot be read or is not as the server has written it.
    pub fn kept_amendments(&self) -> Result<Amendments, Error> {
        let Some(path) = self.amendments_file()? else {
            return Ok(Amendments::default());
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Amendments::default());
            }
            Err(cause) => return Err(Error::Unreadable { path, cause }),
        };
        Amendments::parse(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.bytes().take(start);
            let line = 1 + before.filter(|&byte| byte == b'\n').count();
            Error::Syntax {
                origin: ValueOrigin::File(path, line),
                message: error.message().replace('\n', ", "),
            }
        })
    }

    /// Keeps what the API has changed, if there is a folder for it.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_amendments(&self, amendments: &Amendments) -> io::Result<()> {
        let Some(path) = self.amendments_file().map_err(io::Error::other)? else {
            return Ok(());
        };
        replace(&path, &amendments.text().map_err(io::Error::other)?)
    }

    fn amendments_file(&self) -> Result<Option<PathBuf>, Error> {
        let folder = Main::take(self)?.state;
        Ok(folder.map(|folder| folder.join(FILE)))
    }

    /// This reading, with what the API has changed.
    ///
    /// # Errors
    /// If a change does not fit the configuration.
    pub fn amended(mut self, amendments: &Amendments) -> Result<Self, Error> {
        for (key, value) in amendments.options() {
            let option = amendable(key)?;
            self.values
                .insert(option.key, (value.to_owned(), ValueOrigin::Api));
        }
        self.add_sections(amendments)?;
        for (name, switch) in amendments.outputs() {
            let name = Name::new(name)
                .ok_or_else(|| Error::bad_value(&ValueOrigin::Api, "outputs", Name::RULE, name))?;
            self.outputs.push((name, switch));
        }
        Ok(self)
    }

    /// Puts the sections of broadcasts before those of the file: of two for the same broadcasts, the
    /// first that sets a key wins.
    fn add_sections(&mut self, amendments: &Amendments) -> Result<(), Error> {
        let syntax = |message: String| Error::Syntax {
            origin: ValueOrigin::Api,
            message: message.replace('\n', ", "),
        };
        let text = amendments.broadcasts();
        let Some(text) = text.map_err(|error| syntax(error.to_string()))? else {
            return Ok(());
        };
        let file = File {
            path: None,
            text: &text,
        };
        let table = DeTable::parse(&text).map_err(|error| syntax(error.message().to_owned()))?;
        let mut sections = Vec::new();
        for (_, broadcasts) in table.get_ref() {
            for (key, value) in broadcasts.get_ref().as_table().into_iter().flatten() {
                sections.push(BroadcastSection::named(&file, key, value)?);
            }
        }
        self.broadcasts.splice(0..0, sections);
        Ok(())
    }

    /// Every option: its value unless that is secret, where it is set, and whether the API may set it.
    pub fn shown_options(&self) -> impl Iterator<Item = ShownOption> {
        options::all().map(|option| {
            let set = self.values.get(option.key).map(|(text, _)| text.as_str());
            let value = if option.secret {
                NOT_SHOWN
            } else {
                set.unwrap_or(option.default)
            };
            let is_empty = set.unwrap_or(option.default).is_empty();
            ShownOption {
                key: option.key,
                value: (!is_empty).then(|| value.to_owned()),
                origin: self.origin_of(option.key),
                changeable: amendable(option.key).is_ok(),
            }
        })
    }

    /// The sections of broadcasts, those that count more first, without values that may be secret.
    pub fn shown_sections(&self) -> impl Iterator<Item = ShownSection<'_>> {
        self.broadcasts.iter().map(|section| {
            let (pattern, origin, keys) = section.shown();
            ShownSection {
                pattern,
                origin,
                keys,
            }
        })
    }

    /// Starts and stops the outputs that the API has switched.
    pub(super) fn switch_outputs(
        &self,
        plans: Plans,
        directory: Option<&Path>,
    ) -> Result<Plans, Error> {
        let mut switched = Vec::new();
        for (name, OutputSwitch { file, runs }) in &self.outputs {
            let output = if *runs {
                SwitchedOutput::Started(pipelines::read(directory, file, &ValueOrigin::Api)?)
            } else {
                SwitchedOutput::Stopped(file.clone())
            };
            switched.push((name.clone(), output));
        }
        let plans = plans.switched(switched);
        for (name, _) in &self.outputs {
            let count = plans.of(name).outputs.len();
            if count > OUTPUTS_MAX {
                let expected = format!("at most {OUTPUTS_MAX} outputs of a broadcast");
                let given = count.to_string();
                return Err(Error::bad_value(
                    &ValueOrigin::Api,
                    name.as_str(),
                    &expected,
                    &given,
                ));
            }
        }
        Ok(plans)
    }
}

/// An option as it is shown.
pub struct ShownOption {
    /// Its key.
    pub key: &'static str,
    /// As text, if it has a value.
    pub value: Option<String>,
    /// Where the value is from.
    pub origin: ValueOrigin,
    /// Whether the API may set it.
    pub changeable: bool,
}

/// A section of broadcasts as it is shown.
pub struct ShownSection<'a> {
    /// Which broadcasts it is for.
    pub pattern: &'a Pattern,
    /// Where it is.
    pub origin: &'a ValueOrigin,
    /// Its keys and values.
    pub keys: &'a Map<String, Json>,
}

/// The option of this key, if the API may set it: it needs no restart, and concerns neither
/// secrets, nor permissions, nor which files are read.
fn amendable(key: &str) -> Result<&'static Opt, Error> {
    let option = options::all()
        .find(|option| option.key == key)
        .ok_or_else(|| Error::UnknownKey {
            origin: ValueOrigin::Api,
            key: key.to_owned(),
            hint: hint(key, options::all().map(|option| option.key)),
        })?;
    let is_closed = option.secret || key == "pipelines" || key.starts_with("auth.");
    if is_closed || !is_live(key) {
        let expected = if is_closed {
            "a value only outside the API: it is reserved for whoever installs the server"
        } else {
            "a value only outside the API: it needs a restart"
        };
        return Err(Error::bad_value(&ValueOrigin::Api, key, expected, "one"));
    }
    Ok(option)
}

/// Replaces a file atomically: whatever happens, either the old or the new one exists.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amendments::BroadcastChange;

    fn raw(state: &Path) -> RawConfig {
        let flags = [("state", state.display().to_string())];
        RawConfig::read(None, [], flags).unwrap()
    }

    fn started(file: &str) -> Amendments {
        let mut amendments = Amendments::default();
        let output = OutputSwitch {
            file: file.to_owned(),
            runs: true,
        };
        let name = Name::new("a").unwrap();
        amendments.switch_output(&name, &output, false).unwrap();
        amendments
    }

    #[test]
    fn amendments_are_kept_and_read_again() {
        let folder = std::env::temp_dir().join(format!("aerial-state-{}", std::process::id()));
        let raw = raw(&folder);
        assert_eq!(raw.kept_amendments().unwrap(), Amendments::default());
        let amendments = started("record-mkv.launch");
        raw.keep_amendments(&amendments).unwrap();
        assert_eq!(raw.kept_amendments().unwrap(), amendments);
        fs::write(folder.join(FILE), "\n[outputs]\na = 1\n").unwrap();
        let error = raw.kept_amendments().unwrap_err().to_string();
        assert!(error.contains("api.toml:3"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn options_are_shown_without_secrets_and_changed_if_they_may() {
        let flags = [
            ("auth.publish_token", "a-secret-token".to_owned()),
            ("limits.viewers", "7".to_owned()),
        ];
        let raw = RawConfig::read(None, [], flags).unwrap();
        let change = |key: &str, value: &str| {
            let mut amendments = Amendments::default();
            let changes = [(key.to_owned(), Some(value.to_owned()))].into();
            amendments.set_options(&changes);
            amendments
        };
        let amended = raw.clone().amended(&change("limits.viewers", "9")).unwrap();
        let shown: Vec<_> = amended.shown_options().collect();
        let of = |key: &str| shown.iter().find(|option| option.key == key).unwrap();
        let viewers = of("limits.viewers");
        assert_eq!(viewers.value.as_deref(), Some("9"), "more than a flag");
        assert_eq!(viewers.origin, ValueOrigin::Api);
        assert!(viewers.changeable && !of("listen").changeable);
        assert_eq!(of("auth.publish_token").value.as_deref(), Some(NOT_SHOWN));
        for key in [
            "listen",
            "auth.query",
            "pipelines",
            "webrtc.turn_secret",
            "lisen",
        ] {
            assert!(raw.clone().amended(&change(key, "x")).is_err(), "{key}");
        }
    }

    #[test]
    fn a_broadcast_of_the_api_counts_more_than_the_same_of_the_file() {
        let mut amendments = Amendments::default();
        let keys = serde_json::json!({"grace": "3s", "vars": {"key": "hidden-one"}});
        let put = BroadcastChange::Put(keys.as_object().unwrap().clone());
        let name = Name::new("cam").unwrap();
        amendments.change_broadcast(&name, &put).unwrap();
        let raw = RawConfig::default().amended(&amendments).unwrap();
        let sections: Vec<_> = raw.shown_sections().collect();
        assert_eq!(sections[0].pattern.name(), Some(name.clone()));
        let shown = serde_json::to_string(sections[0].keys).unwrap();
        assert!(
            shown.contains("3s") && !shown.contains("hidden-one"),
            "{shown}"
        );
        let loaded = crate::config::Config::load(&raw).unwrap();
        assert_eq!(loaded.plans.of(&name).vars["key"], "hidden-one");
        let wrong = serde_json::json!({"grace": "soon"});
        let put = BroadcastChange::Put(wrong.as_object().unwrap().clone());
        amendments.change_broadcast(&name, &put).unwrap();
        let error = RawConfig::default().amended(&amendments).unwrap_err();
        assert!(
            error.to_string().contains("`broadcasts.cam.grace`"),
            "{error}"
        );
    }

    #[test]
    fn an_output_that_does_not_exist_is_refused() {
        let amended = RawConfig::default()
            .amended(&started("nothing.launch"))
            .unwrap();
        let plans = Plans::new(Vec::new(), Vec::new());
        let error = amended.switch_outputs(plans, None).unwrap_err().to_string();
        assert!(error.contains("`nothing.launch`"), "{error}");
    }
}
