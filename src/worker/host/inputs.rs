//! The streams that a worker's pipeline takes its inputs from.

use std::sync::Arc;

use super::tell;
use crate::{
    media::ByKind,
    stream::{EncodedStream, EncodedStreams, StreamWriter},
    worker::{
        monotonic,
        note::{InputSetup, ToServer},
        queue::{AgeGate, Outbox},
        wire::SentFrame,
    },
};

/// The streams of the worker's own, which the pipeline takes its inputs from.
pub(super) struct LocalInputs {
    pub(super) streams: EncodedStreams,
    writers: ByKind<Option<StreamWriter>>,
    ages: ByKind<AgeGate>,
    outbox: Arc<Outbox>,
}

impl LocalInputs {
    pub(super) fn new(setup: &[InputSetup], outbox: &Arc<Outbox>) -> Self {
        let stream = |kind| {
            let input = setup.iter().find(|input| input.kind == kind)?;
            let outbox = Arc::clone(outbox);
            let wanted = move || tell(&outbox, &ToServer::KeyframeWanted(kind));
            let stream = EncodedStream::new(kind, wanted);
            if input.held {
                stream.hold();
            }
            if let Some(codec) = input.codec {
                stream.expect(codec, input.stereo);
            }
            Some(stream)
        };
        let streams = EncodedStreams::from_fn(stream);
        Self {
            writers: ByKind::from_fn(|kind| streams.of(kind).map(EncodedStream::writer)),
            streams,
            ages: ByKind::default(),
            outbox: Arc::clone(outbox),
        }
    }

    /// Hands a frame to the pipeline.
    pub(super) fn push(&mut self, sent: &SentFrame) {
        let kind = sent.frame.codec.kind();
        let ages = self.ages.get_mut(kind);
        let gap = ages.pass(&sent.frame, sent.sent, monotonic());
        if ages.is_closed() {
            tell(&self.outbox, &ToServer::KeyframeWanted(kind));
        }
        let (Some(gap), Some(stream)) = (gap, self.streams.of(kind)) else {
            return;
        };
        let writer = self.writers.get_mut(kind);
        if gap || sent.gap {
            // The next frame does not continue the stream.
            *writer = Some(stream.writer());
        }
        if let Some(writer) = writer {
            writer.push(&sent.frame);
        }
    }
}
