//! The sections `[[auth.tokens]]`, as written.

use std::{collections::BTreeMap, fs, path::PathBuf};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Error, NOT_SHOWN, ValueOrigin,
    file::{File, text},
    hint::hint,
};
use crate::{
    access::{Secret, Token},
    plan::{Pattern, Value},
};

/// Maximum tokens in one file: each is compared with every token that arrives.
const TOKENS_MAX: usize = 1000;
/// The keys of a section.
const KEYS: [&str; 5] = ["token", "token_file", "token_env", "publish", "watch"];
const PLACES: &str = "one of token, token_file and token_env in each section";

/// Where a token is stored.
#[derive(Clone, Debug)]
enum Place {
    Here(Secret),
    File(PathBuf),
    Variable(String),
}

/// A section as written.
#[derive(Clone, Debug)]
pub(super) struct TokenSection {
    place: Place,
    origin: ValueOrigin,
    publish: Vec<Pattern>,
    watch: Vec<Pattern>,
}

/// Reads the list under `tokens`.
pub(super) fn read(
    file: &File<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<TokenSection>, Error> {
    let origin = file.origin(value.span().start);
    let wrong = || {
        let expected = format!("at most {TOKENS_MAX} sections [[auth.tokens]]");
        Error::bad_value(
            &origin,
            "auth.tokens",
            &expected,
            value.get_ref().type_str(),
        )
    };
    let DeValue::Array(items) = value.get_ref() else {
        return Err(wrong());
    };
    if items.len() > TOKENS_MAX {
        return Err(wrong());
    }
    let section = |item: &Spanned<DeValue<'_>>| {
        let table = item.get_ref().as_table().ok_or_else(wrong)?;
        TokenSection::read(file, item.span().start, table)
    };
    items.iter().map(section).collect()
}

impl TokenSection {
    fn read(file: &File<'_>, offset: usize, table: &DeTable<'_>) -> Result<Self, Error> {
        let mut places = Vec::new();
        let (mut publish, mut watch) = (Vec::new(), Vec::new());
        for (key, value) in table {
            let origin = file.origin(key.span().start);
            let full = format!("auth.tokens.{}", key.get_ref());
            let written = || {
                let text = text(value.get_ref()).filter(|text| !text.is_empty());
                text.ok_or_else(|| {
                    Error::bad_value(&origin, &full, "a text", value.get_ref().type_str())
                })
            };
            match key.get_ref().as_ref() {
                "token" => {
                    let secret = Secret::read(&written()?);
                    let secret = secret.ok_or_else(|| {
                        Error::bad_value(&origin, &full, Secret::TAKES, NOT_SHOWN)
                    })?;
                    places.push((Place::Here(secret), origin));
                }
                "token_file" => places.push((Place::File(written()?.into()), origin)),
                "token_env" => places.push((Place::Variable(written()?), origin)),
                "publish" | "watch" => {
                    let patterns = Vec::<Pattern>::read(&written()?).ok_or_else(|| {
                        let given = text(value.get_ref()).unwrap_or_default();
                        Error::bad_value(&origin, &full, Vec::<Pattern>::TAKES, &given)
                    })?;
                    let role = if key.get_ref() == "publish" {
                        &mut publish
                    } else {
                        &mut watch
                    };
                    *role = patterns;
                }
                other => {
                    let hint = hint(other, KEYS.into_iter());
                    return Err(Error::UnknownKey {
                        origin,
                        key: full,
                        hint,
                    });
                }
            }
        }
        let count = places.len().to_string();
        let Ok([(place, origin)]) = <[_; 1]>::try_from(places) else {
            return Err(Error::bad_value(
                &file.origin(offset),
                "auth.tokens",
                PLACES,
                &count,
            ));
        };
        if publish.is_empty() && watch.is_empty() {
            let expected = "publish or watch beside the token, with names of broadcasts";
            return Err(Error::bad_value(
                &origin,
                "auth.tokens",
                expected,
                "neither",
            ));
        }
        Ok(Self {
            place,
            origin,
            publish,
            watch,
        })
    }

