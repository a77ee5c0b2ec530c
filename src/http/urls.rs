//! The paths of sessions.

use crate::{broadcast::SessionId, peer::sdp::Role};

/// The first segment of a role's paths.
pub(super) fn prefix(role: Role) -> &'static str {
    match role {
        Role::Publisher => "whip",
        Role::Viewer => "whep",
    }
}

/// The path of a session. Secret.
pub(super) fn session(role: Role, id: &SessionId) -> String {
    format!("/{}/s/{}", prefix(role), id.as_str())
}
