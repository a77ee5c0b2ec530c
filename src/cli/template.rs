//! `aerial config`: a configuration file that explains itself, from the table of all options.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};

use clap::{ArgMatches, Command};

use crate::config::{self, Opt};

/// Longest line of a comment.
const COLUMNS: usize = 100;
/// Examples of what is not an option, because the operator chooses the names.
const EXAMPLES: &str = r#"
# Tokens: until there is one, anyone who can reach the port may publish and watch. Instead of
# token_file: token, token_env or token_sha256.
#[[auth.tokens]]
#token_file = "/etc/aerial/studio.token"
#publish = ["studio", "live-*"]

#[[auth.tokens]]
#token_env = "VIEWERS"
#watch = ["*"]

# Servers that are notified of events.
#[[webhooks]]
#url = "https://example.org/aerial"
#secret_env = "HOOK"
#events = ["broadcast.*", "pipeline.failed"]

# Applies to every broadcast, publishers' broadcasts included. The pipelines named here are
# part of the program; those in a folder of your own are found if `pipelines` names it.
#[defaults]
#outputs = ["record-mkv.launch"]
#vars = { directory = "/var/lib/aerial/recordings" }

# A broadcast that a pipeline feeds.
#[broadcasts.lobby]
#source = "demo.launch"
"#;

/// The command. Its flags are those of `serve`.
pub(super) fn command() -> Command {
    Command::new("config")
        .about("Print a configuration file that lists every option with its meaning and default")
        .after_help("Options given here are set in the file; all others are commented out.")
        .args(config::all().map(super::serve::flag))
}

/// Prints the file.
///
/// # Errors
/// If `out` cannot be written to.
pub(super) fn run(matches: &ArgMatches, out: &mut impl Write) -> io::Result<()> {
    let value = |option: &Opt| matches.get_one::<String>(option.key).cloned();
    out.write_all(file(value).map_err(io::Error::other)?.as_bytes())
}

/// The file, with these values set.
fn file(value: impl Fn(&Opt) -> Option<String>) -> Result<String, fmt::Error> {
    let mut text = String::new();
    comment(
        &mut text,
        "Configuration of Aerial: every option with its default. Remove the # before one to set it.",
    )?;
    let mut last = "";
    for option in config::all() {
        let (section, name) = option.key.rsplit_once('.').unwrap_or(("", option.key));
        if section != last {
            write!(text, "\n[{section}]\n")?;
            last = section;
        }
        text.push('\n');
        comment(&mut text, option.help)?;
        let takes = option.expected();
        comment(
            &mut text,
            &format!("Takes {}.", takes.trim_end_matches(',')),
        )?;
        match value(option) {
            Some(value) => writeln!(text, "{name} = {}", literal(&value))?,
            None => writeln!(text, "#{name} = {}", literal(option.default))?,
        }
    }
    text.push_str(EXAMPLES);
    Ok(text)
}

/// A value as TOML writes it.
fn literal(text: &str) -> String {
    let is_bare = text.parse::<bool>().is_ok() || text.parse::<u64>().is_ok();
    if is_bare {
        text.to_owned()
    } else {
        toml::Value::from(text).to_string()
    }
}

/// Adds a text as a comment of lines that fit.
fn comment(file: &mut String, text: &str) -> fmt::Result {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            writeln!(file, "{line}")?;
            line = String::from("#");
        }
        write!(line, " {word}")?;
    }
    writeln!(file, "{line}")
}
