//! ICE between a relay and its webrtcbin, over loopback. webrtcbin is a full agent; this one
//! controls it, and answers its checks. Pure: no socket, no clock.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use str0m::{IceCreds, ice::StunMessage};

use crate::peer::{
    ice::{
        Credentials,
        messages::{PRIORITY, hmac, new_transaction, written},
    },
    udp::stun::{self, Transaction},
};

/// How long to wait for the response to a check before it is sent again. Loopback loses nothing, but
/// webrtcbin may be busy.
const RESPONSE_WAIT: Duration = Duration::from_millis(100);
/// How often a check is sent.
const CHECKS_MAX: u32 = 100;

/// The relay's side of ICE with webrtcbin.
pub(super) struct Inside {
    credentials: Credentials,
    state: State,
}

enum State {
    /// The client has not come yet.
    Waiting,
    Checking(Check),
    Connected,
}

struct Check {
    transaction: Transaction,
    request: Vec<u8>,
    sent: u32,
    next: Instant,
}

impl Inside {
    /// `local` is the candidate given to webrtcbin, `remote` its own.
    pub(super) const fn new(local: IceCreds, remote: IceCreds) -> Self {
        Self {
            credentials: Credentials { local, remote },
            state: State::Waiting,
        }
    }

    /// Begins to connect, unless that has begun. False if there is nothing to do.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        if !matches!(self.state, State::Waiting) {
            return false;
        }
        let Credentials { local, remote } = &self.credentials;
        let username = format!("{}:{}", remote.ufrag, local.ufrag);
        let Some((id, transaction)) = new_transaction() else {
            return false;
        };
        // webrtcbin yields to the highest number if it wants to control as well (RFC 8445 §7.3.1.1).
        let request = StunMessage::binding_request(&username, id, true, u64::MAX, PRIORITY, true);
        let Some(request) = written(request, &remote.pass) else {
            return false;
        };
        self.state = State::Checking(Check {
            transaction,
            request,
            sent: 0,
            next: now,
        });
        true
    }

    /// The check to send now.
    pub(super) fn due(&mut self, now: Instant) -> Option<&[u8]> {
        let State::Checking(check) = &mut self.state else {
            return None;
        };
        if check.sent == CHECKS_MAX || now < check.next {
            return None;
        }
        check.sent += 1;
        check.next = now + RESPONSE_WAIT;
        Some(&check.request)
    }

    /// When a check is due.
    pub(super) fn wake(&self) -> Option<Instant> {
        let State::Checking(check) = &self.state else {
            return None;
        };
        (check.sent < CHECKS_MAX).then_some(check.next)
    }

    /// Takes a STUN message of webrtcbin's, which is at `engine`; returns the reply.
    pub(super) fn take(&mut self, engine: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
        let answers = stun::transaction(message);
        let message = StunMessage::parse(message).ok()?;
        let Credentials { local, remote } = &self.credentials;
        if message.is_binding_request() {
            if !message.verify(local.pass.as_bytes(), hmac) {
                return None;
            }
            let reply = StunMessage::binding_reply(message.trans_id(), engine);
            return written(reply, &local.pass);
        }
        let State::Checking(check) = &self.state else {
            return None;
        };
        let answered = message.is_successful_binding_response()
            && answers == Some(check.transaction)
            && message.verify(remote.pass.as_bytes(), hmac);
        if answered {
            self.state = State::Connected;
        }
        None
    }

    /// Whether webrtcbin takes datagrams from the relay.
    pub(super) const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str) -> IceCreds {
        IceCreds {
            ufrag: name.to_owned(),
            pass: format!("{name}'s password"),
        }
    }

    fn inside() -> Inside {
        Inside::new(credentials("relay"), credentials("engine"))
    }

    fn engine() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5000))
    }

    fn response(request: &[u8], password: &str) -> Vec<u8> {
        let id = StunMessage::parse(request).unwrap().trans_id();
        written(StunMessage::binding_reply(id, engine()), password).unwrap()
    }

    #[test]
    fn the_relay_controls_and_nominates_until_webrtcbin_answers() {
        let (mut inside, now) = (inside(), Instant::now());
        assert_eq!((inside.wake(), inside.due(now)), (None, None));
        assert!(inside.begin(now));
        assert!(!inside.begin(now), "once");
        let request = inside.due(now).unwrap().to_vec();
        let check = StunMessage::parse(&request).unwrap();
        assert_eq!(check.split_username(), Some(("engine", "relay")));
        assert!(check.use_candidate() && check.ice_controlling() == Some(u64::MAX));
        assert!(check.verify(b"engine's password", hmac));
        assert_eq!(inside.due(now), None);
        let later = now + RESPONSE_WAIT;
        assert_eq!(inside.wake(), Some(later));
        assert_eq!(inside.due(later), Some(&request[..]));
        inside.take(engine(), &response(&request, "another"));
        assert!(!inside.is_connected());
        inside.take(engine(), &response(&request, "engine's password"));
        assert!(inside.is_connected());
        assert_eq!((inside.wake(), inside.due(later)), (None, None));
    }

    #[test]
    fn webrtcbin_that_never_answers_is_asked_for_a_while() {
        let (mut inside, mut now) = (inside(), Instant::now());
        inside.begin(now);
        let mut sent = 0;
        while let Some(at) = inside.wake() {
            now = at;
            sent += u32::from(inside.due(now).is_some());
        }
        assert_eq!(sent, CHECKS_MAX);
        assert_eq!(inside.due(now + RESPONSE_WAIT), None);
    }

    #[test]
    fn checks_of_webrtcbin_are_answered_and_no_others() {
        let mut inside = inside();
        let check = |password: &str| {
            let (id, _) = new_transaction().unwrap();
            let check = StunMessage::binding_request("relay:engine", id, false, 1, PRIORITY, false);
            written(check, password).unwrap()
        };
        let reply = inside.take(engine(), &check("relay's password")).unwrap();
        let reply = StunMessage::parse(&reply).unwrap();
        assert!(reply.is_successful_binding_response());
        assert_eq!(reply.mapped_address(), Some(engine()));
        assert!(reply.verify(b"relay's password", hmac));
        assert_eq!(inside.take(engine(), &check("another")), None);
        assert_eq!(inside.take(engine(), &[0; 20]), None);
    }
}
