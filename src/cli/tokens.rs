//! `aerial token` and `aerial hash`: tokens, and what stands for them in the configuration.

use std::io::{Read, Write};

use anyhow::{Context as _, bail};

use crate::access::{Secret, TokenHash};

/// Options of `aerial token`.
#[derive(Debug, Default, clap::Args)]
pub(super) struct NewToken {
    /// A broadcast that it may publish, or a pattern such as live-*; may be given several times
    #[arg(long, value_name = "NAME")]
    publish: Vec<String>,
    /// A broadcast that it may watch, or a pattern; may be given several times
    #[arg(long, value_name = "NAME")]
    watch: Vec<String>,
    /// It may read metrics
    #[arg(long)]
    metrics: bool,
    /// It may do what the operator may
    #[arg(long)]
    admin: bool,
}

impl NewToken {
    /// The section of the configuration for a token with this hash. Without any right, it may publish
    /// and watch everything.
    fn section(&self, hash: TokenHash) -> String {
        let is_bare =
            self.publish.is_empty() && self.watch.is_empty() && !self.metrics && !self.admin;
        let all = ["*".to_owned()];
        let names = |key: &str, names: &[String]| match names {
            [] if is_bare => format!("{key} = {}\n", toml::Value::from(all.to_vec())),
            [] => String::new(),
            names => format!("{key} = {}\n", toml::Value::from(names.to_vec())),
        };
        let right = |key: &str, has: bool| {
            if has {
                format!("{key} = true\n")
            } else {
                String::new()
            }
        };
        [
            format!("[[auth.tokens]]\ntoken_sha256 = \"{}\"\n", hash.to_hex()),
            names("publish", &self.publish),
            names("watch", &self.watch),
            right("metrics", self.metrics),
            right("admin", self.admin),
        ]
        .concat()
    }
}

/// Prints a new token and its section of the configuration.
///
/// # Errors
/// If the system has no random numbers, or `out` cannot be written to.
pub(super) fn token(options: &NewToken, out: &mut impl Write) -> anyhow::Result<()> {
    let (_, text) = Secret::random().context("no random numbers")?;
    let section = options.section(TokenHash::of_text(&text));
    writeln!(out, "{text}\n\n# For the configuration:\n{section}")?;
    Ok(())
}

/// Prints the hash of the token on `input`, for `token_sha256`.
///
/// # Errors
/// If it is not a token.
pub(super) fn hash(input: impl Read, out: &mut impl Write) -> anyhow::Result<()> {
    let mut text = String::new();
    // A line feed more than a token, and one byte to notice that it is too long.
    let limit = Secret::CHARS_MAX as u64 + 3;
    input
        .take(limit)
        .read_to_string(&mut text)
        .context("no token on standard input")?;
    let token = text.trim_end_matches(['\n', '\r']);
    if Secret::new(token).is_none() {
        let max = Secret::CHARS_MAX;
        bail!("a token has 1 to {max} visible ASCII characters and no spaces");
    }
    writeln!(out, "{}", TokenHash::of_text(token).to_hex())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(text: &str) -> anyhow::Result<String> {
        let mut out = Vec::new();
        hash(text.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn hashes_are_those_of_sha256sum() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        assert_eq!(hashed("abc").unwrap(), expected);
        assert_eq!(hashed("abc\n").unwrap(), expected);
        for wrong in ["", "a b", &"a".repeat(257)] {
            assert!(hashed(wrong).is_err());
        }
    }

    #[test]
    fn a_token_comes_with_its_section() {
        let printed = |options: &NewToken| {
            let mut out = Vec::new();
            token(options, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = printed(&NewToken::default());
        let (first, section) = text.split_once('\n').unwrap();
        assert!(first.len() >= Secret::CHARS_GOOD);
        assert!(section.contains(hashed(first).unwrap().trim()), "{text}");
        assert!(section.contains("publish = [\"*\"]\nwatch = [\"*\"]\n"));
        let options = NewToken {
            publish: vec!["live-*".to_owned(), "a".to_owned()],
            metrics: true,
            ..NewToken::default()
        };
        let text = printed(&options);
        assert!(text.contains("publish = [\"live-*\", \"a\"]\nmetrics = true\n"));
        assert!(!text.contains("watch") && text != printed(&options));
    }
}
