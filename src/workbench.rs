//! `aerial check` and `aerial try`: pipeline files without a server.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{
    broadcast::Text,
    config::{Config, Layers},
    pipeline::{
        self, Event, PipelineRole, Variables,
        check::{FileProblem, check as problems_in},
        trial::{self, TrialNews},
    },
};

/// Options of `aerial check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Pipeline files (*.launch) and configuration files (*.toml) [default: the configuration
    /// file that `aerial serve` would read]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Value of a variable in the pipeline files; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
}

/// Options of `aerial try`.
#[derive(Debug, clap::Args)]
pub struct Try {
    /// The pipeline file
    file: PathBuf,
    /// Value of a variable in it; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// How long it runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it takes NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Tells every problem of the files on `out`; the exit code is 1 if there is one.
///
/// # Errors
/// If GStreamer does not start, or a file cannot be read.
pub fn check(options: &Check, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    pipeline::init()?;
    let variables: Variables = options.variables.iter().cloned().collect();
    let mut problems = Vec::new();
    let (mut files, mut configurations) = (0, Vec::new());
    for path in &options.files {
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            configurations.push(Some(path.as_path()));
        } else {
            problems.extend(problems_in(
                &path.display().to_string(),
                &read(path)?,
                &variables,
            ));
            files += 1;
        }
    }
    if options.files.is_empty() {
        configurations.push(None);
    }
    for path in configurations {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let layers = Layers::read(path, environment, std::iter::empty())?;
        let config = Config::load(&layers)?;
        files += config
            .plans
            .all()
            .map(|plan| plan.files().count())
            .sum::<usize>();
        problems.extend(of_config(&config, &variables));
    }
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    if problems.is_empty() {
        writeln!(out, "{files} pipeline files, no problems")?;
        return Ok(ExitCode::SUCCESS);
    }
    let plural = if problems.len() == 1 { "" } else { "s" };
    writeln!(out, "{} problem{plural}", problems.len())?;
    Ok(ExitCode::FAILURE)
}

/// The problems of every pipeline file that a configuration uses.
pub fn of_config(config: &Config, variables: &Variables) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    for plan in config.plans.all() {
        let given = plan.variables.iter();
        let variables = given.fold(variables.clone(), |all, (name, value)| {
            all.with(name, value)
        });
        let source = plan.source.iter().map(|file| (file, "source"));
        let outputs = plan.outputs.iter().map(|file| (file, "output"));
        let renditions = plan.renditions.iter().map(|file| (file, "renditions"));
        let slate = plan.slate.iter().map(|file| (file, "source"));
        for (file, used_as) in source.chain(outputs).chain(renditions).chain(slate) {
            let mut found = problems_in(&file.file, &file.text, &variables);
            if found.is_empty() {
                found.extend(misused(file, used_as, &variables));
            }
            for problem in found {
                // Sections share files and their faults.
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
    }
    problems
}

/// A file without fault in a place where it does not belong.
fn misused(file: &Text, used_as: &str, variables: &Variables) -> Option<FileProblem> {
    // Any values will do: names of elements do not hang on those that the server sets.
    let set = [
        ("name", "check"),
        ("time", "0"),
        ("video_parser", "identity"),
    ];
    let variables = set
        .into_iter()
        .fold(variables.clone(), |all, (name, value)| {
            if all.value(name).is_some() {
                all
            } else {
                all.with(name, value)
            }
        });
    let role = PipelineRole::of(&variables.expand(&file.text).ok()?).ok()?;
    let is = match role {
        PipelineRole::Source { .. } => "source",
        PipelineRole::Output { .. } => "output",
        PipelineRole::Renditions { .. } => "renditions",
    };
    (is != used_as).then(|| FileProblem {
        file: file.file.clone(),
        line: None,
        text: format!(
            "configured as {used_as}, but its appsrc and appsink elements make it {is}: put it \
             under {is}{}",
            if is == "output" { "s" } else { "" }
        ),
    })
}

/// Runs one file alone and tells on `out`, each second, what goes in and out.
///
/// # Errors
/// If the file cannot be read, has problems, or its pipeline does not start or fails.
pub fn try_out(options: &Try, out: &mut impl Write) -> anyhow::Result<()> {
    pipeline::init()?;
    let text = read(&options.file)?;
    let name = options.file.display().to_string();
    let given: Variables = options.variables.iter().cloned().collect();
    let problems = problems_in(&name, &text, &given);
    if !problems.is_empty() {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        bail!("{}", lines.join("\n"));
    }
    let stem = options
        .file
        .file_stem()
        .map_or("try".into(), |stem| stem.to_string_lossy());
    let mut variables = Variables::of_broadcast(&stem);
    for (name, value) in &options.variables {
        variables = variables.with(name, value);
    }
    let mut tell = |news| {
        // Err: nobody reads.
        let _ = match news {
            TrialNews::Began(role) => writeln!(out, "{}", describe(&role)),
            TrialNews::Happened(event) => writeln!(out, "        {}", happened(&event)),
            TrialNews::Second(second) => writeln!(out, "{second}"),
        };
    };
    let length = Duration::from_secs(options.seconds);
    tokio::runtime::Runtime::new()
        .context("no runtime")?
        .block_on(trial::run(&stem, &text, variables, length, &mut tell))
        .map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

fn describe(role: &PipelineRole) -> String {
    let list = |kinds: &[crate::media::Kind]| {
        kinds
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" and ")
    };
    match role {
        PipelineRole::Source { tracks } => format!("a source of {}", list(tracks)),
        PipelineRole::Output { inputs } => format!("an output of {}", list(inputs)),
        PipelineRole::Renditions { inputs, outputs } => {
            let outputs: Vec<_> = outputs
                .iter()
                .map(|(kind, name)| format!("{kind}_{name}"))
                .collect();
            format!("renditions of {}: {}", list(inputs), outputs.join(", "))
        }
    }
}

fn happened(event: &Event) -> String {
    match event {
        Event::Track(kind, codec) => format!("first frame of {kind}: {codec}"),
        Event::Rendition { kind, name, codec } => format!("first frame of {kind}_{name}: {codec}"),
        Event::Stalled => "stalled: media goes in, and nothing comes out".to_owned(),
        Event::Resumed => "media comes out again".to_owned(),
        Event::Failed(reason) => format!("failed: {reason}"),
        Event::Ended => "ended".to_owned(),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))
}
