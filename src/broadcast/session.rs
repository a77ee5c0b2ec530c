//! A session as the rest of the server sees it: identity, its commands, and how it ends.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::field;

use super::{
    Error,
    attendance::Attendance,
    event_types::{EventKind, EventStreams},
    figures::SessionReport,
    metrics::ReceivedCounters,
    session_id::{SessionId, random_hex},
    tracks::BroadcastTrack,
};
use crate::{
    awake,
    chat::Guest,
    media::{Kind, TokenBucket},
    peer::{
        End,
        sdp::{self, Change, Fragment, Offer, Remote, Role, Transport},
    },
    plan::Name,
    quota::Share,
};

/// Commands waiting for a session's task.
const COMMANDS_MAX: usize = 32;
/// Length of an ICE session's id, in bytes.
const ICE_ID_BYTES: usize = 8;
/// Longest ICE restart.
const RESTART_TIMEOUT: Duration = Duration::from_secs(3);
/// PATCH requests a session may send at once.
const BURST: f64 = 40.0;
/// PATCH requests a session may send per second in the long run.
const RATE: f64 = 20.0;

/// The client of a session.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Introduction {
    /// The address that its POST came from.
    #[schema(required = false)]
    pub client: String,
    /// The client's user agent.
    #[schema(required = false)]
    pub user_agent: String,
    /// The name of its token, if it came with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Commands to a running session.
#[derive(Debug)]
pub(super) enum Command {
    /// Tell what has been carried.
    Figures(oneshot::Sender<SessionReport>),
    /// A viewer needs a keyframe.
    Keyframe,
    /// The viewer wants this layer of its picture, or the server's choice.
    Layer(Option<usize>),
    /// Give the viewer another rendition.
    Switch(SwitchCommand),
    /// Restart ICE with the peer's new credentials; the reply has the engine's.
    Restart {
        ice_ufrag: String,
        ice_pwd: String,
        reply: oneshot::Sender<Result<Transport, sdp::Error>>,
    },
}

/// The new origin of a viewer's track.
pub(super) struct SwitchCommand {
    pub(super) kind: Kind,
    pub(super) track: BroadcastTrack,
    /// Asks for its keyframes, if it is video.
    pub(super) keyframe: Option<Arc<Notify>>,
}

impl fmt::Debug for SwitchCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SwitchCommand").field(&self.kind).finish()
    }
}

/// A client that wants a session.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// The offer.
    pub(super) offer: Arc<Offer>,
    /// The session's share of the quotas, until it has ended.
    share: Arc<Share>,
    /// The most it may send, in bit/s, if less than others.
    bitrate_max: Option<u64>,
    /// Who it is in the conversation of its broadcast.
    pub(super) guest: Guest,
    /// The prefix of its id.
    pub(super) node: Arc<str>,
}

impl Applicant {
    /// The sender of this offer; the session will hold the share.
    pub fn new(offer: Offer, share: Share, bitrate_max: Option<u64>, guest: Guest) -> Self {
        Self {
            offer: Arc::new(offer),
            share: Arc::new(share),
            bitrate_max,
            guest,
            node: Arc::default(),
        }
    }
}

/// The ICE session of a session: a restart begins a new one.
#[derive(Debug)]
struct Ice {
    id: String,
    remote: Remote,
}

/// An ICE session that a restart has begun.
#[derive(Debug)]
pub struct Restarted {
    /// See [`Session::ice_id`].
    pub ice_id: String,
    /// The fragment with the server's side.
    pub fragment: String,
}

/// Why a session is allowed no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Its token has expired.
    Expired,
    /// What allowed it no longer does.
    Withdrawn,
}

