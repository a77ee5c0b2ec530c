//! Every option, read once from flags, environment and file into plain immutable data. The entry
//! of an option, with default and range, is in `options`; that of a key of `[broadcasts]` in
//! `plan::keys`.
//!
//! Flags beat the environment, the environment beats the file, the file beats the defaults. An
//! option `section.name` is the flag `--section.name`, the variable `AERIAL_SECTION_NAME` and the
//! key `name` under `[section]` in `aerial.toml`. Nothing here starts anything.

mod access;
mod amending;
mod broadcasts;
mod changes;
mod file;
mod hint;
mod mark;
mod network;
mod nodes;
mod option;
mod options;
mod origin;
mod pipelines;
mod raw;
mod reading;
mod sections;
mod site;
mod tokens;
mod value;
mod webhooks;

use std::{fs, io, path::PathBuf};

pub use broadcasts::broadcast_keys;
pub use changes::ConfigChanges;
pub use mark::FileMark;
pub use network::{MediaOverTcp, PublicAddress};
pub use nodes::{AlonePolicy, NatsServer, NodeName};
pub use option::Opt;
pub use options::{
    Admin, Auth, ClusterOptions, Http, Limits, Main, RecordingOptions, SiteOptions, Timeouts,
    WebRtc, all,
};
pub use origin::ValueOrigin;
pub use raw::RawConfig;
pub use value::{AdminAddress, Bytes, IceServer, LogFormat};

use crate::{
    access::Access,
    plan::{Pattern, Plans, Settings},
    webhooks::WebhookOptions,
};

/// The file that is read if none is named and it exists in the working directory.
pub const DEFAULT_FILE: &str = "aerial.toml";
/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "AERIAL_CONFIG";
/// Name of the broadcast that runs when nothing else is configured, and of its pipeline file.
const DEMO: &str = "demo";

/// Why the configuration is refused. One line each, naming the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that was named cannot be read.
    #[error("{path}: cannot be read: {cause}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        origin: ValueOrigin,
        /// The parser's error.
        message: String,
    },
    /// A key that no option has.
    #[error("{origin}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// Where.
        origin: ValueOrigin,
        /// The key as written.
        key: String,
        /// A hint.
        hint: String,
    },
    /// A value that the option does not take.
    #[error("{origin}: `{key}` takes {expected}, not `{given}`")]
    BadValue {
        /// Where.
        origin: ValueOrigin,
        /// The option.
        key: String,
        /// The values that it takes.
        expected: String,
        /// The value given.
        given: String,
    },
    /// A broadcast names a pipeline file that does not exist.
    #[error("{origin}: no pipeline file `{file}` in {place}; available: {known}")]
    NoPipeline {
        /// Where.
        origin: ValueOrigin,
        /// The file as written.
        file: String,
        /// Where it should be.
        place: String,
        /// The files that exist.
        known: String,
    },
}

/// Stands for a value that is a secret.
const NOT_SHOWN: &str = "the current value (not shown)";

