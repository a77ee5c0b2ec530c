//! The choice of what carries a peer connection.

/// What carries a peer connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// GStreamer's webrtcbin.
    Webrtcbin,
    /// str0m with a media path of our own.
    Direct,
}

impl Engine {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webrtcbin => "webrtcbin",
            Self::Direct => "direct",
        }
    }
}
