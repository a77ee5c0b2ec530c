//! webrtcbin behind the one UDP port.
//!
//! ```text
//!  client -- the port: routes, limits -- agent (ICE-lite, as on the direct engine)
//!                                            | DTLS, SRTP, SRTCP
//!                                          relay, a socket of the session's on loopback
//!                                            | the same, and ICE
//!                                        webrtcbin, in a worker, whose only peer is the relay
//! ```
//!
//! The client does ICE with the session's [`LiteAgent`], and webrtcbin does with the relay: it
//! learns no address of the client's, and its session outlives every change of address.
//!
//! - `inside`: ICE with webrtcbin (pure).
//! - `state`: what goes where (pure but for the port).
//! - `signals`: what webrtcbin tells.
//! - `outbound`: webrtcbin's datagrams on their way to the client.
//! - this file: the session's handle.

mod inside;
mod outbound;
mod signals;
mod state;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use socket2::SockRef;
use str0m::IceCreds;
use tokio::{net::UdpSocket, task::JoinSet};
use tracing::Instrument;

pub(crate) use self::signals::RelaySignals;
use self::{
    inside::Inside,
    outbound::Outbound,
    state::{Inbound, RelayState},
};
use super::{
    ice::{LiteAgent, credentials},
    sdp,
    udp::{Datagram, DatagramLimits, DatagramRoute, Port},
};
use crate::awake;

/// Wanted size of the receive buffer in bytes: a group of pictures in 4K, of which webrtcbin sends a
/// megabyte at once when its viewer joins or a keyframe comes. The kernel may grant less
/// (`net.core.rmem_max`).
const BUFFER_BYTES: usize = 4 << 20;

/// What webrtcbin is offered in place of the client, until its answer is there.
pub(crate) struct RelayOffer {
    local: IceCreds,
    signals: Arc<RelaySignals>,
}

impl RelayOffer {
    /// Draws credentials.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn new() -> Result<Self, sdp::Error> {
        Ok(Self {
            local: credentials()?.local,
            signals: Arc::default(),
        })
    }

    /// The offer for webrtcbin, from the relay in place of the client.
    pub(crate) fn in_place_of(&self, offer: &sdp::Offer) -> sdp::Offer {
        sdp::Offer {
            ice_ufrag: self.local.ufrag.clone(),
            ice_pwd: self.local.pass.clone(),
            ..offer.clone()
        }
    }

    /// Where webrtcbin's threads report to the relay.
    pub(crate) const fn signals(&self) -> &Arc<RelaySignals> {
        &self.signals
    }

    /// Begins to relay between the client that made `offer` and webrtcbin, which has given this
    /// answer.
    ///
    /// # Errors
    /// If the answer is unusable, or the system refuses a socket.
    pub(crate) async fn start(
        self,
        offer: &sdp::Offer,
        engine_answer: &str,
        port: &Port,
    ) -> Result<Relay, sdp::Error> {
        let engine = sdp::engine_transport(engine_answer)?;
        let failed = |error: io::Error| sdp::Error::Engine(format!("loopback socket: {error}"));
        let socket = connected(engine.candidate).await.map_err(failed)?;
        let remote = IceCreds {
            ufrag: offer.ice_ufrag.clone(),
            pass: offer.ice_pwd.clone(),
        };
        let limits = match offer.role {
            sdp::Role::Publisher => DatagramLimits::PUBLISHER,
            sdp::Role::Viewer => DatagramLimits::VIEWER,
        };
        let target = Arc::new(OnceLock::<Weak<Shared>>::new());
        let route = {
            let target = Arc::clone(&target);
            DatagramRoute::new(port.next_session(), limits, move |datagram| {
                let shared = target.get().and_then(Weak::upgrade);
                shared.is_some_and(|shared| shared.take(&datagram))
            })
        };
        let mut agent = LiteAgent::register(remote, port, route, awake::now())?;
        if offer.role == sdp::Role::Viewer {
            agent.require_consent();
        }
        let inside = Inside::new(
            self.local,
            IceCreds {
                ufrag: engine.ice_ufrag,
                pass: engine.ice_pwd,
            },
        );
        let signals = self.signals;
        let state = RelayState::new(agent, inside, engine.candidate, Arc::clone(&signals));
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            socket,
            signals,
        });
        target.get_or_init(|| Arc::downgrade(&shared));
        let mut tasks = JoinSet::new();
        let outbound = Outbound::new(Arc::clone(&shared), port.clone());
        tasks.spawn(outbound.run().in_current_span());
        Ok(Relay {
            shared,
            fingerprint: engine.fingerprint,
            _tasks: tasks,
        })
    }
}

/// A socket on loopback that takes datagrams from `engine` only.
async fn connected(engine: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(engine).await?;
    // A smaller buffer only costs burst tolerance.
    if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES) {
        tracing::debug!(%error, "socket buffer stays at the system's size");
    }
    Ok(socket)
}

/// A session's relay. Dropping it ends it.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    /// webrtcbin's certificate.
    fingerprint: Vec<u8>,
    /// The outbound task.
    _tasks: JoinSet<()>,
}

/// State that the port's reader and the relay's task share.
struct Shared {
    state: Mutex<RelayState>,
    socket: UdpSocket,
    signals: Arc<RelaySignals>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, RelayState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a datagram of the client's, on the port's reader. False if it is lost because there is
    /// no room.
    fn take(&self, datagram: &Datagram) -> bool {
        let Datagram { ends, bytes, .. } = datagram;
        let inbound = self.state().receive(awake::now(), *ends, bytes);
        match inbound {
            Inbound::Done => true,
            Inbound::Wake => {
                self.signals.changed.notify_one();
                true
            }
            Inbound::Forward => self.to_engine(bytes),
        }
    }

    /// Sends a datagram to webrtcbin; false if there is no room.
    fn to_engine(&self, datagram: &[u8]) -> bool {
        // Another error means that webrtcbin has gone, and its session with it.
        let full = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        !self.socket.try_send(datagram).is_err_and(full)
    }
}

impl Relay {
    /// The server's half of the transport, for the client.
    pub(crate) fn transport(&self) -> sdp::Transport {
        self.shared
            .state()
            .agent
            .transport(self.fingerprint.clone())
    }

    /// Restarts ICE with the client's new credentials and returns the server's (RFC 9725 §4.3.3).
    /// webrtcbin notices nothing.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        let remote = IceCreds {
            ufrag: ufrag.to_owned(),
            pass: pwd.to_owned(),
        };
        self.shared.state().agent.restart(remote, awake::now())?;
        Ok(self.transport())
    }

    /// Whether the client has sent an authentic check.
    pub(crate) fn is_checked(&self) -> bool {
        self.shared.state().agent.is_checked()
    }

    /// When the client last gave a sign of life.
    pub(crate) fn heard(&self) -> Instant {
        let mut state = self.shared.state();
        state.settle(awake::now());
        state.agent.heard()
    }

    /// Whether media may still be sent to where it goes (RFC 7675 §5.1).
    pub(crate) fn has_consent(&self) -> bool {
        self.shared.state().agent.has_consent(awake::now())
    }

    /// How long the client has given no sign of life.
    pub(crate) fn silence(&self) -> Duration {
        awake::since(self.heard())
    }
}
