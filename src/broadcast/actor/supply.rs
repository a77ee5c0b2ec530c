//! The actor's decisions about who feeds the broadcast.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{Actor, Admitted, Child, Feed, RETRY_TAKEN, SETTLE, choice::GopWatch};
use crate::{
    broadcast::{
        Created, Error, Reply,
        feed::{Gate, Report, Track, Tracks},
        job::Snapshot,
        publisher,
        session::Stop,
        source::{self, Restarts},
        takeover::{Pulse, Verdict},
    },
    media::{Codec, Kind},
    peer::{
        End,
        sdp::{Offer, Role},
    },
    pipeline::TrackSinks,
    plan::PipelineFile,
};

/// A picture with a frame as new as this is on its way.
const FLOWING: Duration = Duration::from_secs(1);

impl Actor {
    /// Whether a publisher may begin now; the present one makes way if it is stale.
    pub(super) fn admit_publisher(
        &mut self,
        offer: &Offer,
        arrived: Instant,
    ) -> Result<Admitted, Error> {
        let taken = || Error::Taken {
            name: self.name.clone(),
            retry_after: RETRY_TAKEN,
        };
        let options = &self.shared.options;
        if self.source.is_some() {
            return Err(taken());
        }
        if let Some(feed) = &self.feed {
            let verdict = feed
                .pulse
                .borrow()
                .takeover(arrived, Instant::now(), &options.times);
            if verdict == Verdict::Refuse && !options.replace_live {
                return Err(taken());
            }
        }
        let admitted = self.new_session(Role::Publisher, offer)?;
        self.retire_feed(End::Replaced);
        Ok(admitted)
    }

    pub(super) fn start_publisher(
        &mut self,
        (session, commands): Admitted,
        (offer, codecs): (Arc<Offer>, Vec<Codec>),
        reply: Reply<Created>,
    ) {
        let rids = offer.layers();
        let tracks = self.tracks.next(Some(&codecs), rids, &self.shared.fanout);
        let (number, gate, pulse) = (session.number, Gate::new(), watch::Sender::default());
        let feed = Feed {
            session: Some(Arc::clone(&session)),
            ..Feed::new(number, session.stop.clone(), &gate, &pulse, &tracks)
        };
        let mut options = self.shared.options.publisher.clone();
        options.engine = self.plan.publisher_engine.unwrap_or(options.engine);
        let task = publisher::Task {
            session,
            commands,
            offer,
            sinks: gate.sinks(number, (&tracks, &self.streams), &self.reports.0),
            options,
            fanout: self.shared.fanout.clone(),
            pulse,
            counters: Arc::clone(&self.shared.counters),
        };
        let child = self.children.spawn(task.run(reply));
        self.child_names.insert(child.id(), Child::Feed(number));
        self.feed = Some(feed);
    }

    fn start_source(&mut self, text: PipelineFile, again: bool) {
        let tracks = self.tracks.next(None, &[], &self.shared.fanout);
        let (number, gate, stop) = (self.shared.number(), Gate::new(), Stop::default());
        let pulse = watch::Sender::<Pulse>::default();
        let restarts = self.source_snapshot.borrow().health.restarts + u64::from(again);
        let (snapshot, source_snapshot) = watch::channel(Snapshot::starting(restarts));
        self.source_snapshot = source_snapshot;
        self.feed = Some(Feed::new(number, stop.clone(), &gate, &pulse, &tracks));
        let sinks = gate.sinks(number, (&tracks, &self.streams), &self.reports.0);
        let task = source::Task {
            broadcast: self.name.clone(),
            text,
            plan: Arc::clone(&self.plan),
            keyframe: Arc::clone(&self.source_keyframe),
            sinks: TrackSinks {
                transcode: self.transcodes(),
                ..sinks.tracks
            },
            gate,
            pulse,
            snapshot,
            counters: Arc::clone(&self.shared.counters),
            stop,
        };
        let child = self.children.spawn(task.run());
        self.child_names.insert(child.id(), Child::Feed(number));
    }

    /// Ends whatever feeds the broadcast. Viewers stay, for the grace period.
    pub(super) fn retire_feed(&mut self, why: End) {
        let Some(feed) = self.feed.take() else { return };
        feed.gate.shut();
        feed.stop.end(why);
        self.vacant_since = Instant::now();
        if feed.live_since.is_some() {
            self.gone_since = Some(self.vacant_since);
        }
        self.gop = GopWatch::default();
        if let Some(session) = &feed.session {
            self.shared.unregister(&session.id);
        }
        if let Some((_, restarts)) = &mut self.source {
            restarts.ended(self.vacant_since, feed.gate.frames() > 0);
        }
    }

    /// Takes note of what a gate has seen.
    pub(super) fn note(&mut self, report: Report) {
        let (number, kind, codec) = match report {
            Report::Started { feed, kind, codec } | Report::Mismatch { feed, kind, codec } => {
                (feed, kind, codec)
            }
            Report::Rendition { .. } | Report::JobFailed { .. } => {
                return self.note_rendition(report, Instant::now());
            }
        };
        let Some(feed) = self.feed.as_mut().filter(|feed| feed.number == number) else {
            return;
        };
        match report {
            Report::Started { .. } => {
                if let Some(track) = feed.tracks.of_mut(kind) {
                    track.codec = Some(codec);
                }
                feed.first_frame.get_or_insert_with(Instant::now);
                feed.started.push(kind);
                self.try_go_live(Instant::now());
                self.settle_all(Instant::now());
                self.switch(Instant::now());
            }
            Report::Mismatch { .. } => {
                tracing::warn!(broadcast = %self.name, %kind, %codec, "the codec has changed");
                // Nobody can go on with what was negotiated; the next start is a fresh one.
                self.retire_feed(End::Failed);
                self.close_viewers(End::BroadcastEnded);
                self.tracks = Tracks::default();
            }
            Report::Rendition { .. } | Report::JobFailed { .. } => {}
        }
    }

