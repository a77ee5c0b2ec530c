//! The commands: their options, output and exit codes.

mod check;
mod manual;
mod serve;
mod summary;
mod template;
mod tokens;
mod tryout;

use std::{
    env, fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Command, FromArgMatches as _};
use tokio::runtime::Runtime;

use self::{
    check::Check,
    manual::{Completions, Manual},
    tokens::NewToken,
    tryout::Try,
};
use crate::{
    bench, config,
    pipeline::check::{FileCheck, FileProblem},
    server::StartError,
    worker,
};

/// Exit code if the command line, the configuration or the machine keeps the server from starting.
const NOT_STARTED: u8 = 2;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return complain(&error),
    };
    let done = match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches).map(|()| ExitCode::SUCCESS),
        Some(("check", matches)) => Check::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| check::run(&options, &mut io::stdout().lock())),
        Some(("try", matches)) => Try::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| tryout::run(&options, &mut io::stdout()))
            .map(|()| ExitCode::SUCCESS),
        Some(("bench", matches)) => bench::Options::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| bench::run(&options)),
        Some(("config", matches)) => template::run(matches, &mut io::stdout().lock())
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::from),
        Some(("token", matches)) => NewToken::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| tokens::token(&options, &mut io::stdout()))
            .map(|()| ExitCode::SUCCESS),
        Some(("hash", _)) => {
            tokens::hash(io::stdin(), &mut io::stdout()).map(|()| ExitCode::SUCCESS)
        }
        Some(("completions", matches)) => Completions::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| Ok(manual::completions(&options, command(), &mut io::stdout())?))
            .map(|()| ExitCode::SUCCESS),
        Some(("man", matches)) => Manual::from_arg_matches(matches)
            .map_err(anyhow::Error::from)
            .and_then(|options| manual::manual(&options, command()))
            .map(|()| ExitCode::SUCCESS),
        Some((worker::COMMAND, matches)) => worker::Options::from_arg_matches(matches)
            .map(|options| worker::run(&options))
            .map_err(anyhow::Error::from),
        Some(("bench-part", _)) => bench::run_part().map(|()| ExitCode::SUCCESS),
        _ => Ok(ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let not_started = error.is::<StartError>() || error.is::<config::Error>();
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
    Command::new("aerial")
        .version(env!("CARGO_PKG_VERSION"))
        .about("One-to-many WebRTC broadcast server: publish with WHIP, watch with WHEP")
        .after_help(
            "Example: `aerial serve`, then open http://127.0.0.1:8080/. It shows a demo until you \
             configure or publish something else. `aerial config > aerial.toml` writes a \
             configuration file with every option.",
        )
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(serve::command())
        .subcommand(described::<Check>(
            "check",
            "Check pipeline files and configuration without starting anything",
        ))
        .subcommand(template::command())
        .subcommand(described::<NewToken>(
            "token",
            "Make a token and print it with its section of the configuration",
        ))
        .subcommand(
            Command::new("hash")
                .about("Print the hash of the token on standard input, for token_sha256"),
        )
        .subcommand(described::<Try>(
            "try",
            "Run one pipeline file alone and show what goes in and comes out each second",
        ))
        .subcommand(described::<bench::Options>(
            "bench",
            "Measure what a server on this machine costs and how fast it is",
        ))
        .subcommand(
            described::<Completions>("completions", "Print a shell's completion script").hide(true),
        )
        .subcommand(described::<Manual>("man", "Write manual pages").hide(true))
        .subcommand(
            described::<worker::Options>(worker::COMMAND, "The process of one pipeline").hide(true),
        )
        .subcommand(
            Command::new("bench-part")
                .about("A helper process of bench")
                .hide(true),
        )
}

/// A command with derived options, whose own description must not take the command's place.
fn described<T: clap::Args>(name: &'static str, about: &'static str) -> Command {
    T::augment_args(Command::new(name))
        .about(about)
        .long_about(None)
}

/// Prints what is wrong with the command line in one line, and help and version in full.
fn complain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr()
        || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        // Err: nobody is reading.
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

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The environment, without variables that are not Unicode: they cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// The problems of each pipeline file. A worker creates their elements.
fn problems_in(files: Vec<FileCheck>) -> anyhow::Result<Vec<Vec<FileProblem>>> {
    let check = worker::check(files, Vec::new(), worker::MEMORY_DEFAULT);
    let (problems, _) = runtime()?.block_on(check)?;
    Ok(problems)
}

fn runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("no runtime")
}

fn say(line: &str) {
    // Err: nobody is reading.
    let _ = writeln!(io::stderr(), "{line}");
}
