//! The folders and files that a pipeline may use, besides those that GStreamer itself needs.
//!
//! A file declares them in comments, one per line; a file that declares none is not confined:
//!
//! ```text
//! # sandbox: read /srv/media
//! # sandbox: write ${directory:-.}
//! # sandbox: on
//! ```
//!
//! `on` stands for no path at all.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Variables};

/// Begins a declaration.
const MARK: &str = "sandbox:";
/// Most paths that a file may declare.
const PATHS_MAX: usize = 32;

/// What a pipeline may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// What it may read, with what is beneath.
    pub read: Vec<SandboxPath>,
    /// What it may also write, with what is beneath.
    pub write: Vec<SandboxPath>,
}

/// A declared path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPath {
    /// A file or folder.
    pub path: PathBuf,
    /// The line of the declaration, from 1.
    pub line: usize,
}

/// How much of a pipeline's sandbox the kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// All of it.
    Enforced,
    /// What this kernel knows: an older one lets it truncate files elsewhere, control devices, and send
    /// signals to other processes.
    Partial,
    /// Nothing: the kernel has no Landlock.
    Unavailable,
}

impl Sandbox {
    /// The declarations in a file's text.
    ///
    /// # Errors
    /// [`Error::Text`] with the line of a declaration that cannot be read.
    pub fn declared(text: &str, variables: &Variables) -> Result<Option<Self>, Error> {
        let mut sandbox: Option<Self> = None;
        for (line, number) in text.lines().zip(1..) {
            let comment = line.trim_start().strip_prefix('#').map(str::trim_start);
            let Some(declaration) = comment.and_then(|text| text.strip_prefix(MARK)) else {
                continue;
            };
            let added = sandbox
                .get_or_insert_default()
                .add(declaration.trim(), number, variables);
            added.map_err(|why| Error::Text(format!("line {number}: {why}")))?;
        }
        Ok(sandbox)
    }

    fn add(&mut self, declaration: &str, line: usize, variables: &Variables) -> Result<(), String> {
        if declaration == "on" {
            return Ok(());
        }
        let words = declaration.split_once(char::is_whitespace);
        let paths = match words {
            Some(("read", _)) => &mut self.read,
            Some(("write", _)) => &mut self.write,
            _ => {
                return Err(format!(
                    "not `{MARK} read PATH`, `{MARK} write PATH` or `{MARK} on`: {declaration}"
                ));
            }
        };
        let path = variables.expand_plain(words.map_or("", |(_, path)| path.trim()))?;
        if path.is_empty() {
            return Err(format!("{MARK} the path is empty"));
        }
        if paths.len() >= PATHS_MAX {
            return Err(format!("{MARK} more than {PATHS_MAX} paths"));
        }
        let path = path.into();
        paths.push(SandboxPath { path, line });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Result<Option<Sandbox>, String> {
        let variables = Variables::default().with("directory", "/srv/my recordings");
        Sandbox::declared(text, &variables).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_declares_what_its_pipeline_may_use() {
        assert_eq!(
            declared("# a sandbox: read /srv\nfakesrc ! fakesink"),
            Ok(None)
        );
        let none = Some(Sandbox::default());
        assert_eq!(declared("# sandbox: on\nfakesrc ! fakesink"), Ok(none));
        let text = "#sandbox: read /srv/media\n# sandbox: write ${directory:-.}/${other:-x}\n";
        let some = Sandbox {
            read: vec![SandboxPath {
                path: "/srv/media".into(),
                line: 1,
            }],
            write: vec![SandboxPath {
                path: "/srv/my recordings/x".into(),
                line: 2,
            }],
        };
        assert_eq!(declared(text), Ok(Some(some)));
    }

    #[test]
    fn a_declaration_that_cannot_be_read_is_named_with_its_line() {
        for (text, expected) in [
            ("\n# sandbox:", "line 2: "),
            ("# sandbox: all /srv", "line 1: "),
            ("# sandbox: read", "line 1: "),
            ("# sandbox: read ${folder}", "line 1: variable folder "),
            ("# sandbox: read ${folder:-}", "line 1: sandbox: "),
            ("# sandbox: read ${folder", "line 1: "),
        ] {
            let error = declared(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let many = "# sandbox: read /srv\n".repeat(PATHS_MAX + 1);
        let refused = declared(&many).unwrap_err();
        assert!(refused.contains(&PATHS_MAX.to_string()), "{refused}");
    }
}
