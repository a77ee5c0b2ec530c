//! What a broadcast tells the operator.

use super::{
    Broadcasts,
    status::{State, Status},
};
use crate::events::{EventBus, Happening};

impl Broadcasts {
    /// What happens to broadcasts, and whatever else the operator follows.
    pub fn events(&self) -> &EventBus {
        &self.shared.events
    }
}

/// What has happened between two statuses of a broadcast.
pub(super) fn between(old: &Status, new: &Status) -> Vec<Happening> {
    let broadcast = || new.name.clone();
    let mut happened = Vec::new();
    if kept(old.state) != kept(new.state) {
        let broadcast = broadcast();
        happened.push(match kept(new.state) {
            State::Live => Happening::Live { broadcast },
            State::Stale => Happening::Stale { broadcast },
            State::Waiting | State::Slate => Happening::Waiting { broadcast },
        });
    }
    for made in &new.renditions {
        let Some(reason) = &made.automatic else {
            continue;
        };
        let is_known = old.renditions.iter().any(|known| {
            known.automatic.is_some() && known.name == made.name && known.kind == made.kind
        });
        if !is_known {
            happened.push(Happening::TranscodeInserted {
                broadcast: broadcast(),
                rendition: made.name.clone(),
                kind: made.kind,
                reason: reason.clone(),
            });
        }
    }
    if let (None, Some(limit)) = (old.transcodes_full, new.transcodes_full) {
        happened.push(Happening::LimitHit {
            limit,
            broadcast: Some(broadcast()),
            detail: None,
        });
    }
    happened
}

/// Viewers who see the slate wait.
fn kept(state: State) -> State {
    match state {
        State::Slate => State::Waiting,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broadcast::{
            health::Health,
            status::{RenditionStatus, SourceKind},
        },
        media::Kind,
        plan::{About, Name},
    };

    fn status(state: State) -> Status {
        Status {
            name: Name::new("demo").unwrap(),
            about: About::default(),
            state,
            viewers: 0,
            started: None,
            source: SourceKind::Whip,
            tracks: Vec::new(),
            outputs: Vec::new(),
            renditions: Vec::new(),
            transcodes_full: None,
            on_demand: false,
            chat: false,
            connected: true,
        }
    }

    fn names(old: &Status, new: &Status) -> Vec<&'static str> {
        between(old, new).iter().map(Happening::name).collect()
    }

    #[test]
    fn states_are_told_when_they_change() {
        let of = status;
        for (old, new, told) in [
            (State::Waiting, State::Live, &["broadcast.live"][..]),
            (State::Live, State::Stale, &["broadcast.stale"]),
            (State::Stale, State::Live, &["broadcast.live"]),
            (State::Live, State::Slate, &["broadcast.waiting"]),
            (State::Slate, State::Waiting, &[]),
            (State::Live, State::Live, &[]),
        ] {
            assert_eq!(names(&of(old), &of(new)), told, "{old:?} {new:?}");
        }
    }

    #[test]
    fn transcodes_are_told_when_they_begin() {
        let old = status(State::Live);
        let mut new = status(State::Live);
        let rendition = |automatic: Option<&str>| RenditionStatus {
            name: "h264".to_owned(),
            kind: Kind::Video,
            codec: None,
            pipeline: "h264".to_owned(),
            viewers: 0,
            automatic: automatic.map(str::to_owned),
            misfit: None,
            health: Health::default(),
        };
        new.renditions = vec![rendition(None)];
        assert!(names(&old, &new).is_empty(), "configured");
        new.renditions = vec![rendition(Some("a reason"))];
        assert_eq!(names(&old, &new), ["transcode.inserted"]);
        assert!(names(&new, &new.clone()).is_empty());
    }

    #[test]
    fn a_limit_is_reported_when_it_is_reached() {
        let old = status(State::Live);
        let mut new = status(State::Live);
        new.transcodes_full = Some("limits.transcodes");
        assert_eq!(names(&old, &new), ["limit.hit"]);
        assert!(names(&new, &new.clone()).is_empty());
    }
}