    /// Goes live when viewers can be told what there is: for a publisher at the first keyframe of
    /// its video (its audio track is known from the negotiation), for a pipeline when all its
    /// tracks have shown or no more come.
    fn try_go_live(&mut self, now: Instant) {
        let Some(feed) = &mut self.feed else { return };
        let has = |kind| feed.started.contains(&kind);
        let ready = match (&feed.session, feed.first_frame) {
            (_, None) => false,
            (Some(_), Some(_)) => has(Kind::Video) || feed.tracks.video.is_none(),
            (None, Some(first)) => {
                (has(Kind::Video) && has(Kind::Audio)) || now.duration_since(first) >= SETTLE
            }
        };
        let late_track = feed.live_since.is_some() && !self.tracks.continue_as(&feed.shown());
        if !ready || (feed.live_since.is_some() && !late_track) {
            return;
        }
        let tracks = feed.shown();
        feed.live_since.get_or_insert_with(SystemTime::now);
        if !self.tracks.continue_as(&tracks) {
            self.close_incompatible(&tracks);
        }
        if std::mem::take(&mut self.slate) {
            tracing::info!(broadcast = %self.name, "slate ends");
        }
        let codec = |kind| {
            tracks
                .of(kind)
                .and_then(|track| track.codec)
                .map(tracing::field::display)
        };
        tracing::info!(
            broadcast = %self.name,
            video = codec(Kind::Video),
            audio = codec(Kind::Audio),
            viewers = self.viewers.len(),
            "broadcast is live"
        );
        self.tracks = tracks;
    }

    /// Ends what has been silent for too long and starts what is due.
    pub(super) fn check_times(&mut self, now: Instant) {
        let options = &self.shared.options;
        if let Some(feed) = &self.feed {
            let overdue = feed.pulse.borrow().overdue(now, &options.times);
            if let Some(why) = overdue {
                self.retire_feed(why);
            } else {
                self.try_go_live(now);
            }
        }
        self.look_at_source(now);
        self.give_up(now);
        self.switch(now);
        self.check_renditions(now);
        self.settle_all(now);
        self.run_source(now);
    }

    /// Looks how the source makes keyframes, and has it make one if it is late.
    fn look_at_source(&mut self, now: Instant) {
        let video = self.streams.of(Kind::Video);
        if let Some(video) = video.filter(|_| self.transcodes() && self.is_live()) {
            let demands = video.demands();
            // Without frames there is nothing to learn: the publisher is away, or shows nothing.
            let flows = |at: Instant| now.saturating_duration_since(at) < FLOWING;
            let keyframe_at = demands
                .keyframe_at
                .filter(|_| demands.frame_at.is_some_and(flows));
            let was_long = self.gop.is_long;
            self.keyframe_due |= self.gop.look(now, keyframe_at, self.plan.gop_max);
            if self.gop.is_long && !was_long {
                let gop_max = self.plan.gop_max;
                tracing::info!(broadcast = %self.name, ?gop_max, "the source makes keyframes too seldom");
            }
        }
    }

    /// Whether the source runs only while somebody watches.
    pub(super) fn is_on_demand(&self) -> bool {
        self.plan.on_demand && self.source.is_some()
    }

    /// Starts the source if it is due and wanted, and stops it if it is not.
    pub(super) fn run_source(&mut self, now: Instant) {
        if self.is_on_demand() {
            if !self.viewers.is_empty() || !self.waiting.is_empty() {
                self.demanded = now;
            } else if self.feed.is_none() {
                return;
            } else if now.saturating_duration_since(self.demanded) >= self.plan.grace {
                self.rest();
                return;
            }
        }
        // A run that is about to end may still hold its device.
        let mut children = self.child_names.values();
        let ending = self.is_on_demand() && children.any(|it| matches!(it, Child::Feed(_)));
        if self.feed.is_none()
            && !ending
            && let Some((text, restarts)) = &mut self.source
            && restarts.is_due(now)
        {
            let text = text.clone();
            let again = restarts.begin();
            if again {
                self.shared
                    .counters
                    .source_restarts
                    .fetch_add(1, Ordering::Relaxed);
            }
            self.start_source(text, again);
        }
    }

    /// Stops a source that nobody watches; the next viewer starts it at once.
    fn rest(&mut self) {
        tracing::info!(broadcast = %self.name, "nobody watches: the source stops");
        self.retire_feed(End::BroadcastEnded);
        self.tracks = Tracks::default();
        if let Some((_, restarts)) = &mut self.source {
            *restarts = Restarts::default();
        }
    }
}

impl Feed {
    /// The tracks that viewers can be told of: those whose codec is known.
    fn shown(&self) -> Tracks {
        let known = |track: &Option<Track>| track.clone().filter(|track| track.codec.is_some());
        Tracks {
            video: known(&self.tracks.video),
            audio: known(&self.tracks.audio),
        }
    }
}
