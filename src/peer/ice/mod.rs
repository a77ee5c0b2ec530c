//! A session's ICE at the one UDP port, on either engine.
//!
//! - [`lite`]: what a lite agent decides, without IO.
//! - [`messages`]: STUN messages, written and authenticated.
//! - [`mod@credentials`]: the server's credentials, and its half of the transport.
//! - this file: the agent at the port: it answers checks, binds addresses, and sends.

mod credentials;
mod lite;
pub(crate) mod messages;

use std::time::{Duration, Instant};

use str0m::IceCreds;
use tracing::Span;

pub(crate) use self::credentials::{credentials, refused};
use self::{
    credentials::{NewCredentials, transport},
    lite::{CheckOutcome, Ice},
};
use super::{
    sdp,
    udp::{
        AddressPair, AddressRight, DatagramRoute, Port, RemoteEnd, Sent, UFRAG_CHARS,
        stun::Transaction,
    },
};
use crate::{awake, words::Listed};

/// Time between two bindings of the address that is sent to, while it gives signs of life.
const BIND_INTERVAL: Duration = Duration::from_secs(1);

/// A session that ends younger than this without a connection was abandoned rather than failed.
const FAILURE_AGE: Duration = Duration::from_secs(2);

/// Both sides' credentials.
pub(crate) struct Credentials {
    pub(crate) local: IceCreds,
    pub(crate) remote: IceCreds,
}

/// The outcome of a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StunOutcome {
    /// It is not authentic, or its address is one too many.
    Refused,
    /// An authentic check, and answered.
    Checked {
        /// The peer nominates the pair.
        nominates: bool,
    },
    /// The peer has proven that it receives at its source.
    Proven,
}

/// A session's lite agent. Dropping it gives up the session's addresses.
pub(crate) struct LiteAgent {
    ice: Ice,
    port: Port,
    route: DatagramRoute,
    ufrag: [u8; UFRAG_CHARS],
    /// The check of ours whose response the port expects.
    expected: Option<Transaction>,
    /// When the peer last gave a sign of life (RFC 7675), or sent media.
    heard: Instant,
    /// When the session last bound the address that it sends to.
    bound: Instant,
    begun: Instant,
    /// The span of its log lines: the one in which it was made.
    span: Span,
}

