//! The WHIP and WHEP endpoints: where sessions begin (RFC 9725 §4.2, WHEP §4.3).

use std::{sync::Arc, time::SystemTime};

use ::http::{HeaderValue, Method, StatusCode, header};
use warp::reply::Response;

use super::{
    App,
    auth::Auth,
    extensions,
    headers::{ACCEPT_PATCH, ACCEPT_POST, FRAGMENT_TYPE, OFFER_TYPE},
    judgement::RequestSender,
    lease::Lease,
    problem::Problem,
    reply::{add_links, empty, set, with_body},
    request::HttpRequest,
    router::Naming,
    wire,
};
use crate::{
    awake,
    broadcast::{self, Applicant, Created, Introduction},
    histogram::TimeHistogram,
    peer::sdp::{Offer, Role},
    plan::Name,
};

/// How long clients have waited for their answers.
#[derive(Default)]
pub(super) struct AnswerTimes {
    publishers: TimeHistogram,
    viewers: TimeHistogram,
}

impl AnswerTimes {
    pub(super) fn of(&self, role: Role) -> &TimeHistogram {
        match role {
            Role::Publisher => &self.publishers,
            Role::Viewer => &self.viewers,
        }
    }
}

pub(super) async fn answer(
    app: &App,
    role: Role,
    naming: Naming<'_>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    if request.method == Method::POST {
        return create(app, role, naming, request).await;
    }
    // GET and HEAD. The endpoint exists whether or not anybody publishes.
    Ok(match role {
        // RFC 9725 §4.1: a 2xx without content.
        Role::Publisher => empty(StatusCode::NO_CONTENT),
        // WHEP §4.2: clients discover an endpoint by this content type.
        Role::Viewer => {
            let mut response = empty(StatusCode::OK);
            set(&mut response, &header::CONTENT_TYPE, OFFER_TYPE);
            response
        }
    })
}

async fn create(
    app: &App,
    role: Role,
    naming: Naming<'_>,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    let name = name(app, role, naming, &request)?;
    let admitted = app.auth.permit(&request, role, &name).await?;
    if !app.clients.allow(request.client) {
        return Err(Problem::too_often("too many offers came from this address"));
    }
    let body = request
        .body(app.now().offer_bytes_max, app.options.body_timeout)
        .await?;
    if let Some(elsewhere) = elsewhere(app, role) {
        return Ok(redirect(&elsewhere, &request));
    }
    app.shutdown.permit_session()?;
    if !request.has_type(OFFER_TYPE) {
        return Err(Problem::wrong_type(ACCEPT_POST, OFFER_TYPE));
    }
    let offer = Offer::parse(&body, role)?;
    let token = admitted.token.as_deref();
    let share = app.sessions.take(role, request.client, token)?;
    let broadcast = admitted.broadcast.as_ref().unwrap_or(&name);
    let guest = app.auth.guest(&request, broadcast);
    let applicant = Applicant::new(offer, share, admitted.bitrate, guest);
    let created = match role {
        Role::Publisher => {
            let token = token.or_else(|| Auth::token_name(&request)).map(Arc::from);
            let arrived = request.arrived;
            app.broadcasts
                .publish(broadcast, applicant, arrived, token)
                .await
        }
        Role::Viewer => {
            app.broadcasts
                .watch(broadcast, applicant, request.parameter("rendition"))
                .await
        }
    };
    match created {
        Ok(created) => {
            let waited = awake::since(request.arrived);
            app.answer_times.of(role).note(waited);
            let session = &created.session;
            session.introduce(Introduction {
                client: request.client.to_string(),
                user_agent: request.user_agent(),
                token: token.map(str::to_owned),
            });
            let lease = Lease {
                auth: Arc::clone(&app.auth),
                session: Arc::clone(session),
                sender: RequestSender::of(&request),
                name,
                admitted,
            };
            lease.start();
            Ok(created_response(app, &request, role, created))
        }
        Err(error) => {
            let hidden =
                app.now().missing_is_404 && matches!(error, broadcast::Error::NotLive { .. });
            let problem = Problem::from(error);
            Err(if hidden { problem.hidden() } else { problem })
        }
    }
}

/// Whether a POST with this request's headers would pass authentication.
pub(super) async fn may_begin(
    app: &App,
    role: Role,
    naming: Naming<'_>,
    request: &HttpRequest,
) -> bool {
    if !app.auth.closes(role) {
        return true;
    }
    let Ok(name) = name(app, role, naming, request) else {
        return false;
    };
    app.auth.permit(request, role, &name).await.is_ok()
}

/// The server that new sessions of this role are redirected to.
fn elsewhere(app: &App, role: Role) -> Option<String> {
    let options = app.now();
    let base = match role {
        Role::Publisher => &options.redirect_publishers,
        Role::Viewer => &options.redirect_viewers,
    };
    base.clone()
}

/// RFC 9725 §4.5: 307, because clients turn a POST into a GET after 301 and 302.
fn redirect(base: &str, request: &HttpRequest) -> Response {
    let question = if request.query.is_empty() { "" } else { "?" };
    let location = format!("{base}{}{question}{}", request.path, request.query);
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    if let Ok(mut value) = HeaderValue::from_str(&location) {
        // Some clients put their stream key into the query.
        value.set_sensitive(true);
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// The broadcast that a request is about.
///
/// # Errors
/// 404 for text that is not a name; 400 or 401 if the request names none.
pub(super) fn name(
    app: &App,
    role: Role,
    naming: Naming<'_>,
    request: &HttpRequest,
) -> Result<Name, Problem> {
    let name = match (naming, request.parameter("broadcast")) {
        (Naming::Path(name), _) | (Naming::Token, Some(name)) => Name::new(name),
        // Here a bearer token authenticates the sender, and is not a name.
        (Naming::Token, None) if app.auth.closes(role) => return app.auth.name(request, role),
        // Never a name: it is a secret.
        (Naming::Token, None) if Auth::token_name(request).is_some() => {
            return Err(Problem::name_missing());
        }
        (Naming::Token, None) => {
            let token = request.bearer().ok_or_else(Problem::name_missing)?;
            Name::new(&token)
        }
    };
    name.ok_or_else(|| Problem::not_found("broadcast"))
}

fn created_response(app: &App, request: &HttpRequest, role: Role, created: Created) -> Response {
    let session = &created.session;
    let location = app.session_url(request, role, &session.id);
    let mut response = with_body(StatusCode::CREATED, OFFER_TYPE, created.answer);
    // It is dropped when the head of the response is written.
    response.extensions_mut().insert(created.delivery);
    // The URL is a secret: keep it out of logs that print headers.
    if let Ok(mut value) = HeaderValue::from_str(&location) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::LOCATION, value);
    }
    let etag = wire::ice_etag(&session.ice_id());
    set(&mut response, &header::ETAG, &etag);
    set(&mut response, &ACCEPT_PATCH, FRAGMENT_TYPE);
    set(&mut response, &header::CACHE_CONTROL, "no-store");
    // By its number: its id is secret.
    let who = session.number.to_string();
    let links = app.now().ice_servers.links(&who, SystemTime::now());
    add_links(&mut response, &links);
    if role == Role::Viewer {
        extensions::announce(&mut response, &location);
    }
    response
}