/// A session: one HTTP resource and its peer connection.
#[derive(Debug)]
pub struct Session {
    /// The secret part of its URL.
    pub id: SessionId,
    /// Its public number, for the log: the id is secret.
    pub number: u64,
    /// Publisher or viewer.
    pub role: Role,
    /// The broadcast.
    pub broadcast: Name,
    /// When it began.
    pub(super) started: SystemTime,
    introduction: OnceLock<Introduction>,
    /// Identifies the token that a publisher came with.
    pub(super) token: Option<Arc<str>>,
    /// The most that this publisher may send, in bit/s, if less than others.
    pub(super) bitrate_max: Option<u64>,
    /// Index of the offer's m= section with the video.
    pub video_section: Option<usize>,
    ice: Mutex<Ice>,
    event_streams: Mutex<EventStreams>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) stop: Stop,
    pub(super) attendance: Attendance,
    checked: AtomicBool,
    connected: AtomicBool,
    began: Instant,
    /// From a publisher.
    pub(super) received: ReceivedCounters,
    allowance: Mutex<TokenBucket>,
    span: tracing::Span,
    _share: Arc<Share>,
}

impl Session {
    /// A new session, and where its task receives commands.
    pub(super) fn new(
        number: u64,
        role: Role,
        broadcast: Name,
        token: Option<Arc<str>>,
        applicant: &Applicant,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Command>), Error> {
        let role_name = match role {
            Role::Publisher => "publisher",
            Role::Viewer => "viewer",
        };
        // An error span, so that it is enabled at every level.
        let span = tracing::error_span!(
            "session",
            id = number,
            role = role_name,
            client = field::Empty,
            token = field::Empty,
            user_agent = field::Empty,
        );
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let offer = &applicant.offer;
        let session = Self {
            id: SessionId::random(&applicant.node)?,
            number,
            role,
            broadcast,
            started: SystemTime::now(),
            introduction: OnceLock::new(),
            token,
            bitrate_max: applicant.bitrate_max,
            ice: Mutex::new(Ice {
                id: random_hex::<ICE_ID_BYTES>()?,
                remote: offer.remote(),
            }),
            video_section: offer
                .media
                .iter()
                .position(|section| section.kind == Some(Kind::Video)),
            event_streams: Mutex::default(),
            commands,
            stop: Stop::default(),
            attendance: Attendance::default(),
            checked: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            began: awake::now(),
            received: ReceivedCounters::default(),
            allowance: Mutex::new(TokenBucket::new(RATE, BURST, awake::now())),
            span,
            _share: Arc::clone(&applicant.share),
        };
        Ok((Arc::new(session), receiver))
    }

    /// Adds its client to its log lines and to the API.
    pub fn introduce(&self, introduction: Introduction) {
        let Introduction {
            client,
            user_agent,
            token,
        } = &introduction;
        self.span.record("client", field::display(client));
        self.span.record("user_agent", user_agent.as_str());
        if let Some(token) = token {
            self.span.record("token", token.as_str());
        }
        tracing::info!(parent: &self.span, "session began");
        // Err: it is introduced only once.
        let _ = self.introduction.set(introduction);
    }

    /// Its client, once it has been answered.
    pub(super) fn introduction(&self) -> Option<Introduction> {
        self.introduction.get().cloned()
    }

    /// Ends it because it is allowed no longer.
    pub fn revoke(&self, why: Revocation) {
        self.stop.end(match why {
            Revocation::Expired => End::Expired,
            Revocation::Withdrawn => End::Withdrawn,
        });
    }

    /// The fields of its log lines.
    pub(super) fn span(&self) -> tracing::Span {
        self.span.clone()
    }

