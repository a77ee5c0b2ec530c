//! The viewers of a broadcast: those that watch, those that wait for their first frame, and which
//! rendition each gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    choice::{self, Next, Present, RenditionId, Situation, TrackOrigin, Wants},
    tracks::{BroadcastTracks, KINDS},
};
use crate::{
    media::{Codec, Kind},
    peer::sdp::Offer,
};

/// How long a viewer waits for the first frame of a rendition, or of a source on demand.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// A viewer and what it asks for.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) offer: Arc<Offer>,
    /// The rendition that it requests by name.
    pub(super) requested: Option<String>,
}

impl Visitor {
    /// Its wants of one kind. `codec` is what it has negotiated.
    pub(super) fn wants(&self, kind: Kind, codec: Option<Codec>) -> Wants<'_> {
        Wants {
            kind,
            offer: &self.offer,
            requested: self.requested.as_deref(),
            codec,
        }
    }
}

/// What a viewer gets of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) kind: Kind,
    /// The negotiated codec, which never changes.
    pub(super) codec: Codec,
    pub(super) present: Present,
}

/// A viewer that has not been answered yet.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) visitor: Visitor,
    since: Instant,
}

impl Waiting {
    /// Whether it still waits for the best.
    pub(super) fn is_patient(&self, now: Instant) -> bool {
        self.waited(now) < WAIT_MAX
    }

    /// How long it has waited.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// A viewer that watches.
struct Watching {
    visitor: Visitor,
    /// At most one of each kind.
    subscriptions: Vec<Subscription>,
    progress: ConnectionProgress,
}

/// How far a viewer has got. Until it is connected, nothing is transcoded for it: an offer alone
/// must not start an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ConnectionProgress {
    /// It has its answer.
    Answered,
    /// Its first connectivity check has arrived.
    Checked,
    Connected,
}

impl Watching {
    fn is_connected(&self) -> bool {
        self.progress == ConnectionProgress::Connected
    }

    fn subscription(&self, kind: Kind) -> Option<&Subscription> {
        let mut subscriptions = self.subscriptions.iter();
        subscriptions.find(|subscription| subscription.kind == kind)
    }

    /// The renditions that it gets.
    fn renditions(&self) -> impl Iterator<Item = RenditionId> {
        self.subscriptions
            .iter()
            .filter_map(|subscription| match subscription.present.origin {
                TrackOrigin::Rendition(id) => Some(id),
                TrackOrigin::Original => None,
            })
    }

    /// The renditions that it requests by name.
    fn requested(&self, situation: &Situation) -> impl Iterator<Item = RenditionId> {
        self.subscriptions.iter().filter_map(|subscription| {
            let codec = Some(subscription.codec);
            let wants = self.visitor.wants(subscription.kind, codec);
            match situation.preferred(&wants)? {
                TrackOrigin::Rendition(id) => Some(id),
                TrackOrigin::Original => None,
            }
        })
    }

    fn next(&self, situation: &Situation, subscription: &Subscription) -> Next {
        let codec = Some(subscription.codec);
        let wants = self.visitor.wants(subscription.kind, codec);
        choice::next(situation, &wants, subscription.present)
    }
}

/// A viewer's next step, if it does not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ViewerStep {
    pub(super) session: u64,
    pub(super) kind: Kind,
    pub(super) next: Next,
}

/// All viewers of a broadcast, by the number of their session.
#[derive(Default)]
pub(super) struct Audience {
    waiting: BTreeMap<u64, Waiting>,
    watching: BTreeMap<u64, Watching>,
    /// The last situation in which every viewer except the new ones was found to be in place.
    settled: Option<Situation>,
    /// Viewers connected since then.
    new: BTreeSet<u64>,
}

impl Audience {
    /// Adds a viewer that waits for its answer.
    pub(super) fn arrive(&mut self, session: u64, visitor: Visitor, since: Instant) {
        self.waiting.insert(session, Waiting { visitor, since });
    }

    /// The waiting viewers, in order of arrival.
    pub(super) fn waiting(&self) -> Vec<(u64, Waiting)> {
        self.waiting
            .iter()
            .map(|(session, viewer)| (*session, viewer.clone()))
            .collect()
    }

    /// Admits a waiting viewer with these subscriptions.
    pub(super) fn admit(&mut self, session: u64, subscriptions: Vec<Subscription>) {
        if let Some(Waiting { visitor, .. }) = self.waiting.remove(&session) {
            let watching = Watching {
                visitor,
                subscriptions,
                progress: ConnectionProgress::Answered,
            };
            self.watching.insert(session, watching);
        }
    }

    /// Notes that a viewer's connection is up.
    pub(super) fn connected(&mut self, session: u64) {
        if let Some(viewer) = self.watching.get_mut(&session) {
            viewer.progress = ConnectionProgress::Connected;
            self.new.insert(session);
        }
    }

    /// Notes that a viewer's first connectivity check has arrived.
    pub(super) fn checked(&mut self, session: u64) {
        if let Some(viewer) = self.watching.get_mut(&session) {
            viewer.progress = viewer.progress.max(ConnectionProgress::Checked);
        }
    }

    /// Has a viewer ask for this rendition, or for none; false if there is no such viewer.
    pub(super) fn request(&mut self, session: u64, requested: Option<String>) -> bool {
        let Some(viewer) = self.watching.get_mut(&session) else {
            return false;
        };
        viewer.visitor.requested = requested;
        self.new.insert(session);
        true
    }

