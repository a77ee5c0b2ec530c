//! Why a viewer needs another encoding.

use std::fmt;

use serde::Serialize;

use crate::media::Codec;

/// Why a viewer needs another encoding: it cannot show the usual one well, or there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Misfit {
    /// It does not accept the codec.
    Codec {
        /// That of the original.
        codec: Codec,
    },
    /// It does not accept the codec's profile.
    Profile {
        /// That of the original.
        codec: Codec,
        /// Its name.
        profile: String,
    },
    /// It does not accept the profile's level.
    Level {
        /// That of the original.
        codec: Codec,
        /// Such as `3.1`.
        level: String,
    },
    /// Browsers show pictures in the order in which they arrive.
    #[serde(rename = "b_frames")]
    Reordered,
    /// Keyframes are too far apart for those who join.
    SparseKeyframes,
    /// It cannot decode the slate.
    Slate,
    /// What it would get otherwise has failed.
    Failed,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec { codec } => write!(f, "a viewer does not accept {codec}"),
            Self::Profile { codec, profile } => {
                write!(f, "a viewer does not accept {codec} of profile {profile}")
            }
            Self::Level { codec, level } => {
                write!(f, "a viewer does not accept {codec} of level {level}")
            }
            Self::Reordered => f.write_str("the source has B-frames"),
            Self::SparseKeyframes => f.write_str("keyframes from the source are too far apart"),
            Self::Slate => f.write_str("a viewer cannot decode the slate"),
            Self::Failed => f.write_str("the usual rendition has failed"),
        }
    }
}
