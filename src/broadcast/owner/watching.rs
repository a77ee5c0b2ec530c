//! The owner's decisions about viewers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Admitted, Child, KEYFRAME_INTERVAL, Owner, RETRY_MISSING, RETRY_STARTING};
use crate::{
    broadcast::{Created, Reply, session::Command, status::State, viewer},
    error::Error,
    peer::{
        End,
        sdp::{Offer, Role},
    },
};

impl Owner {
    pub(super) fn admit_viewer(&mut self, offer: &Offer) -> Result<Admitted, Error> {
        if self.state(Instant::now()) != State::Live {
            let starting = self
                .feed
                .as_ref()
                .is_some_and(|feed| feed.live_since.is_none());
            let retry_after = if starting {
                RETRY_STARTING
            } else {
                RETRY_MISSING
            };
            return Err(Error::NotLive {
                name: self.name.clone(),
                retry_after,
            });
        }
        if self.viewers.len() >= self.shared.options.viewers_max {
            return Err(Error::Full("viewers"));
        }
        self.new_session(Role::Viewer, offer)
    }

    pub(super) fn start_viewer(
        &mut self,
        (session, commands): Admitted,
        offer: Arc<Offer>,
        reply: Reply<Created>,
    ) {
        let id = session.id.clone();
        let mut options = self.shared.options.viewer.clone();
        options.engine = self.plan.viewer_engine.unwrap_or(options.engine);
        let task = viewer::Task {
            session: Arc::clone(&session),
            commands,
            offer,
            tracks: self.tracks.clone(),
            options,
            fanout: self.shared.fanout.clone(),
            keyframe_wanted: Arc::clone(&self.keyframe_wanted),
            counters: Arc::clone(&self.shared.counters),
        };
        let child = self.children.spawn(task.run(reply));
        self.child_names
            .insert(child.id(), Child::Viewer(id.clone()));
        self.viewers.insert(id, session);
    }

    pub(super) fn close_viewers(&mut self, why: End) {
        for (id, session) in self.viewers.drain() {
            session.stop.end(why);
            self.shared.unregister(&id);
        }
    }

    /// Asks the publisher for a keyframe if one is wanted, at most one per
    /// [`KEYFRAME_INTERVAL`]. Requests within the interval are kept until its end.
    pub(super) fn ask_for_keyframe(&mut self, now: Instant) {
        let recent = self
            .keyframe_asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < KEYFRAME_INTERVAL);
        let publisher = self.feed.as_ref().and_then(|feed| feed.session.as_ref());
        if !self.keyframe_due || recent {
            return;
        }
        self.keyframe_due = false;
        if self.source.is_some() {
            self.keyframe_asked = Some(now);
            self.source_keyframe.notify_one();
        }
        if let Some(session) = publisher
            && session.commands.try_send(Command::Keyframe).is_ok()
        {
            self.keyframe_asked = Some(now);
            self.shared
                .counters
                .keyframe_requests
                .fetch_add(1, Ordering::Relaxed);
        }
    }
}
