//! Outputs that the operator starts and stops while the server runs.

use std::collections::BTreeMap;

use super::{Name, PipelineFile, Plan};

/// An output that is not as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchedOutput {
    /// It runs as well.
    Started(PipelineFile),
    /// The one of this file does not run.
    Stopped(String),
}

/// An output of a broadcast that the configuration or the operator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOutput {
    /// The pipeline file.
    pub file: String,
    /// Whether the configuration starts it.
    pub configured: bool,
    /// Whether it runs while the broadcast is live.
    pub runs: bool,
}

/// The outputs that are not as the configuration says, by broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Switches(BTreeMap<Name, Vec<SwitchedOutput>>);

impl Switches {
    pub(super) fn new(switched: Vec<(Name, SwitchedOutput)>) -> Self {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for (name, output) in switched {
            all.entry(name).or_default().push(output);
        }
        Self(all)
    }

    /// The broadcasts that have any.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }

    /// Changes what the configuration says of a broadcast.
    pub(super) fn apply(&self, name: &Name, plan: &mut Plan) {
        for output in self.0.get(name).into_iter().flatten() {
            match output {
                SwitchedOutput::Started(file) => {
                    if plan.outputs.iter().all(|known| known.file != file.file) {
                        plan.outputs.push(file.clone());
                    }
                }
                SwitchedOutput::Stopped(file) => plan.outputs.retain(|known| known.file != *file),
            }
        }
    }

    /// All outputs of a broadcast for which the configuration has this plan.
    pub(super) fn outputs(&self, name: &Name, configured: &Plan) -> Vec<PlannedOutput> {
        let mut plan = configured.clone();
        self.apply(name, &mut plan);
        let runs = |file: &str| plan.outputs.iter().any(|known| known.file == file);
        let of_configuration = configured.outputs.iter().map(|output| PlannedOutput {
            file: output.file.clone(),
            configured: true,
            runs: runs(&output.file),
        });
        let is_new = |output: &&PipelineFile| {
            let mut known = configured.outputs.iter();
            known.all(|known| known.file != output.file)
        };
        let started = plan
            .outputs
            .iter()
            .filter(is_new)
            .map(|output| PlannedOutput {
                file: output.file.clone(),
                configured: false,
                runs: true,
            });
        of_configuration.chain(started).collect()
    }
}