    /// Reads the token from where it is stored.
    pub(super) fn resolve(&self, variables: &BTreeMap<String, String>) -> Result<Token, Error> {
        let token = |secret: &Secret| Token::new(secret, self.publish.clone(), self.watch.clone());
        let (key, text) = match &self.place {
            Place::Here(secret) => return Ok(token(secret)),
            Place::File(path) => {
                let text = fs::read_to_string(path).map_err(|source| Error::Unreadable {
                    path: path.clone(),
                    source,
                })?;
                (format!("auth.tokens.token_file = {}", path.display()), text)
            }
            Place::Variable(name) => match variables.get(name) {
                Some(text) if !is_option(name) => {
                    (format!("auth.tokens.token_env = {name}"), text.clone())
                }
                _ => {
                    let expected =
                        "an environment variable that is set and does not begin with AERIAL_";
                    let key = "auth.tokens.token_env";
                    return Err(Error::bad_value(&self.origin, key, expected, name));
                }
            },
        };
        let secret = Secret::new(text.trim());
        let secret =
            secret.ok_or_else(|| Error::bad_value(&self.origin, &key, Secret::TAKES, NOT_SHOWN))?;
        Ok(token(&secret))
    }
}

/// Whether an environment variable is one of the server's own.
fn is_option(variable: &str) -> bool {
    variable.starts_with("AERIAL_")
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, RawConfig};

    /// The configuration of a file with this text, in words if it is refused.
    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let name = format!("aerial-tokens-{}-{:p}.toml", std::process::id(), text);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let loaded = RawConfig::read(Some(&path), variables, []).and_then(|raw| Config::load(&raw));
        std::fs::remove_file(&path).unwrap();
        loaded.map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_stand_here_in_variables_and_in_files() {
        let file = std::env::temp_dir().join(format!("aerial-token-{}", std::process::id()));
        std::fs::write(&file, "from-a-file\n").unwrap();
        let text = format!(
            "[[auth.tokens]]\ntoken = \"here\"\npublish = \"a\"\n\
             [[auth.tokens]]\ntoken_env = \"SECRET\"\nwatch = [\"a\", \"b-*\"]\n\
             [[auth.tokens]]\ntoken_file = \"{}\"\nwatch = [\"*\"]\n",
            file.display()
        );
        let access = load(&text, &[("SECRET", "from-a-variable")])
            .unwrap()
            .access;
        std::fs::remove_file(&file).unwrap();
        for token in ["here", "from-a-variable", "from-a-file"] {
            assert!(access.holder(token).is_some(), "{token}");
        }
        assert!(access.holder("SECRET").is_none());
        let variables = [
            ("AERIAL_AUTH_PUBLISH_TOKEN", "p"),
            ("AERIAL_AUTH_WATCH_TOKEN", "w"),
        ];
        let access = load("", &variables).unwrap().access;
        assert_eq!(access.tokens(), 2);
        assert!(!access.is_open_to_viewers());
    }

    #[test]
    fn mistakes_are_told_without_the_secret() {
        let one = |rest: &str| format!("[[auth.tokens]]\n{rest}");
        for (text, words) in [
            (
                one("token = \"hunter2 x\"\npublish = \"a\""),
                ":2: `auth.tokens.token` takes a token",
            ),
            (one("token = 2"), "publish or watch beside the token"),
            (
                one("token = \"hunter2\"\nsing = \"a\""),
                "unknown key `auth.tokens.sing`",
            ),
            (
                one("token = \"hunter2\"\nwatch = \"a b\""),
                "takes names of broadcasts",
            ),
            (
                one("publish = \"a\""),
                "one of token, token_file and token_env",
            ),
            (
                one("token = \"hunter2\"\ntoken_env = \"A\"\nwatch = \"a\""),
                "one of token,",
            ),
            (
                one("token_env = \"NOT_SET\"\nwatch = \"a\""),
                "an environment variable that is set",
            ),
            (
                one("token_env = \"EMPTY\"\nwatch = \"a\""),
                "token_env = EMPTY` takes a token",
            ),
            (
                one("token_file = \"/nowhere\"\nwatch = \"a\""),
                "/nowhere: cannot be read",
            ),
            ("auth.tokens = [1]".to_owned(), "sections [[auth.tokens]]"),
            (
                "[auth]\npublic = [\"a\"]".to_owned(),
                "takes a token beside it",
            ),
            (
                "[auth]\npublish_token = \"\"".to_owned(),
                "takes a token beside it",
            ),
            (
                "[auth]\nwatch_token = \"hunter2 x\"".to_owned(),
                "(not shown)",
            ),
        ] {
            let error = load(&text, &[("EMPTY", " ")]).map(|_| ()).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
