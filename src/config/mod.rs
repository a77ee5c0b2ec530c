//! Every option: name, unit, default and range in one place (`options`), read from flags,
//! environment and file once, into plain immutable data.
//!
//! Flags beat the environment, the environment beats the file, the file beats the defaults. An
//! option `section.name` is the flag `--section.name`, the variable `AERIAL_SECTION_NAME` and the
//! key `name` under `[section]` in `aerial.toml`. Nothing here starts anything.

mod broadcasts;
mod layers;
mod options;
mod pipelines;
mod tokens;
mod value;

use std::{fs, io, path::PathBuf};

pub use layers::{Layers, Origin};
pub use options::{Auth, Http, Limits, Main, Opt, Timeouts, WebRtc, all};
pub use value::{Bytes, IceServer, LogFilter, PublicUrl, Value};

use crate::{
    access::{Access, Secret, Token},
    broadcast::{Pattern, Plans, Settings},
};

/// The file read when no other is named and it exists in the working directory.
pub const DEFAULT_FILE: &str = "aerial.toml";
/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "AERIAL_CONFIG";
/// Name of the broadcast that runs when nothing else is configured, and of its pipeline file.
const DEMO: &str = "demo";

/// Why the configuration is refused. One line each, naming the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that was named cannot be read.
    #[error("{path}: cannot be read: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// A key that no option has.
    #[error("{origin}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key as written.
        key: String,
        /// What to do.
        hint: String,
    },
    /// A value that the option does not take.
    #[error("{origin}: `{key}` takes {expected}, not `{given}`")]
    BadValue {
        /// Where.
        origin: Origin,
        /// The option.
        key: String,
        /// What it takes.
        expected: String,
        /// What was given.
        given: String,
    },
    /// A broadcast names a pipeline file that does not exist.
    #[error("{origin}: no pipeline file `{file}` in {place}; there are: {known}")]
    NoPipeline {
        /// Where.
        origin: Origin,
        /// The file as written.
        file: String,
        /// Where it was looked for.
        place: String,
        /// What is there.
        known: String,
    },
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, folders and the log.
    pub main: Main,
    /// The HTTP port.
    pub http: Http,
    /// How tokens are taken.
    pub auth: Auth,
    /// Who may publish and watch.
    pub access: Access,
    /// How much clients can make the server do.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Peer connections.
    pub webrtc: WebRtc,
    /// `[broadcasts.NAME]` and `[defaults]`.
    pub plans: Plans,
}

impl Config {
    /// Puts the layers together.
    ///
    /// # Errors
    /// An unknown key, a bad value or an unreadable file; the first one found.
    pub fn load(layers: &Layers) -> Result<Self, Error> {
        let mut config = Self {
            main: Main::take(layers)?,
            http: Http::take(layers)?,
            auth: Auth::take(layers)?,
            access: Access::default(),
            limits: Limits::take(layers)?,
            timeouts: Timeouts::take(layers)?,
            webrtc: WebRtc::take(layers)?,
            plans: Plans::default(),
        };
        if let Some(web) = &config.main.web {
            // Looked at now: a wrong folder is a mistake to learn of at the start.
            let index = web.join("index.html");
            fs::File::open(&index).map_err(|source| Error::Unreadable {
                path: index,
                source,
            })?;
        }
        config.check_tls(layers)?;
        config.access = config.access(layers)?;
        config.plans = config.plans(layers)?;
        Ok(config)
    }

    fn check_tls(&self, layers: &Layers) -> Result<(), Error> {
        let Http {
            tls_certificate,
            tls_key,
            ..
        } = &self.http;
        match layers.first_of("http.tls_") {
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

    fn access(&self, layers: &Layers) -> Result<Access, Error> {
        let Auth {
            publish_token,
            watch_token,
            public,
            ..
        } = &self.auth;
        let everything = || vec![Pattern::any()];
        let publish = |secret: &Secret| Token::new(secret, everything(), Vec::new());
        let watch = |secret: &Secret| Token::new(secret, Vec::new(), everything());
        let mut tokens = layers.tokens().to_vec();
        tokens.extend(publish_token.as_ref().map(publish));
        tokens.extend(watch_token.as_ref().map(watch));
        match layers.first_of("auth.") {
            // Whoever sets any of it wants it: an empty variable must not open the server.
            Some((key, origin)) if tokens.is_empty() => Err(Error::BadValue {
                origin: origin.clone(),
                key: key.to_owned(),
                expected: "a token beside it: auth.publish_token, auth.watch_token or \
                           [[auth.tokens]]"
                    .to_owned(),
                given: "none".to_owned(),
            }),
            _ => Ok(Access::new(tokens, public.clone())),
        }
    }

    /// Reads the pipeline files that the sections name.
    fn plans(&self, layers: &Layers) -> Result<Plans, Error> {
        let directory = self.main.pipelines.as_deref();
        let read = |(file, origin): &(String, Origin)| pipelines::read(directory, file, origin);
        let read_all = |files: &Option<Vec<_>>| {
            let files = files.as_ref();
            files.map(|files| files.iter().map(read).collect::<Result<Vec<_>, _>>())
        };
        let mut sections = Vec::new();
        for section in layers.broadcasts() {
            let settings = Settings {
                source: section.source.as_ref().map(read).transpose()?,
                outputs: read_all(&section.outputs).transpose()?,
                renditions: read_all(&section.renditions).transpose()?,
                slate: None,
                transcode: section.transcode,
                gop_max: section.gop_max,
                stall: section.stall,
                variables: section.variables.clone(),
                on_demand: section.on_demand,
                grace: section.grace,
                publisher_engine: section.publisher_engine,
                viewer_engine: section.viewer_engine,
            };
            let settings = match &section.slate {
                Some(slate) => pipelines::with_slate(settings, directory, slate)?,
                None => settings,
            };
            sections.push((section.pattern.clone(), settings));
        }
        let demo = self.main.demo.unwrap_or(!layers.has_broadcasts());
        let is_fed = |(pattern, settings): &(Pattern, Settings)| {
            let named = pattern.name().is_some_and(|name| name.as_str() == DEMO);
            named && settings.source.is_some()
        };
        if demo
            && !sections.iter().any(is_fed)
            && let Some(pattern) = Pattern::new(DEMO)
        {
            let settings = Settings {
                source: Some(read(&(format!("{DEMO}.launch"), Origin::Default))?),
                ..Settings::default()
            };
            sections.push((pattern, settings));
        }
        Ok(Plans::new(sections, pipelines::automatic()))
    }
}
