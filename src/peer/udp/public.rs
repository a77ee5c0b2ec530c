//! The addresses by which the port is reached from beyond a NAT: configured ones, and what a STUN
//! server says, which is asked from the media socket itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::{net::lookup_host, sync::mpsc};

use super::{
    AddressPair, Port, Sent, Shared,
    routes::{DatagramLimits, DatagramRoute},
    stun,
};
use crate::{awake, words::Listed};

/// How often names are resolved and the STUN server is asked again: addresses change, and a NAT forgets
/// what is not used for two minutes (RFC 4787 §4.3), some after half a minute.
const REFRESH: Duration = Duration::from_secs(25);
/// Time for a response, the first time; it doubles.
const RESPONSE_WAIT: Duration = Duration::from_millis(500);
/// How often a question is sent.
const QUESTIONS_MAX: u32 = 3;
/// Time for the resolver.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are used.
const RESOLVED_MAX: usize = 8;

/// What to find out.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// Names whose addresses are advertised.
    pub names: Vec<String>,
    /// Host and port of the STUN server.
    pub stun_server: Option<String>,
}

impl Discovery {
    /// Whether there is nothing to find out.
    pub const fn is_empty(&self) -> bool {
        self.names.is_empty() && self.stun_server.is_none()
    }
}

/// The public addresses as they are known.
#[derive(Debug)]
pub(super) struct PublicAddresses {
    configured: Vec<IpAddr>,
    found: RwLock<Found>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    /// Of names.
    resolved: Vec<IpAddr>,
    /// By the STUN server, with the ports that the NAT gives.
    seen: Vec<SocketAddr>,
}

impl PublicAddresses {
    pub(super) fn new(configured: Vec<IpAddr>) -> Self {
        Self {
            configured,
            found: RwLock::default(),
        }
    }

    /// For the port with this number, best first.
    pub(super) fn candidates(&self, number: u16) -> Vec<SocketAddr> {
        let found = self.found();
        self.configured
            .iter()
            .chain(&found.resolved)
            .map(|ip| SocketAddr::new(*ip, number))
            .chain(found.seen)
            .collect()
    }

    /// Without ports.
    pub(super) fn ips(&self) -> Vec<IpAddr> {
        self.candidates(0)
            .into_iter()
            .map(|address| address.ip())
            .collect()
    }

    fn found(&self) -> Found {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    /// Replaces what was found; false if nothing has changed.
    fn replace(&self, found: Found) -> bool {
        let mut present = self.found.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *present != found;
        *present = found;
        changed
    }
}

impl Port {
    /// The host candidates to put into answers, as the machine's addresses are now, best first.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        let Shared { number, public, .. } = &*self.shared;
        let mut candidates = public.candidates(*number);
        if !self.shared.only_public || candidates.is_empty() {
            let local = self.shared.advertised.now().into_iter();
            candidates.extend(local.map(|ip| SocketAddr::new(ip, *number)));
        }
        unique(candidates)
    }

    /// The same for TCP.
    pub fn tcp_candidates(&self) -> Vec<SocketAddr> {
        let Shared {
            public,
            only_public,
            advertised_tcp,
            ..
        } = &*self.shared;
        let public = public.ips();
        let all = advertised_tcp
            .iter()
            .flat_map(|listener| listener.now(&public, *only_public));
        unique(all.collect())
    }

    /// Finds out the public addresses, and again whenever they may have changed. Addresses that
    /// cannot be determined stay as they were. Logs what it has found and which ports to open.
    /// Never ends.
    pub async fn discover(self, discovery: Discovery) {
        let mut told = false;
        loop {
            let mut problems = Vec::new();
            let before = self.shared.public.found();
            let resolved = resolved(&discovery.names, &mut problems).await;
            let seen = self.seen(&discovery, &mut problems).await;
            let found = Found {
                resolved: resolved.unwrap_or(before.resolved),
                seen: seen.clone().unwrap_or(before.seen),
            };
            if self.shared.public.replace(found) {
                tracing::info!(candidates = %Listed(&self.candidates()), "advertised addresses");
                for address in seen.unwrap_or_default() {
                    self.judge(address).await;
                }
            }
            // Once, until all is well again.
            let tell = !problems.is_empty() && !told;
            told = !problems.is_empty();
            if tell {
                for problem in problems {
                    tracing::warn!(problem, "cannot determine the public address");
                }
            }
            awake::sleep(REFRESH).await;
        }
    }

