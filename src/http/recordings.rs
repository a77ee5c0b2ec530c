//! Recordings: the operator lists and deletes them; whoever has a link plays and downloads them.

use std::{
    io::{self, SeekFrom},
    time::SystemTime,
};

use ::http::{Method, StatusCode, header};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, Take},
};
use warp::{Reply as _, reply::Response};

use super::{
    App,
    problem::Problem,
    ranges::FileRange,
    reply::{empty, set, with_body},
    request::HttpRequest,
    wire::json,
};
use crate::{
    access::Right,
    plan::Name,
    recordings::{Recording, RecordingError, RecordingPage, RecordingQuery},
};

/// Recordings in one answer, unless the request says otherwise.
const PAGE: usize = 50;
/// The most that one answer has.
const PAGE_MAX: usize = 200;
/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The playlist beside a recording's files.
const PLAYLIST: &str = "index.m3u8";
const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";

/// What the document says about the query of the list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document; the handler reads queries")]
struct ListQuery {
    /// Only the recordings of this broadcast
    broadcast: Option<Name>,
    /// Only those after this one in the list: `next` of the answer before
    after: Option<String>,
    /// The most to list
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

/// What the document says about the URL of a file.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the document; the router reads URLs")]
struct FilePathParameters {
    /// The recording
    recording: String,
    /// From `link`
    key: String,
    /// A file of the recording, or `index.m3u8`
    file: String,
}

/// A recording with its link.
#[derive(Serialize, utoipa::ToSchema)]
struct LinkedRecording {
    #[serde(flatten)]
    recording: Recording,
    /// Where its files are for the next 12 hours, for whoever knows this: append the name of a
    /// file, or `index.m3u8` to play an MP4 recording as HLS. Relative to the server's root.
    link: String,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = RecordingList)]
struct List {
    recordings: Vec<LinkedRecording>,
    /// There are more: ask again with this as `after`.
    next: Option<String>,
}

impl LinkedRecording {
    fn new(app: &App, recording: Recording) -> Result<Self, Problem> {
        let key = app.recording_keys.key(&recording.id, SystemTime::now());
        let key = key.ok_or_else(|| Problem::failed("the system provides no random numbers"))?;
        let link = format!("/api/v1/recordings/{}/{key}/", recording.id);
        Ok(Self { recording, link })
    }
}

/// List the recordings
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/api/v1/recordings",
    operation_id = "recordings",
    tag = "recordings",
    params(ListQuery),
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = List),
        (status = 400, description = "The query cannot be read")
    )
)]
pub(super) async fn list(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    let RecordingPage { recordings, next } = app.recordings().list(query(request)?).await?;
    let recordings = recordings
        .into_iter()
        .map(|recording| LinkedRecording::new(app, recording))
        .collect::<Result<_, _>>()?;
    json(&List { recordings, next })
}

pub(super) async fn answer(
    app: &App,
    id: &str,
    request: &HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    if request.method == Method::DELETE {
        delete(app, id).await
    } else {
        get(app, id).await
    }
}

/// Get a recording
#[utoipa::path(
    get,
    path = "/api/v1/recordings/{recording}",
    operation_id = "recording",
    tag = "recordings",
    params(("recording" = String, Path, description = "The recording")),
    security(("token" = ["admin"])),
    responses((status = 200, body = LinkedRecording))
)]
async fn get(app: &App, id: &str) -> Result<Response, Problem> {
    let recording = app.recordings().get(id).await?;
    json(&LinkedRecording::new(app, recording)?)
}

