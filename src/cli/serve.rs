//! `aerial serve`: configuration, logging and signals.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use super::summary::Summary;
use crate::{
    config::{self, Config, LogFormat, Opt, RawConfig},
    resources,
    server::{self, RunningConfig},
    systemd::PassedSockets,
};

/// How long the process waits for work that did not stop within the drain time.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_millis(500);

/// Sent when a file would become larger than the limit of the process (`ulimit -f`).
const SIGXFSZ: i32 = 25;

/// The command and its flags: one for each option of the configuration.
pub(super) fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file [default: aerial.toml, if it exists; env: AERIAL_CONFIG]");
    Command::new("serve")
        .about("Run the server")
        .after_help(
            "Each option is also a key of the configuration file (`a.b` is `b` under `[a]`) and \
             an environment variable (AERIAL_A_B). Flags beat the environment, the environment \
             beats the file. Broadcasts that a pipeline feeds are in the file only:\n\n  \
             [broadcasts.NAME]\n  source = \"demo.launch\"",
        )
        .arg(config)
        .args(config::all().map(flag))
}

pub(super) fn flag(option: &'static Opt) -> Arg {
    let default = if option.default.is_empty() {
        String::new()
    } else {
        format!(" [default: {}]", option.default)
    };
    let help = format!(
        "{} Takes {}.{default}",
        option.help.trim(),
        option.expected().trim_end_matches(',')
    );
    Arg::new(option.key)
        .long(option.key)
        .value_name("VALUE")
        .help(help)
}

/// Runs the server until a signal.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let flags: Vec<_> = config::all()
        .filter_map(|option| Some((option.key, matches.get_one::<String>(option.key)?.clone())))
        .collect();
    let file = matches.get_one::<PathBuf>("config").cloned();
    let read = move || RawConfig::read(file.as_deref(), super::environment(), flags.clone());
    let raw = read()?;
    let amendments = raw.kept_amendments()?;
    let config = Config::load(&raw.clone().amended(&amendments)?)?;
    let (filter, log) = reload::Layer::new(log_filter(&config.main.log.0)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match config.main.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    resources::prepare();
    let passed = PassedSockets::take(config.main.listen);
    let runtime = super::runtime()?;
    let running = RunningConfig {
        raw,
        amendments,
        read: Arc::new(read),
        log: Box::new(move |wanted| {
            // The level is part of a configuration that has been checked; the subscriber stays as long
            // as the process.
            if let Ok(filter) = log_filter(wanted) {
                let _ = log.reload(filter);
            }
        }),
    };
    let done = runtime.block_on(until_signal(config, passed, running));
    // Work on the blocking pool that has outlived the drain time must not keep the process.
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    done
}

/// The filter, without str0m's messages unless it is named: anyone who sends forged packets to the
/// UDP port can make it warn about each.
fn log_filter(wanted: &str) -> anyhow::Result<Targets> {
    let named = wanted.contains("str0m");
    let quiet = if named { "" } else { ",str0m=error" };
    format!("{wanted}{quiet}").parse().context("log filter")
}

async fn until_signal(
    config: Config,
    passed: PassedSockets,
    running: RunningConfig,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
    // Before anything is started: a hangup must never end the server.
    let hangup = signal(SignalKind::hangup()).context("no signal handler")?;
    // A limit on the size of files makes writing fail, which ends one output. The signal's default
    // would end the server.
    let _exceeded = signal(SignalKind::from_raw(SIGXFSZ)).context("no signal handler")?;
    let summary = io::stderr().is_terminal().then(|| Summary::of(&config));
    let server = server::start(config, passed, running).await?;
    if let Some(summary) = summary {
        super::say(&summary.text(server.address));
    }
    let reload = reload_at(
        hangup,
        Arc::clone(&server.reload),
        server.reload_tls.clone(),
    );
    let signal = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        ended = server.run_until(signal) => Ok(ended?),
        () = reload => Ok(()),
    }
}

/// Reloads configuration and certificate at each signal. Never ends.
async fn reload_at(
    mut hangup: Signal,
    configuration: Arc<Notify>,
    certificate: Option<Arc<Notify>>,
) {
    while hangup.recv().await.is_some() {
        configuration.notify_one();
        if let Some(certificate) = &certificate {
            certificate.notify_one();
        }
    }
    std::future::pending::<()>().await;
}
