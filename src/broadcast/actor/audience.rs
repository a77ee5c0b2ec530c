//! The actor's decisions about viewers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    Actor, Admitted, Child, KEYFRAME_INTERVAL, RETRY_MISSING, RETRY_STARTING, Viewing,
    renditions::View,
};
use crate::{
    broadcast::{Created, Error, Reply, session::Command, status::State, viewer},
    peer::{
        End,
        sdp::{Offer, Role},
    },
};

impl Actor {
    /// Why there is nothing to watch now.
    pub(super) fn not_live(&self) -> Error {
        let starting = self
            .feed
            .as_ref()
            .is_some_and(|feed| feed.live_since.is_none());
        let retry_after = if starting {
            RETRY_STARTING
        } else {
            RETRY_MISSING
        };
        Error::NotLive {
            name: self.name.clone(),
            retry_after,
        }
    }

    pub(super) fn admit_viewer(
        &mut self,
        offer: &Offer,
        requested: Option<&str>,
    ) -> Result<Admitted, Error> {
        let state = self.state(Instant::now());
        let waits = self.is_on_demand() || self.plan.slate.is_some() && state != State::Stale;
        if state != State::Live && !waits {
            return Err(self.not_live());
        }
        if self.viewers.len() + self.waiting.len() >= self.shared.options.viewers_max {
            return Err(Error::Full("viewers"));
        }
        self.check_requested(requested)?;
        self.new_session(Role::Viewer, offer)
    }

    pub(super) fn start_viewer(
        &mut self,
        (session, commands): Admitted,
        (offer, requested): (Arc<Offer>, Option<String>),
        view: View,
        reply: Reply<Created>,
    ) {
        let id = session.id.clone();
        let mut options = self.shared.options.viewer.clone();
        options.engine = self.plan.viewer_engine.unwrap_or(options.engine);
        let task = viewer::Task {
            session: Arc::clone(&session),
            commands,
            offer: Arc::clone(&offer),
            tracks: view.tracks,
            options,
            fanout: self.shared.fanout.clone(),
            keyframe_wanted: view.keyframe,
            counters: Arc::clone(&self.shared.counters),
        };
        let child = self.children.spawn(task.run(reply));
        self.child_names
            .insert(child.id(), Child::Viewer(id.clone()));
        let viewer = Viewing {
            session,
            offer,
            requested,
            subscriptions: view.subscriptions,
        };
        self.viewers.insert(id.clone(), viewer);
        self.judge(&id);
    }

    pub(super) fn close_viewers(&mut self, why: End) {
        for (id, viewer) in self.viewers.drain() {
            viewer.session.stop.end(why);
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
