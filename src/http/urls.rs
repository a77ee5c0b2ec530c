//! URLs of sessions, as clients see them.

use super::App;
use crate::{broadcast::SessionId, peer::sdp::Role};

/// The first segment of a role's paths.
pub(super) fn prefix(role: Role) -> &'static str {
    match role {
        Role::Publisher => "whip",
        Role::Viewer => "whep",
    }
}

impl App {
    /// What comes before this server's paths in the URLs that clients see: scheme, authority and
    /// the path below which a proxy has put it; each of them may be missing.
    fn base(&self) -> &str {
        self.options.public_url.as_deref().unwrap_or_default()
    }

    /// The URL of a session. Secret.
    pub(super) fn session_url(&self, role: Role, id: &SessionId) -> String {
        format!("{}/{}/s/{}", self.base(), prefix(role), id.as_str())
    }
}
