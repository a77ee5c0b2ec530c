//! What the configuration wants of broadcasts, by name or pattern. Pure data.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::Name;
use crate::{
    peer::Engine,
    pipeline::{Variables, job::STALL_DEFAULT},
};

/// How long what nobody watches runs on. See [`Plan::grace`].
const GRACE_DEFAULT: Duration = Duration::from_secs(10);

/// See [`Plan::gop_max`].
const GOP_MAX_DEFAULT: Duration = Duration::from_secs(10);

/// A pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Name of the file in the pipelines folder.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
}

impl Text {
    /// The file's name without `.launch`: the pipeline's name in log and API.
    pub fn name(&self) -> &str {
        self.file.strip_suffix(".launch").unwrap_or(&self.file)
    }
}

/// Which broadcasts a section is for: a name in which each `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern, if it could match a name.
    pub fn new(text: &str) -> Option<Self> {
        Name::new(&text.replace('*', "x")).map(|_| Self(text.to_owned()))
    }

    /// Matches every name.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// The one name that it matches, unless it is a pattern.
    pub fn name(&self) -> Option<Name> {
        Name::new(&self.0)
    }

    /// Whether a broadcast of this name is meant.
    pub fn matches(&self, name: &Name) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts
            .next()
            .and_then(|first| name.as_str().strip_prefix(first))
        else {
            return false;
        };
        let mut parts: Vec<_> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        let inner = parts.into_iter().try_fold(rest, |rest, part| {
            let at = rest.find(part)?;
            rest.get(at + part.len()..)
        });
        inner.is_some_and(|rest| rest.ends_with(last))
    }

    /// Less is more specific: names, then patterns by how much they say.
    fn rank(&self) -> (bool, std::cmp::Reverse<usize>) {
        let stars = self.0.matches('*').count();
        (stars > 0, std::cmp::Reverse(self.0.len() - stars))
    }
}

/// A section of the configuration. What it leaves open, a less specific one may say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The pipeline that feeds the broadcast.
    pub source: Option<Text>,
    /// The pipelines that take its media out.
    pub outputs: Option<Vec<Text>>,
    /// The pipelines that make renditions.
    pub renditions: Option<Vec<Text>>,
    /// Values of variables; they add to those of less specific sections.
    pub variables: BTreeMap<String, String>,
    /// See [`Plan::on_demand`].
    pub on_demand: bool,
    /// See [`Plan::grace`].
    pub grace: Option<Duration>,
    /// The pipeline that is shown when nobody feeds it.
    pub slate: Option<Text>,
    /// Whether there are [`Plan::automatic`] pipelines.
    pub transcode: Option<bool>,
    /// See [`Plan::gop_max`].
    pub gop_max: Option<Duration>,
    /// See [`Plan::stall`].
    pub stall: Option<Duration>,
    /// See [`Plan::publisher_engine`].
    pub publisher_engine: Option<Engine>,
    /// See [`Plan::viewer_engine`].
    pub viewer_engine: Option<Engine>,
}

/// What one broadcast has.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline that feeds it; `None`: a WHIP publisher does.
    pub source: Option<Text>,
    /// The pipelines that take its media out while it is live.
    pub outputs: Vec<Text>,
    /// The pipelines that make renditions for those who want them.
    pub renditions: Vec<Text>,
    /// Values of the pipelines' variables.
    pub variables: BTreeMap<String, String>,
    /// Whether the source runs only while somebody watches.
    pub on_demand: bool,
    /// How long a rendition, or a source on demand, runs on without viewers. Default: 10 s.
    pub grace: Duration,
    /// The pipeline that is shown when its publisher or source has been gone for the grace period.
    pub slate: Option<Text>,
    /// The pipelines that make what viewers can decode of what they cannot; none if the
    /// broadcast's media shall never be transcoded unasked.
    pub automatic: Vec<Text>,
    /// A source that leaves more time between keyframes, and makes none when asked, is transcoded
    /// for who joins. Default: 10 s.
    pub gop_max: Duration,
    /// A rendition that makes nothing, or an output that takes nothing, for this long has failed.
    /// Default: [`STALL_DEFAULT`].
    pub stall: Duration,
    /// What carries its publisher, instead of what carries those of other broadcasts.
    pub publisher_engine: Option<Engine>,
    /// What carries its viewers, instead of what carries those of other broadcasts.
    pub viewer_engine: Option<Engine>,
}

impl Plan {
    /// The values of the variables of a pipeline that is started now.
    pub fn variables(&self, name: &Name) -> Variables {
        let given = self.variables.iter();
        given.fold(
            Variables::of_broadcast(name.as_str()),
            |all, (name, value)| all.with(name, value),
        )
    }

