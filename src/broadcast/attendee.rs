//! A session as the actor lists it.

use std::sync::Arc;

use super::{Session, figures::ReceivedTrack};

/// A session and what it receives.
pub(super) struct Attendee {
    pub(super) session: Arc<Session>,
    pub(super) tracks: Vec<ReceivedTrack>,
}
