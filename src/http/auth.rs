//! Tokens in requests (RFC 6750): where they are, and the answer to requests without one.
//!
//! `access` decides what a token allows. What is open to anyone stays open whatever token is sent:
//! some clients send `Bearer undefined`. Only what is asked for and not open makes a wrong token an
//! attempt.

use std::sync::Arc;

use headers::authorization::Basic;
use percent_encoding::percent_decode_str;

use super::{
    clients::ClientLimits,
    problem::Problem,
    request::{Door, HttpRequest},
};
use crate::{
    access::{Access, Decision, Facts, Holder, Presented, Right, Rule, TokenFact, decide},
    broadcast::Session,
    notices::Notices,
    peer::sdp::Role,
    plan::Name,
};

/// How requests are authenticated.
#[derive(Clone, Debug)]
pub struct Options {
    /// What tokens and networks allow.
    pub access: Access,
    /// Whether `?token=` counts.
    pub query: bool,
    /// Whether the password of Basic authentication counts.
    pub basic: bool,
    /// Whether session URLs need a token as well.
    pub sessions: bool,
    /// The token that was made for the operator's own port.
    pub admin_rule: Option<Rule>,
    /// Wrong tokens per minute from one client.
    pub source_failures: usize,
}

/// Who is let in.
pub(super) struct Auth {
    options: Options,
    /// What holds on the operator's own port.
    admin_access: Access,
    failures: ClientLimits,
    notices: Notices,
}

/// What a request asks for.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// A session.
    Session(Role, &'a Name),
    /// To see a broadcast: for those who may watch or publish it.
    View(&'a Name),
    /// What is not about one broadcast.
    Right(Right),
}

impl Asked<'_> {
    fn is_open(self, access: &Access) -> bool {
        match self {
            Self::Session(role, name) => access.is_open(role, name),
            Self::View(name) => access.is_open(Role::Viewer, name),
            Self::Right(_) => false,
        }
    }

    fn is_granted_to(self, holder: &Holder) -> bool {
        match self {
            Self::Session(role, name) => holder.may(role, name),
            Self::View(name) => {
                holder.may(Role::Viewer, name)
                    || holder.may(Role::Publisher, name)
                    || holder.has(Right::Admin)
            }
            Self::Right(right) => holder.has(right),
        }
    }

    /// What to say to a token that is for something else.
    fn detail(self) -> String {
        match self {
            Self::Session(Role::Publisher, name) => {
                format!("this token is not for publishing `{name}` from here")
            }
            Self::Session(Role::Viewer, name) => {
                format!("this token is not for watching `{name}` from here")
            }
            Self::View(name) => format!("this token is not for `{name}`"),
            Self::Right(right) => {
                let right = match right {
                    Right::Metrics => "metrics",
                    Right::Admin => "admin",
                };
                format!("this token does not have the right `{right}`")
            }
        }
    }
}

/// The broadcasts that a client may see.
pub(super) enum Visible {
    /// All.
    Everything,
    /// Those that anyone may watch, and those that one of the holders may watch or publish.
    Part(Access, Vec<Holder>),
}

impl Visible {
    pub(super) fn shows(&self, name: &Name) -> bool {
        match self {
            Self::Everything => true,
            Self::Part(access, holders) => {
                let asked = Asked::View(name);
                let mut holders = holders.iter();
                asked.is_open(access) || holders.any(|holder| asked.is_granted_to(holder))
            }
        }
    }
}

impl Auth {
    pub(super) fn new(options: Options) -> Self {
        let access = &options.access;
        let admin_rule = options.admin_rule.clone();
        Self {
            admin_access: admin_rule.map_or_else(|| access.clone(), |rule| access.with(rule)),
            failures: ClientLimits::of_failures(options.source_failures),
            notices: Notices::of_requests(),
            options,
        }
    }

    /// Whether publishing, or watching some broadcasts, takes a token.
    pub(super) fn closes(&self, role: Role) -> bool {
        match role {
            Role::Publisher => self.options.access.closes(role),
            Role::Viewer => !self.options.access.is_open_to_viewers(),
        }
    }

    /// Whether anyone may watch the broadcast of this name; without one, whether all.
    pub(super) fn is_public(&self, name: Option<&Name>) -> bool {
        let access = &self.options.access;
        let is_open = |name: &Name| access.is_open(Role::Viewer, name);
        access.is_open_to_viewers() || name.is_some_and(is_open)
    }

    /// Finds out who sends a request. Whether that is enough is decided when something is asked for.
    pub(super) fn identify(&self, request: &mut HttpRequest) {
        let Some(token) = self.token(request) else {
            return;
        };
        request.presented = self.access(request).identify(&token, request.client.ip());
    }

    /// Lets the operator through, or somebody who has this right.
    ///
    /// # Errors
    /// 401 without a known token, 403 with one that lacks the right.
    pub(super) fn permit_right(&self, request: &HttpRequest, right: Right) -> Result<(), Problem> {
        if request.door == Door::Socket {
            return Ok(());
        }
        let holder = self.judge(request, Asked::Right(right))?;
        let token = holder.as_ref().map(Holder::name);
        tracing::debug!(client = %request.client, token, ?right, "let in");
        Ok(())
    }

