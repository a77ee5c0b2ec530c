//! Tokens in requests (RFC 6750): where they are, and the answer to requests without one.
//!
//! `access` decides what a token allows. What is open to anyone stays open whatever token is sent:
//! some clients send `Bearer undefined`.

use std::sync::Arc;

use headers::authorization::Basic;
use percent_encoding::percent_decode_str;

use super::{
    clients::ClientLimits,
    problem::Problem,
    request::{Door, HttpRequest},
};
use crate::{
    access::{Access, Holder, Right, Token},
    broadcast::Session,
    notices::Notices,
    peer::sdp::Role,
    plan::Name,
};

/// How requests are authenticated.
#[derive(Clone, Debug)]
pub struct Options {
    /// What tokens allow.
    pub access: Access,
    /// Whether `?token=` counts.
    pub query: bool,
    /// Whether the password of Basic authentication counts.
    pub basic: bool,
    /// Whether session URLs need a token as well.
    pub sessions: bool,
    /// The token that was made for the operator's own port.
    pub admin_token: Option<Token>,
    /// Wrong tokens per minute from one client.
    pub source_failures: usize,
}

/// Who is let in.
pub(super) struct Auth {
    options: Options,
    /// What tokens allow on the operator's own port.
    admin_access: Access,
    failures: ClientLimits,
    notices: Notices,
}

/// The broadcasts that a client may see.
pub(super) enum Visible {
    /// All.
    Everything,
    /// Those that anyone may watch, and those that the holder may watch or publish.
    Part(Access, Option<Holder>),
}

impl Visible {
    pub(super) fn shows(&self, name: &Name) -> bool {
        match self {
            Self::Everything => true,
            Self::Part(access, holder) => {
                let may = |holder: &Holder| {
                    holder.may(Role::Viewer, name) || holder.may(Role::Publisher, name)
                };
                access.is_open(Role::Viewer, name) || holder.as_ref().is_some_and(may)
            }
        }
    }
}

impl Auth {
    pub(super) fn new(options: Options) -> Self {
        let access = &options.access;
        let admin_token = options.admin_token.clone();
        Self {
            admin_access: admin_token.map_or_else(|| access.clone(), |token| access.with(token)),
            failures: ClientLimits::of_failures(options.source_failures),
            notices: Notices::of_requests(),
            options,
        }
    }

    /// Whether anything needs a token.
    pub(super) fn is_on(&self) -> bool {
        self.options.access.tokens() > 0
    }

    /// Whether some broadcasts can only be watched with a token.
    pub(super) fn is_on_for_viewers(&self) -> bool {
        !self.options.access.is_open_to_viewers()
    }

    /// Whether anyone may watch the broadcast of this name; without one, whether all.
    pub(super) fn is_public(&self, name: Option<&Name>) -> bool {
        let access = &self.options.access;
        let is_open = |name: &Name| access.is_open(Role::Viewer, name);
        access.is_open_to_viewers() || name.is_some_and(is_open)
    }

    /// Lets the operator through, or somebody who has this right.
    ///
    /// # Errors
    /// 401 without a known token, 403 with one that lacks the right.
    pub(super) fn permit_right(&self, request: &HttpRequest, right: Right) -> Result<(), Problem> {
        if request.door == Door::Socket {
            return Ok(());
        }
        let holder = self.holder(request)?.ok_or_else(Problem::token_missing)?;
        if holder.has(right) {
            tracing::debug!(client = %request.client, token = holder.name(), ?right, "let in");
            return Ok(());
        }
        let right = match right {
            Right::Metrics => "metrics",
            Right::Admin => "admin",
        };
        let detail = format!("this token does not have the right `{right}`");
        Err(Problem::token_insufficient(&detail))
    }

    /// Whether the request may see what is only for the operator. Not an attempt to get in: what
    /// is asked for is open anyway.
    pub(super) fn is_operator(&self, request: &HttpRequest) -> bool {
        let holder = || self.access(request).holder(&self.token(request)?);
        request.door == Door::Socket || holder().is_some_and(|holder| holder.has(Right::Admin))
    }

    /// Lets a session begin. Returns whose token lets it in, if it needs one.
    ///
    /// # Errors
    /// 401 without a known token, 403 with one for something else, 429 after too many wrong ones.
    pub(super) fn permit(
        &self,
        request: &HttpRequest,
        role: Role,
        name: &Name,
    ) -> Result<Option<Holder>, Problem> {
        if self.options.access.is_open(role, name) {
            return Ok(None);
        }
        let holder = self.holder(request)?.ok_or_else(Problem::token_missing)?;
        let done = match role {
            Role::Publisher => "publishing",
            Role::Viewer => "watching",
        };
        if holder.may(role, name) {
            Ok(Some(holder))
        } else {
            let detail = format!("this token is not for {done} `{name}`");
            Err(Problem::token_insufficient(&detail))
        }
    }