impl Error {
    fn bad_value(origin: &ValueOrigin, key: &str, expected: &str, given: &str) -> Self {
        Self::BadValue {
            origin: origin.clone(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            given: given.to_owned(),
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, folders and the log.
    pub main: Main,
    /// The HTTP port.
    pub http: Http,
    /// The design of the pages.
    pub site: SiteOptions,
    /// The operator's own port.
    pub admin: Admin,
    /// How tokens are accepted.
    pub auth: Auth,
    /// Who may publish and watch.
    pub access: Access,
    /// How much clients can make the server do.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Peer connections.
    pub webrtc: WebRtc,
    /// The recordings of outputs.
    pub recordings: RecordingOptions,
    /// Several servers as one service.
    pub cluster: ClusterOptions,
    /// `[[webhooks]]`.
    pub webhooks: Vec<WebhookOptions>,
    /// `[broadcasts.NAME]` and `[defaults]`.
    pub plans: Plans,
}

impl Config {
    /// Checks everything and reads the files that are named.
    ///
    /// # Errors
    /// An unknown key, a bad value or an unreadable file; the first one found.
    pub fn load(raw: &RawConfig) -> Result<Self, Error> {
        let mut config = Self {
            main: Main::take(raw)?,
            http: Http::take(raw)?,
            site: SiteOptions::take(raw)?,
            admin: Admin::take(raw)?,
            auth: Auth::take(raw)?,
            access: Access::default(),
            limits: Limits::take(raw)?,
            timeouts: Timeouts::take(raw)?,
            webrtc: WebRtc::take(raw)?,
            recordings: RecordingOptions::take(raw)?,
            cluster: ClusterOptions::take(raw)?,
            webhooks: raw.webhooks.clone(),
            plans: Plans::default(),
        };
        // Checked now: a wrong folder or file is a mistake to report at the start.
        let index = config.main.web.as_ref().map(|web| web.join("index.html"));
        let logo = config.site.logo.as_ref().map(|logo| logo.0.clone());
        for path in index.into_iter().chain(logo) {
            fs::File::open(&path).map_err(|cause| Error::Unreadable { path, cause })?;
        }
        config.check_tls(raw)?;
        config.check_hsts(raw)?;
        config.check_turn(raw)?;
        config.check_cluster(raw)?;
        config.access = config.access(raw)?;
        config.plans = config.plans(raw)?;
        Ok(config)
    }

    fn check_tls(&self, raw: &RawConfig) -> Result<(), Error> {
        let Http {
            tls_certificate,
            tls_key,
            ..
        } = &self.http;
        match raw.first_of("http.tls_") {
            Some((key, origin)) if tls_certificate.is_some() != tls_key.is_some() => {
                Err(Error::BadValue {
                    origin: origin.clone(),
                    key: key.to_owned(),
                    expected: "both http.tls_certificate and http.tls_key".to_owned(),
                    given: "one of them".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    fn check_hsts(&self, raw: &RawConfig) -> Result<(), Error> {
        let Http {
            hsts,
            tls_certificate,
            public_url,
            ..
        } = &self.http;
        let proxy = public_url.as_ref();
        let has_tls =
            tls_certificate.is_some() || proxy.is_some_and(|url| url.0.starts_with("https:"));
        match raw.first_of("http.hsts") {
            Some((key, origin)) if hsts.is_some() && !has_tls => {
                let expected = "TLS beside it: http.tls_certificate, or http.public_url with \
                                https://";
                Err(Error::bad_value(origin, key, expected, "no TLS"))
            }
            _ => Ok(()),
        }
    }

    fn check_turn(&self, raw: &RawConfig) -> Result<(), Error> {
        let mut servers = self.webrtc.ice_servers.iter();
        let shared = servers.any(|server| server.takes_made_password().is_some());
        let (key, expected) = match (shared, &self.webrtc.turn_secret) {
            (true, None) => (
                "webrtc.ice_servers",
                "TURN servers with a user name, or webrtc.turn_secret set as well",
            ),
            (false, Some(_)) => (
                "webrtc.turn_secret",
                "a TURN server without a user name beside it in webrtc.ice_servers",
            ),
            _ => return Ok(()),
        };
        Err(Error::bad_value(
            &raw.origin_of(key),
            key,
            expected,
            "neither",
        ))
    }

    fn check_cluster(&self, raw: &RawConfig) -> Result<(), Error> {
        let ClusterOptions {
            certificate, key, ..
        } = &self.cluster;
        let present = match (certificate, key) {
            (Some(_), None) => "cluster.certificate",
            (None, Some(_)) => "cluster.key",
            _ => return Ok(()),
        };
        Err(Error::bad_value(
            &raw.origin_of(present),
            present,
            "both cluster.certificate and cluster.key",
            "one of them",
        ))
    }

    /// Reads the pipeline files that the sections name.
    fn plans(&self, raw: &RawConfig) -> Result<Plans, Error> {
        let directory = self.main.pipelines.as_deref();
        let mut sections = raw
            .broadcasts
            .iter()
            .map(|section| section.load(directory))
            .collect::<Result<Vec<_>, _>>()?;
        let demo = self.main.demo.unwrap_or(!raw.has_broadcasts);
        let has_source = |(pattern, settings): &(Pattern, Settings)| {
            let named = pattern.name().is_some_and(|name| name.as_str() == DEMO);
            named && settings.source.is_some()
        };
        if demo
            && !sections.iter().any(has_source)
            && let Some(pattern) = Pattern::new(DEMO)
        {
            let settings = Settings {
                source: Some(pipelines::read(
                    directory,
                    &format!("{DEMO}.launch"),
                    &ValueOrigin::Default,
                )?),
                ..Settings::default()
            };
            sections.push((pattern, settings));
        }
        if let Some(folder) = &self.recordings.directory {
            let folder = folder.display().to_string();
            let settings = Settings {
                vars: Some([("directory".to_owned(), folder)].into()),
                ..Settings::default()
            };
            // The least specific: any other section counts more.
            sections.push((Pattern::any(), settings));
        }
        raw.switch_outputs(Plans::new(sections, pipelines::automatic()), directory)
    }
}
