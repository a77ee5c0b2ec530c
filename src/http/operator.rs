//! The operator's own port: metrics, and the API with everything that viewers do not see.
//!
//! It is apart from the public port, so that no proxy, tunnel or page of another site can reach it
//! by accident: who the operator is follows from a token or from the permissions of a socket, never
//! from where a request seems to come from.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};

use super::{
    App,
    admission::Lane,
    connections::{ACCEPT_PAUSE, HttpVersion, speak},
    problem::Problem,
    request::{Caller, Door, HttpRequest},
    router::Route,
};
use crate::{access::Right, client::ClientAddress};

/// Simultaneous connections to the operator's port: a browser, a few scrapers.
const CONNECTIONS_MAX: usize = 64;
/// Permissions of the socket: only the server's own user connects.
const SOCKET_MODE: u32 = 0o600;
/// Permissions of the folder in which the socket is prepared.
const FOLDER_MODE: u32 = 0o700;

/// Where the operator's port is.
#[derive(Debug)]
pub enum AdminListener {
    /// An address. Requests need a token.
    Tcp(TcpListener),
    /// A Unix socket. The file's permissions decide who connects.
    Unix(UnixListener, PathBuf),
}

impl AdminListener {
    /// Listens on an address.
    ///
    /// # Errors
    /// What the system says.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// Listens on a socket, which replaces one that nobody listens on any more, and nothing else.
    ///
    /// # Errors
    /// `AddrInUse` if another server listens on it, `AlreadyExists` if the path is not a socket's,
    /// otherwise what the system says.
    pub fn unix(path: &Path) -> io::Result<Self> {
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let connected = std::os::unix::net::UnixStream::connect(path);
            let is_stale =
                connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !is_stale {
                return Err(io::ErrorKind::AddrInUse.into());
            }
        }
        // Nobody connects before the permissions are right: the folder is closed to others.
        let mut folder = path.as_os_str().to_owned();
        folder.push(format!(".{}", std::process::id()));
        let folder = PathBuf::from(folder);
        // Err: an earlier process with this number has left none.
        let _ = fs::remove_dir_all(&folder);
        fs::DirBuilder::new().mode(FOLDER_MODE).create(&folder)?;
        let listener = Self::place(&folder.join("socket"), path);
        let _ = fs::remove_dir_all(&folder);
        listener.map(|listener| Self::Unix(listener, path.to_owned()))
    }

    /// Listens on a socket at `hidden`, and then moves it to its path.
    fn place(hidden: &Path, path: &Path) -> io::Result<UnixListener> {
        let listener = UnixListener::bind(hidden)?;
        fs::set_permissions(hidden, fs::Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(hidden, path)?;
        Ok(listener)
    }

    /// The address, if it has one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Err: somebody has removed it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Serves the operator's port. Never ends by itself.
pub(super) async fn serve(listener: &AdminListener, app: &Arc<App>, tasks: &mut JoinSet<()>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let app = Arc::clone(app);
        let accepted = match listener {
            AdminListener::Tcp(listener) => listener.accept().await.map(|(stream, address)| {
                let caller = Caller {
                    address: ClientAddress::new(address.ip()),
                    door: Door::Admin,
                };
                tasks.spawn(async move {
                    speak(stream, HttpVersion::Http1, caller, Lane::Normal, &app).await;
                    drop(permit);
                });
            }),
            AdminListener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                let caller = Caller {
                    address: ClientAddress::new(Ipv4Addr::LOCALHOST.into()),
                    door: Door::Socket,
                };
                tasks.spawn(async move {
                    speak(stream, HttpVersion::Http1, caller, Lane::Normal, &app).await;
                    drop(permit);
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "connection of the operator not accepted");
            sleep(ACCEPT_PAUSE).await;
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Lets a request to the operator's port through.
///
/// # Errors
/// 404 for what only the public port serves; 401 or 403 without the right.
pub(super) fn admit(app: &App, route: &Route<'_>, request: &HttpRequest) -> Result<(), Problem> {
    match route {
        // A file's URL carries the permission.
        Route::Health | Route::Ready | Route::ApiDocument | Route::RecordingFile(_) => Ok(()),
        Route::File(_) if route.is_for_operators() => Ok(()),
        Route::Metrics => app.auth.permit_right(request, Right::Metrics),
        Route::Broadcasts
        | Route::Broadcast(_)
        | Route::Pipelines(_)
        | Route::Pipeline(..)
        | Route::Configuration
        | Route::BroadcastConfiguration(_)
        | Route::Recordings
        | Route::Recording(_)
        | Route::Outputs(_)
        | Route::Output(..)
        | Route::Refusal(_)
        | Route::Chat(_)
        | Route::Data(_)
        | Route::Sessions(_)
        | Route::Attendee(..)
        | Route::Events
        | Route::Server
        | Route::Load
        | Route::Happenings
        | Route::Drain
        | Route::Reload => app.auth.permit_right(request, Right::Admin),
        Route::Endpoint(..)
        | Route::Session(..)
        | Route::Extension(..)
        | Route::OEmbed
        | Route::ApiPage
        | Route::File(_)
        | Route::Moved(_) => Err(Problem::not_found("resource")),
    }
}
