//! A client's checks, and what they do to its addresses.

use std::net::SocketAddr;

use str0m::ice::TransId;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn credentials(round: u32) -> Credentials {
    let side = |name: &str| IceCreds {
        ufrag: format!("{name}{round}"),
        pass: format!("{name}'s password {round}"),
    };
    Credentials {
        local: side("server"),
        remote: side("client"),
    }
}

fn address(number: u16) -> RemoteEnd {
    SocketAddr::from(([192, 0, 2, 7], number)).into()
}

struct Client {
    ice: Ice,
    credentials: Credentials,
    now: Instant,
}

impl Client {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            ice: Ice::new(credentials(0), now),
            credentials: credentials(0),
            now,
        }
    }

    /// Sends a check; returns the address that is forgotten, or an error if it is refused.
    fn check(&mut self, from: u16, nominates: bool) -> Result<Option<RemoteEnd>, ()> {
        let Credentials { local, remote } = &self.credentials;
        let username = format!("{}:{}", local.ufrag, remote.ufrag);
        let id = TransId::new();
        let check = StunMessage::binding_request(&username, id, true, 7, PRIORITY, nominates);
        let check = written(check, &local.pass).unwrap();
        match self.ice.check(self.now, address(from).into(), &check) {
            CheckOutcome::Authentic(answered) => Ok(answered.forgotten),
            CheckOutcome::Refused => Err(()),
            CheckOutcome::Forged => panic!("it is authentic"),
        }
    }

    /// Receives the check that is due; returns its address and the response.
    fn response(&mut self) -> (RemoteEnd, Vec<u8>) {
        let (ends, request) = self.ice.due(self.now).unwrap();
        let id = StunMessage::parse(request).unwrap().trans_id();
        let reply = StunMessage::binding_reply(id, address(9).address);
        let reply = written(reply, &self.credentials.remote.pass).unwrap();
        (ends.remote, reply)
    }

    fn answer(&mut self) -> Option<Proof> {
        let (from, response) = self.response();
        self.ice.respond(self.now, from.into(), &response)
    }

    fn path(&self) -> Option<RemoteEnd> {
        self.ice.proven().map(|ends| ends.remote)
    }

    /// Connected at this address.
    fn at(home: u16) -> Self {
        let mut client = Self::new();
        client.check(home, true).unwrap();
        client.answer().unwrap();
        assert_eq!(client.path(), Some(address(home)));
        client
    }
}

/// As Firefox and pion do: their consent checks nominate nothing.
#[test]
fn a_client_whose_nat_gives_it_another_port_is_followed() {
    let mut client = Client::at(1);
    // While it is at home, a check from elsewhere is a mere alternative.
    for _ in 0..10 {
        client.now += SECOND * 4;
        client.check(1, false).unwrap();
        client.check(2, false).unwrap();
        assert!(client.ice.due(client.now).is_none());
    }
    client.now += PATH_SILENCE;
    client.check(2, false).unwrap();
    assert_eq!(client.path(), Some(address(1)), "not proven yet");
    client.answer().unwrap();
    assert_eq!(client.path(), Some(address(2)));
}

#[test]
fn a_silent_path_is_left_for_one_address_at_a_time() {
    let mut client = Client::at(1);
    client.now += PATH_SILENCE;
    client.check(2, false).unwrap();
    let (to, response) = client.response();
    client.check(3, false).unwrap();
    let now = client.now;
    assert!(client.ice.respond(now, to.into(), &response).is_some());
    assert_eq!(client.path(), Some(address(2)));
    // One that does not answer holds the others up for some seconds only.
    client.now += PATH_SILENCE;
    client.check(3, false).unwrap();
    for _ in 0..CHECKS_MAX {
        assert_eq!(client.response().0, address(3));
        client.now += RESPONSE_WAIT * (1 << CHECKS_MAX);
    }
    client.check(4, false).unwrap();
    client.answer().unwrap();
    assert_eq!(client.path(), Some(address(4)));
}

#[test]
fn every_address_that_was_ever_bound_is_released() {
    let mut client = Client::at(1);
    client.check(2, true).unwrap();
    let (to, response) = client.response();
    let mut bound: Vec<_> = vec![address(1), address(2)];
    for other in 3..40 {
        client.now += SECOND * 10;
        let forgotten = client.check(other, false).unwrap();
        bound.push(address(other));
        bound.retain(|address| Some(*address) != forgotten);
    }
    assert!(!bound.contains(&address(2)), "its check came too long ago");
    let proof = client
        .ice
        .respond(client.now, to.into(), &response)
        .unwrap();
    bound.extend([proof.before, address(2)]);
    bound.retain(|address| Some(*address) != proof.forgotten);
    for address in bound {
        assert!(client.ice.known().contains(&address), "{address:?}");
    }
    assert!(client.ice.known().len() <= ADDRESSES_MAX);
}

/// A phone that roams, with five candidates each time.
#[test]
fn a_restart_of_ice_brings_new_addresses() {
    let mut client = Client::at(1);
    for round in 1..100 {
        client.now += SECOND * 30;
        client.credentials = credentials(round);
        client.ice.restart(credentials(round), client.now);
        for candidate in 0..5 {
            let from = u16::try_from(round * 5).unwrap() + candidate;
            assert!(client.check(from, false).is_ok(), "round {round}");
        }
    }
}

#[test]
fn forged_checks_are_not_answered() {
    let mut client = Client::new();
    let Credentials { local, remote } = &client.credentials;
    let username = format!("{}:{}", local.ufrag, remote.ufrag);
    let check = StunMessage::binding_request(&username, TransId::new(), true, 7, PRIORITY, true);
    let mut check = written(check, &local.pass).unwrap();
    let (now, sender) = (client.now, AddressPair::from(address(1)));
    let changed = check.len() - 12;
    check[changed] ^= 1;
    let outcome = client.ice.check(now, sender, &check);
    assert!(matches!(outcome, CheckOutcome::Forged));
    check[changed] ^= 1;
    let CheckOutcome::Authentic(Answered { reply, .. }) = client.ice.check(now, sender, &check)
    else {
        panic!("authentic");
    };
    assert_eq!(reply[..2], [1, 1]);
    let outcome = client.ice.check(now, sender, &[0; 20]);
    assert!(matches!(outcome, CheckOutcome::Forged));
}
