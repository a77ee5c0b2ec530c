//! Why a viewer needs another encoding.

use std::fmt;

use crate::media::Codec;

/// Why a viewer needs another encoding: it cannot show the usual one well, or there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broadcast) enum Misfit {
    Codec(Codec),
    Profile(Codec, String),
    Level(Codec, String),
    Reordered,
    SparseKeyframes,
    Slate,
    Failed,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(codec) => write!(f, "a viewer does not accept {codec}"),
            Self::Profile(codec, profile) => {
                write!(f, "a viewer does not accept {codec} of profile {profile}")
            }
            Self::Level(codec, level) => {
                write!(f, "a viewer does not accept {codec} of level {level}")
            }
            Self::Reordered => f.write_str("the source has B-frames"),
            Self::SparseKeyframes => f.write_str("keyframes from the source are too far apart"),
            Self::Slate => f.write_str("a viewer cannot decode the slate"),
            Self::Failed => f.write_str("the usual rendition has failed"),
        }
    }
}