/// Delete a recording
///
/// With all its files. One that is still being written stays: stop its output first.
#[utoipa::path(
    delete,
    path = "/api/v1/recordings/{recording}",
    operation_id = "delete_recording",
    tag = "recordings",
    params(("recording" = String, Path, description = "The recording")),
    security(("token" = ["admin"])),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "It is still being written")
    )
)]
async fn delete(app: &App, id: &str) -> Result<Response, Problem> {
    app.recordings().delete(id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Play or download a recording
///
/// No token is needed with the `link` of a recording. `index.m3u8` is a playlist of HLS over the
/// files of an MP4 recording, as they are. `Range` selects a part of a file.
#[utoipa::path(
    get,
    path = "/api/v1/recordings/{recording}/{key}/{file}",
    operation_id = "recording_file",
    tag = "recordings",
    params(FilePathParameters),
    responses(
        (status = 200, content_type = "video/mp4", body = Vec<u8>),
        (status = 206, content_type = "video/mp4", body = Vec<u8>, description = "The part that `Range` selects"),
        (status = 416, description = "The file is shorter"),
        (status = 422, description = "The recording cannot be played as HLS")
    )
)]
pub(super) async fn file(
    app: &App,
    path: RecordingPath<'_>,
    request: &HttpRequest,
) -> Result<Response, Problem> {
    let RecordingPath {
        recording,
        key,
        file,
    } = path;
    if !app.recording_keys.opens(recording, key, SystemTime::now()) {
        return Err(Problem::not_found("recording, or the link has expired"));
    }
    if file == PLAYLIST {
        let text = app.recordings().playlist(recording).await?;
        let mut response = with_body(StatusCode::OK, PLAYLIST_TYPE, text);
        set(&mut response, &header::CACHE_CONTROL, "no-store");
        return Ok(response);
    }
    let opened = app.recordings().open(recording, file).await?;
    send(File::from_std(opened), file, request).await
}

/// The URL of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordingPath<'a> {
    pub(super) recording: &'a str,
    pub(super) key: &'a str,
    pub(super) file: &'a str,
}

async fn send(file: File, name: &str, request: &HttpRequest) -> Result<Response, Problem> {
    let failed = |error: io::Error| Problem::failed(error.to_string());
    let mut file = file;
    let length = file.metadata().await.map_err(failed)?.len();
    let range = FileRange::of(request.header(&header::RANGE), length);
    let (status, first, bytes) = match range {
        FileRange::Whole => (StatusCode::OK, 0, length),
        FileRange::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        FileRange::Unsatisfiable => return Err(Problem::no_such_range(length)),
    };
    file.seek(SeekFrom::Start(first)).await.map_err(failed)?;
    let chunks = stream::try_unfold(file.take(bytes), chunk);
    let mut response = warp::reply::stream(chunks).into_response();
    *response.status_mut() = status;
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    set(&mut response, &header::CONTENT_TYPE, kind.essence_str());
    set(&mut response, &header::CONTENT_LENGTH, &bytes.to_string());
    set(&mut response, &header::ACCEPT_RANGES, "bytes");
    set(&mut response, &header::CACHE_CONTROL, "private, no-cache");
    // A recording is played, whatever is in it; it is never a page of this site.
    set(&mut response, &header::CONTENT_SECURITY_POLICY, "sandbox");
    if request.parameter("download").is_some() {
        let disposition = format!("attachment; filename=\"{name}\"");
        set(&mut response, &header::CONTENT_DISPOSITION, &disposition);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{length}", first + bytes - 1);
        set(&mut response, &header::CONTENT_RANGE, &range);
    }
    Ok(response)
}

/// The next bytes of a file; none at its end.
async fn chunk(file: Take<File>) -> io::Result<Option<(Bytes, Take<File>)>> {
    let mut file = file;
    let mut buffer = Vec::with_capacity(CHUNK_BYTES);
    (&mut file)
        .take(u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX))
        .read_to_end(&mut buffer)
        .await?;
    Ok((!buffer.is_empty()).then(|| (Bytes::from(buffer), file)))
}

fn query(request: &HttpRequest) -> Result<RecordingQuery, Problem> {
    let broadcast = request.parameter("broadcast").map(|name| {
        let wrong = || Problem::bad_request(&format!("broadcast takes {}", Name::RULE));
        Name::new(name).ok_or_else(wrong)
    });
    let limit = request.parameter("limit").map(|limit| {
        let limit = limit
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_MAX).contains(limit));
        limit.ok_or_else(|| Problem::bad_request("limit takes a number from 1 to 200"))
    });
    Ok(RecordingQuery {
        broadcast: broadcast.transpose()?,
        after: request.parameter("after").map(str::to_owned),
        limit: limit.transpose()?.unwrap_or(PAGE),
    })
}

impl From<RecordingError> for Problem {
    fn from(error: RecordingError) -> Self {
        let detail = error.to_string();
        match error {
            RecordingError::Missing => Self::not_found_because(detail),
            RecordingError::Growing => Self::being_written(detail),
            RecordingError::NoPlaylist => Self::unprocessable(&detail),
            RecordingError::System(_) => {
                tracing::error!(error = detail, "cannot read recordings");
                Self::failed("the server failed; its log says why")
            }
        }
    }
}
