//! The tracks of a broadcast, and the fan-out renditions that carry them.

use std::sync::Arc;

use crate::{
    fanout::{Layer, Rendition},
    media::{Codec, Kind},
};

/// Every kind of track, in the order in which viewers learn of them.
pub(super) const KINDS: [Kind; 2] = [Kind::Video, Kind::Audio];

/// Makes a fan-out rendition.
pub(super) type NewRendition = Arc<dyn Fn(Kind) -> Rendition + Send + Sync>;

/// A track and the rendition that carries it to viewers.
#[derive(Clone)]
pub(super) struct BroadcastTrack {
    /// Unknown until a source pipeline's first frame.
    pub(super) codec: Option<Codec>,
    pub(super) rendition: Arc<Rendition>,
    /// The encodings to choose from, if the publisher sends several; the first is `rendition`.
    pub(super) layers: Vec<Layer>,
}

impl BroadcastTrack {
    /// A track without layers.
    pub(super) fn new(codec: Option<Codec>, rendition: Arc<Rendition>) -> Self {
        Self {
            codec,
            rendition,
            layers: Vec::new(),
        }
    }

    fn layered(
        kind: Kind,
        codec: Option<Codec>,
        rids: &[String],
        new_rendition: &NewRendition,
    ) -> Self {
        let layer = |rid: &String| Layer {
            rid: rid.clone(),
            rendition: new_rendition(kind),
        };
        let layers: Vec<Layer> = rids.iter().map(layer).collect();
        let first = layers.first().map(|layer| layer.rendition.clone());
        Self {
            codec,
            rendition: Arc::new(first.unwrap_or_else(|| new_rendition(kind))),
            layers,
        }
    }

    fn has_layers(&self, rids: &[String]) -> bool {
        self.layers.iter().map(|layer| &layer.rid).eq(rids)
    }
}

/// At most one track of each kind.
#[derive(Clone, Default)]
pub(super) struct BroadcastTracks {
    pub(super) video: Option<BroadcastTrack>,
    pub(super) audio: Option<BroadcastTrack>,
}

/// What is known about a new input's tracks before it begins.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// What a publisher negotiated: its codecs, and the layers of its video by rid.
    Negotiated {
        codecs: &'a [Codec],
        rids: &'a [String],
    },
    /// A pipeline has yet to show what it makes.
    Unknown,
}

impl BroadcastTracks {
    /// Tracks for a new input. A track that continues in the same codec keeps its rendition, and
    /// with it its viewers.
    pub(super) fn next(&self, expected: Expected<'_>, new_rendition: &NewRendition) -> Self {
        let track = |kind: Kind| {
            let present = self.of(kind);
            let (codec, rids) = match expected {
                Expected::Negotiated { codecs, rids } => {
                    let codec = codecs.iter().copied().find(|codec| codec.kind() == kind)?;
                    (Some(codec), if kind == Kind::Video { rids } else { &[] })
                }
                Expected::Unknown => (present.and_then(|track| track.codec), &[][..]),
            };
            let continues = present.filter(|track| {
                track.codec.is_some() && track.codec == codec && track.has_layers(rids)
            });
            Some(
                continues
                    .cloned()
                    .unwrap_or_else(|| BroadcastTrack::layered(kind, codec, rids, new_rendition)),
            )
        };
        Self {
            video: track(Kind::Video),
            audio: track(Kind::Audio),
        }
    }

    pub(super) fn of(&self, kind: Kind) -> Option<&BroadcastTrack> {
        match kind {
            Kind::Video => self.video.as_ref(),
            Kind::Audio => self.audio.as_ref(),
        }
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut Option<BroadcastTrack> {
        match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        }
    }

    /// The tracks whose codec is known.
    pub(super) fn known(&self) -> Self {
        let known =
            |track: &Option<BroadcastTrack>| track.clone().filter(|track| track.codec.is_some());
        Self {
            video: known(&self.video),
            audio: known(&self.audio),
        }
    }

    /// Whether viewers of `self` can continue with `next` without a new negotiation: every track
    /// of `next` is one they have.
    pub(super) fn continue_as(&self, next: &Self) -> bool {
        KINDS
            .into_iter()
            .all(|kind| match (self.of(kind), next.of(kind)) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(old), Some(new)) => Arc::ptr_eq(&old.rendition, &new.rendition),
            })
    }
}
