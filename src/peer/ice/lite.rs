//! ICE as a lite agent does it (RFC 8445 §2.5), and where a session may send.
//!
//! str0m's agent remembers every address forever and believes a nominated one at once. This one
//! answers the checks itself, remembers a few addresses, and sends media only to one that has
//! proven that it receives (RFC 8445 §19.5.1), and proves it again and again: it checks the peer,
//! too, as a full agent does (RFC 7675 §5.1). A lite agent need not; but whoever has left an
//! address can still send checks in its name. Pure: no socket, no clock.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use str0m::{IceCreds, ice::StunMessage};

use super::{
    Credentials,
    messages::{PRIORITY, hmac, new_transaction, written},
};
use crate::{
    media::TokenBucket,
    peer::udp::{
        AddressPair, RemoteEnd,
        stun::{self, Transaction},
    },
};

/// Addresses that a session remembers; the one that was heard least recently makes room.
const ADDRESSES_MAX: usize = 16;
/// New addresses that it may bring at once.
const ADDRESSES_AT_ONCE: f64 = 16.0;
/// New addresses that a session may bring each second in the long run: NAT rebinding and mobility
/// need a handful in an hour.
const ADDRESSES_PER_SECOND: f64 = 0.1;
/// Bytes that may go to addresses that have proven nothing, in a session's life: a DTLS handshake,
/// repeated.
const UNPROVEN_BYTES_MAX: usize = 8 << 10;
/// How long to wait for the response to a check of ours, the first time; it doubles.
const RESPONSE_WAIT: Duration = Duration::from_millis(250);
/// After this long without a sign of life on the path, a check from another address is taken for a
/// move: not every client nominates again when its NAT gives it another port.
const PATH_SILENCE: Duration = Duration::from_secs(5);
/// How often a check of ours is sent.
const CHECKS_MAX: u32 = 5;
/// How often to check the consent of a peer that is sent media, in milliseconds: a random time, so
/// that not all are checked at once (RFC 7675 §5.1).
const CONSENT_INTERVAL: std::ops::RangeInclusive<u32> = 4000..=6000;
/// How long an answer is good for (RFC 7675 §5.1).
const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A session's side of ICE.
pub(super) struct Ice {
    credentials: Credentials,
    /// Addresses that have sent an authentic check, the one heard last at the end.
    known: Vec<RemoteEnd>,
    newcomers: TokenBucket,
    /// Where everything is sent: the address that the peer nominated last, once it is proven.
    path: Option<Path>,
    /// When the peer last gave a sign of life from there.
    heard: Instant,
    /// Whether media is sent: then the path has to be proven again and again.
    sends_media: bool,
    /// When the path was last proven.
    consented: Instant,
    /// When to ask again.
    ask: Instant,
    challenge: Option<Challenge>,
    unproven_bytes: usize,
    /// Where the DTLS handshake has been sent.
    handshake: Handshake,
}

#[derive(Clone, Copy)]
struct Path {
    ends: AddressPair,
    proven: bool,
}

/// A check of ours that waits for its response.
struct Challenge {
    ends: AddressPair,
    transaction: Transaction,
    request: Vec<u8>,
    sent: u32,
    /// When to send it again, or, after the last time, to give it up.
    next: Instant,
}

