//! The meaning of paths, and the methods that they take. Pure.

mod table;

use ::http::Method;

use self::table::ApiRoute;
#[cfg(test)]
pub(super) use self::table::TABLE;
use super::{
    extensions::Extension,
    pages::{FilePath, is_page},
    pipelines::PipelinePart,
    recordings::RecordingPath,
    request::PATH_BYTES_MAX,
};
use crate::{peer::sdp::Role, plan::Name};

/// Folders of files that belong to pages.
const FOLDERS: [&str; 3] = ["js/", "css/", "site/"];
/// The operator's pages.
const ADMIN_PAGE: &str = "admin.html";
const RECORDINGS_PAGE: &str = "recordings.html";
/// Files beside the pages, which browsers and other sites look for.
const FILES: [&str; 5] = [
    "favicon.svg",
    "favicon.ico",
    "touch-icon.png",
    "manifest.webmanifest",
    "card.png",
];

/// The meaning of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// A WHIP or WHEP endpoint.
    Endpoint(Role, Naming<'a>),
    /// A session; whether it exists is another question.
    Session(Role, &'a str),
    /// The resources below a viewer's session: events and layer selection.
    Extension(&'a str, Extension<'a>),
    /// `/api/broadcasts`.
    Broadcasts,
    /// `/api/broadcasts/{name}`.
    Broadcast(Name),
    /// `/api/broadcasts/{name}/pipelines`.
    Pipelines(Name),
    /// `/api/broadcasts/{name}/pipelines/{pipeline}/...`.
    Pipeline(Name, &'a str, PipelinePart),
    /// `/api/broadcasts/{name}/outputs`.
    Outputs(Name),
    /// `/api/broadcasts/{name}/outputs/{pipeline}`.
    Output(Name, &'a str),
    /// `/api/broadcasts/{name}/refusal`.
    Refusal(Name),
    /// `/api/broadcasts/{name}/chat`.
    Chat(Name),
    /// `/api/broadcasts/{name}/data`.
    Data(Name),
    /// `/api/broadcasts/{name}/sessions`.
    Sessions(Name),
    /// `/api/broadcasts/{name}/sessions/{number}`: a session by its public number.
    Attendee(Name, u64),
    /// `/api/openapi.json`: the API's document.
    ApiDocument,
    /// `/api/docs`: the same as a page.
    ApiPage,
    /// `/api/configuration`.
    Configuration,
    /// `/api/configuration/broadcasts/{name}`.
    BroadcastConfiguration(Name),
    /// `/api/recordings`.
    Recordings,
    /// `/api/recordings/{recording}`.
    Recording(&'a str),
    /// `/api/recordings/{recording}/{key}/{file}`.
    RecordingFile(RecordingPath<'a>),
    /// `/api/events`.
    Events,
    /// `/api/server`.
    Server,
    /// `/api/server/load`: the last half hour.
    Load,
    /// `/healthz`: whether the server works.
    Health,
    /// `/readyz`: whether it takes new sessions.
    Ready,
    /// `/metrics`.
    Metrics,
    /// `/admin/drain`.
    Drain,
    /// `/admin/reload`.
    Reload,
    /// `/admin/events`: everything that happens.
    Happenings,
    /// `/oembed`: what other sites need to show a broadcast.
    OEmbed,
    /// A page or what belongs to one: path in the web folder, made of harmless segments.
    File(FilePath<'a>),
    /// The page is elsewhere: an address relative to this one, whatever path a proxy has put before both.
    Moved(String),
}

/// How an endpoint's request names its broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming<'a> {
    /// In the path; known to be a legal name.
    Path(&'a str),
    /// As `?broadcast=`; or the bearer token is or implies the name, as OBS users write it.
    Token,
}

impl<'a> Route<'a> {
    /// The route of a path; `None` is 404. Nothing is decoded: legal names need no escapes.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        // People paste endpoints with a slash at the end into OBS.
        if let Some(path) = path.strip_suffix('/')
            && let Some(endpoint @ Self::Endpoint(..)) = Self::exact(path)
        {
            return Some(endpoint);
        }
        Self::exact(path)
    }

    fn exact(path: &'a str) -> Option<Self> {
        ApiRoute::find(path).or_else(|| Self::of_page(path))
    }

    fn of_page(path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let first = segments.next()?;
        let (second, third) = (segments.next(), segments.next());
        if segments.next().is_some() {
            return Self::of_file(path);
        }
        match (first, second, third) {
            ("admin", None, None) => Some(Self::page(ADMIN_PAGE)),
            ("admin", Some("recordings"), None) => Some(Self::page(RECORDINGS_PAGE)),
            ("admin", Some(""), None) => Some(Self::Moved("../admin".to_owned())),
            ("", None, None) => Some(Self::page("index.html")),
            // The alias: names are never `whip` or `whep`, so it cannot be another path.
            (name, Some(last), None) if role(last).is_some() => Self::endpoint(role(last)?, name),
            // Pages refer to their files relative to their own depth.
            ("publish", None, None) => Some(Self::Moved("publish/".to_owned())),
            ("publish", Some(""), None) => Some(Self::page("publish.html")),
            ("watch", None, None) => Some(Self::Moved("./".to_owned())),
            ("watch", Some(""), None) => Some(Self::Moved("../".to_owned())),
            ("publish" | "watch", Some(name), Some("")) => {
                Name::new(name).map(|_| Self::Moved(format!("../{name}")))
            }
            // What to set in OBS for this broadcast, and what arrives.
            ("publish", Some(name), Some("obs")) => Name::new(name).map(|_| Self::page("obs.html")),
            ("publish", Some(name), None) => Name::new(name).map(|_| Self::page("publish.html")),
            ("watch", Some(names), None) if names.contains('+') => {
                let mut names = names.split('+');
                let legal = names.all(|name| Name::new(name).is_some());
                legal.then(|| Self::page("several.html"))
            }
            ("watch", Some(name), None) => Name::new(name).map(|_| Self::page("watch.html")),
            _ => Self::of_file(path),
        }
    }

    fn endpoint(role: Role, name: &'a str) -> Option<Self> {
        Name::new(name)?;
        Some(Self::Endpoint(role, Naming::Path(name)))
    }

    const fn page(path: &'a str) -> Self {
        Self::File(FilePath {
            path,
            version: None,
        })
    }

    fn of_file(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let versioned = path
            .strip_prefix("v/")
            .and_then(|path| path.split_once('/'));
        let (version, path) = match versioned {
            Some((version, path)) => (Some(version), path),
            None => (None, path),
        };
        let harmless = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let in_folder = FOLDERS.iter().any(|folder| path.starts_with(folder));
        let known = in_folder || (version.is_none() && FILES.contains(&path));
        let is_harmless = path.split('/').chain(version).all(harmless);
        (known && is_harmless).then_some(Self::File(FilePath { path, version }))
    }

    /// Whether this is a page of the operator's, or a file that one may need.
    pub(super) fn is_for_operators(&self) -> bool {
        match self {
            Self::File(file) => {
                [ADMIN_PAGE, RECORDINGS_PAGE].contains(&file.path) || !is_page(file.path)
            }
            _ => false,
        }
    }

    /// The value of `Allow`.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Endpoint(..) | Self::Extension(_, Extension::Events) | Self::Chat(_) => {
                "GET, HEAD, OPTIONS, POST"
            }
            Self::Session(..) | Self::Attendee(..) => "GET, HEAD, OPTIONS, PATCH, DELETE",
            Self::Extension(_, Extension::Selection(_)) | Self::Recording(_) => {
                "GET, HEAD, OPTIONS, DELETE"
            }
            Self::Extension(_, Extension::Layer) => "OPTIONS, POST, DELETE",
            Self::Drain | Self::Reload | Self::Data(_) => "OPTIONS, POST",
            Self::BroadcastConfiguration(_) => "GET, HEAD, OPTIONS, PUT, PATCH, DELETE",
            Self::Configuration | Self::Output(..) => "GET, HEAD, OPTIONS, PATCH",
            Self::Pipeline(_, _, part) => part.methods(),
            Self::Broadcasts
            | Self::Broadcast(_)
            | Self::Pipelines(_)
            | Self::Outputs(_)
            | Self::Refusal(_)
            | Self::Sessions(_)
            | Self::Recordings
            | Self::RecordingFile(_)
            | Self::Events
            | Self::Server
            | Self::ApiDocument
            | Self::ApiPage
            | Self::Load
            | Self::Happenings
            | Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::OEmbed
            | Self::File(_)
            | Self::Moved(_) => "GET, HEAD, OPTIONS",
        }
    }

    pub(super) fn allows(&self, method: &Method) -> bool {
        self.methods()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }
}

fn role(segment: &str) -> Option<Role> {
    match segment {
        "whip" => Some(Role::Publisher),
        "whep" => Some(Role::Viewer),
        _ => None,
    }
}

/// Whether this can be the id of a session or of an event stream: letters and digits.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcast::Drawing;

    #[test]
    fn endpoints_and_their_aliases() {
        let demo = |role| Some(Route::Endpoint(role, Naming::Path("demo")));
        assert_eq!(Route::of("/whip/demo"), demo(Role::Publisher));
        assert_eq!(Route::of("/demo/whip"), demo(Role::Publisher));
        assert_eq!(Route::of("/whep/demo"), demo(Role::Viewer));
        assert_eq!(Route::of("/demo/whep"), demo(Role::Viewer));
        assert_eq!(
            Route::of("/whip"),
            Some(Route::Endpoint(Role::Publisher, Naming::Token))
        );
        for path in ["/whip/demo/", "/demo/whip/"] {
            assert_eq!(Route::of(path), demo(Role::Publisher), "{path}");
        }
        assert_eq!(Route::of("/whip/"), Route::of("/whip"));
    }

    /// Every segment that some route knows is a legal name on every route, or no name at all.
    #[test]
    fn any_legal_name_works_on_every_route() {
        let words = "s whip whep api watch publish js css broadcasts events server pipelines \
                     graph.svg properties layer healthz readyz metrics favicon.svg index.html oembed \
                     v admin drain reload undefined";
        for word in words.split(' ') {
            let Some(name) = Name::new(word) else {
                assert!(["whip", "whep"].contains(&word), "{word}");
                for path in [format!("/whip/{word}"), format!("/{word}/{word}")] {
                    assert_eq!(Route::of(&path), None, "{path}");
                }
                continue;
            };
            let endpoint = |role| Some(Route::Endpoint(role, Naming::Path(word)));
            for (path, route) in [
                (format!("/whip/{word}"), endpoint(Role::Publisher)),
                (format!("/whip/{word}/"), endpoint(Role::Publisher)),
                (format!("/{word}/whip"), endpoint(Role::Publisher)),
                (format!("/whep/{word}"), endpoint(Role::Viewer)),
                (format!("/{word}/whep"), endpoint(Role::Viewer)),
                (format!("/{word}/whep/"), endpoint(Role::Viewer)),
                (format!("/watch/{word}"), Some(Route::page("watch.html"))),
                (
                    format!("/publish/{word}"),
                    Some(Route::page("publish.html")),
                ),
                (
                    format!("/api/broadcasts/{word}"),
                    Some(Route::Broadcast(name.clone())),
                ),
                (
                    format!("/api/v1/broadcasts/{word}"),
                    Some(Route::Broadcast(name.clone())),
                ),
                (
                    format!("/api/broadcasts/{word}/pipelines"),
                    Some(Route::Pipelines(name.clone())),
                ),
                (
                    format!("/api/broadcasts/{word}/refusal"),
                    Some(Route::Refusal(name)),
                ),
            ] {
                assert_eq!(Route::of(&path), route, "{path}");
            }
        }
        // Sessions stay what they are beside a broadcast `s`.
        assert_eq!(
            Route::of("/whip/s/whip"),
            Some(Route::Session(Role::Publisher, "whip"))
        );
    }

    #[test]
    fn sessions() {
        assert_eq!(
            Route::of("/whep/s/0af"),
            Some(Route::Session(Role::Viewer, "0af"))
        );
        for path in ["/whip/s/a-b", "/whip/s/a/b"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn extensions_hang_below_viewers_sessions() {
        let of = |extension| Some(Route::Extension("0a", extension));
        assert_eq!(Route::of("/whep/s/0a/events"), of(Extension::Events));
        assert_eq!(
            Route::of("/whep/s/0a/events/7"),
            of(Extension::Selection("7"))
        );
        assert_eq!(Route::of("/whep/s/0a/layer"), of(Extension::Layer));
        for path in ["/whip/s/0a/events", "/whep/s/0a/x", "/whep/s/0a/events/7/8"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn pipelines_hang_below_broadcasts() {
        let name = || Name::new("a").unwrap();
        let of = |path| Route::of(path);
        assert_eq!(
            of("/api/broadcasts/a/pipelines"),
            Some(Route::Pipelines(name()))
        );
        for (last, part) in [
            ("graph.svg", PipelinePart::Graph(Drawing::Svg)),
            ("graph.dot", PipelinePart::Graph(Drawing::Dot)),
            ("force-keyframe", PipelinePart::Keyframe),
            ("properties", PipelinePart::Properties),
        ] {
            let path = format!("/api/broadcasts/a/pipelines/x-1/{last}");
            assert_eq!(Route::of(&path), Some(Route::Pipeline(name(), "x-1", part)));
        }
        for path in [
            "/api/broadcasts/a/pipelinesx",
            "/api/broadcasts/a/pipelines/x",
            "/api/broadcasts/a/pipelines/x/y",
            "/api/broadcasts/a/pipelines/x/graph.svg/y",
            "/api/broadcasts/.a/pipelines",
            "/api/v2/broadcasts/a/pipelines",
            "/api/v1/v1/broadcasts",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn pages_and_files() {
        for (path, file) in [
            ("/", "index.html"),
            ("/watch/demo", "watch.html"),
            ("/publish/", "publish.html"),
            ("/publish/demo", "publish.html"),
            ("/js/whip.js", "js/whip.js"),
            ("/js/a/b/c.js", "js/a/b/c.js"),
            ("/watch/a+b+c", "several.html"),
            ("/publish/demo/obs", "obs.html"),
            ("/admin", "admin.html"),
            ("/admin/recordings", "recordings.html"),
            ("/favicon.svg", "favicon.svg"),
            ("/favicon.ico", "favicon.ico"),
            ("/card.png", "card.png"),
        ] {
            assert_eq!(Route::of(path), Some(Route::page(file)), "{path}");
        }
        let versioned = Route::File(FilePath {
            path: "js/words/en.js",
            version: Some("0f"),
        });
        assert_eq!(Route::of("/v/0f/js/words/en.js"), Some(versioned));
        for path in [
            "/v/0f/card.png",
            "/v/js/a.js",
            "/v/.0f/js/a.js",
            "/v//js/a.js",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn pages_are_found_with_and_without_a_slash() {
        for (path, target) in [
            ("/publish", "publish/"),
            ("/publish/demo/", "../demo"),
            ("/watch", "./"),
            ("/watch/", "../"),
            ("/watch/demo/", "../demo"),
        ] {
            let moved = Some(Route::Moved(target.to_owned()));
            assert_eq!(Route::of(path), moved, "{path}");
        }
    }

    #[test]
    fn everything_else_is_not_found() {
        let long = format!("/whip/{}", "a".repeat(300));
        for path in [
            "",
            "*",
            "//",
            "/whip//",
            "/whip//demo",
            "/whip/demo//",
            "/whip/..",
            "/whip/a%2Fb",
            "/whip/.a",
            "/js/../index.html",
            "/js/.hidden",
            "/js//a",
            "/js/",
            "/watch/..",
            "/watch/a+",
            "/watch/+a",
            "/watch/a+.b",
            "/publish/.a/obs",
            "/watch/../",
            "/index.html",
            "/css/%2e%2e/x",
            "/etc/passwd",
            "/api",
            &long,
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn methods() {
        let session = Route::Session(Role::Publisher, "a");
        assert!(session.allows(&Method::PATCH));
        assert!(!session.allows(&Method::POST));
        assert!(!Route::Health.allows(&Method::POST));
    }
}
