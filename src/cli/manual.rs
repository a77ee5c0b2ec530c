//! `aerial completions` and `aerial man`: what packages install beside the program, generated from
//! the definition of the command line.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

/// Options of `aerial completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell to complete in
    shell: Shell,
}

/// Options of `aerial man`.
#[derive(Debug, Args)]
pub(super) struct Manual {
    /// An existing folder for the pages
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes the completion script of a shell.
///
/// # Errors
/// If `out` cannot be written to.
pub(super) fn completions(
    options: &Completions,
    mut command: Command,
    out: &mut impl Write,
) -> io::Result<()> {
    let name = command.get_name().to_owned();
    // Into memory first: the generator panics when a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// Writes a manual page for the program and one for each command.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn manual(options: &Manual, command: Command) -> anyhow::Result<()> {
    let folder = &options.folder;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write to {}", folder.display()))
}
