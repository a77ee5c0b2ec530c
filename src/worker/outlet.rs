//! Where the frames of one track of a worker go, on the server's side.

use std::time::Instant;

use super::{fault::WorkerFault, monotonic, queue::AgeGate, wire::SentFrame};
use crate::{
    awake,
    media::{FrameSink, KeyframeRequestLimit, Kind},
    pipeline::job::Flood,
};

/// Where the frames of a track go.
pub(super) struct Outlet {
    name: String,
    kind: Kind,
    frames: FrameSink,
    flood: Flood,
    ages: AgeGate,
    requests: KeyframeRequestLimit,
}

impl Outlet {
    /// The name begins with the kind.
    pub(super) fn new(name: &str, frames: FrameSink) -> Self {
        let kind = if name.starts_with(Kind::Audio.name()) {
            Kind::Audio
        } else {
            Kind::Video
        };
        Self {
            name: name.to_owned(),
            kind,
            frames,
            flood: Flood::new(kind, Instant::now()),
            ages: AgeGate::default(),
            requests: KeyframeRequestLimit::default(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Passes a frame on, unless it is too old or builds on one that was: then the name is
    /// returned, if it is time to request a keyframe of that track.
    pub(super) fn take(&mut self, sent: SentFrame) -> Result<Option<&str>, WorkerFault> {
        if sent.frame.codec.kind() != self.kind {
            return Err(WorkerFault::WrongCodec(sent.frame.codec, self.kind));
        }
        self.flood
            .note(&sent.frame, Instant::now())
            .map_err(WorkerFault::Flood)?;
        let passes = self
            .ages
            .pass(&sent.frame, sent.sent, monotonic())
            .is_some();
        if passes {
            (self.frames)(sent.frame);
            return Ok(None);
        }
        let wanted = self.ages.is_closed() && self.requests.admits(awake::now());
        Ok(wanted.then_some(self.name.as_str()))
    }
}
