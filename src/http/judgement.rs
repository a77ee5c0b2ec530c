//! Whether somebody may do what a request asks for, and until when.

use std::{
    net::IpAddr,
    time::{Instant, SystemTime},
};

use zeroize::Zeroizing;

use super::request::{Door, HttpRequest};
use crate::{
    access::{
        Access, AccessDecision, CallbackError, Facts, Holder, Presented, Question, Right, Rule,
        TokenFact, decide,
    },
    client::ClientAddress,
    peer::sdp::Role,
    plan::Name,
};

/// How requests are authenticated.
#[derive(Clone, Debug)]
pub struct AuthOptions {
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

/// The subject of a request.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// A session.
    Session(Role, &'a Name),
    /// To see a broadcast: for those who may watch or publish it.
    View(&'a Name),
    /// A right that does not concern a single broadcast.
    Right(Right),
}

impl Asked<'_> {
    pub(super) fn is_open(self, access: &Access) -> bool {
        match self {
            Self::Session(role, name) => access.is_open(role, name),
            Self::View(name) => access.is_open(Role::Viewer, name),
            Self::Right(_) => false,
        }
    }

    pub(super) fn is_granted_to(self, holder: &Holder) -> bool {
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

    /// The broadcast, if it is about one.
    fn name(&self) -> Option<&Name> {
        match self {
            Self::Session(_, name) | Self::View(name) => Some(name),
            Self::Right(_) => None,
        }
    }

    fn role(self) -> Role {
        match self {
            Self::Session(role, _) => role,
            Self::View(_) | Self::Right(_) => Role::Viewer,
        }
    }

    /// The refusal of a token that is for something else.
    pub(super) fn detail(self) -> String {
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

/// The sender of a request. It outlives the request for as long as its session runs.
#[derive(Clone)]
pub(super) struct RequestSender {
    door: Door,
    client: ClientAddress,
    /// The address that networks' rights are for, if it is known.
    known_ip: Option<IpAddr>,
    user_agent: String,
    pub(super) token: Option<Zeroizing<String>>,
    presented: Presented,
    /// Whether it has a session that runs.
    runs: bool,
}

impl RequestSender {
    pub(super) fn of(request: &HttpRequest) -> Self {
        Self {
            door: request.door,
            client: request.client,
            known_ip: request.known_ip(),
            user_agent: request.user_agent(),
            token: request.token.clone(),
            presented: request.presented.clone(),
            runs: false,
        }
    }

    pub(super) fn presented(&self) -> &Presented {
        &self.presented
    }
}

impl RequestSender {
    fn question<'a>(&'a self, asked: Asked<'_>, broadcast: &'a Name) -> Question<'a> {
        Question {
            role: asked.role(),
            broadcast,
            token: self.token.as_ref().map(|token| token.as_str()),
            client: self.client.ip(),
            user_agent: &self.user_agent,
            runs: self.runs,
        }
    }
}

/// Until when something is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// As long as the policy stays.
    Changed,
    /// The token expires.
    Expiry(SystemTime),
    /// Then the callback is asked again.
    AskedAgain(Instant),
}

/// A client that is let in.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    /// The broadcast: the requested one, unless a callback names another.
    pub(super) broadcast: Option<Name>,
    /// Identifies the token in the log, if one was needed.
    pub(super) token: Option<String>,
    /// The most that a publisher may send, in bit/s.
    pub(super) bitrate: Option<u64>,
    pub(super) until: Until,
}

impl Admitted {
    /// Whether it is about this broadcast, which was requested.
    pub(super) fn is_for(&self, name: &Name) -> bool {
        self.broadcast.as_ref().is_none_or(|other| other == name)
    }

    fn anyone() -> Self {
        Self {
            broadcast: None,
            token: None,
            bitrate: None,
            until: Until::Changed,
        }
    }

    fn holder(holder: &Holder) -> Self {
        Self {
            broadcast: None,
            token: Some(holder.name().to_owned()),
            bitrate: holder.bitrate(),
            until: holder.expires().map_or(Until::Changed, Until::Expiry),
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug)]
pub(super) enum AccessRefusal {
    /// It takes a token.
    Missing,
    /// No such token, and perhaps what is wrong with it.
    Unknown(Option<String>),
    /// The token has expired.
    Expired,
    /// The token is for something else.
    Insufficient(String),
    /// The callback says no, or nothing.
    Callback(CallbackError),
}

/// The options, and what follows from them for each port.
pub(super) struct Policy {
    pub(super) options: AuthOptions,
    /// The policy of the operator's own port.
    admin_access: Access,
}

impl Policy {
    pub(super) fn new(options: AuthOptions) -> Self {
        let access = &options.access;
        let admin_rule = options.admin_rule.clone();
        Self {
            admin_access: admin_rule.map_or_else(|| access.clone(), |rule| access.with(rule)),
            options,
        }
    }

    /// The policy of the port that a request came through.
    pub(super) fn access(&self, door: Door) -> &Access {
        match door {
            Door::Public => &self.options.access,
            Door::Admin | Door::Socket => &self.admin_access,
        }
    }

