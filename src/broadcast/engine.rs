//! A publisher on whichever engine carries it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use super::feed::Sinks;
use crate::{
    error::Error,
    fanout::Fanout,
    media::{Codec, Kind},
    peer::{
        End, Engine, Event,
        direct::{self, StreamInput},
        sdp::{self, Choice, Format, Offer},
        webrtcbin,
    },
    pipeline::{self, Depacketizer, TrackOutlet},
};

/// How publishers are received.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// The engine that carries them.
    pub engine: Engine,
    /// How webrtcbin connects.
    pub webrtcbin: webrtcbin::PublisherOptions,
    /// Without any sign of life on the direct engine, a publisher is gone (RFC 7675).
    pub consent: Duration,
}

/// A publisher's connection.
pub(super) enum Publisher {
    Webrtcbin(webrtcbin::Publisher),
    Direct(Box<Direct>),
}

/// A publisher on the direct engine, with the pipelines that make frames of its packets.
pub(super) struct Direct {
    publisher: direct::Publisher,
    depacketizers: Vec<Depacketizer>,
    tasks: JoinSet<()>,
}

/// What has come from a publisher.
pub(super) struct Statistics {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) last_packet: Option<Instant>,
}

impl Publisher {
    /// Answers an offer on the engine that the options name. `keyframe` is notified when a loss
    /// has broken the picture.
    pub(super) async fn accept(
        offer: &Offer,
        (options, fanout): (&PublisherOptions, &Fanout),
        sinks: Sinks,
        events: mpsc::Sender<Event>,
        keyframe: &Arc<Notify>,
    ) -> Result<(Self, String), Error> {
        // webrtcbin 1.22 does not answer simulcast.
        let simulcast = !offer.layers().is_empty();
        let engine = if simulcast {
            Engine::Direct
        } else {
            options.engine
        };
        match engine {
            Engine::Webrtcbin => {
                let options = &options.webrtcbin;
                let accepted =
                    webrtcbin::Publisher::accept(offer, options, sinks.tracks, events).await?;
                Ok((Self::Webrtcbin(accepted.0), accepted.1))
            }
            Engine::Direct => {
                let direct = Direct::accept(offer, (options, fanout), sinks, events, keyframe);
                let (direct, answer) = direct.await?;
                Ok((Self::Direct(Box::new(direct)), answer))
            }
        }
    }

    pub(super) fn add_candidates(&self, candidates: &[SocketAddr]) {
        match self {
            Self::Webrtcbin(publisher) => publisher.add_candidates(candidates),
            Self::Direct(direct) => direct.publisher.add_candidates(candidates),
        }
    }

    pub(super) fn request_keyframe(&self) {
        match self {
            Self::Webrtcbin(publisher) => publisher.request_keyframe(),
            Self::Direct(direct) => direct.publisher.request_keyframe(),
        }
    }

    pub(super) async fn restart(
        &self,
        ufrag: &str,
        pwd: &str,
    ) -> Result<sdp::Transport, sdp::Error> {
        match self {
            // webrtcbin 1.22 keeps its credentials whatever it is told.
            Self::Webrtcbin(_) => Err(sdp::Error::Unsupported(
                "ICE restart is not supported; the session goes on unchanged".to_owned(),
            )),
            Self::Direct(direct) => direct.publisher.restart(ufrag, pwd).await,
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        match self {
            Self::Webrtcbin(publisher) => {
                let stats = publisher.stats();
                let (packets, bytes, lost) = (stats.packets, stats.bytes, stats.lost);
                Statistics {
                    packets,
                    bytes,
                    lost,
                    last_packet: stats.last_packet,
                }
            }
            Self::Direct(direct) => {
                let stats = direct.publisher.statistics();
                let (packets, bytes, lost) = (stats.packets, stats.bytes, stats.lost);
                Statistics {
                    packets,
                    bytes,
                    lost,
                    last_packet: stats.last_packet,
                }
            }
        }
    }

    /// Says goodbye and frees everything, within the engines' time limits.
    pub(super) async fn close(self, why: End) {
        match self {
            Self::Webrtcbin(publisher) => publisher.close().await,
            Self::Direct(direct) => direct.close(why).await,
        }
    }
}

impl Direct {
    async fn accept(
        offer: &Offer,
        (options, fanout): (&PublisherOptions, &Fanout),
        sinks: Sinks,
        events: mpsc::Sender<Event>,
        keyframe: &Arc<Notify>,
    ) -> Result<(Self, String), Error> {
        let mut depacketizers = Vec::new();
        let mut tasks = JoinSet::new();
        let mut inputs = Vec::new();
        for (codec, rid, outlet) in streams(offer, &sinks)? {
            let (reports, reported) = mpsc::channel(4);
            let keyframe = Arc::clone(keyframe);
            let wanted = move || keyframe.notify_one();
            let started = Depacketizer::start(codec, outlet, reports, wanted).await?;
            tasks.spawn(watch(reported, events.clone()));
            depacketizers.push(started.0);
            inputs.push(StreamInput {
                codec,
                rid,
                sink: started.1,
            });
        }
        let direct = direct::PublisherOptions {
            jitter: options.webrtcbin.jitter,
            consent_timeout: options.consent,
            running_time: pipeline::running_time,
        };
        let (publisher, task, answer) =
            direct::Publisher::accept(offer, fanout.port(), direct, inputs, events)?;
        tasks.spawn(task.run());
        Ok((
            Self {
                publisher,
                depacketizers,
                tasks,
            },
            answer,
        ))
    }

    async fn close(mut self, why: End) {
        self.publisher.close(why).await;
        for depacketizer in self.depacketizers {
            depacketizer.stop().await;
        }
        // The session's task ends with its goodbye, the others with their pipelines.
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The streams a publisher sends: codec, rid of the layer, and where its media goes.
fn streams(
    offer: &Offer,
    sinks: &Sinks,
) -> Result<Vec<(Codec, Option<String>, TrackOutlet)>, sdp::Error> {
    let mut streams = Vec::new();
    for choice in offer.choose_publish()? {
        let Choice::Receive(Format {
            codec: Some(codec), ..
        }) = choice
        else {
            continue;
        };
        if codec.kind() == Kind::Audio || sinks.layers.is_empty() {
            streams.push((codec, None, sinks.tracks.outlet(codec.kind())));
        } else {
            let layers = sinks.layers.iter();
            streams.extend(layers.map(|(rid, outlet)| (codec, Some(rid.clone()), outlet.clone())));
        }
    }
    Ok(streams)
}

/// Passes on what a depacketizer says, as an engine would.
async fn watch(mut reported: mpsc::Receiver<pipeline::Event>, events: mpsc::Sender<Event>) {
    while let Some(report) = reported.recv().await {
        let event = match report {
            pipeline::Event::Track(kind, codec) => Event::Track(kind, codec),
            pipeline::Event::Failed(reason) => {
                tracing::warn!(reason, "publisher's pipeline failed");
                Event::Closed(End::Failed)
            }
            pipeline::Event::Ended
            | pipeline::Event::Rendition { .. }
            | pipeline::Event::Stalled
            | pipeline::Event::Resumed => continue,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