    /// Whether the request may see what is only for the operator. Not an attempt to get in: what
    /// is asked for is open anyway.
    pub(super) fn is_operator(&self, request: &HttpRequest) -> bool {
        request.door == Door::Socket
            || self
                .holders(request)
                .iter()
                .any(|holder| holder.has(Right::Admin))
    }

    /// Lets a session begin. Returns who it is for, unless anyone may.
    ///
    /// # Errors
    /// 401 without a known token, 403 with one for something else, 429 after too many wrong ones.
    pub(super) fn permit(
        &self,
        request: &HttpRequest,
        role: Role,
        name: &Name,
    ) -> Result<Option<Holder>, Problem> {
        self.judge(request, Asked::Session(role, name))
    }

    /// What stands for the token of a request that has been let through, if it has a known one.
    pub(super) fn token_name(request: &HttpRequest) -> Option<Arc<str>> {
        match &request.presented {
            Presented::Known(holder) => Some(holder.name().into()),
            Presented::Nothing | Presented::Unknown => None,
        }
    }

    /// Lets a request to a session through: its URL is secret, and proof enough unless configured
    /// otherwise. A token that is sent must still be right.
    pub(super) fn permit_session(
        &self,
        request: &HttpRequest,
        session: &Session,
    ) -> Result<(), Problem> {
        let is_bare = matches!(request.presented, Presented::Nothing);
        if !self.options.sessions && is_bare {
            return Ok(());
        }
        self.permit(request, session.role, &session.broadcast)
            .map(drop)
    }

    /// The broadcast that the token is for, if it is only for one.
    pub(super) fn name(&self, request: &HttpRequest, role: Role) -> Result<Name, Problem> {
        let holder = match &request.presented {
            Presented::Known(holder) => holder,
            Presented::Nothing => return Err(Problem::token_missing()),
            Presented::Unknown => return Err(self.unknown(request)),
        };
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
    ///
    /// # Errors
    /// 401 with a wrong token: a list without what it should show would mislead.
    pub(super) fn view(&self, request: &HttpRequest) -> Result<Visible, Problem> {
        let access = &self.options.access;
        if access.is_open_to_viewers() || self.is_operator(request) {
            return Ok(Visible::Everything);
        }
        if matches!(request.presented, Presented::Unknown) {
            return Err(self.unknown(request));
        }
        Ok(Visible::Part(access.clone(), self.holders(request)))
    }

    /// Lets a client see one broadcast, whether or not it exists.
    ///
    /// # Errors
    /// Like [`Auth::permit`].
    pub(super) fn permit_view(&self, request: &HttpRequest, name: &Name) -> Result<(), Problem> {
        if request.door == Door::Socket {
            return Ok(());
        }
        self.judge(request, Asked::View(name)).map(drop)
    }

    /// Everything that is known about who sent a request.
    fn holders(&self, request: &HttpRequest) -> Vec<Holder> {
        let token = match &request.presented {
            Presented::Known(holder) => Some(holder.clone()),
            Presented::Nothing | Presented::Unknown => None,
        };
        let network = self.access(request).network(request.client.ip());
        token.into_iter().chain(network).collect()
    }

    /// Who may have what is asked for; `None` if anyone may.
    fn judge(&self, request: &HttpRequest, asked: Asked<'_>) -> Result<Option<Holder>, Problem> {
        let access = self.access(request);
        let network = access.network(request.client.ip());
        let token = match &request.presented {
            Presented::Nothing => TokenFact::Missing,
            Presented::Unknown => TokenFact::Unknown,
            Presented::Known(holder) if asked.is_granted_to(holder) => TokenFact::Granting,
            Presented::Known(_) => TokenFact::Insufficient,
        };
        let is_granted = |holder: &Holder| asked.is_granted_to(holder);
        let decision = decide(Facts {
            open: asked.is_open(access),
            token,
            network: network.as_ref().is_some_and(is_granted),
        });
        match (decision, &request.presented) {
            (Decision::Open, _) => Ok(None),
            (Decision::ByToken, Presented::Known(holder)) => Ok(Some(holder.clone())),
            (Decision::ByNetwork, _) => Ok(network),
            (Decision::Insufficient, _) => Err(Problem::token_insufficient(&asked.detail())),
            (Decision::Unknown, _) => Err(self.unknown(request)),
            (Decision::Missing | Decision::ByToken, _) => Err(Problem::token_missing()),
        }
    }

    /// Counts a wrong token.
    fn unknown(&self, request: &HttpRequest) -> Problem {
        if let Some(left_out) = self.notices.line() {
            // Programs such as fail2ban read it: see docs/deployment.md.
            let (client, user_agent) = (request.client, request.user_agent());
            tracing::warn!(%client, user_agent, left_out, "unknown token");
        }
        // Never before: neighbours behind the same address hold right ones.
        if !self.failures.allow(request.client) {
            return Problem::too_often("too many wrong tokens came from this address");
        }
        let detail = "no such token; name the broadcast in the path or as ?broadcast=, not in the \
                      token";
        Problem::token_wrong(detail)
    }

    /// What holds at the port that the request came through.
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