impl LiteAgent {
    /// From now on checks with the credentials in the returned transport are this session's.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn register(
        remote: IceCreds,
        port: &Port,
        route: DatagramRoute,
        now: Instant,
    ) -> Result<Self, sdp::Error> {
        let NewCredentials { ufrag, local } = credentials()?;
        port.register(ufrag, route.clone());
        Ok(Self {
            ice: Ice::new(Credentials { local, remote }, now),
            port: port.clone(),
            route,
            ufrag,
            expected: None,
            heard: now,
            bound: now,
            begun: now,
            span: Span::current(),
        })
    }

    /// Has the peer prove again and again that it receives (RFC 7675 §5.1): for those who are sent
    /// media.
    pub(crate) const fn require_consent(&mut self) {
        self.ice.require_consent();
    }

    /// Whether media may still be sent to where it goes.
    pub(crate) fn has_consent(&self, now: Instant) -> bool {
        self.ice.has_consent(now)
    }

    /// The server's half of the transport.
    pub(crate) fn transport(&self, fingerprint: Vec<u8>) -> sdp::Transport {
        transport(self.local(), fingerprint, &self.port)
    }

    /// The server's credentials.
    pub(crate) fn local(&self) -> IceCreds {
        self.ice.local().clone()
    }

    /// New credentials on both sides (RFC 9725 §4.3.3). Media continues over the old pair until the
    /// peer has nominated a new one (RFC 8445 §9).
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn restart(&mut self, remote: IceCreds, now: Instant) -> Result<(), sdp::Error> {
        let NewCredentials { ufrag, local } = credentials()?;
        self.port
            .forget_ufrag(std::mem::replace(&mut self.ufrag, ufrag));
        self.port.register(ufrag, self.route.clone());
        self.ice.restart(Credentials { local, remote }, now);
        self.expect_response();
        Ok(())
    }

    /// Takes a STUN message, and answers it if it is an authentic check.
    pub(crate) fn stun(
        &mut self,
        now: Instant,
        mut ends: AddressPair,
        message: &[u8],
    ) -> StunOutcome {
        let sender = ends.remote;
        let outcome = match self.ice.check(now, ends, message) {
            CheckOutcome::Authentic(answered) => {
                let reply = &answered.reply;
                self.port.send(&mut ends, reply, reply.len());
                self.release(answered.forgotten);
                self.bind(sender, now);
                if self.ice.path().is_some_and(|path| path.remote == sender) {
                    self.heard = now;
                }
                StunOutcome::Checked {
                    nominates: answered.nominates,
                }
            }
            CheckOutcome::Refused => {
                self.port.count_refused();
                return StunOutcome::Refused;
            }
            CheckOutcome::Forged => {
                let Some(proof) = self.ice.respond(now, ends, message) else {
                    return StunOutcome::Refused;
                };
                self.bind(proof.before, now);
                self.bind(sender, now);
                self.release(proof.forgotten);
                self.heard = now;
                StunOutcome::Proven
            }
        };
        self.send_check(now);
        outcome
    }

    fn release(&self, address: Option<RemoteEnd>) {
        if let Some(address) = address {
            self.port.release_address(address, self.route.session());
        }
    }

    /// Binds an address to the session.
    fn bind(&self, address: RemoteEnd, now: Instant) {
        let right = if self.ice.proven().is_some_and(|path| path.remote == address) {
            AddressRight::Proven
        } else {
            AddressRight::Checked
        };
        self.port.bind_address(address, &self.route, right, now);
    }

    /// Has the response to the present check of ours, and to no other, delivered to this session.
    fn expect_response(&mut self) {
        let expected = self.ice.expected();
        if expected == self.expected {
            return;
        }
        if let Some(transaction) = self.expected.take() {
            self.port.forget_response(transaction);
        }
        if let Some(transaction) = expected {
            self.port.expect_response(transaction, self.route.clone());
        }
        self.expected = expected;
    }

    /// Sends the check of ours that is due.
    pub(crate) fn send_check(&mut self, now: Instant) {
        self.ice.renew_consent(now);
        self.expect_response();
        if let Some((ends, request)) = self.ice.due(now) {
            self.port.send(ends, request, request.len());
        }
    }

    /// When a check of ours is due.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.ice.wake()
    }

    /// The DTLS handshake is done.
    pub(crate) fn handshake_done(&mut self, now: Instant) {
        self.ice.handshake_done(now);
        self.expect_response();
        if let Some(path) = self.ice.proven() {
            self.bind(path.remote, now);
        }
    }

    /// Sends datagrams of `segment` bytes each (the last may be shorter) where the session may send.
    /// False if it may not: the peer has nominated no address yet, or has proven nothing and got
    /// enough.
    pub(crate) fn send(&mut self, data: &[u8], segment: usize) -> bool {
        let Some(ends) = self.ice.destination(data.len()) else {
            return false;
        };
        self.port.send(ends, data, segment) == Sent::Taken
    }

    /// Where a session may send this many bytes, if anywhere, for one who sends them on its own; see
    /// [`LiteAgent::send`].
    pub(crate) fn destination(&mut self, bytes: usize) -> Option<AddressPair> {
        self.ice.destination(bytes).copied()
    }

    /// The machine has lost the local address of this destination.
    pub(crate) fn forget_local(&mut self, remote: RemoteEnd) {
        self.ice.forget_local(remote);
    }

    /// Notes authentic media, which is consent only from where the session's media goes (RFC 7675
    /// §5.1).
    pub(crate) fn hear(&mut self, now: Instant, from: Option<RemoteEnd>) {
        let Some(AddressPair { remote, .. }) = self.ice.proven() else {
            return;
        };
        if from != Some(remote) {
            return;
        }
        self.ice.hear(now, remote);
        if now.saturating_duration_since(self.bound) >= BIND_INTERVAL {
            self.bound = now;
            self.bind(remote, now);
        }
        self.heard = now;
    }

    /// Notes authentic media of a publisher: it counts wherever it comes from, because consent only
    /// matters to those who are sent media.
    pub(crate) const fn hear_from_anywhere(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When the peer last gave a sign of life.
    pub(crate) const fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether the peer has sent an authentic check.
    pub(crate) fn is_checked(&self) -> bool {
        !self.ice.known().is_empty()
    }

    /// Whether the peer has nominated an address.
    pub(crate) fn is_nominated(&self) -> bool {
        self.ice.path().is_some()
    }

    /// Where media goes: the pair that the peer nominated last, once the peer has proven that it
    /// receives there.
    pub(crate) fn proven(&self) -> Option<AddressPair> {
        self.ice.proven()
    }

    /// The same, to send to: a local address that the machine has lost is taken out.
    pub(crate) fn proven_mut(&mut self) -> Option<&mut AddressPair> {
        self.ice.proven_mut()
    }

    /// The addresses that have sent authentic checks.
    #[cfg(test)]
    pub(crate) fn known(&self) -> &[RemoteEnd] {
        self.ice.known()
    }
}

impl LiteAgent {
    /// Logs how far a connection got that never came up.
    fn explain_failure(&self) {
        let (stage, problem) = match (self.ice.known(), self.ice.path()) {
            ([], _) => (
                "unreached",
                "the client has reached none of the advertised addresses",
            ),
            (_, None) => (
                "unnominated",
                "the client has nominated none of the paths that it tried",
            ),
            (_, Some(_)) => (
                "silent",
                "the client does not answer at the address it has nominated",
            ),
        };
        let reached_from: Vec<_> = self.ice.known().iter().map(|end| end.address).collect();
        tracing::info!(
            parent: &self.span,
            advertised = %Listed(&self.port.candidates()),
            advertised_tcp = %Listed(&self.port.tcp_candidates()),
            reached_from = %Listed(&reached_from),
            chosen = self.ice.path().map(|path| path.remote.address.to_string()),
            stage,
            problem,
            "never connected"
        );
    }
}

impl Drop for LiteAgent {
    fn drop(&mut self) {
        if self.ice.proven().is_none() && awake::since(self.begun) >= FAILURE_AGE {
            self.explain_failure();
        }
        self.port.forget_ufrag(self.ufrag);
        if let Some(transaction) = self.expected {
            self.port.forget_response(transaction);
        }
        for address in self.ice.known() {
            self.port.release_address(*address, self.route.session());
        }
    }
}
