//! What the API has changed: read from the state folder, written to it, and put on top of the rest.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Error, RawConfig, ValueOrigin, options::Main, pipelines};
use crate::{
    amendments::{Amendments, OutputSwitch},
    plan::{Name, Plans, SwitchedOutput},
};

/// The file in the state folder.
const FILE: &str = "api.toml";
/// It may hold secrets: the values of variables.
const FILE_MODE: u32 = 0o600;
/// Outputs of one broadcast, those of the configuration included.
const OUTPUTS_MAX: usize = 16;

impl RawConfig {
    /// What the API has changed, as far as it has been kept.
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
            Err(source) => return Err(Error::Unreadable { path, source }),
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
        let file = self.amendments_file().map_err(io::Error::other)?;
        let Some(path) = file else {
            return Ok(());
        };
        let text = amendments.text().map_err(io::Error::other)?;
        replace(&path, &text)
    }

    fn amendments_file(&self) -> Result<Option<PathBuf>, Error> {
        let folder = Main::take(self)?.state;
        Ok(folder.map(|folder| folder.join(FILE)))
    }

    /// This reading, with what the API has changed.
    ///
    /// # Errors
    /// If it changes something in a way that cannot be.
    pub fn amended(mut self, amendments: &Amendments) -> Result<Self, Error> {
        for (name, switch) in amendments.outputs() {
            let name = Name::new(name)
                .ok_or_else(|| Error::bad_value(&ValueOrigin::Api, "outputs", Name::RULE, name))?;
            self.outputs.push((name, switch));
        }
        Ok(self)
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

/// Replaces a file at once: whatever happens, the old one or the new one is there.
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
    fn an_output_that_does_not_exist_is_refused() {
        let raw = RawConfig::default();
        let amended = raw.amended(&started("nothing.launch")).unwrap();
        let plans = Plans::new(Vec::new(), Vec::new());
        let error = amended.switch_outputs(plans, None).unwrap_err().to_string();
        assert!(
            error.contains("no pipeline file `nothing.launch`"),
            "{error}"
        );
    }
}
