//! Changes that the operator has made through the API, on top of the configuration. Plain data that
//! can be written to a file and read again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::plan::Name;

/// Broadcasts whose outputs may be switched.
const SWITCHED_MAX: usize = 1000;
/// Broadcasts that may be configured.
const BROADCASTS_MAX: usize = 1000;
/// The beginning of the file.
const HEAD: &str = "# Written by Aerial: changes made through its API. They override the\n\
                    # configuration. Edit this through the API, or while the server is stopped.\n\n";

/// Everything that has been changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amendments {
    /// Options by key.
    options: BTreeMap<String, String>,
    /// What `[broadcasts.NAME]` would say, by name.
    broadcasts: BTreeMap<String, toml::Table>,
    /// By broadcast, whether each of these pipeline files runs as an output.
    outputs: BTreeMap<String, BTreeMap<String, bool>>,
}

/// Why something is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmendmentError {
    /// There are as many as there may be.
    #[error("the API has reached its limit of changed {0}")]
    Full(&'static str),
    /// It is not among the changes.
    #[error("no broadcast `{0}` has been configured through the API")]
    Missing(Name),
    /// It cannot be a part of the configuration.
    #[error("`{0}` does not accept this value")]
    Unfit(String),
}

/// A change to the entry of a broadcast.
#[derive(Clone, Debug, PartialEq)]
pub enum BroadcastChange {
    /// It is replaced by this.
    Put(Map<String, Json>),
    /// These keys change; `null` removes one. Variables are merged in the same way.
    Patch(Map<String, Json>),
    /// It goes.
    Delete,
}

impl Amendments {
    /// Reads what [`text`](Self::text) has written.
    ///
    /// # Errors
    /// If it is not TOML, or holds something else.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// As TOML.
    ///
    /// # Errors
    /// If a value cannot be written as TOML. Accepted values always can.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        let body = toml::to_string(self)?;
        Ok(format!("{HEAD}{body}"))
    }

    /// Sets options, or lets those without a value be what they are configured to be.
    pub fn set_options(&mut self, changes: &BTreeMap<String, Option<String>>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.options.insert(key.clone(), value.clone()),
                None => self.options.remove(key),
            };
        }
    }

    /// The options that are set.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Changes the entry of a broadcast.
    ///
    /// # Errors
    /// If there is none to delete, there are too many, or a value cannot be written as TOML.
    pub fn change_broadcast(
        &mut self,
        broadcast: &Name,
        change: &BroadcastChange,
    ) -> Result<(), AmendmentError> {
        let name = broadcast.as_str();
        let mut entry = match change {
            BroadcastChange::Delete => {
                let deleted = self.broadcasts.remove(name).map(drop);
                return deleted.ok_or_else(|| AmendmentError::Missing(broadcast.clone()));
            }
            BroadcastChange::Put(_) => toml::Table::new(),
            BroadcastChange::Patch(_) => self.broadcasts.get(name).cloned().unwrap_or_default(),
        };
        if !self.broadcasts.contains_key(name) && self.broadcasts.len() >= BROADCASTS_MAX {
            return Err(AmendmentError::Full("broadcasts"));
        }
        if let BroadcastChange::Put(keys) | BroadcastChange::Patch(keys) = change {
            merge(&mut entry, keys)?;
        }
        self.broadcasts.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Whether the entry of a broadcast is among what has been changed.
    pub fn configures(&self, broadcast: &Name) -> bool {
        self.broadcasts.contains_key(broadcast.as_str())
    }

    /// The entries of broadcasts, as they would stand in the configuration file.
    ///
    /// # Errors
    /// If a value cannot be written as TOML. Accepted values always can.
    pub fn broadcasts(&self) -> Result<Option<String>, toml::ser::Error> {
        if self.broadcasts.is_empty() {
            return Ok(None);
        }
        let sections = BTreeMap::from([("broadcasts", &self.broadcasts)]);
        toml::to_string(&sections).map(Some)
    }

    /// Starts or stops an output of a broadcast. `configured`: the configuration starts it.
    ///
    /// # Errors
    /// If outputs of too many broadcasts are switched already.
    pub fn switch_output(
        &mut self,
        broadcast: &Name,
        output: &OutputSwitch,
        configured: bool,
    ) -> Result<(), AmendmentError> {
        let name = broadcast.as_str();
        if output.runs == configured {
            if let Some(switches) = self.outputs.get_mut(name) {
                switches.remove(&output.file);
            }
            self.outputs.retain(|_, switches| !switches.is_empty());
            return Ok(());
        }
        if !self.outputs.contains_key(name) && self.outputs.len() >= SWITCHED_MAX {
            return Err(AmendmentError::Full("outputs"));
        }
        let switches = self.outputs.entry(name.to_owned()).or_default();
        switches.insert(output.file.clone(), output.runs);
        Ok(())
    }

    /// The outputs that are switched, by the names of their broadcasts.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, OutputSwitch)> {
        self.outputs.iter().flat_map(|(name, switches)| {
            switches.iter().map(|(file, &runs)| {
                let switch = OutputSwitch {
                    file: file.clone(),
                    runs,
                };
                (name.as_str(), switch)
            })
        })
    }
}

