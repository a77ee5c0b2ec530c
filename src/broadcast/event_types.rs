//! The events that a viewer's streams carry (WHEP events document).

/// Event streams that one session may have at the same time.
const SELECTIONS_MAX: usize = 8;

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The broadcast has become live.
    Active,
    /// It is no longer live.
    Inactive,
    /// The number of viewers has changed.
    ViewerCount,
    /// The available layers have changed.
    Layers,
    /// The server is about to stop.
    Reconnect,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Active,
        Self::Inactive,
        Self::ViewerCount,
        Self::Layers,
        Self::Reconnect,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::ViewerCount => "viewercount",
            Self::Layers => "layers",
            Self::Reconnect => "reconnect",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The event streams of one session.
#[derive(Debug, Default)]
pub(super) struct EventStreams {
    next: u64,
    known: Vec<(String, Vec<EventKind>)>,
}

impl EventStreams {
    pub(super) fn add(&mut self, kinds: Vec<EventKind>) -> Option<u64> {
        if self.known.len() == SELECTIONS_MAX {
            return None;
        }
        self.next += 1;
        self.known.push((self.next.to_string(), kinds));
        Some(self.next)
    }

    pub(super) fn find(&self, number: &str) -> Option<Vec<EventKind>> {
        self.known
            .iter()
            .find(|(known, _)| known == number)
            .map(|(_, kinds)| kinds.clone())
    }

    pub(super) fn forget(&mut self, number: &str) {
        self.known.retain(|(known, _)| known != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_bounded_and_forgotten() {
        let mut streams = EventStreams::default();
        let first = streams.add(vec![EventKind::Active]).unwrap().to_string();
        assert_eq!(streams.find(&first), Some(vec![EventKind::Active]));
        while streams.add(EventKind::ALL.to_vec()).is_some() {}
        streams.forget(&first);
        assert_eq!(streams.find(&first), None);
        assert!(streams.add(Vec::new()).is_some());
    }
}