    /// What a viewer gets; nothing before its answer.
    pub(super) fn subscriptions(&self, session: u64) -> &[Subscription] {
        let viewer = self.watching.get(&session);
        viewer.map_or(&[], |viewer| &viewer.subscriptions)
    }

    /// Forgets a viewer; false if there is no such viewer.
    pub(super) fn remove(&mut self, session: u64) -> bool {
        let waited = self.waiting.remove(&session).is_some();
        self.new.remove(&session);
        self.watching.remove(&session).is_some() || waited
    }

    /// The viewer that makes room when the broadcast is full: the oldest of those that have sent
    /// no check, otherwise the oldest of those that are not connected.
    pub(super) fn yielding(&self) -> Option<u64> {
        let watching = self
            .watching
            .iter()
            .filter(|(_, viewer)| !viewer.is_connected());
        let watching = watching.map(|(session, viewer)| (viewer.progress, *session));
        let waiting = self
            .waiting
            .keys()
            .map(|session| (ConnectionProgress::Answered, *session));
        let (_, session) = watching.chain(waiting).min()?;
        Some(session)
    }

    /// Whether a viewer has not been answered yet.
    pub(super) fn is_waiting(&self, session: u64) -> bool {
        self.waiting.contains_key(&session)
    }

    /// Removes and returns all viewers that watch.
    pub(super) fn take_watching(&mut self) -> Vec<u64> {
        self.new.clear();
        std::mem::take(&mut self.watching).into_keys().collect()
    }

    /// Removes and returns all viewers that wait.
    pub(super) fn take_waiting(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    /// Viewers that watch.
    pub(super) fn watchers(&self) -> usize {
        self.watching.len()
    }

    /// Viewers that watch or wait.
    pub(super) fn len(&self) -> usize {
        self.watching.len() + self.waiting.len()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The viewers of each rendition that has any.
    pub(super) fn viewers(&self) -> BTreeMap<RenditionId, usize> {
        let mut viewers = BTreeMap::new();
        for id in self.watching.values().flat_map(Watching::renditions) {
            *viewers.entry(id).or_default() += 1;
        }
        viewers
    }

    /// The renditions that have viewers whose connections are up.
    pub(super) fn watched(&self) -> BTreeSet<RenditionId> {
        self.watching
            .values()
            .filter(|viewer| viewer.is_connected())
            .flat_map(Watching::renditions)
            .collect()
    }

    /// The renditions that connected viewers watch, or request by name: these may get something else
    /// while a rendition has failed.
    pub(super) fn needed(&self, situation: &Situation) -> BTreeSet<RenditionId> {
        self.watching
            .values()
            .filter(|viewer| viewer.is_connected())
            .flat_map(|viewer| viewer.renditions().chain(viewer.requested(situation)))
            .collect()
    }

    /// The renditions that somebody watches, or has been promised.
    pub(super) fn promised(&self) -> BTreeSet<RenditionId> {
        self.watching
            .values()
            .flat_map(Watching::renditions)
            .collect()
    }

    /// Every connected viewer that should get something else now. While the situation stays the
    /// same, only new ones are considered.
    pub(super) fn steps(&mut self, situation: &Situation) -> Vec<ViewerStep> {
        let unchanged = self.settled.as_ref() == Some(situation);
        let mut steps = Vec::new();
        let connected = self
            .watching
            .iter()
            .filter(|(_, viewer)| viewer.is_connected());
        for (session, viewer) in connected.filter(|(id, _)| !unchanged || self.new.contains(id)) {
            for subscription in &viewer.subscriptions {
                let next = viewer.next(situation, subscription);
                if next != Next::Stay {
                    steps.push(ViewerStep {
                        session: *session,
                        kind: subscription.kind,
                        next,
                    });
                }
            }
        }
        if steps.iter().all(|step| step.next == Next::Full) {
            self.settled = Some(situation.clone());
            self.new.clear();
        } else if !unchanged {
            self.settled = None;
        }
        steps
    }

    /// A viewer's wants of one kind.
    pub(super) fn wants(&self, session: u64, kind: Kind) -> Option<Wants<'_>> {
        let viewer = self.watching.get(&session)?;
        let subscription = viewer.subscription(kind)?;
        Some(viewer.visitor.wants(kind, Some(subscription.codec)))
    }

    /// Notes what a viewer gets from now on. Returns its previous origin.
    pub(super) fn switched(
        &mut self,
        session: u64,
        kind: Kind,
        present: Present,
    ) -> Option<TrackOrigin> {
        let mut subscriptions = self.watching.get_mut(&session)?.subscriptions.iter_mut();
        let subscription = subscriptions.find(|subscription| subscription.kind == kind)?;
        Some(std::mem::replace(&mut subscription.present, present).origin)
    }

    /// The viewers that cannot continue with these tracks: they lack a track that they have asked
    /// for, or its codec. `situation` is the one in which the broadcast has these tracks.
    pub(super) fn incompatible(&self, tracks: &BroadcastTracks, situation: &Situation) -> Vec<u64> {
        let lacks = |viewer: &Watching, kind| match viewer.subscription(kind) {
            None => viewer.visitor.offer.choose(kind, &Codec::ALL).is_some(),
            Some(subscription) => {
                let wants = viewer.visitor.wants(kind, Some(subscription.codec));
                choice::ranked(situation, &wants).is_empty()
            }
        };
        let present = || KINDS.into_iter().filter(|kind| tracks.of(*kind).is_some());
        self.watching
            .iter()
            .filter(|(_, viewer)| present().any(|kind| lacks(viewer, kind)))
            .map(|(session, _)| *session)
            .collect()
    }
}