    /// Everything that is known about a sender.
    pub(super) fn holders(&self, sender: &RequestSender) -> Vec<Holder> {
        let token = match &sender.presented {
            Presented::Known(holder) => Some(holder.clone()),
            Presented::Nothing | Presented::Unknown(_) | Presented::Expired => None,
        };
        token
            .into_iter()
            .chain(self.access(sender.door).network(sender.known_ip))
            .collect()
    }

    /// The holder of this right.
    ///
    /// # Errors
    /// Why the sender has not.
    pub(super) fn judge_right(
        &self,
        sender: &RequestSender,
        right: Right,
    ) -> Result<Holder, AccessRefusal> {
        let asked = Asked::Right(right);
        let mut holders = self.holders(sender).into_iter();
        match self.decide(sender, asked) {
            AccessDecision::ByToken | AccessDecision::ByNetwork => holders
                .find(|holder| holder.has(right))
                .ok_or(AccessRefusal::Missing),
            decision => Err(refusal(decision, sender, asked)),
        }
    }

    /// Whether the sender may have what it requests. Waits for the callback if it decides.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn judge(
        &self,
        sender: &RequestSender,
        asked: Asked<'_>,
    ) -> Result<Admitted, AccessRefusal> {
        match self.decide(sender, asked) {
            AccessDecision::Open => Ok(Admitted::anyone()),
            AccessDecision::ByToken | AccessDecision::ByNetwork => {
                let holders = self.holders(sender);
                let mut holders = holders.iter();
                let holder = holders.find(|holder| asked.is_granted_to(holder));
                Ok(holder.map_or_else(Admitted::anyone, Admitted::holder))
            }
            AccessDecision::AskCallback => self.ask(sender, asked).await,
            decision => Err(refusal(decision, sender, asked)),
        }
    }

    /// The same for a session that runs. `None`: the callback's answer is still good.
    pub(super) async fn judge_again(
        &self,
        sender: &mut RequestSender,
        asked: Asked<'_>,
        is_due: bool,
    ) -> Result<Option<Admitted>, AccessRefusal> {
        sender.runs = true;
        self.identify_again(sender).await;
        let is_asked = self.decide(sender, asked) == AccessDecision::AskCallback;
        if is_asked && !is_due {
            return Ok(None);
        }
        self.judge(sender, asked).await.map(Some)
    }

    /// Identifies the sender again.
    pub(super) async fn identify_again(&self, sender: &mut RequestSender) {
        if let Some(token) = &sender.token {
            sender.presented = self
                .access(sender.door)
                .identify(token, sender.known_ip)
                .await;
        }
    }

    fn decide(&self, sender: &RequestSender, asked: Asked<'_>) -> AccessDecision {
        let access = self.access(sender.door);
        let network = access.network(sender.known_ip);
        let is_granted = |holder: &Holder| asked.is_granted_to(holder);
        decide(Facts {
            open: asked.is_open(access),
            token: match &sender.presented {
                Presented::Nothing => TokenFact::Missing,
                Presented::Unknown(_) => TokenFact::Unknown,
                Presented::Expired => TokenFact::Expired,
                Presented::Known(holder) if asked.is_granted_to(holder) => TokenFact::Granting,
                Presented::Known(_) => TokenFact::Insufficient,
            },
            network: network.as_ref().is_some_and(is_granted),
            callback: access.callback().is_some() && asked.name().is_some(),
        })
    }

    /// Whether the callback has to be sent a question before this can be judged.
    pub(super) fn sends_question(&self, sender: &RequestSender, asked: Asked<'_>) -> bool {
        let callback = self.access(sender.door).callback();
        let (Some(callback), Some(broadcast)) = (callback, asked.name()) else {
            return false;
        };
        self.decide(sender, asked) == AccessDecision::AskCallback
            && !callback.has_answer(&sender.question(asked, broadcast))
    }

    async fn ask(
        &self,
        sender: &RequestSender,
        asked: Asked<'_>,
    ) -> Result<Admitted, AccessRefusal> {
        let callback = self.access(sender.door).callback();
        let (Some(callback), Some(broadcast)) = (callback, asked.name()) else {
            return Err(AccessRefusal::Missing);
        };
        let permit = callback
            .ask(&sender.question(asked, broadcast))
            .await
            .map_err(AccessRefusal::Callback)?;
        Ok(Admitted {
            broadcast: Some(permit.broadcast),
            token: permit.user,
            bitrate: permit.bitrate,
            until: Until::AskedAgain(permit.until),
        })
    }
}

/// The refusal that a decision stands for.
fn refusal(decision: AccessDecision, sender: &RequestSender, asked: Asked<'_>) -> AccessRefusal {
    match (decision, &sender.presented) {
        (AccessDecision::Insufficient, _) => AccessRefusal::Insufficient(asked.detail()),
        (AccessDecision::Expired, _) => AccessRefusal::Expired,
        (AccessDecision::Unknown, Presented::Unknown(reason)) => {
            AccessRefusal::Unknown(reason.clone())
        }
        _ => AccessRefusal::Missing,
    }
}
