//! Commands, logging, signals and the exit code: nothing else lives here.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use aerial::{
    bench,
    config::{self, Config, Layers, Opt},
    error::Start,
    server, workbench,
};
use anyhow::Context as _;
use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches as _, value_parser};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tracing_subscriber::EnvFilter;

/// Exit code of a server that did not start because of what it was told or what it found.
const NOT_STARTED: u8 = 2;
/// How long the process waits for what did not stop within the drain time.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return complain(&error),
    };
    let done = match matches.subcommand() {
        Some(("serve", matches)) => serve(matches).map(|()| ExitCode::SUCCESS),
        Some(("check", matches)) => workbench::Check::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| workbench::check(&options, &mut io::stdout().lock())),
        Some(("try", matches)) => workbench::Try::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| workbench::try_out(&options, &mut io::stdout()))
            .map(|()| ExitCode::SUCCESS),
        Some(("bench", matches)) => bench::Options::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| bench::run(&options)),
        Some(("bench-part", _)) => bench::run_part().map(|()| ExitCode::SUCCESS),
        _ => Ok(ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let not_started = error.is::<Start>() || error.is::<config::Error>();
            // These name their causes themselves.
            let text = if not_started {
                error.to_string()
            } else {
                format!("{error:#}")
            };
            say(&format!("aerial: {text}"));
            ExitCode::from(if not_started { NOT_STARTED } else { 1 })
        }
    }
}

fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file [default: aerial.toml, if it exists; env: AERIAL_CONFIG]");
    let serve = Command::new("serve")
        .about("Run the server")
        .after_help(
            "Each option is also a key of the configuration file (`a.b` is `b` under `[a]`) and \
             an environment variable (AERIAL_A_B). Flags beat the environment, the environment \
             beats the file. Broadcasts that a pipeline feeds are in the file only:\n\n  \
             [broadcasts.NAME]\n  source = \"demo.launch\"",
        )
        .arg(config)
        .args(config::all().map(flag));
    Command::new("aerial")
        .version(env!("CARGO_PKG_VERSION"))
        .about("One-to-many WebRTC broadcast server: publish with WHIP, watch with WHEP")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(serve)
        .subcommand(workbench::Check::augment_args(Command::new("check").about(
            "Tell what is wrong with pipeline files and configuration, without starting anything",
        )))
        .subcommand(workbench::Try::augment_args(Command::new("try").about(
            "Run one pipeline file alone and show what goes in and comes out each second",
        )))
        .subcommand(
            // The derived options would bring a description of themselves.
            bench::Options::augment_args(Command::new("bench"))
                .about("Measure what a server on this machine costs and how fast it is"),
        )
        .subcommand(
            Command::new("bench-part")
                .about("A helper process of bench")
                .hide(true),
        )
}

fn flag(option: &'static Opt) -> Arg {
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

/// What is wrong with the command line, in one line; help and version in full.
fn complain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr()
        || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        // Err: nobody reads.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let what: Vec<_> = text
        .split("\n\n")
        .next()
        .unwrap_or(&text)
        .split_whitespace()
        .collect();
    let what = what.join(" ");
    say(&format!(
        "aerial: {}; see aerial --help",
        what.trim_start_matches("error: ")
    ));
    ExitCode::from(NOT_STARTED)
}

fn serve(matches: &ArgMatches) -> anyhow::Result<()> {
    let flags = config::all()
        .filter_map(|option| Some((option.key, matches.get_one::<String>(option.key)?.clone())));
    let file = matches.get_one::<PathBuf>("config").map(PathBuf::as_path);
    // Variables that are not text cannot be ours.
    let variables = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = Config::load(&Layers::read(file, variables, flags)?)?;
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(log_filter(&config.main.log.0)?)
        .init();
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let done = runtime.block_on(run(config));
    // Work on the blocking pool that has outlived the drain time must not keep the process.
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    done
}

/// The filter, without what str0m says unless it is named: anybody who sends forged packets to the
/// UDP port can make it warn of each.
fn log_filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    let named = wanted.contains("str0m");
    let quiet = if named { "" } else { ",str0m=error" };
    EnvFilter::try_new(format!("{wanted}{quiet}")).context("log filter")
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
    let server = server::start(config).await?;
    let reload = server.reload.clone();
    // Without TLS a hangup ends the process as ever: it comes when the terminal is closed.
    let hangup = reload.map(|reload| Ok((reload, signal(SignalKind::hangup())?)));
    let hangup: io::Result<_> = hangup.transpose();
    let reload = reload_at(hangup.context("no signal handler")?);
    server
        .run_until(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = reload => {}
            }
        })
        .await;
    Ok(())
}

/// Has the certificate read again at each signal. Never ends.
async fn reload_at(hangup: Option<(Arc<Notify>, Signal)>) {
    if let Some((reload, mut signal)) = hangup {
        while signal.recv().await.is_some() {
            reload.notify_one();
        }
    }
    std::future::pending::<()>().await;
}

fn say(line: &str) {
    // Err: nobody reads.
    let _ = writeln!(io::stderr(), "{line}");
}
