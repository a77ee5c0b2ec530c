//! The kinds of media, and values that exist once for each.

use std::fmt;

/// One medium of a broadcast. A broadcast has at most one track of each kind.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl Kind {
    /// Both kinds, video first.
    pub const ALL: [Self; 2] = [Self::Video, Self::Audio];

    /// The word used in SDP (`m=video`), in the API and in element names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind<T> {
    /// For video.
    pub video: T,
    /// For audio.
    pub audio: T,
}

impl<T> ByKind<T> {
    /// What `make` makes for each kind, video first.
    pub fn from_fn(mut make: impl FnMut(Kind) -> T) -> Self {
        Self {
            video: make(Kind::Video),
            audio: make(Kind::Audio),
        }
    }

    /// The value for a kind.
    pub const fn get(&self, kind: Kind) -> &T {
        match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        }
    }

    /// The value for a kind, to change it.
    pub const fn get_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        }
    }
}

impl<T> ByKind<Option<T>> {
    /// The value for a kind, if there is one.
    pub const fn of(&self, kind: Kind) -> Option<&T> {
        self.get(kind).as_ref()
    }
}
