//! Reads the configuration again: at a signal, at the operator's request, and when the file has
//! changed; and changes it as the API asks. Whatever can fail is done before anything changes.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{StartError, check_pipelines, options};
use crate::{
    amendments::Amendments,
    broadcast::Broadcasts,
    config::{self, Config, ConfigChanges, FileMark, RawConfig},
    http::{ConfigChange, ConfigRefusal, ConfigRequest, ConfigView, Reloaded},
    plan::Plans,
    worker::PeerWorkers,
};

/// How often to check the file. A change counts when two checks have found the same: some editors
/// empty a file before they write it.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// What the configuration consists of, how to read it again, and where the log's filter goes.
pub struct RunningConfig {
    /// The configuration as read, without the API's changes.
    pub raw: RawConfig,
    /// The API's changes.
    pub amendments: Amendments,
    /// Reads it again.
    pub read: Arc<dyn Fn() -> Result<RawConfig, config::Error> + Send + Sync>,
    /// Sets what is logged.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}

impl RunningConfig {
    /// As the operator sees it.
    pub(super) fn view(&self) -> Arc<ConfigView> {
        let amended = self.raw.clone().amended(&self.amendments);
        // The configuration has been loaded from the same.
        options::view(
            &amended.unwrap_or_else(|_| self.raw.clone()),
            &self.amendments,
        )
    }
}

/// The parts that follow the configuration while the server runs.
pub(super) struct Reloader {
    pub(super) running: RunningConfig,
    /// As the files say.
    pub(super) loaded: Plans,
    /// Without what this machine cannot run.
    pub(super) checked: Plans,
    pub(super) broadcasts: Broadcasts,
    pub(super) workers: PeerWorkers,
    pub(super) http: options::HttpParts,
}

/// A configuration that can be taken over.
struct Candidate {
    /// As read, with the amendments.
    wanted: RawConfig,
    /// As it will hold: without what takes a restart, and without the amendments.
    raw: RawConfig,
    amendments: Amendments,
    config: Config,
    loaded: Plans,
}

impl Reloader {
    /// Reloads whenever there is a reason. Never ends by itself.
    pub(super) async fn run(
        mut self,
        hangup: Arc<Notify>,
        mut requests: mpsc::Receiver<ConfigRequest>,
    ) {
        let mut tick = interval(FILE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // Not as it is by now: it may have changed since it was read.
        let mut known = self.running.raw.mark();
        let mut last_seen = known;
        loop {
            tokio::select! {
                () = hangup.notified() => {
                    known = self.file_mark();
                    // The outcome has been logged.
                    let _ = self.reload("SIGHUP").await;
                }
                Some(ConfigRequest { what, reply }) = requests.recv() => {
                    let outcome = if matches!(what, ConfigChange::Reload) {
                        known = self.file_mark();
                        self.reload("request").await
                    } else {
                        self.amend(&what).await
                    };
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
                    let _ = self.reload("file").await;
                }
            }
        }
    }

    fn file_mark(&self) -> Option<FileMark> {
        FileMark::of(self.running.raw.file()?)
    }

    /// Reads, checks, and takes over. Logs the outcome.
    async fn reload(&mut self, why: &'static str) -> Result<Reloaded, ConfigRefusal> {
        let read = Arc::clone(&self.running.read);
        let amendments = self.running.amendments.clone();
        let candidate = self
            .candidate(move || read(), amendments)
            .await
            .map_err(|error| {
                tracing::error!(why, error, "configuration not reloaded: nothing changed");
                ConfigRefusal::Mistake(error)
            })?;
        let reloaded = self.take_over(candidate)?;
        Self::tell(why, &reloaded);
        Ok(reloaded)
    }

    /// Checks what the API asks for, keeps it, and takes it over. Logs the outcome.
    async fn amend(&mut self, change: &ConfigChange) -> Result<Reloaded, ConfigRefusal> {
        let mut amendments = self.running.amendments.clone();
        self.apply(change, &mut amendments)?;
        let raw = self.running.raw.clone();
        let candidate = self
            .candidate(move || Ok(raw), amendments)
            .await
            .map_err(ConfigRefusal::Mistake)?;
        let (raw, amendments) = (candidate.raw.clone(), candidate.amendments.clone());
        let kept = spawn_blocking(move || raw.keep_amendments(&amendments))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        kept.map_err(|error| {
            tracing::error!(%error, "cannot save the change made through the API: nothing changed");
            ConfigRefusal::Unkept(error.to_string())
        })?;
        let reloaded = self.take_over(candidate)?;
        Self::tell("api", &reloaded);
        Ok(reloaded)
    }

    fn apply(
        &self,
        change: &ConfigChange,
        amendments: &mut Amendments,
    ) -> Result<(), ConfigRefusal> {
        match change {
            ConfigChange::Reload => {}
            ConfigChange::Options(changes) => amendments.set_options(changes),
            ConfigChange::Broadcast(broadcast, change) => {
                amendments.change_broadcast(broadcast, change)?;
            }
            ConfigChange::Output(broadcast, switch) => {
                let configured = self
                    .loaded
                    .outputs_of(broadcast)
                    .iter()
                    .any(|output| output.configured && output.file == switch.file);
                amendments.switch_output(broadcast, switch, configured)?;
            }
        }
        Ok(())
    }

    fn tell(why: &'static str, reloaded: &Reloaded) {
        let Reloaded {
            changed,
            needs_restart,
            broadcasts,
        } = reloaded;
        tracing::info!(
            why,
            changed = changed.join(","),
            broadcasts = broadcasts.join(","),
            "configuration reloaded"
        );
        if !needs_restart.is_empty() {
            tracing::warn!(
                options = needs_restart.join(","),
                "these changes need a restart"
            );
        }
    }

    /// Reads and checks everything.
    async fn candidate(
        &self,
        read: impl FnOnce() -> Result<RawConfig, config::Error> + Send + 'static,
        amendments: Amendments,
    ) -> Result<Candidate, String> {
        let running = self.running.raw.clone();
        let amending = amendments.clone();
        let loading = spawn_blocking(move || {
            let read = read()?;
            let wanted = read.clone().amended(&amending)?;
            // Options that need a restart must be valid as well.
            Config::load(&wanted)?;
            let raw = read.without_restart(&running);
            let config = Config::load(&raw.clone().amended(&amending)?)?;
            Ok::<_, config::Error>((wanted, raw, config))
        });
        let loaded = loading.await.map_err(|error| error.to_string())?;
        let (wanted, raw, mut config) = loaded.map_err(|error| error.to_string())?;
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
            wanted,
            raw,
            amendments,
            config,
            loaded,
        })
    }

