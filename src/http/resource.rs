//! The session resource of WHIP and WHEP: trickle, restart, end (RFC 9725 §4.2, §4.3).

use std::sync::Arc;

use ::http::{Method, StatusCode, header};
use warp::reply::Response;

use super::{
    App,
    headers::{ACCEPT_PATCH, BROADCAST_STATE, FRAGMENT_TYPE, OFFER_TYPE},
    preconditions::{Precondition, if_match},
    problem::Problem,
    relay,
    reply::{empty, set, with_body},
    request::HttpRequest,
    wire,
};
use crate::{
    broadcast::{Session, SessionId, State},
    peer::sdp::{Change, Fragment, Role},
};

/// The session of a URL.
pub(super) fn find(app: &App, role: Role, id: &str) -> Result<Arc<Session>, Problem> {
    let session = app.broadcasts.session(&SessionId::from_url(id))?;
    if session.role == role {
        Ok(session)
    } else {
        Err(Problem::not_found("session"))
    }
}

pub(super) async fn answer(
    app: &App,
    role: Role,
    id: &str,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    let session = match find(app, role, id) {
        Ok(session) => session,
        Err(problem) => {
            return relay::elsewhere(app, id, &mut request).await.ok_or(problem);
        }
    };
    app.auth.permit_session(&request, &session).await?;
    if request.method == Method::DELETE {
        // RFC 9725 §4.3.1: entity tags do not matter here. 200, not 204: several clients insist.
        app.broadcasts.end(&session.id).await?;
        Ok(empty(StatusCode::OK))
    } else if request.method == Method::PATCH {
        patch(app, &session, request).await
    } else {
        Ok(exists(app, &session))
    }
}

/// A viewer that receives nothing learns whether there is anything to receive.
fn exists(app: &App, session: &Session) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    if session.role == Role::Viewer {
        let state = app.broadcasts.status_of(&session.broadcast);
        let state = state.map_or(State::Waiting, |status| status.state);
        set(&mut response, &BROADCAST_STATE, state.name());
    }
    response
}

async fn patch(
    app: &App,
    session: &Session,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    session.allow()?;
    let body = request
        .body(app.now().fragment_bytes_max, app.options.body_timeout)
        .await?;
    if session.role == Role::Viewer && request.has_type(OFFER_TYPE) {
        // WHEP §4.3.2: an answer belongs to a session that began with our offer; none does.
        return Err(Problem::unprocessable(
            "this session does not expect an SDP answer",
        ));
    }
    if !request.has_type(FRAGMENT_TYPE) {
        return Err(Problem::wrong_type(ACCEPT_PATCH, FRAGMENT_TYPE));
    }
    let fragment = Fragment::parse(&body)?;
    let change = session.change(&fragment)?;
    match if_match(&request.headers, &wire::ice_etag(&session.ice_id())) {
        Precondition::Holds => {}
        Precondition::Missing if app.now().lenient_etag => {}
        Precondition::Missing => return Err(Problem::precondition_required()),
        Precondition::Fails => return Err(Problem::precondition_failed()),
    }
    match change {
        Change::Trickle => Ok(empty(StatusCode::NO_CONTENT)),
        Change::Restart => {
            let restarted = session.restart(fragment).await?;
            let mut response = with_body(StatusCode::OK, FRAGMENT_TYPE, restarted.fragment);
            let etag = wire::ice_etag(&restarted.ice_id);
            set(&mut response, &header::ETAG, &etag);
            Ok(response)
        }
    }
}
