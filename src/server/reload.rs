//! Reads the configuration again: at a signal, at the operator's request, and when the file has
//! changed. Whatever can fail is done before anything changes.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{StartError, check_pipelines, options};
use crate::{
    broadcast::Broadcasts,
    config::{self, Config, ConfigChanges, RawConfig},
    http::{ReloadRequest, Reloaded},
    plan::Plans,
    worker::PeerWorkers,
};

/// How often the file is looked at. A change counts when two looks have found the same: some editors
/// empty a file before they write it.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// Where the configuration comes from, and where the log's filter goes.
pub struct ConfigSource {
    /// What has been read.
    pub raw: RawConfig,
    /// Reads it again.
    pub read: Arc<dyn Fn() -> Result<RawConfig, config::Error> + Send + Sync>,
    /// Sets what is logged.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}

/// What follows the configuration while the server runs.
pub(super) struct Reloader {
    pub(super) source: ConfigSource,
    /// As the files say.
    pub(super) loaded: Plans,
    /// Without what this machine cannot run.
    pub(super) checked: Plans,
    pub(super) broadcasts: Broadcasts,
    pub(super) workers: PeerWorkers,
    pub(super) http: options::HttpParts,
}

/// What tells one state of a file from the next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileMark {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// A configuration that can be taken over.
struct Candidate {
    /// As read.
    raw: RawConfig,
    /// As it will hold: without what takes a restart.
    effective: RawConfig,
    config: Config,
    loaded: Plans,
}

impl Reloader {
    /// Reloads whenever there is a reason. Never ends by itself.
    pub(super) async fn run(
        mut self,
        hangup: Arc<Notify>,
        mut requests: mpsc::Receiver<ReloadRequest>,
    ) {
        let mut tick = interval(FILE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut known = self.file_mark();
        let mut last_seen = known;
        loop {
            tokio::select! {
                () = hangup.notified() => {
                    known = self.file_mark();
                    // The log has told how it went.
                    let _ = self.reload("SIGHUP").await;
                }
                Some(reply) = requests.recv() => {
                    known = self.file_mark();
                    let outcome = self.reload("request").await;
                    // Err: the client has gone.
                    let _ = reply.send(outcome);
                }
                _ = tick.tick() => {
                    let seen = self.file_mark();
                    let is_settled = seen == std::mem::replace(&mut last_seen, seen);
                    if seen.is_none() || seen == known || !is_settled {
                        continue;
                    }
                    known = seen;
                    let _ = self.reload("changed file").await;
                }
            }
        }
    }

    fn file_mark(&self) -> Option<FileMark> {
        let metadata = fs::metadata(self.source.raw.file()?).ok()?;
        Some(FileMark {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            inode: metadata.ino(),
        })
    }

    /// Reads, checks, and takes over. Logs the outcome.
    async fn reload(&mut self, why: &'static str) -> Result<Reloaded, String> {
        let candidate = self.candidate().await.inspect_err(|error| {
            tracing::error!(why, error, "configuration not reloaded: nothing changed");
        })?;
        let reloaded = self.take_over(candidate);
        let Reloaded {
            changed,
            needs_restart,
            broadcasts,
        } = &reloaded;
        tracing::info!(
            why,
            changed = changed.join(","),
            broadcasts = broadcasts.join(","),
            "configuration reloaded"
        );
        if !needs_restart.is_empty() {
            let options = needs_restart.join(",");
            tracing::warn!(options, "these changes need a restart");
        }
        Ok(reloaded)
    }

    /// Reads and checks everything.
    async fn candidate(&self) -> Result<Candidate, String> {
        let read = Arc::clone(&self.source.read);
        let running = self.source.raw.clone();
        let loading = spawn_blocking(move || {
            let raw = read()?;
            // What takes a restart must be right as well.
            Config::load(&raw)?;
            let effective = raw.clone().without_restart(&running);
            let config = Config::load(&effective)?;
            Ok::<_, config::Error>((raw, effective, config))
        });
        let loaded = loading.await.map_err(|error| error.to_string())?;
        let (raw, effective, mut config) = loaded.map_err(|error| error.to_string())?;
        let loaded = config.plans.clone();
        if loaded == self.loaded {
            config.plans = self.checked.clone();
        } else {
            config = check_pipelines(config).await.map_err(|error| match error {
                StartError::Files(problems) => problems.join("; "),
                error => error.to_string(),
            })?;
        }
        Ok(Candidate {
            raw,
            effective,
            config,
            loaded,
        })
    }

    /// Swaps everything. Nothing can fail here.
    fn take_over(&mut self, candidate: Candidate) -> Reloaded {
        let Candidate {
            raw,
            effective,
            config,
            loaded,
        } = candidate;
        let ConfigChanges {
            live: mut changed,
            fixed: needs_restart,
        } = ConfigChanges::between(&self.source.raw, &raw);
        if loaded != self.loaded {
            changed.push("broadcasts".to_owned());
        }
        if changed.iter().any(|key| key.starts_with("auth.")) {
            super::announce_access(&config.access);
        }
        (self.source.log)(&config.main.log.0);
        self.loaded = loaded;
        self.checked = config.plans.clone();
        self.source.raw = effective;
        let broadcasts = self
            .broadcasts
            .reload(options::broadcasts(&config, &self.workers));
        let control = self.http.control.clone();
        control.apply(options::http(config, self.http.clone()));
        Reloaded {
            changed,
            needs_restart,
            broadcasts: broadcasts.iter().map(ToString::to_string).collect(),
        }
    }
}