    /// Resolves when the session ends.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop.token.clone().cancelled_owned()
    }

    /// Gives the viewer a layer of its picture, by index; `None` leaves it to the server.
    pub fn select_layer(&self, layer: Option<usize>) {
        if self.commands.try_send(Command::Layer(layer)).is_err() {
            tracing::debug!(parent: &self.span, "layer not changed: the session is busy");
        }
    }

    /// Opens a stream of these events; returns its number in URLs.
    ///
    /// # Errors
    /// [`Error::Full`] if the session has too many.
    pub fn select_events(&self, kinds: Vec<EventKind>) -> Result<u64, Error> {
        self.event_streams()
            .add(kinds)
            .ok_or(Error::Full("event streams of a session"))
    }

    /// The events of a stream, if it exists.
    pub fn selected_events(&self, number: &str) -> Option<Vec<EventKind>> {
        self.event_streams().find(number)
    }

    /// Closes a stream of events.
    pub fn forget_events(&self, number: &str) {
        self.event_streams().forget(number);
    }

    fn event_streams(&self) -> MutexGuard<'_, EventStreams> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.event_streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client has given no sign of life over HTTP for this long since its answer.
    pub(super) fn is_missed(&self, limit: Duration) -> bool {
        self.attendance.is_missed(limit, awake::now())
    }

    /// Notes that its first connectivity check has arrived.
    pub(super) fn checked(&self) {
        self.checked.store(true, Ordering::Relaxed);
    }

    /// Whether its first connectivity check has arrived.
    pub(super) fn is_checked(&self) -> bool {
        self.checked.load(Ordering::Relaxed)
    }

    /// How long ago it was requested.
    pub(super) fn age(&self) -> Duration {
        awake::since(self.began)
    }

    /// Notes that its connection is up.
    pub(super) fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    /// Whether its connection has come up.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Counts a PATCH, which is a sign of life.
    ///
    /// # Errors
    /// [`Error::TooOften`] if there have been too many.
    pub fn allow(&self) -> Result<(), Error> {
        let now = awake::now();
        let mut allowance = self
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if allowance.take(1.0, now) {
            self.attendance.note(now);
            Ok(())
        } else {
            Err(Error::TooOften)
        }
    }

    /// Identifies the present ICE session.
    pub fn ice_id(&self) -> String {
        self.ice().id.clone()
    }

    /// What the fragment asks for (RFC 9725 §4.3). A restart shows in changed credentials.
    ///
    /// # Errors
    /// If it names a section this session does not have, or only half of new credentials.
    pub fn change(&self, fragment: &Fragment) -> Result<Change, Error> {
        Ok(fragment.change(&self.ice().remote)?)
    }

    fn ice(&self) -> MutexGuard<'_, Ice> {
        self.ice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restarts ICE (RFC 9725 §4.3.3).
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn restart(&self, fragment: Fragment) -> Result<Restarted, Error> {
        let (Some(ice_ufrag), Some(ice_pwd)) = (fragment.ice_ufrag, fragment.ice_pwd) else {
            let lack = "a restart needs a=ice-ufrag and a=ice-pwd".to_owned();
            return Err(sdp::Error::Unsupported(lack).into());
        };
        let (reply, transport) = oneshot::channel();
        let command = Command::Restart {
            ice_ufrag: ice_ufrag.clone(),
            ice_pwd: ice_pwd.clone(),
            reply,
        };
        self.commands
            .try_send(command)
            .map_err(|_| Error::TooOften)?;
        let transport = awake::timeout(RESTART_TIMEOUT, transport)
            .await
            .map_err(|_| Error::Failed("the engine did not restart ICE in time".to_owned()))?
            .map_err(|_| Error::Missing("session"))??;
        let id = random_hex::<ICE_ID_BYTES>()?;
        let mut ice = self.ice();
        ice.id.clone_from(&id);
        ice.remote.ice_ufrag = ice_ufrag;
        ice.remote.ice_pwd = ice_pwd;
        let mid = ice
            .remote
            .mids
            .first()
            .map(String::as_str)
            .unwrap_or_default();
        Ok(Restarted {
            ice_id: id,
            fragment: sdp::restart_answer(mid, &transport),
        })
    }
}

/// Ends a task, with the reason.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    why: Arc<OnceLock<End>>,
}

impl Stop {
    /// Ends the task; the first reason given counts.
    pub(super) fn end(&self, why: End) {
        // Err: somebody else was first.
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Whether the task has been asked to end.
    pub(super) fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves with the reason once the task is asked to end.
    pub(super) async fn ended(&self) -> End {
        self.token.cancelled().await;
        *self.why.get_or_init(|| End::Shutdown)
    }
}

/// A random number between 0 and 1 that spreads restarts.
pub(super) fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
