//! `aerial try`: one pipeline file alone, without a server.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::bail;

use crate::{
    media::Kind,
    pipeline::{Event, PipelineRole, Variables, check::FileCheck},
    worker::trial::{self, TrialNews},
};

/// Options of `aerial try`.
#[derive(Debug, clap::Args)]
pub(super) struct Try {
    /// The pipeline file
    file: PathBuf,
    /// Value of a variable in it; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = super::variable)]
    variables: Vec<(String, String)>,
    /// How long it runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// Runs one file alone and reports on `out`, each second, what goes in and out.
///
/// # Errors
/// If the file cannot be read, has problems, or its pipeline does not start or fails.
pub(super) fn run(options: &Try, out: &mut impl Write) -> anyhow::Result<()> {
    let text = super::read(&options.file)?;
    let name = options.file.display().to_string();
    let file = FileCheck {
        file: name.clone(),
        text: text.clone(),
        variables: options.variables.iter().cloned().collect(),
    };
    let problems = super::problems_in(vec![file])?.concat();
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
        // Err: nobody is reading.
        let _ = match news {
            TrialNews::Began(role) => writeln!(out, "{}", describe(&role)),
            TrialNews::Happened(event) => writeln!(out, "        {}", happened(&event)),
            TrialNews::Second(second) => writeln!(out, "{second}"),
            TrialNews::Over(process) => writeln!(
                out,
                "        process: {} ms of CPU time in all",
                process.cpu_ms
            ),
        };
    };
    let length = Duration::from_secs(options.seconds);
    super::runtime()?
        .block_on(trial::run(&stem, &text, variables, length, &mut tell))
        .map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

fn describe(role: &PipelineRole) -> String {
    let list = |kinds: &[Kind]| {
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
        Event::Transcoded { appsink, from } => {
            format!("{appsink} is transcoded because no browser plays {from}")
        }
        Event::Stalled => "stalled: media goes in, but nothing comes out".to_owned(),
        Event::Reshaped => "the format has changed: the server would start a new file".to_owned(),
        Event::Resumed => "media comes out again".to_owned(),
        Event::FileFinished(path) => format!("file finished: {path}"),
        Event::Failed(reason) => format!("failed: {reason}"),
        Event::Lost(loss) => format!("failed: {loss}"),
        Event::Ended => "ended".to_owned(),
    }
}
