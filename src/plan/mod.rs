//! What the configuration wants of broadcasts, by name or pattern. Pure data that every room may
//! know; names no other room.

mod about;
mod engine;
mod file;
mod keys;
mod name;
mod pattern;
mod settings;
mod switched;
mod value;

use std::sync::Arc;

pub use about::{About, PageText};
pub use engine::Engine;
pub use file::PipelineFile;
pub(crate) use keys::keys;
pub use name::Name;
pub use pattern::Pattern;
pub use settings::{Plan, Setting, Settings, SlateFile, Vars};
use switched::Switches;
pub use switched::{PlannedOutput, SwitchedOutput};
pub use value::Value;

/// All sections of the configuration. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plans {
    /// The most specific first.
    sections: Arc<Vec<(Pattern, Settings)>>,
    /// See [`Plan::automatic`].
    automatic: Arc<[PipelineFile]>,
    switches: Arc<Switches>,
}

impl Plans {
    /// Puts sections in order. `automatic` are the pipelines of [`Plan::automatic`].
    pub fn new(mut sections: Vec<(Pattern, Settings)>, automatic: Vec<PipelineFile>) -> Self {
        sections.sort_by_key(|(pattern, _)| pattern.rank());
        Self {
            sections: Arc::new(sections),
            automatic: automatic.into(),
            switches: Arc::default(),
        }
    }

    /// With outputs that the operator has started and stopped.
    #[must_use]
    pub fn switched(self, outputs: Vec<(Name, SwitchedOutput)>) -> Self {
        Self {
            switches: Arc::new(Switches::new(outputs)),
            ..self
        }
    }

    /// Leaves out the pipelines of [`Plan::automatic`] that this machine cannot run.
    pub fn retain_automatic(&mut self, can_run: impl Fn(&PipelineFile) -> bool) {
        let automatic = self.automatic.iter();
        self.automatic = automatic.filter(|text| can_run(text)).cloned().collect();
    }

    /// The pipelines of [`Plan::automatic`].
    pub fn automatic(&self) -> &[PipelineFile] {
        &self.automatic
    }

    /// The plan of the broadcast of this name.
    pub fn of(&self, name: &Name) -> Plan {
        let mut plan = self.configured(name);
        self.switches.apply(name, &mut plan);
        plan
    }

    /// The outputs of the broadcast of this name, including those that the operator has stopped.
    pub fn outputs_of(&self, name: &Name) -> Vec<PlannedOutput> {
        self.switches.outputs(name, &self.configured(name))
    }

    /// The settings of the broadcast of this name.
    fn configured(&self, name: &Name) -> Plan {
        self.merge(
            self.sections
                .iter()
                .filter(|(pattern, _)| pattern.matches(name)),
        )
    }

    /// Whether the configuration names a broadcast, not only a pattern for it, that has a slate:
    /// it can be watched before anybody publishes.
    pub fn has_slate(&self, name: &Name) -> bool {
        let mut sections = self.sections.iter();
        let named = sections.any(|(pattern, _)| pattern.name().as_ref() == Some(name));
        named && self.of(name).slate.is_some()
    }

    /// The broadcasts that have a source.
    pub fn with_source(&self) -> impl Iterator<Item = Name> {
        let has_source = |section: &&(Pattern, Settings)| section.1.source.is_some();
        self.sections
            .iter()
            .filter(has_source)
            .filter_map(|(pattern, _)| pattern.name())
    }

    /// The plan of each section, with what it is certain to get from less specific ones, and those of
    /// broadcasts whose outputs the operator has switched.
    pub fn all(&self) -> impl Iterator<Item = Plan> {
        let any = Pattern::any();
        let switched = self.switches.names().map(|name| self.of(name));
        let sections = self.sections.iter().map(move |section| {
            if let Some(name) = section.0.name() {
                return self.of(&name);
            }
            let defaults = self.sections.iter().filter(|(pattern, _)| *pattern == any);
            // Those of `*` itself say the same twice.
            self.merge([section].into_iter().chain(defaults))
        });
        sections.chain(switched)
    }