/// Sets keys, and those of tables within; `null` removes one.
fn merge(table: &mut toml::Table, changes: &Map<String, Json>) -> Result<(), AmendmentError> {
    for (key, change) in changes {
        match (change, table.get_mut(key)) {
            (Json::Null, _) => {
                table.remove(key);
            }
            (Json::Object(changes), Some(toml::Value::Table(inner))) => merge(inner, changes)?,
            (Json::Object(changes), _) => {
                let mut inner = toml::Table::new();
                merge(&mut inner, changes)?;
                table.insert(key.clone(), toml::Value::Table(inner));
            }
            (value, _) => {
                let value =
                    toml::Value::try_from(value).map_err(|_| AmendmentError::Unfit(key.clone()))?;
                table.insert(key.clone(), value);
            }
        }
    }
    Ok(())
}

/// Whether a pipeline runs as an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSwitch {
    /// The pipeline file.
    pub file: String,
    /// Whether it runs.
    pub runs: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn switch(file: &str, runs: bool) -> OutputSwitch {
        OutputSwitch {
            file: file.to_owned(),
            runs,
        }
    }

    #[test]
    fn amendments_survive_writing_and_reading() {
        let mut amendments = Amendments::default();
        let broadcast = name("cam.1");
        amendments
            .switch_output(&broadcast, &switch("record-mkv.launch", true), false)
            .unwrap();
        amendments
            .switch_output(&broadcast, &switch("hls.launch", false), true)
            .unwrap();
        let text = amendments.text().unwrap();
        assert!(text.starts_with("# "), "{text}");
        assert_eq!(Amendments::parse(&text).unwrap(), amendments);
        let outputs: Vec<_> = amendments.outputs().collect();
        assert_eq!(
            outputs,
            [
                ("cam.1", switch("hls.launch", false)),
                ("cam.1", switch("record-mkv.launch", true)),
            ]
        );
        assert!(Amendments::parse("[elsewhere]").is_err());
        assert_eq!(Amendments::parse("").unwrap(), Amendments::default());
    }

    fn entry(json: &Json) -> Map<String, Json> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn broadcasts_are_put_merged_and_deleted() {
        use serde_json::json;

        let mut amendments = Amendments::default();
        let cam = name("cam.1");
        let put = entry(&json!({"source": "rtsp.launch", "vars": {"url": "a", "user": "b"}}));
        let put = BroadcastChange::Put(put);
        amendments.change_broadcast(&cam, &put).unwrap();
        let patch = entry(&json!({"on_demand": true, "vars": {"url": "c", "user": null}}));
        let patch = BroadcastChange::Patch(patch);
        amendments.change_broadcast(&cam, &patch).unwrap();
        let text = amendments.broadcasts().unwrap().unwrap();
        assert_eq!(
            text,
            "[broadcasts.\"cam.1\"]\non_demand = true\nsource = \"rtsp.launch\"\n\n\
             [broadcasts.\"cam.1\".vars]\nurl = \"c\"\n"
        );
        let kept = Amendments::parse(&amendments.text().unwrap()).unwrap();
        assert_eq!(kept, amendments);
        let unfit = BroadcastChange::Put(entry(&json!({"outputs": [null]})));
        let refused = amendments.change_broadcast(&cam, &unfit);
        assert_eq!(refused, Err(AmendmentError::Unfit("outputs".to_owned())));
        let delete = BroadcastChange::Delete;
        amendments.change_broadcast(&cam, &delete).unwrap();
        assert_eq!(
            amendments.change_broadcast(&cam, &delete),
            Err(AmendmentError::Missing(cam))
        );
        assert_eq!(amendments.broadcasts().unwrap(), None);
    }

    #[test]
    fn options_are_set_and_let_go() {
        let mut amendments = Amendments::default();
        let change = |value: Option<&str>| [("log".to_owned(), value.map(str::to_owned))].into();
        amendments.set_options(&change(Some("debug")));
        let options: Vec<_> = amendments.options().collect();
        assert_eq!(options, [("log", "debug")]);
        amendments.set_options(&change(None));
        assert_eq!(amendments, Amendments::default());
    }

    #[test]
    fn changes_equal_to_the_configuration_are_not_kept() {
        let mut amendments = Amendments::default();
        for (runs, configured) in [(true, false), (false, false), (false, true), (true, true)] {
            let output = switch("x.launch", runs);
            amendments
                .switch_output(&name("a"), &output, configured)
                .unwrap();
            assert_eq!(
                amendments.outputs().count(),
                usize::from(runs != configured)
            );
        }
        assert_eq!(amendments, Amendments::default());
    }

    #[test]
    fn there_is_a_limit() {
        let mut amendments = Amendments::default();
        let output = switch("x.launch", true);
        for number in 0..SWITCHED_MAX {
            let name = name(&format!("a{number}"));
            amendments.switch_output(&name, &output, false).unwrap();
        }
        let full = amendments.switch_output(&name("b"), &output, false);
        assert_eq!(full, Err(AmendmentError::Full("outputs")));
    }
}
