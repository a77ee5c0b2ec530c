//! A viewer on the direct engine as its session holds it, and how it begins.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use str0m::IceCreds;
use tokio::sync::oneshot;

use super::{
    channel::ViewerChannel,
    stream::{Identity, Stream},
    viewer::{DirectViewer, Joining},
};
use crate::{
    awake,
    fanout::{
        Fanout,
        error::Error,
        message::Message,
        place::WorkerPlace,
        reports::ViewerReports,
        tracks::{self, ChosenTrack, OfferedTracks},
    },
    peer::{
        End, sdp,
        session::{Incoming, PeerSession},
        udp::{DatagramLimits, DatagramRoute},
    },
    playout::{LayerChoice, PlayoutTrack, Target, ViewerCounters, ViewerStatistics},
};

/// How long an ICE restart may take: a worker answers within one frame.
const RESTART_TIMEOUT: Duration = Duration::from_secs(1);

/// A viewer on the direct engine, held by its session. Dropping it ends the connection.
pub struct DirectHandle {
    place: WorkerPlace,
    counters: Arc<ViewerCounters>,
}

impl Fanout {
    /// [`Fanout::watch`] on the direct engine.
    pub(in crate::fanout) fn watch_on_direct(
        &self,
        offer: &sdp::Offer,
        tracks: OfferedTracks<'_>,
        reports: impl Into<ViewerReports>,
    ) -> Result<(DirectHandle, String), Error> {
        let (now, reports) = (awake::now(), reports.into());
        let (mut sections, chosen) = tracks.choose(offer, |_, _| tracks::random_ssrc())?;
        let place = self.place()?;
        let route = {
            let (viewer, worker) = (place.key, place.worker.clone());
            DatagramRoute::new(viewer, DatagramLimits::VIEWER, move |datagram| {
                worker.tell(Message::Datagram { viewer, datagram })
            })
        };
        let (mut session, transport) =
            PeerSession::accept(offer, self.port(), route, Incoming::default())?;
        if reports.channel.is_some()
            && let Some(at) = offer.channel()
            && let Some(section) = sections.get_mut(at)
        {
            *section = sdp::Section::Channel;
            session.allow_channel(now);
        }
        let transport = if chosen.iter().any(|track| !track.target.layers.is_empty()) {
            // The viewer's receiver estimates its bandwidth, from our send times.
            sdp::Transport {
                extensions_used: &[tracks::SEND_TIME],
                feedback_used: &["goog-remb"],
                ..transport
            }
        } else {
            transport
        };
        let answer = sdp::viewer_answer(offer, &sections, &transport);
        let tracks = chosen.into_iter().map(|track| playout_track(track, now));
        let counters = Arc::<ViewerCounters>::default();
        let joining = Joining {
            key: place.key,
            session,
            tracks: tracks.collect::<Result<_, _>>()?,
            cname: sdp::stream_id(&sections),
            reports,
            counters: Arc::clone(&counters),
        };
        let viewer = Box::new(DirectViewer::new(joining, now));
        if !place.worker.tell(Message::Join(viewer)) {
            return Err(Error::Overloaded);
        }
        Ok((DirectHandle { place, counters }, answer))
    }
}

pub(in crate::fanout) fn playout_track(
    track: ChosenTrack,
    now: Instant,
) -> Result<PlayoutTrack<Stream>, sdp::Error> {
    let Target {
        rendition, layers, ..
    } = track.target;
    let layers = LayerChoice::new(layers, true, now);
    let identity = Identity {
        ssrc: track.ssrc,
        pt: track.pt,
        rtx: track.rtx,
        // Only where an estimate is useful.
        send_time: layers.as_ref().and(track.send_time),
    };
    let stream = Stream::new(track.codec.kind(), identity, tracks::random()?);
    Ok(PlayoutTrack::new(rendition, track.codec, stream, layers))
}

impl DirectHandle {
    pub(in crate::fanout) const fn place(&self) -> &WorkerPlace {
        &self.place
    }

    /// The viewer's data channel.
    pub(in crate::fanout) fn channel(&self) -> ViewerChannel {
        ViewerChannel {
            key: self.place.key,
            worker: self.place.worker.clone(),
            counters: Arc::clone(&self.counters),
        }
    }

    pub(in crate::fanout) async fn restart(
        &self,
        ufrag: &str,
        pwd: &str,
    ) -> Result<sdp::Transport, sdp::Error> {
        let gone = || sdp::Error::Unsupported("the session has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let message = Message::Restart {
            viewer: self.place.key,
            remote: IceCreds {
                ufrag: ufrag.to_owned(),
                pass: pwd.to_owned(),
            },
            reply,
        };
        if !self.place.worker.tell(message) {
            return Err(gone());
        }
        awake::timeout(RESTART_TIMEOUT, answer)
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(gone)?
    }

    /// Ends the connection with a `close_notify`; `Event::Closed` follows with this reason.
    pub(in crate::fanout) fn close(&self, why: End) {
        let message = Message::Close {
            viewer: self.place.key,
            why,
        };
        if !self.place.worker.tell(message) {
            self.counters.closed.store(true, Relaxed);
        }
    }

    /// Whether the viewer has sent an authentic check.
    pub(in crate::fanout) fn is_checked(&self) -> bool {
        self.counters.checked.load(Relaxed)
    }

    pub(in crate::fanout) fn statistics(&self) -> ViewerStatistics {
        self.counters.statistics()
    }
}

impl Drop for DirectHandle {
    fn drop(&mut self) {
        self.close(End::Deleted);
    }
}
