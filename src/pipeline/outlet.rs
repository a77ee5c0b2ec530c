//! Where a pipeline's frames go.

use std::{fmt, sync::Arc};

use crate::media::{Frame, FrameSink, Kind};

/// Where the frames of one track or rendition go.
#[derive(Clone)]
pub struct TrackOutlet {
    /// Takes the frames.
    pub frames: FrameSink,
    /// Whether media that no browser plays is transcoded to Opus or H.264; otherwise it is an error.
    pub transcode: bool,
}

impl TrackOutlet {
    /// Calls `frames` with each frame, on a streaming thread: it must not block.
    pub fn new(frames: impl Fn(Frame) + Send + Sync + 'static) -> Self {
        Self {
            frames: Arc::new(frames),
            transcode: false,
        }
    }
}

impl fmt::Debug for TrackOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackOutlet")
            .field("transcode", &self.transcode)
            .finish_non_exhaustive()
    }
}

/// Where a pipeline's frames go, by track. The sink of a track that the pipeline lacks is never
/// called.
#[derive(Clone)]
pub struct TrackSinks {
    /// Takes the frames of the video track.
    pub video: FrameSink,
    /// Takes the frames of the audio track.
    pub audio: FrameSink,
    /// See [`TrackOutlet::transcode`].
    pub transcode: bool,
}

impl TrackSinks {
    /// Sinks for both tracks; nothing is transcoded.
    pub fn new(video: FrameSink, audio: FrameSink) -> Self {
        Self {
            video,
            audio,
            transcode: false,
        }
    }

    /// The sink of one track.
    pub fn of(&self, kind: Kind) -> &FrameSink {
        match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        }
    }

    /// The outlet of one track.
    pub fn outlet(&self, kind: Kind) -> TrackOutlet {
        TrackOutlet {
            frames: Arc::clone(self.of(kind)),
            transcode: self.transcode,
        }
    }
}

impl fmt::Debug for TrackSinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackSinks").finish_non_exhaustive()
    }
}
