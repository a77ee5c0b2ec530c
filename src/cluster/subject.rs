//! The names of things on NATS. Pure.

use std::fmt;

use crate::{media::Kind, plan::Name};

/// In front of every subject; the number is the version of what nodes say to each other.
pub(super) const PREFIX: &str = "aerial1";
/// The rendition that is passed on as it arrives. No rendition of a pipeline can have this name.
const ORIGINAL: &str = "=original";

/// A text as one part of a subject, or as a key.
pub(super) fn token(text: &str) -> String {
    text.replace('.', "=")
}

/// The broadcast that a key stands for.
pub(super) fn name_of(key: &str) -> Option<Name> {
    Name::new(&key.replace('=', "."))
}

/// A track of a broadcast in one encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackName {
    /// Video or audio.
    pub kind: Kind,
    /// The rendition; `None` for the original.
    pub rendition: Option<String>,
}

impl TrackName {
    /// The original of a kind.
    pub const fn original(kind: Kind) -> Self {
        Self {
            kind,
            rendition: None,
        }
    }

    /// The track of the last two parts of a subject.
    pub(super) fn of_subject(subject: &str) -> Option<Self> {
        let mut parts = subject.rsplit('.');
        let rendition = parts.next()?;
        let kind = parts.next()?;
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        let rendition = (rendition != ORIGINAL).then(|| rendition.replace('=', "."));
        Some(Self { kind, rendition })
    }
}

impl fmt::Display for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rendition {
            None => write!(f, "{}.{ORIGINAL}", self.kind),
            Some(rendition) => write!(f, "{}.{}", self.kind, token(rendition)),
        }
    }
}

/// Where the frames of a track go.
pub(super) fn frames(broadcast: &Name, epoch: u64, track: &TrackName) -> String {
    let broadcast = token(broadcast.as_str());
    format!("{PREFIX}.f.{broadcast}.{epoch}.{track}")
}

/// Where a node takes requests.
pub(super) fn node(node: &str, what: &str) -> String {
    format!("{PREFIX}.n.{node}.{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_come_back_from_their_subjects() {
        let name = Name::new("live.a-1").unwrap();
        for (rendition, subject) in [
            (None, "aerial1.f.live=a-1.7.video.=original"),
            (Some("720p"), "aerial1.f.live=a-1.7.video.720p"),
            (Some("a.b"), "aerial1.f.live=a-1.7.video.a=b"),
        ] {
            let track = TrackName {
                kind: Kind::Video,
                rendition: rendition.map(str::to_owned),
            };
            assert_eq!(frames(&name, 7, &track), subject);
            assert_eq!(TrackName::of_subject(subject), Some(track));
        }
        assert_eq!(TrackName::of_subject("aerial1.f.a.7.text.720p"), None);
        assert_eq!(name_of("live=a-1"), Some(name));
    }
}
