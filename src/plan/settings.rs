//! What a section of the configuration says, and what a broadcast gets of several.

use std::{collections::BTreeMap, time::Duration};

use super::{About, Engine, PageText, PipelineFile, Value, keys};

/// Built-in pipelines whose encoders are too slow to run for anyone who asks.
const HEAVY: [&str; 2] = ["av1", "h265"];

/// Values of variables in pipeline files.
pub type Vars = BTreeMap<String, String>;

/// The slate of a broadcast that nobody feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlateFile {
    /// The pipeline that shows it.
    pub file: PipelineFile,
    /// The picture that it shows: its variable `picture`.
    pub picture: Option<String>,
}

/// A type of key: what a broadcast gets, whether or not a section sets it.
pub trait Setting: Sized {
    /// The value in a [`Plan`].
    type Planned;

    /// The setting, else the default.
    fn planned(set: Option<Self>, default: &str) -> Self::Planned;
}

/// Types whose keys always have a value.
macro_rules! always_set {
    ($($type:ty: $read:expr,)+) => {
        $(impl Setting for $type {
            type Planned = Self;

            fn planned(set: Option<Self>, default: &str) -> Self {
                set.or_else(|| $read(default)).unwrap_or_default()
            }
        })+
    };
}

/// Types whose keys may stay unset.
macro_rules! optional {
    ($($type:ty,)+) => {
        $(impl Setting for $type {
            type Planned = Option<Self>;

            fn planned(set: Option<Self>, _: &str) -> Option<Self> {
                set
            }
        })+
    };
}

always_set! {
    bool: Value::read,
    Duration: Value::read,
    Vec<PipelineFile>: |_| None,
    Vec<PageText>: |_| None,
    Vars: |_| None,
}
optional! {
    PipelineFile,
    Engine,
    PageText,
}

impl Setting for SlateFile {
    type Planned = Option<PipelineFile>;

    fn planned(set: Option<Self>, _: &str) -> Option<PipelineFile> {
        set.map(|slate| slate.file)
    }
}

macro_rules! settings {
    ($($(#[doc = $help:literal])+
        $key:ident: $type:ty = $default:literal $(from $min:literal to $max:literal)?,)+) => {
        /// A section of the configuration. A less specific one may fill in what it leaves open.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $help])+ pub $key: Option<$type>,)+
        }

        /// The settings of one broadcast.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Plan {
            $($(#[doc = $help])+
            pub $key: <$type as Setting>::Planned,)+
            /// The pipelines that turn media that viewers cannot decode into media that they can;
            /// none if the broadcast's media must never be transcoded unasked.
            pub automatic: Vec<PipelineFile>,
        }

        impl Settings {
            /// These, and what `less` says where they say nothing.
            fn first_said(self, less: Self) -> Self {
                Self { $($key: self.$key.or(less.$key),)+ }
            }

            fn defaulted(self) -> Plan {
                Plan {
                    $($key: Setting::planned(self.$key, $default),)+
                    automatic: Vec::new(),
                }
            }
        }
    };
}
keys!(settings);

impl Plan {
    /// What the pages say about it.
    pub fn about(&self) -> About {
        About {
            title: self.title.clone(),
            description: self.description.clone(),
            tags: self.tags.clone(),
        }
    }
}

impl Settings {
    /// Completes these with a less specific section: a key that is set stays, but variables add up.
    pub(super) fn or(mut self, mut less: Self) -> Self {
        let mut vars = less.vars.take().unwrap_or_default();
        vars.extend(self.vars.take().unwrap_or_default());
        Self {
            vars: Some(vars),
            ..self.first_said(less)
        }
    }

    /// The plan of a broadcast with these settings. `automatic` is for those that may be transcoded
    /// unasked.
    pub(super) fn planned(mut self, automatic: &[PipelineFile]) -> Plan {
        let picture = self.slate.as_mut().and_then(|slate| slate.picture.take());
        if let Some(picture) = picture {
            self.vars
                .get_or_insert_default()
                .insert("picture".to_owned(), picture);
        }
        let mut plan = self.defaulted();
        if plan.transcode {
            let allowed =
                |file: &&PipelineFile| plan.transcode_heavy || !HEAVY.contains(&file.name());
            plan.automatic = automatic.iter().filter(allowed).cloned().collect();
        }
        plan
    }
}

impl Plan {
    /// Every pipeline file that the configuration names.
    pub fn files(&self) -> impl Iterator<Item = &PipelineFile> {
        let rest = self.outputs.iter().chain(&self.renditions);
        self.source.iter().chain(rest).chain(&self.slate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_read() {
        let plan = Settings::default().planned(&[]);
        assert_eq!(plan.grace, Duration::from_secs(10));
        assert_eq!(plan.gop_max, Duration::from_secs(10));
        assert_eq!(plan.stall, Duration::from_secs(10));
        assert!(plan.transcode && !plan.on_demand);
    }

    #[test]
    fn slow_encoders_run_only_if_allowed() {
        let file = |name: &str| PipelineFile {
            file: format!("{name}.launch"),
            text: "".into(),
        };
        let automatic = ["h264", "av1", "vp8", "h265"].map(file);
        let names = |transcode_heavy| {
            let settings = Settings {
                transcode_heavy,
                ..Settings::default()
            };
            settings
                .planned(&automatic)
                .automatic
                .iter()
                .map(|file| file.name().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(None), "h264 vp8");
        assert_eq!(names(Some(true)), "h264 av1 vp8 h265");
    }

    #[test]
    fn a_slate_brings_its_picture() {
        let file = PipelineFile {
            file: "picture.launch".into(),
            text: "".into(),
        };
        let settings = Settings {
            slate: Some(SlateFile {
                file: file.clone(),
                picture: Some("/a.png".into()),
            }),
            ..Settings::default()
        };
        let less = Settings {
            vars: Some(Vars::from([("a".into(), "1".into())])),
            ..Settings::default()
        };
        let plan = settings.or(less).planned(&[]);
        assert_eq!(plan.slate, Some(file));
        assert_eq!((&*plan.vars["picture"], &*plan.vars["a"]), ("/a.png", "1"));
    }
}
