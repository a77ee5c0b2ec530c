//! `aerial check`: reports problems of pipeline files and configuration.

use std::{collections::BTreeSet, io::Write, path::PathBuf, process::ExitCode};

use crate::{
    config::{Config, RawConfig},
    pipeline::{Variables, check::FileCheck},
    server::check,
    worker,
};

/// Options of `aerial check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Pipeline files (*.launch) and configuration files (*.toml) [default: the configuration
    /// file that `aerial serve` would read]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Value of a variable in the pipeline files; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = super::variable)]
    variables: Vec<(String, String)>,
}

/// Reports every problem of the files on `out`; the exit code is 1 if there is one. Workers create
/// the elements.
///
/// # Errors
/// If a file cannot be read, or a worker does not start or ends.
pub(super) fn run(options: &Check, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let variables: Variables = options.variables.iter().cloned().collect();
    let (mut problems, mut notes) = (Vec::new(), BTreeSet::new());
    let (mut files, mut configurations) = (Vec::new(), Vec::new());
    for path in &options.files {
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            configurations.push(Some(path.as_path()));
        } else {
            files.push(FileCheck {
                file: path.display().to_string(),
                text: super::read(path)?,
                variables: variables.clone(),
            });
        }
    }
    if options.files.is_empty() {
        configurations.push(None);
    }
    let mut count = files.len();
    notes.extend(files.iter().filter_map(check::sandbox_note));
    if !files.is_empty() {
        problems.extend(super::problems_in(files)?.concat());
    }
    for path in configurations {
        let raw = RawConfig::read(path, super::environment(), std::iter::empty())?;
        let config = Config::load(&raw)?;
        count += config
            .plans
            .all()
            .map(|plan| plan.files().count())
            .sum::<usize>();
        let uses = check::uses(&config.plans, &variables);
        let checks = uses.iter().map(|used| used.check.clone()).collect();
        problems.extend(check::problems(&uses, super::problems_in(checks)?));
        notes.extend(
            uses.iter()
                .filter_map(|used| check::sandbox_note(&used.check)),
        );
        let outputs = check::outputs(&config.plans, &variables);
        let taken = worker::video_codecs(outputs.clone(), worker::MEMORY_DEFAULT);
        notes.extend(check::notes(&outputs, &super::runtime()?.block_on(taken)?));
    }
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    for note in notes {
        writeln!(out, "{note}")?;
    }
    if problems.is_empty() {
        let files = if count == 1 { "file" } else { "files" };
        writeln!(out, "{count} pipeline {files}, no problems")?;
        return Ok(ExitCode::SUCCESS);
    }
    let plural = if problems.len() == 1 { "" } else { "s" };
    writeln!(out, "{} problem{plural}", problems.len())?;
    Ok(ExitCode::FAILURE)
}