    /// Where the STUN server sees the port, in each family; `None` if that cannot be found out.
    async fn seen(
        &self,
        discovery: &Discovery,
        problems: &mut Vec<String>,
    ) -> Option<Vec<SocketAddr>> {
        let Some(server) = &discovery.stun_server else {
            return Some(Vec::new());
        };
        let addresses = resolve(server, problems).await?;
        let mut seen = Vec::new();
        for ipv6 in [false, true] {
            let of_family = |address: &&SocketAddr| address.is_ipv6() == ipv6;
            if let Some(address) = addresses.iter().find(of_family) {
                seen.extend(self.ask(*address).await);
            }
        }
        if seen.is_empty() {
            problems.push(format!("{server} does not answer"));
            return None;
        }
        Some(seen)
    }

    /// Asks a STUN server where it sees the port.
    async fn ask(&self, server: SocketAddr) -> Option<SocketAddr> {
        let question = stun::question()?;
        let response = self.exchange(server, &question, &question).await?;
        stun::mapped_address(&response)
    }

    /// Sends `message` to this address until something comes back that answers `question`.
    async fn exchange(&self, to: SocketAddr, question: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        let transaction = stun::transaction(question)?;
        let (sender, mut receiver) = mpsc::channel(1);
        let route = DatagramRoute::new(self.next_session(), DatagramLimits::VIEWER, move |got| {
            sender.try_send(got.bytes).is_ok()
        });
        self.expect_response(transaction, route);
        let mut response = None;
        for round in 0..QUESTIONS_MAX {
            let sent = self.send(&mut AddressPair::from(to), message, message.len());
            if sent == Sent::Failed {
                break;
            }
            let wait = RESPONSE_WAIT * (1 << round);
            if let Ok(got) = awake::timeout(wait, receiver.recv()).await {
                response = got;
                break;
            }
        }
        self.forget_response(transaction);
        response
    }

    /// Says what an operator has to open so that a public address works.
    async fn judge(&self, public: SocketAddr) {
        let (address, port) = (public.ip(), self.shared.number);
        let begun = Instant::now();
        if public.port() != port {
            tracing::warn!(
                %address,
                port,
                public_port = public.port(),
                "the NAT maps the UDP port to another number: forward the port to this machine"
            );
        }
        if self.comes_back(SocketAddr::new(address, port)).await {
            let milliseconds = begun.elapsed().as_millis();
            tracing::info!(%address, port, milliseconds, "the public address reaches this server");
        } else {
            tracing::info!(
                %address,
                port,
                "packets to the public address do not come back: forward the UDP port to this \
                 machine (or the router merely lacks hairpin NAT, which other clients do not need)"
            );
        }
    }

    /// Whether what is sent to a public address arrives here.
    async fn comes_back(&self, public: SocketAddr) -> bool {
        let Some(question) = stun::question() else {
            return false;
        };
        let message = stun::as_response(question);
        self.exchange(public, &question, &message).await.is_some()
    }
}

/// Without repetitions.
fn unique(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    unique
}

/// The addresses of names; `None` if one cannot be resolved.
async fn resolved(names: &[String], problems: &mut Vec<String>) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for name in names {
        let found = resolve(&format!("{name}:0"), problems).await?;
        addresses.extend(found.into_iter().map(|address| address.ip()));
    }
    Some(addresses)
}

/// The addresses of a host and port; `None` if it cannot be resolved.
async fn resolve(host: &str, problems: &mut Vec<String>) -> Option<Vec<SocketAddr>> {
    match awake::timeout(RESOLVE_TIMEOUT, lookup_host(host)).await {
        Ok(Ok(addresses)) => Some(addresses.take(RESOLVED_MAX).collect()),
        Ok(Err(error)) => {
            problems.push(format!("{host}: {error}"));
            None
        }
        Err(_) => {
            problems.push(format!("{host}: not resolved in time"));
            None
        }
    }
}