    /// The first that sets a key wins.
    fn merge<'a>(&self, sections: impl Iterator<Item = &'a (Pattern, Settings)>) -> Plan {
        sections
            .map(|(_, settings)| settings.clone())
            .fold(Settings::default(), Settings::or)
            .planned(&self.automatic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn the_most_specific_section_counts() {
        let files = |names: &[&str]| {
            let text = |name: &&str| PipelineFile {
                file: format!("{name}.launch"),
                text: "".into(),
            };
            Some(names.iter().map(text).collect::<Vec<_>>())
        };
        let settings = |outputs, vars: &[(&str, &str)]| Settings {
            outputs,
            vars: Some(
                vars.iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            ),
            ..Settings::default()
        };
        let plans = Plans::new(
            vec![
                (
                    Pattern::any(),
                    settings(files(&["all"]), &[("a", "1"), ("b", "1")]),
                ),
                (
                    Pattern::new("cam-*").unwrap(),
                    settings(None, &[("b", "2")]),
                ),
                (
                    Pattern::new("cam-1").unwrap(),
                    settings(files(&[]), &[("c", "3")]),
                ),
            ],
            Vec::new(),
        );
        let plan = plans.of(&name("x"));
        assert_eq!(plan.outputs[0].name(), "all");
        let plan = plans.of(&name("cam-2"));
        assert_eq!(plan.outputs.len(), 1);
        assert_eq!(plan.vars["b"], "2");
        let plan = plans.of(&name("cam-1"));
        assert!(plan.outputs.is_empty());
        assert_eq!(plan.vars.len(), 3);
        assert_eq!(plan.vars["b"], "2");
    }

    #[test]
    fn the_operator_starts_and_stops_outputs() {
        let file = |name: &str| PipelineFile {
            file: name.to_owned(),
            text: "".into(),
        };
        let settings = Settings {
            outputs: Some(vec![file("a"), file("b")]),
            ..Settings::default()
        };
        let started = |name| SwitchedOutput::Started(file(name));
        let plans = Plans::new(vec![(Pattern::any(), settings)], Vec::new()).switched(vec![
            (name("x"), started("c")),
            (name("x"), started("b")),
            (name("x"), SwitchedOutput::Stopped("a".to_owned())),
            (name("x"), SwitchedOutput::Stopped("d".to_owned())),
        ]);
        let files = |plan: Plan| plan.outputs.into_iter().map(|output| output.file);
        assert!(files(plans.of(&name("x"))).eq(["b", "c"]));
        assert!(files(plans.of(&name("y"))).eq(["a", "b"]));
        let told: Vec<_> = plans
            .outputs_of(&name("x"))
            .into_iter()
            .map(|output| (output.file, output.configured, output.runs))
            .collect();
        assert_eq!(
            told,
            [
                ("a".to_owned(), true, false),
                ("b".to_owned(), true, true),
                ("c".to_owned(), false, true),
            ]
        );
        assert_eq!(plans.all().count(), 2, "the section, and the broadcast");
    }

    #[test]
    fn the_more_specific_section_chooses_the_engine() {
        let settings = |viewer_engine, publisher_engine| Settings {
            publisher_engine,
            viewer_engine,
            ..Settings::default()
        };
        let (direct, webrtcbin) = (Some(Engine::Direct), Some(Engine::Webrtcbin));
        let plans = Plans::new(
            vec![
                (Pattern::any(), settings(webrtcbin, None)),
                (Pattern::new("cam-*").unwrap(), settings(direct, direct)),
            ],
            Vec::new(),
        );
        let engines = |text| {
            let plan = plans.of(&name(text));
            (plan.viewer_engine, plan.publisher_engine)
        };
        assert_eq!(engines("cam-1"), (direct, direct));
        assert_eq!(engines("x"), (webrtcbin, None));
    }
}
