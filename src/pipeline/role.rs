//! What a pipeline is for, according to the names of its appsrc and appsink elements.

use super::{
    Error,
    lexer::{TokenKind, tokens},
};
use crate::media::Kind;

/// Longest rendition name, in characters.
const RENDITION_CHARS_MAX: usize = 64;

/// The role of a pipeline text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineRole {
    /// `appsink name=video` and/or `name=audio`, no appsrc: produces media.
    Source {
        /// The tracks it produces.
        tracks: Vec<Kind>,
    },
    /// appsrc and appsink: makes renditions of a broadcast's tracks.
    Renditions {
        /// The tracks it takes.
        inputs: Vec<Kind>,
        /// Its renditions: `appsink name=<track>_<rendition>`.
        outputs: Vec<(Kind, String)>,
    },
    /// appsrc only: takes media out of the server.
    Output {
        /// The tracks it takes.
        inputs: Vec<Kind>,
    },
}

impl PipelineRole {
    /// The role of an expanded description.
    ///
    /// # Errors
    /// [`Error::Text`] if the names of the appsrc and appsink elements fit no role.
    pub fn of(description: &str) -> Result<Self, Error> {
        let mut inputs = Vec::new();
        let mut sinks = Vec::new();
        for (factory, name) in app_elements(description) {
            let name = name.ok_or_else(|| Error::Text(format!("{factory} without a name")))?;
            if factory == "appsrc" {
                let kind = track(&name).ok_or_else(|| {
                    Error::Text(format!(
                        "appsrc name={name}: the name must be video or audio"
                    ))
                })?;
                add(&mut inputs, kind, || format!("appsrc name={name}"))?;
            } else {
                add(&mut sinks, name.clone(), || format!("appsink name={name}"))?;
            }
        }
        match (inputs.is_empty(), sinks.is_empty()) {
            (true, true) => Err(Error::Text(
                "no appsink and no appsrc: nothing connects it to a broadcast".to_owned(),
            )),
            (true, false) => sinks
                .iter()
                .map(|name| {
                    track(name).ok_or_else(|| {
                        Error::Text(format!(
                            "appsink name={name}: the name must be video or audio in a source"
                        ))
                    })
                })
                .collect::<Result<_, _>>()
                .map(|tracks| Self::Source { tracks }),
            (false, true) => Ok(Self::Output { inputs }),
            (false, false) => sinks
                .iter()
                .map(|name| {
                    rendition(name).ok_or_else(|| {
                        Error::Text(format!(
                            "appsink name={name}: the name must be video_<rendition> or \
                             audio_<rendition> where there is an appsrc"
                        ))
                    })
                })
                .collect::<Result<_, _>>()
                .map(|outputs| Self::Renditions { inputs, outputs }),
        }
    }
}

fn add<T: PartialEq>(
    list: &mut Vec<T>,
    item: T,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    if list.contains(&item) {
        return Err(Error::Text(format!("{} more than once", what())));
    }
    list.push(item);
    Ok(())
}

fn track(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}

fn rendition(name: &str) -> Option<(Kind, String)> {
    let (kind, rendition) = name.split_once('_')?;
    let well_formed = (1..=RENDITION_CHARS_MAX).contains(&rendition.len())
        && rendition
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    well_formed.then(|| Some((track(kind)?, rendition.to_owned())))?
}

/// The appsrc and appsink elements of a description, with their names.
fn app_elements(description: &str) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let mut in_app_element = false;
    for token in tokens(description) {
        match token.kind {
            TokenKind::Property(property, value) => {
                if in_app_element
                    && property == "name"
                    && let Some((_, name)) = found.last_mut()
                {
                    *name = Some(value);
                }
            }
            TokenKind::Word(word) => {
                in_app_element = word == "appsrc" || word == "appsink";
                if in_app_element {
                    found.push((word, None));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Result<PipelineRole, String> {
        PipelineRole::of(text).map_err(|error| error.to_string())
    }

    #[test]
    fn sources() {
        assert_eq!(
            role("videotestsrc ! x264enc ! appsink name=video audiotestsrc ! appsink name=audio"),
            Ok(PipelineRole::Source {
                tracks: Kind::ALL.to_vec()
            })
        );
        assert_eq!(
            role(
                "rtspsrc location=\"rtsp://a/?x=appsrc name=b\" ! appsink sync=false name = \"audio\""
            ),
            Ok(PipelineRole::Source {
                tracks: vec![Kind::Audio]
            })
        );
        assert_eq!(
            role("t ! video/x-raw, name=5 ! queue name=video ! appsink\n name=video max-buffers=1"),
            Ok(PipelineRole::Source {
                tracks: vec![Kind::Video]
            })
        );
    }

    #[test]
    fn renditions_and_outputs() {
        assert_eq!(
            role(
                "appsrc name=video ! d ! tee name=t ! x ! appsink name=video_720p \
                 t. ! x ! appsink name=video_low-2 appsrc name=audio ! appsink name=audio_a"
            ),
            Ok(PipelineRole::Renditions {
                inputs: vec![Kind::Video, Kind::Audio],
                outputs: vec![
                    (Kind::Video, "720p".to_owned()),
                    (Kind::Video, "low-2".to_owned()),
                    (Kind::Audio, "a".to_owned()),
                ],
            })
        );
        assert_eq!(
            role("appsrc name=audio is-live=true ! filesink location=a"),
            Ok(PipelineRole::Output {
                inputs: vec![Kind::Audio]
            })
        );
    }

    #[test]
    fn mistakes_name_the_element() {
        for (text, name) in [
            ("videotestsrc ! fakesink", "appsrc"),
            ("v ! appsink", "appsink"),
            ("v ! appsink name=picture", "appsink name=picture"),
            ("appsrc name=video_1 ! x", "appsrc name=video_1"),
            ("appsrc name=video ! appsink name=video", "<rendition>"),
            ("appsrc name=video ! appsink name=text_a", "<rendition>"),
            (
                "v ! appsink name=video w ! appsink name=video",
                "appsink name=video",
            ),
        ] {
            let mistake = role(text).unwrap_err();
            assert!(mistake.contains(name), "{text}: {mistake}");
        }
    }
}
