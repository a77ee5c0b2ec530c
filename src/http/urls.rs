//! URLs of sessions, as clients see them.

use ::http::header;

use super::{App, request::HttpRequest};
use crate::{broadcast::SessionId, peer::sdp::Role, plan::Name};

/// The first segment of a role's paths.
pub(super) fn prefix(role: Role) -> &'static str {
    match role {
        Role::Publisher => "whip",
        Role::Viewer => "whep",
    }
}

impl App {
    /// What comes before this server's paths in the URLs that a client sees. The operator's
    /// configuration overrides a proxy.
    fn base<'a>(&'a self, request: &'a HttpRequest) -> &'a str {
        match &self.options.public_url {
            Some(url) => url,
            None => &request.base,
        }
    }

    /// The same, complete as other sites need it, as far as this server knows.
    pub(super) fn site(&self, request: &HttpRequest) -> String {
        let base = self.base(request);
        if base.contains("://") {
            return base.to_owned();
        }
        let scheme = if self.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let host = request.header(&header::HOST).unwrap_or("localhost");
        format!("{scheme}://{host}{base}")
    }

    /// The endpoint at which a client may watch a broadcast again.
    pub(super) fn endpoint_url(&self, request: &HttpRequest, role: Role, name: &Name) -> String {
        let base = self.base(request);
        format!("{base}/{}/{name}", prefix(role))
    }

    /// The URL of a session, for the client of this request. Secret.
    pub(super) fn session_url(&self, request: &HttpRequest, role: Role, id: &SessionId) -> String {
        let base = self.base(request);
        format!("{base}/{}/s/{}", prefix(role), id.as_str())
    }
}
