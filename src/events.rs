//! What has happened, for the operator: webhooks and event streams follow it. Reporting an event
//! never waits, and only the newest events are remembered.

mod filter;
mod happening;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::sync::broadcast;

pub use self::{filter::EventFilter, happening::Happening};

/// Events that are remembered for followers that reconnect.
const RECENT_MAX: usize = 1000;
/// Events that may wait for one follower; one that is slower loses the oldest.
const WAITING_MAX: usize = 1024;

/// Something that has happened.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ServerEvent {
    /// Unique, also after a restart of the server. A webhook that is sent again has the same.
    pub id: String,
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// Takes events, and hands them to the followers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventBus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Begins every id: different in each run of the server.
    run: String,
    sender: broadcast::Sender<Arc<ServerEvent>>,
    // Held for a few moves only, never across an await.
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Events so far.
    number: u64,
    events: VecDeque<Arc<ServerEvent>>,
}

/// The events of one follower.
pub struct Following {
    /// Those that it has missed since the one that it knows.
    pub missed: Vec<Arc<ServerEvent>>,
    /// Those from now on.
    pub receiver: broadcast::Receiver<Arc<ServerEvent>>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl EventBus {
    fn new(begun: SystemTime) -> Self {
        let begun = begun.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(Shared {
            run: format!("{:x}", begun.as_millis()),
            sender: broadcast::Sender::new(WAITING_MAX),
            recent: Mutex::default(),
        }))
    }

    /// Reports an event. Never waits.
    pub fn tell(&self, what: Happening) {
        self.tell_at(what, SystemTime::now());
    }

    fn tell_at(&self, what: Happening, now: SystemTime) {
        let mut recent = self.recent();
        recent.number += 1;
        let event = Arc::new(ServerEvent {
            id: format!("{}-{}", self.0.run, recent.number),
            time: DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Millis, true),
            what,
        });
        if recent.events.len() >= RECENT_MAX {
            recent.events.pop_front();
        }
        recent.events.push_back(Arc::clone(&event));
        // Under the lock, so that everybody gets them in order. Err: nobody follows.
        let _ = self.0.sender.send(event);
    }

    /// Follows the events: those after the one that the follower knows, as far as they are
    /// remembered, and all new ones. Without one, or with one that is forgotten, only new ones.
    pub fn follow(&self, known: Option<&str>) -> Following {
        let recent = self.recent();
        let position = known.and_then(|known| {
            let mut events = recent.events.iter();
            events.position(|event| event.id == known)
        });
        let missed = match position {
            Some(position) => recent.events.iter().skip(position + 1).cloned().collect(),
            None => Vec::new(),
        };
        Following {
            missed,
            receiver: self.0.sender.subscribe(),
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Name;

    fn live(name: &str) -> Happening {
        Happening::Live {
            broadcast: Name::new(name).unwrap(),
        }
    }

    fn names(events: &[Arc<ServerEvent>]) -> Vec<String> {
        let name = |event: &Arc<ServerEvent>| {
            let event = serde_json::to_value(&**event).unwrap();
            event.get("broadcast").unwrap().as_str().unwrap().to_owned()
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn events_have_ids_times_and_names() {
        let bus = EventBus::new(UNIX_EPOCH);
        let mut follower = bus.follow(None);
        let what = Happening::ViewerLeft {
            broadcast: Name::new("a").unwrap(),
            session: 7,
            reason: "deleted",
        };
        bus.tell_at(what, UNIX_EPOCH);
        let event = follower.receiver.try_recv().unwrap();
        assert_eq!(
            serde_json::to_string(&*event).unwrap(),
            r#"{"id":"0-1","time":"1970-01-01T00:00:00.000Z","event":"viewer.left","broadcast":"a","session":7,"reason":"deleted"}"#
        );
        assert_eq!(event.what.name(), "viewer.left");
    }

    #[test]
    fn a_follower_that_comes_back_gets_what_it_missed() {
        let bus = EventBus::new(UNIX_EPOCH);
        for name in ["a", "b", "c"] {
            bus.tell(live(name));
        }
        assert_eq!(names(&bus.follow(Some("0-1")).missed), ["b", "c"]);
        assert!(bus.follow(None).missed.is_empty());
        assert!(bus.follow(Some("1-1")).missed.is_empty(), "another run");
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let bus = EventBus::new(UNIX_EPOCH);
        for number in 0..=RECENT_MAX {
            bus.tell(live(&format!("a{number}")));
        }
        assert_eq!(bus.recent().events.len(), RECENT_MAX);
        assert!(bus.follow(Some("0-1")).missed.is_empty(), "forgotten");
        assert_eq!(bus.follow(Some("0-2")).missed.len(), RECENT_MAX - 1);
    }
}
