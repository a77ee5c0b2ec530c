//! What the operator has changed through the API, on top of the configuration. Plain data that can be
//! written to a file and read again; a leaf.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Name;

/// Broadcasts whose outputs may be switched.
const SWITCHED_MAX: usize = 1000;
/// Begins the file.
const HEAD: &str = "# Written by Aerial: what was changed through its API. It counts more than the\n\
                    # configuration. Change it through the API, or while the server is stopped.\n\n";

/// Everything that has been changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amendments {
    /// By broadcast, whether each of these pipeline files runs as an output.
    outputs: BTreeMap<String, BTreeMap<String, bool>>,
}

/// Why something is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmendmentError {
    /// There are as many as there may be.
    #[error("the API has changed as many {0} as it may")]
    Full(&'static str),
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
    /// If a value cannot be written, which none of those that are taken is.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        let body = toml::to_string(self)?;
        Ok(format!("{HEAD}{body}"))
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
    fn what_is_written_is_read_again() {
        let mut amendments = Amendments::default();
        let broadcast = name("cam.1");
        amendments
            .switch_output(&broadcast, &switch("record-mkv.launch", true), false)
            .unwrap();
        amendments
            .switch_output(&broadcast, &switch("hls.launch", false), true)
            .unwrap();
        let text = amendments.text().unwrap();
        assert!(text.starts_with("# Written by Aerial"), "{text}");
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

    #[test]
    fn what_the_configuration_says_as_well_is_not_kept() {
        let mut amendments = Amendments::default();
        for (runs, configured) in [(true, false), (false, false), (false, true), (true, true)] {
            let output = switch("x.launch", runs);
            amendments
                .switch_output(&name("a"), &output, configured)
                .unwrap();
            let kept = amendments.outputs().count();
            assert_eq!(kept, usize::from(runs != configured));
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