    /// What stands for the token of a request that has been let through, if it has a known one.
    pub(super) fn token_name(&self, request: &HttpRequest) -> Option<Arc<str>> {
        let holder = self.options.access.holder(&self.token(request)?)?;
        Some(holder.name().into())
    }

    /// Lets a request to a session through: its URL is secret, and proof enough unless configured
    /// otherwise. A token that is sent must still be right.
    pub(super) fn permit_session(
        &self,
        request: &HttpRequest,
        session: &Session,
    ) -> Result<(), Problem> {
        if !self.options.sessions && self.token(request).is_none() {
            return Ok(());
        }
        self.permit(request, session.role, &session.broadcast)
            .map(drop)
    }

    /// The broadcast that the token is for, if it is only for one.
    pub(super) fn name(&self, request: &HttpRequest, role: Role) -> Result<Name, Problem> {
        let holder = self.holder(request)?.ok_or_else(Problem::token_missing)?;
        if !holder.may_any(role) {
            return Err(Problem::token_insufficient(
                "this token does not allow this",
            ));
        }
        holder.only(role).ok_or_else(|| {
            let detail = "name the broadcast in the path or as ?broadcast=: this token allows \
                          several";
            Problem::bad_request(detail)
        })
    }

    /// The broadcasts that the client may see.
    pub(super) fn view(&self, request: &HttpRequest) -> Result<Visible, Problem> {
        let access = &self.options.access;
        if access.is_open_to_viewers() || request.door == Door::Socket {
            return Ok(Visible::Everything);
        }
        let holder = self.holder(request)?;
        if holder
            .as_ref()
            .is_some_and(|holder| holder.has(Right::Admin))
        {
            return Ok(Visible::Everything);
        }
        Ok(Visible::Part(access.clone(), holder))
    }

    /// Lets a client see one broadcast, whether or not it exists.
    pub(super) fn permit_view(&self, request: &HttpRequest, name: &Name) -> Result<(), Problem> {
        if self.options.access.is_open(Role::Viewer, name) {
            return Ok(());
        }
        match self.view(request)? {
            view if view.shows(name) => Ok(()),
            Visible::Part(_, Some(_)) => {
                let detail = format!("this token is not for `{name}`");
                Err(Problem::token_insufficient(&detail))
            }
            _ => Err(Problem::token_missing()),
        }
    }

    /// The holder of the request's token; `None` without one.
    fn holder(&self, request: &HttpRequest) -> Result<Option<Holder>, Problem> {
        let Some(token) = self.token(request) else {
            return Ok(None);
        };
        if let Some(holder) = self.access(request).holder(&token) {
            return Ok(Some(holder));
        }
        if let Some(left_out) = self.notices.line() {
            // Programs such as fail2ban read it: see docs/deployment.md.
            let (client, user_agent) = (request.client, request.user_agent());
            tracing::warn!(%client, user_agent, left_out, "unknown token");
        }
        // Never before: neighbours behind the same address hold right ones.
        if !self.failures.allow(request.client) {
            return Err(Problem::too_often(
                "too many wrong tokens came from this address",
            ));
        }
        let detail = "no such token; name the broadcast in the path or as ?broadcast=, not in the \
                      token";
        Err(Problem::token_wrong(detail))
    }

    /// What tokens allow at the port that the request came through.
    fn access(&self, request: &HttpRequest) -> &Access {
        match request.door {
            Door::Public => &self.options.access,
            Door::Admin | Door::Socket => &self.admin_access,
        }
    }

    /// The token, wherever it is.
    fn token(&self, request: &HttpRequest) -> Option<String> {
        let basic = || Some(request.credentials::<Basic>()?.password().to_owned());
        let query = || decoded(request.parameter("token")?);
        // The operator's port is on no proxy's way, and a graph is best seen in a browser.
        let in_query = self.options.query || request.door == Door::Admin;
        let token = request
            .bearer()
            .or_else(|| self.options.basic.then(basic)?)
            .or_else(|| in_query.then(query)?);
        token.filter(|token| !token.is_empty())
    }
}

/// A query value without percent encoding (RFC 3986 §2.1). A plus sign stays one: tokens have no
/// spaces.
fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        assert_eq!(decoded("a+b%2Bc%2f"), Some("a+b+c/".to_owned()));
        assert_eq!(decoded("%ff"), None);
    }
}
