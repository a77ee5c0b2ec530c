//! What is wrong with the pipeline files of a configuration.

use crate::{
    media::{Codec, Kind},
    pipeline::{
        PipelineRole, Variables,
        check::{FileProblem, check as problems_in},
        job,
    },
    plan::{PipelineFile, Plans},
};

/// The problems of every pipeline file that the configuration names.
pub fn problems(plans: &Plans, variables: &Variables) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    for plan in plans.all() {
        let variables = variables.clone().with_all(&plan.vars);
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

/// What is no problem in itself: outputs that cannot take every codec that publishers may send.
pub fn notes(plans: &Plans, variables: &Variables) -> Vec<String> {
    let mut notes = Vec::new();
    for plan in plans.all() {
        let variables = server_set(variables.clone().with_all(&plan.vars));
        for file in &plan.outputs {
            let taken = job::video_codecs(&file.text, &variables);
            let of_video = |codec: &Codec| codec.kind() == Kind::Video;
            let all = Codec::ALL.iter().filter(|codec| of_video(codec)).count();
            if taken.is_empty() || taken.len() == all {
                continue;
            }
            let names: Vec<_> = taken.iter().map(ToString::to_string).collect();
            notes.push(format!(
                "{}: takes only {}: does not run while something else is published",
                file.file,
                names.join(" and ")
            ));
        }
    }
    notes
}

/// Any values will do: element names do not depend on the variables that the server sets.
fn server_set(variables: Variables) -> Variables {
    let set = [
        ("name", "check"),
        ("time", "0"),
        ("video_parser", "identity"),
    ];
    set.into_iter().fold(variables, |all, (name, value)| {
        if all.value(name).is_some() {
            all
        } else {
            all.with(name, value)
        }
    })
}

/// Reports a valid file that is used where it does not belong.
fn misused(file: &PipelineFile, used_as: &str, variables: &Variables) -> Option<FileProblem> {
    let variables = server_set(variables.clone());
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
