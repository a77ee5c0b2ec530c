//! The service manager: sockets that it passes, and notifications to it. Without one, nothing here
//! does anything.

use std::{
    env,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The name under which systemd keeps the HTTP listener over a restart.
const KEPT: &str = "aerial-http";
/// Signs of life in the time that the watchdog waits for one.
const BEATS: u32 = 3;

/// The sockets that the service manager has passed.
#[derive(Debug, Default)]
pub struct PassedSockets {
    /// For HTTP: of a socket unit, or kept by the server before this one.
    pub http: Option<TcpListener>,
    /// For media, of a socket unit.
    pub udp: Option<UdpSocket>,
}

impl PassedSockets {
    /// Takes the sockets. A kept one serves only at the address that HTTP is configured for. Call it
    /// once, before there are other threads.
    pub fn take(http: SocketAddr) -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut taken = Self::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                if name == KEPT && !is_at(&listener, http) {
                    forget();
                } else if taken.http.is_none() {
                    taken.http = Some(listener);
                } else {
                    tracing::warn!(name, "systemd passed more than one socket for HTTP");
                }
            } else if let Ok(Some(socket)) = passed.take_udp_socket(index) {
                if taken.udp.is_none() {
                    taken.udp = Some(socket);
                } else {
                    tracing::warn!(name, "systemd passed more than one socket for UDP");
                }
            } else {
                tracing::warn!(name, "systemd passed a socket that is neither TCP nor UDP");
            }
        }
        taken
    }
}

/// Whether a listener is where `wanted` would be.
fn is_at(listener: &TcpListener, wanted: SocketAddr) -> bool {
    listener.local_addr().is_ok_and(|address| address == wanted)
}

/// Has the server's own HTTP listener kept, so that clients that come during a restart wait for the
/// next server.
pub fn keep(listener: impl AsFd) {
    let state = [NotifyState::FdStore, NotifyState::FdName(KEPT)];
    tell(&state, &[listener.as_fd()]);
}

fn forget() {
    let state = [NotifyState::FdStoreRemove, NotifyState::FdName(KEPT)];
    tell(&state, &[]);
}

/// The server serves.
pub fn ready() {
    tell(&[NotifyState::Ready], &[]);
}

/// The server ends within this time.
pub fn stopping(within: Duration) {
    // Wider than `NotifyState::ExtendTimeoutUsec`, which ends at 71 minutes.
    let time = format!("EXTEND_TIMEOUT_USEC={}", within.as_micros());
    tell(&[NotifyState::Stopping, NotifyState::Custom(&time)], &[]);
}

/// Gives signs of life while `is_healthy`, if the service manager waits for them. Never ends.
pub async fn keep_watchdog(is_healthy: impl Fn() -> bool) {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval(patience / BEATS);
    loop {
        beat.tick().await;
        if is_healthy() {
            tell(&[NotifyState::Watchdog], &[]);
        }
    }
}

fn tell(state: &[NotifyState<'_>], sockets: &[BorrowedFd<'_>]) {
    let told = if sockets.is_empty() {
        sd_notify::notify(state)
    } else {
        sd_notify::notify_with_fds(state, sockets)
    };
    if let Err(error) = told {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