impl Challenge {
    /// Whether its response may still come.
    fn is_waiting(&self, now: Instant) -> bool {
        self.sent < CHECKS_MAX || now < self.next
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshake {
    None,
    With(RemoteEnd),
    /// A peer that receives at one address may have finished what began at another.
    Several,
    Done,
}

/// The outcome of a check.
pub(super) enum CheckOutcome {
    /// It is not authentic.
    Forged,
    /// Its address is one too many.
    Refused,
    /// It is answered.
    Authentic(Answered),
}

/// What a response has proven: the peer receives at its source, and the path leads there now.
pub(super) struct Proof {
    /// The address that the path has left, which may be the same.
    pub(super) before: RemoteEnd,
    /// The address that has made room for this one.
    pub(super) forgotten: Option<RemoteEnd>,
}

/// An authentic check.
pub(super) struct Answered {
    pub(super) reply: Vec<u8>,
    /// The address that has made room for this one.
    pub(super) forgotten: Option<RemoteEnd>,
    pub(super) nominates: bool,
}

impl Ice {
    pub(super) fn new(credentials: Credentials, now: Instant) -> Self {
        Self {
            credentials,
            known: Vec::new(),
            newcomers: newcomers(now),
            path: None,
            heard: now,
            sends_media: false,
            consented: now,
            ask: now,
            challenge: None,
            unproven_bytes: 0,
            handshake: Handshake::None,
        }
    }

    /// From now on the peer has to prove again and again that it receives: it is sent media.
    pub(super) const fn require_consent(&mut self) {
        self.sends_media = true;
    }

    /// Begins a new ICE session; everything is sent where it was sent before until the peer
    /// nominates another address (RFC 8445 §9).
    pub(super) fn restart(&mut self, credentials: Credentials, now: Instant) {
        self.credentials = credentials;
        // The peer gathers its addresses again.
        self.newcomers = newcomers(now);
        self.challenge = None;
    }

    /// The server's credentials.
    pub(super) const fn local(&self) -> &IceCreds {
        &self.credentials.local
    }

    /// Answers a connectivity check.
    pub(super) fn check(
        &mut self,
        now: Instant,
        ends: AddressPair,
        datagram: &[u8],
    ) -> CheckOutcome {
        let sender = ends.remote;
        let Ok(message) = StunMessage::parse(datagram) else {
            return CheckOutcome::Forged;
        };
        let Credentials { local, remote } = &self.credentials;
        if !message.is_binding_request()
            || message.split_username() != Some((&local.ufrag, &remote.ufrag))
        {
            return CheckOutcome::Forged;
        }
        let known = self.known.contains(&sender);
        if !known && self.newcomers.left(now) < 1.0 {
            return CheckOutcome::Refused;
        }
        if !message.verify(local.pass.as_bytes(), hmac) {
            return CheckOutcome::Forged;
        }
        if !known {
            self.newcomers.take(1.0, now);
        }
        // A lite agent never controls (RFC 8445 §7.3.1.1).
        let conflict = message.ice_controlled().is_some();
        let reply = if conflict {
            StunMessage::binding_role_conflict_reply(message.trans_id())
        } else {
            StunMessage::binding_reply(message.trans_id(), sender.address)
        };
        let Some(reply) = written(reply, &local.pass) else {
            return CheckOutcome::Forged;
        };
        let nominates = message.use_candidate() && !conflict;
        let forgotten = self.learn(sender);
        self.hear(now, sender);
        if nominates {
            self.nominate(now, ends);
        } else {
            self.follow(now, ends);
        }
        CheckOutcome::Authentic(Answered {
            reply,
            forgotten,
            nominates,
        })
    }

    /// Notes an address; returns the one that has made room for it.
    fn learn(&mut self, sender: RemoteEnd) -> Option<RemoteEnd> {
        self.known.retain(|known| *known != sender);
        self.known.push(sender);
        if self.known.len() <= ADDRESSES_MAX {
            return None;
        }
        let path = self.path.map(|path| path.ends.remote);
        let idle = self.known.iter().position(|known| Some(*known) != path)?;
        Some(self.known.remove(idle))
    }

    /// The peer nominates a pair. Everything goes there at once if no address has proven anything
    /// yet, else once this one has.
    fn nominate(&mut self, now: Instant, ends: AddressPair) {
        match &mut self.path {
            Some(path) if path.proven && path.ends.remote == ends.remote => {
                // It has stayed, or come back.
                path.ends = ends;
                let elsewhere = |challenge: &mut Challenge| challenge.ends.remote != ends.remote;
                self.challenge.take_if(elsewhere);
                return;
            }
            Some(path) if path.proven => {}
            path => {
                *path = Some(Path {
                    ends,
                    proven: false,
                });
            }
        }
        let waits = |challenge: &Challenge| {
            challenge.ends.remote == ends.remote && challenge.is_waiting(now)
        };
        if !self.challenge.as_ref().is_some_and(waits) {
            self.challenge = self.challenge(now, ends);
        }
    }

    /// The peer has checked a pair without nominating it. If the path is silent, finds out whether
    /// the peer has moved there.
    fn follow(&mut self, now: Instant, ends: AddressPair) {
        let silent = now.saturating_duration_since(self.heard) >= PATH_SILENCE;
        let Some(path) = self.proven() else {
            return;
        };
        let moves = |challenge: &Challenge| {
            challenge.is_waiting(now) && challenge.ends.remote != path.remote
        };
        if silent && !self.challenge.as_ref().is_some_and(moves) {
            self.challenge = self.challenge(now, ends);
        }
    }

    /// Asks the peer whether it still receives what it is sent, if it is time to.
    pub(super) fn renew_consent(&mut self, now: Instant) {
        let Some(path) = self.proven() else {
            return;
        };
        let waits = |challenge: &Challenge| challenge.is_waiting(now);
        if self.sends_media && now >= self.ask && !self.challenge.as_ref().is_some_and(waits) {
            self.ask = now + consent_interval();
            self.challenge = self.challenge(now, path);
        }
    }

    /// Whether media may still be sent: the peer has answered in time.
    pub(super) fn has_consent(&self, now: Instant) -> bool {
        let asked = self.sends_media && self.proven().is_some();
        !asked || now.saturating_duration_since(self.consented) < CONSENT_TIMEOUT
    }

    fn consent(&mut self, now: Instant) {
        self.consented = now;
        self.ask = now + consent_interval();
    }

    /// Notes a sign of life; true if it comes from where everything is sent.
    pub(super) fn hear(&mut self, now: Instant, sender: RemoteEnd) -> bool {
        let here = self.path.is_some_and(|path| path.ends.remote == sender);
        if here {
            self.heard = now;
        }
        here
    }

    fn challenge(&self, now: Instant, ends: AddressPair) -> Option<Challenge> {
        let Credentials { local, remote } = &self.credentials;
        let (id, transaction) = new_transaction()?;
        let username = format!("{}:{}", remote.ufrag, local.ufrag);
        let tie_breaker = getrandom::u64().ok()?;
        let request =
            StunMessage::binding_request(&username, id, false, tie_breaker, PRIORITY, false);
        Some(Challenge {
            ends,
            transaction,
            request: written(request, &remote.pass)?,
            sent: 0,
            next: now,
        })
    }

    /// A check of ours to send now, and where to.
    pub(super) fn due(&mut self, now: Instant) -> Option<(&mut AddressPair, &[u8])> {
        let challenge = self.challenge.as_mut()?;
        if challenge.sent == CHECKS_MAX || now < challenge.next {
            return None;
        }
        challenge.next = now + RESPONSE_WAIT * (1 << challenge.sent);
        challenge.sent += 1;
        Some((&mut challenge.ends, &challenge.request))
    }

    /// When a check of ours is due.
    pub(super) fn wake(&self) -> Option<Instant> {
        let ask = if self.sends_media {
            self.proven().map(|_| self.ask)
        } else {
            None
        };
        match &self.challenge {
            None => ask,
            Some(challenge) if challenge.sent < CHECKS_MAX => Some(challenge.next),
            // No check while an answer may still come.
            Some(challenge) => ask.map(|ask| ask.max(challenge.next)),
        }
    }

    /// The request that waits for a response.
    pub(super) fn expected(&self) -> Option<Transaction> {
        self.challenge
            .as_ref()
            .map(|challenge| challenge.transaction)
    }

    /// Takes a response to a check of ours; `None` if it proves nothing.
    pub(super) fn respond(
        &mut self,
        now: Instant,
        ends: AddressPair,
        datagram: &[u8],
    ) -> Option<Proof> {
        let challenge = self.challenge.as_ref()?;
        let answered = stun::transaction(datagram) == Some(challenge.transaction);
        if ends.remote != challenge.ends.remote || !answered {
            return None;
        }
        let message = StunMessage::parse(datagram).ok()?;
        let pass = self.credentials.remote.pass.as_bytes();
        if !message.is_successful_binding_response() || !message.verify(pass, hmac) {
            return None;
        }
        self.challenge = None;
        self.heard = now;
        self.consent(now);
        let before = self.path.replace(Path { ends, proven: true });
        // Others may have taken its place while the check was under way.
        let forgotten = self.learn(ends.remote);
        Some(Proof {
            before: before.map_or(ends.remote, |before| before.ends.remote),
            forgotten,
        })
    }

    /// The DTLS handshake is done. Who finished it has received all of it, so its address is
    /// proven; some publishers (FFmpeg 8) answer no checks.
    pub(super) fn handshake_done(&mut self, now: Instant) {
        let with = std::mem::replace(&mut self.handshake, Handshake::Done);
        if let Some(path) = &mut self.path
            && with == Handshake::With(path.ends.remote)
            && !path.proven
        {
            path.proven = true;
            self.challenge = None;
            self.consent(now);
        }
    }

    /// Where a datagram of this many bytes may go: nowhere before the peer has nominated an
    /// address, and not without end before that has proven anything.
    pub(super) fn destination(&mut self, bytes: usize) -> Option<&mut AddressPair> {
        let path = self.path.as_mut()?;
        let remote = path.ends.remote;
        if !path.proven {
            if self.unproven_bytes + bytes > UNPROVEN_BYTES_MAX {
                return None;
            }
            self.unproven_bytes += bytes;
        }
        self.handshake = match self.handshake {
            Handshake::None => Handshake::With(remote),
            Handshake::With(address) if address != remote => Handshake::Several,
            other => other,
        };
        Some(&mut path.ends)
    }

    /// Where everything is sent, proven or not.
    pub(super) fn path(&self) -> Option<AddressPair> {
        self.path.map(|path| path.ends)
    }

    /// The machine has lost the local address that leads to this remote one: the kernel chooses from
    /// now on.
    pub(super) fn forget_local(&mut self, remote: RemoteEnd) {
        if let Some(path) = &mut self.path
            && path.ends.remote == remote
        {
            path.ends.local = None;
        }
    }

    /// Where media may go.
    pub(super) fn proven(&self) -> Option<AddressPair> {
        let path = self.path?;
        path.proven.then_some(path.ends)
    }

    /// The same, to send to.
    pub(super) fn proven_mut(&mut self) -> Option<&mut AddressPair> {
        let path = self.path.as_mut()?;
        path.proven.then_some(&mut path.ends)
    }

    /// The addresses that have sent authentic checks.
    pub(super) fn known(&self) -> &[RemoteEnd] {
        &self.known
    }
}

fn newcomers(now: Instant) -> TokenBucket {
    TokenBucket::new(ADDRESSES_PER_SECOND, ADDRESSES_AT_ONCE, now)
}

fn consent_interval() -> Duration {
    // Without random numbers, all are checked at the same time.
    let random = getrandom::u32().unwrap_or_default();
    let span = CONSENT_INTERVAL.end() - CONSENT_INTERVAL.start() + 1;
    Duration::from_millis(u64::from(CONSENT_INTERVAL.start() + random % span))
}
