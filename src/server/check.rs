//! What is wrong with the pipeline files of a configuration.

use crate::{
    media::{Codec, Kind},
    pipeline::{
        PipelineRole, Variables,
        check::{FileCheck, FileProblem},
        sandbox::{Sandbox, SandboxState},
    },
    plan::{PipelineFile, Plans},
    worker,
};

/// A pipeline file, where the configuration names it.
#[derive(Clone, Debug)]
pub struct FileUse {
    /// What to check.
    pub check: FileCheck,
    used_as: &'static str,
}

/// Every pipeline file that the configuration names.
pub fn uses(plans: &Plans, variables: &Variables) -> Vec<FileUse> {
    let mut uses = Vec::new();
    for plan in plans.all() {
        let variables = variables.clone().with_all(&plan.vars);
        let source = plan.source.iter().map(|file| (file, "source"));
        let outputs = plan.outputs.iter().map(|file| (file, "output"));
        let renditions = plan.renditions.iter().map(|file| (file, "renditions"));
        let slate = plan.slate.iter().map(|file| (file, "source"));
        for (file, used_as) in source.chain(outputs).chain(renditions).chain(slate) {
            let check = FileCheck {
                file: file.file.clone(),
                text: file.text.to_string(),
                variables: variables.clone(),
            };
            uses.push(FileUse { check, used_as });
        }
    }
    uses
}

/// The problems of these files, of which each by itself has those in `found`.
pub fn problems(uses: &[FileUse], found: Vec<Vec<FileProblem>>) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    for (used, found) in uses.iter().zip(found) {
        let mut found = found;
        if found.is_empty() {
            found.extend(used.misused());
        }
        for problem in found {
            // Sections share files and their faults.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// The outputs that the configuration names.
pub fn outputs(plans: &Plans, variables: &Variables) -> Vec<FileCheck> {
    let outputs = plans.all().flat_map(|plan| {
        let variables = variables.clone().with_all(&plan.vars);
        let output = |file: &PipelineFile| FileCheck {
            file: file.file.clone(),
            text: file.text.to_string(),
            variables: variables.clone(),
        };
        plan.outputs.iter().map(output).collect::<Vec<_>>()
    });
    outputs.collect()
}

/// Not a problem in itself: outputs that cannot take every codec that publishers may send. `taken`:
/// the video codecs that each of them can take.
pub fn notes(outputs: &[FileCheck], taken: &[Vec<Codec>]) -> Vec<String> {
    let all = Codec::ALL
        .iter()
        .filter(|codec| codec.kind() == Kind::Video)
        .count();
    let choosy = outputs
        .iter()
        .zip(taken)
        .filter(|(_, taken)| !taken.is_empty() && taken.len() < all);
    let note = |(output, taken): (&FileCheck, &Vec<Codec>)| {
        let names: Vec<_> = taken.iter().map(ToString::to_string).collect();
        format!(
            "{}: takes only {}: does not run while something else is published",
            output.file,
            names.join(" and ")
        )
    };
    choosy.map(note).collect()
}

/// A note on a file that declares a sandbox: how much of it this machine enforces, if not all.
pub fn sandbox_note(check: &FileCheck) -> Option<String> {
    Sandbox::declared(&check.text, &server_set(check.variables.clone())).ok()??;
    let file = &check.file;
    match worker::sandbox_support() {
        SandboxState::Enforced => None,
        SandboxState::Partial => Some(format!(
            "{file}: this kernel is too old to enforce all of its sandbox"
        )),
        SandboxState::Unavailable => Some(format!(
            "{file}: runs without its sandbox: this kernel has no Landlock"
        )),
    }
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

impl FileUse {
    /// Reports a valid file that is used where it does not belong.
    fn misused(&self) -> Option<FileProblem> {
        let FileCheck {
            file,
            text,
            variables,
        } = &self.check;
        let variables = server_set(variables.clone());
        let role = PipelineRole::of(&variables.expand(text).ok()?).ok()?;
        let is = match role {
            PipelineRole::Source { .. } => "source",
            PipelineRole::Output { .. } => "output",
            PipelineRole::Renditions { .. } => "renditions",
        };
        let used_as = self.used_as;
        (is != used_as).then(|| FileProblem {
            file: file.clone(),
            line: None,
            text: format!(
                "configured as {used_as}, but its appsrc and appsink elements make it {is}: put \
                 it under {is}{}",
                if is == "output" { "s" } else { "" }
            ),
        })
    }
}
