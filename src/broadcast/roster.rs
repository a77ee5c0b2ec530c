//! The sessions of a broadcast, as the operator sees and changes them.
//!
//! The actor only says which sessions there are; each session's task tells its own figures.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    Broadcasts, Error, Session,
    actor::ActorRequest,
    attendee::Attendee,
    figures::{ReceivedTrack, SessionFigures, SessionReport},
    session::{Command, Introduction},
    status::rfc3339,
};
use crate::{
    awake,
    peer::{End, sdp::Role},
    plan::Name,
    resources::ProcessFigures,
};

/// How long the sessions' tasks may take to tell their figures.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(1);

/// A session, as the operator sees it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SessionStatus {
    /// Its number, which its log lines carry too. Its URL is secret.
    pub id: u64,
    /// Publisher or viewer.
    pub role: Role,
    /// When it was answered.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<std::time::SystemTime>,
    /// Whether its connection is up.
    pub connected: bool,
    /// Its client.
    #[serde(flatten)]
    pub introduction: Option<Introduction>,
    /// What a viewer receives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tracks: Vec<ReceivedTrack>,
    /// What has been sent or received, if its task has reported in time.
    #[serde(flatten)]
    pub figures: Option<SessionFigures>,
    /// What its process uses, on webrtcbin. Viewers of a broadcast share theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessFigures>,
}

impl Attendee {
    async fn status(self) -> SessionStatus {
        let Self { session, tracks } = self;
        let report = session.report().await;
        SessionStatus {
            id: session.number,
            role: session.role,
            started: Some(session.started),
            connected: session.is_connected(),
            introduction: session.introduction(),
            tracks,
            figures: report.map(|report| report.figures),
            process: report.and_then(|report| report.process),
        }
    }
}

impl Session {
    /// What it has carried and uses so far; `None` if its task is busy or has not begun.
    async fn report(&self) -> Option<SessionReport> {
        let (reply, figures) = oneshot::channel();
        self.commands.try_send(Command::Figures(reply)).ok()?;
        awake::timeout(FIGURES_TIMEOUT, figures).await.ok()?.ok()
    }
}

impl Broadcasts {
    /// The sessions of a broadcast, or those with this role, oldest first.
    ///
    /// # Errors
    /// If there is no such broadcast.
    pub async fn sessions_of(
        &self,
        name: &Name,
        role: Option<Role>,
    ) -> Result<Vec<SessionStatus>, Error> {
        let mut attendees = self.attendees(name).await?;
        attendees.retain(|attendee| role.is_none_or(|role| attendee.session.role == role));
        Ok(join_all(attendees.into_iter().map(Attendee::status)).await)
    }

    /// One session of a broadcast, by number.
    ///
    /// # Errors
    /// If there is no such broadcast or session.
    pub async fn session_of(&self, name: &Name, number: u64) -> Result<SessionStatus, Error> {
        let mut attendees = self.attendees(name).await?.into_iter();
        let attendee = attendees.find(|attendee| attendee.session.number == number);
        Ok(attendee.ok_or(Error::Missing("session"))?.status().await)
    }

    async fn attendees(&self, name: &Name) -> Result<Vec<Attendee>, Error> {
        self.ask_existing(name, |reply| ActorRequest::Attendees { reply })
            .await
    }

    /// Ends a session of a broadcast, by number, at the operator's request.
    ///
    /// # Errors
    /// If there is no such broadcast or session.
    pub async fn kick(&self, name: &Name, number: u64) -> Result<(), Error> {
        self.ask_existing(name, |reply| ActorRequest::End {
            session: number,
            why: End::Kicked,
            reply,
        })
        .await
    }

    /// Has a viewer, by its number, ask for a rendition by name from now on. With `None` it asks
    /// for none, and stays where it is as long as that suits it.
    ///
    /// # Errors
    /// If there is no such broadcast, viewer or rendition.
    pub async fn move_viewer(
        &self,
        name: &Name,
        number: u64,
        rendition: Option<&str>,
    ) -> Result<(), Error> {
        self.ask_existing(name, |reply| ActorRequest::Move {
            session: number,
            requested: rendition.map(str::to_owned),
            reply,
        })
        .await
    }
}