    /// Every pipeline file that the configuration names.
    pub fn files(&self) -> impl Iterator<Item = &Text> {
        let rest = self.outputs.iter().chain(&self.renditions);
        self.source.iter().chain(rest).chain(&self.slate)
    }
}

/// All sections of the configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Plans {
    /// The most specific first.
    sections: Arc<Vec<(Pattern, Settings)>>,
    /// See [`Plan::automatic`].
    automatic: Arc<[Text]>,
}

impl Plans {
    /// Puts sections in order. `automatic` are the pipelines of [`Plan::automatic`].
    pub fn new(mut sections: Vec<(Pattern, Settings)>, automatic: Vec<Text>) -> Self {
        sections.sort_by_key(|(pattern, _)| pattern.rank());
        Self {
            sections: Arc::new(sections),
            automatic: automatic.into(),
        }
    }

    /// Leaves out the pipelines of [`Plan::automatic`] that this machine cannot run.
    pub fn retain_automatic(&mut self, can_run: impl Fn(&Text) -> bool) {
        let automatic = self.automatic.iter();
        self.automatic = automatic.filter(|text| can_run(text)).cloned().collect();
    }

    /// What the broadcast of this name has.
    pub fn of(&self, name: &Name) -> Plan {
        let fitting = self.sections.iter();
        self.merge(fitting.filter(|(pattern, _)| pattern.matches(name)))
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
        let sections = self.sections.iter();
        sections
            .filter_map(|(pattern, settings)| pattern.name().filter(|_| settings.source.is_some()))
    }

    /// The plan of each section, with what it gets from the less specific ones for certain.
    pub fn all(&self) -> impl Iterator<Item = Plan> {
        let any = Pattern::any();
        self.sections.iter().map(move |section| {
            if let Some(name) = section.0.name() {
                return self.of(&name);
            }
            let rest = self.sections.iter().filter(|(it, _)| *it == any);
            let rest = rest.filter(|_| section.0 != any);
            self.merge([section].into_iter().chain(rest))
        })
    }
}

impl Plans {
    /// The first that says something counts.
    fn merge<'a>(&self, sections: impl Iterator<Item = &'a (Pattern, Settings)>) -> Plan {
        let mut all = Settings::default();
        for (_, settings) in sections {
            let it = settings.clone();
            all.source = all.source.or(it.source);
            all.outputs = all.outputs.or(it.outputs);
            all.renditions = all.renditions.or(it.renditions);
            all.on_demand |= it.on_demand;
            all.grace = all.grace.or(it.grace);
            all.slate = all.slate.or(it.slate);
            all.transcode = all.transcode.or(it.transcode);
            all.gop_max = all.gop_max.or(it.gop_max);
            all.stall = all.stall.or(it.stall);
            all.publisher_engine = all.publisher_engine.or(it.publisher_engine);
            all.viewer_engine = all.viewer_engine.or(it.viewer_engine);
            for (name, value) in it.variables {
                all.variables.entry(name).or_insert(value);
            }
        }
        let automatic: &[Text] = if all.transcode.unwrap_or(true) {
            &self.automatic
        } else {
            &[]
        };
        Plan {
            source: all.source,
            outputs: all.outputs.unwrap_or_default(),
            renditions: all.renditions.unwrap_or_default(),
            variables: all.variables,
            on_demand: all.on_demand,
            grace: all.grace.unwrap_or(GRACE_DEFAULT),
            slate: all.slate,
            automatic: automatic.to_vec(),
            gop_max: all.gop_max.unwrap_or(GOP_MAX_DEFAULT),
            stall: all.stall.unwrap_or(STALL_DEFAULT),
            publisher_engine: all.publisher_engine,
            viewer_engine: all.viewer_engine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn patterns() {
        for (pattern, text, matches) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "anything", true),
            ("cam-*", "cam-1", true),
            ("cam-*", "cam", false),
            ("*-hd", "cam-hd", true),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXcb", false),
            ("a*a", "a", false),
            ("**", "a", true),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(pattern.matches(&name(text)), matches, "{pattern:?} {text}");
        }
        assert!(Pattern::new("a b*").is_none() && Pattern::new("").is_none());
    }

    #[test]
    fn the_most_specific_section_counts() {
        let files = |names: &[&str]| {
            let text = |name: &&str| Text {
                file: format!("{name}.launch"),
                text: "".into(),
            };
            Some(names.iter().map(text).collect::<Vec<_>>())
        };
        let settings = |outputs, variables: &[(&str, &str)]| Settings {
            outputs,
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
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
        assert_eq!(plan.variables["b"], "2");
        let plan = plans.of(&name("cam-1"));
        assert!(plan.outputs.is_empty());
        assert_eq!(plan.variables.len(), 3);
        assert_eq!(plan.variables(&name("cam-1")).value("b"), Some("2"));
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