    /// Swaps everything.
    fn take_over(&mut self, candidate: Candidate) -> Result<Reloaded, ConfigRefusal> {
        let Candidate {
            wanted,
            raw,
            amendments,
            config,
            loaded,
        } = candidate;
        let amended = |raw: &RawConfig, amendments| {
            let amended = raw.clone().amended(amendments);
            amended.map_err(|error| ConfigRefusal::Mistake(error.to_string()))
        };
        let running = amended(&self.running.raw, &self.running.amendments)?;
        let view = options::view(&amended(&raw, &amendments)?, &amendments);
        // Nothing can fail from here on.
        let ConfigChanges {
            live: mut changed,
            fixed: needs_restart,
        } = ConfigChanges::between(&running, &wanted);
        if loaded != self.loaded {
            changed.push("broadcasts".to_owned());
        }
        if changed.iter().any(|key| key.starts_with("auth.")) {
            super::announce_access(&config.access);
        }
        (self.running.log)(&config.main.log.0);
        self.loaded = loaded;
        self.checked = config.plans.clone();
        self.running.raw = raw;
        self.running.amendments = amendments;
        let broadcasts = self
            .broadcasts
            .reload(options::broadcasts(&config, &self.workers));
        let control = self.http.control.clone();
        let parts = options::HttpParts {
            view,
            ..self.http.clone()
        };
        control.apply(options::http(config, parts));
        Ok(Reloaded {
            changed,
            needs_restart,
            broadcasts: broadcasts.iter().map(ToString::to_string).collect(),
        })
    }
}
