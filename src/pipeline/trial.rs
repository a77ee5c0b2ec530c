//! Media for a pipeline file on trial.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Error, Event, Source, TrackSinks};
use crate::{
    media::{FrameSink, Kind},
    stream::{EncodedStream, EncodedStreams},
};

/// The test media: like a browser's, with a keyframe every second.
pub const TEST_MEDIA: &str = "
    videotestsrc is-live=true pattern=smpte horizontal-speed=2
      ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! timeoverlay
      ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=2500 key-int-max=30 bframes=0
      ! video/x-h264,profile=constrained-baseline ! appsink name=video
    audiotestsrc is-live=true wave=ticks volume=0.1 samplesperbuffer=960
      ! audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20 ! appsink name=audio";
/// Longest wait for the test media to begin.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(10);

/// Test media as a broadcast has it, H.264 and Opus, made in this process.
#[derive(Debug)]
pub struct TestMedia {
    source: Source,
    /// The streams for the pipelines to take.
    pub streams: EncodedStreams,
}

impl TestMedia {
    /// Starts the test media; returns once both tracks flow.
    ///
    /// # Errors
    /// If an element is missing, or the media does not flow in time.
    pub async fn start() -> Result<Self, Error> {
        Self::start_as(TEST_MEDIA).await
    }

    /// Starts another source text in its place.
    ///
    /// # Errors
    /// As [`TestMedia::start`].
    pub async fn start_as(text: &str) -> Result<Self, Error> {
        let streams = EncodedStreams::from_fn(|kind| Some(EncodedStream::new(kind, || ())));
        let sinks = into_streams(&streams);
        let (sender, mut events) = mpsc::channel(4);
        let source = Source::start("test media", text, sinks, sender).await?;
        let tracks = Kind::ALL
            .into_iter()
            .filter(|kind| text.contains(&format!("name={kind}")))
            .count();
        wait_for_tracks(&mut events, tracks).await?;
        Ok(Self { source, streams })
    }

    /// Stops the test media.
    pub async fn stop(self) {
        self.source.stop().await;
    }
}

/// Waits until a source has begun to deliver this many tracks.
///
/// # Errors
/// If it fails, or takes too long.
pub async fn wait_for_tracks(
    events: &mut mpsc::Receiver<Event>,
    tracks: usize,
) -> Result<(), Error> {
    let mut begun = 0;
    while begun < tracks {
        let limit = MEDIA_TIMEOUT;
        let event = tokio::time::timeout(limit, events.recv())
            .await
            .map_err(|_| Error::Timeout {
                step: "starting test media".into(),
                limit,
            })?;
        match event {
            Some(Event::Track(..)) => begun += 1,
            Some(Event::Failed(reason)) => return Err(Error::Failed(reason)),
            Some(Event::Lost(loss)) => return Err(loss.into()),
            Some(_) => {}
            None => return Err(Error::Failed("the test media has ended".to_owned())),
        }
    }
    Ok(())
}

/// Sinks that write into streams.
pub fn into_streams(streams: &EncodedStreams) -> TrackSinks {
    let sink = |kind| {
        let writer = streams.of(kind).map(EncodedStream::writer);
        Arc::new(move |frame| {
            if let Some(writer) = &writer {
                writer.push(&frame);
            }
        }) as FrameSink
    };
    TrackSinks::new(sink(Kind::Video), sink(Kind::Audio))
}
