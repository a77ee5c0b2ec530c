//! The sections `[[auth.tokens]]`, as written.

use std::{collections::BTreeMap, fs, path::PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use toml::{Spanned, de::DeValue};

use super::{Error, NOT_SHOWN, ValueOrigin, file::File, sections};
use crate::{
    access::{Grants, Rule, Secret, TokenHash},
    plan::{Pattern, Value},
};

/// Maximum tokens in one file: each is compared with every token that arrives.
const TOKENS_MAX: usize = 1000;
const PLACES: &str =
    "one of token, token_sha256, token_file and token_env in each section, or only allow";
const RIGHTS: &str = "publish, watch, chat, metrics or admin beside the token or network";
const HASH: &str = "a SHA-256 hash of 64 hexadecimal digits";

/// A section of the file. Its texts are never shown: they may be misplaced secrets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "[[auth.tokens]]")]
struct Section {
    name: Option<Text>,
    token: Option<Spanned<Text>>,
    token_sha256: Option<Spanned<Text>>,
    token_file: Option<Spanned<Text>>,
    token_env: Option<Spanned<Text>>,
    publish: Option<Spanned<Names>>,
    watch: Option<Spanned<Names>>,
    chat: Option<Spanned<Names>>,
    allow: Option<Spanned<Names>>,
    #[serde(default)]
    metrics: bool,
    #[serde(default)]
    admin: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text")]
enum Text {
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Text {
    fn into_text(self) -> String {
        let Self::Text(text) = self;
        text
    }
}

impl Names {
    /// As flags and variables have lists.
    fn into_text(self) -> String {
        match self {
            Self::One(text) => text,
            Self::Many(texts) => texts.join(","),
        }
    }
}

/// Where a token is stored.
#[derive(Clone, Debug)]
enum Place {
    Here(Secret),
    Hash(TokenHash),
    File(PathBuf),
    Variable(String),
    /// None is needed: the client's network is enough.
    Nowhere,
}

impl Place {
    fn of(key: &str, text: String, origin: &ValueOrigin) -> Result<Self, Error> {
        let wrong =
            |expected| Error::bad_value(origin, &format!("auth.tokens.{key}"), expected, NOT_SHOWN);
        Ok(match key {
            "token" => Self::Here(Secret::new(&text).ok_or_else(|| wrong(Secret::TAKES))?),
            "token_sha256" => Self::Hash(TokenHash::from_hex(&text).ok_or_else(|| wrong(HASH))?),
            "token_file" => Self::File(text.into()),
            _ => Self::Variable(text),
        })
    }
}

/// A section that has been checked; the token may be stored elsewhere.
#[derive(Clone, Debug)]
pub(super) struct TokenSection {
    name: String,
    place: Place,
    origin: ValueOrigin,
    networks: Vec<IpNet>,
    grants: Grants,
}

/// Reads the list under `tokens`.
pub(super) fn read(
    file: &File<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<TokenSection>, Error> {
    sections::read(file, "auth.tokens", value, TOKENS_MAX)?
        .map(|(section, number)| TokenSection::of(file, section, number))
        .collect()
}

impl TokenSection {
    fn of(file: &File<'_>, section: Spanned<Section>, number: usize) -> Result<Self, Error> {
        let origin = file.origin(section.span().start);
        let section = section.into_inner();
        let grants = Grants {
            publish: patterns(file, "publish", section.publish)?,
            watch: patterns(file, "watch", section.watch)?,
            chat: patterns(file, "chat", section.chat)?,
            metrics: section.metrics,
            admin: section.admin,
        };
        let written = [
            ("token", section.token),
            ("token_sha256", section.token_sha256),
            ("token_file", section.token_file),
            ("token_env", section.token_env),
        ];
        let networks = networks(file, section.allow)?;
        let mut written = written
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let first = written.next();
        let is_one = first.is_some() || !networks.is_empty();
        if written.next().is_some() || !is_one {
            let given = "none or several";
            return Err(Error::bad_value(&origin, "auth.tokens", PLACES, given));
        }
        if grants.is_empty() {
            let given = "none of them";
            return Err(Error::bad_value(&origin, "auth.tokens", RIGHTS, given));
        }
        let (place, origin) = match first {
            Some((key, value)) => {
                let origin = file.origin(value.span().start);
                let text = value.into_inner().into_text();
                (Place::of(key, text, &origin)?, origin)
            }
            None => (Place::Nowhere, origin),
        };
        let name = section.name.map(Text::into_text);
        Ok(Self {
            name: name.unwrap_or_else(|| number.to_string()),
            place,
            origin,
            networks,
            grants,
        })
    }

    /// Reads the token from where it is stored.
    pub(super) fn resolve(&self, variables: &BTreeMap<String, String>) -> Result<Rule, Error> {
        let (name, grants) = (&self.name, || self.grants.clone());
        let rule =
            |secret: &Secret| Rule::for_token(name, secret, grants()).within(self.networks.clone());
        let (key, text) = match &self.place {
            Place::Here(secret) => return Ok(rule(secret)),
            Place::Hash(hash) => {
                let rule = Rule::for_hash(name, *hash, grants());
                return Ok(rule.within(self.networks.clone()));
            }
            Place::Nowhere => {
                return Ok(Rule::for_networks(name, self.networks.clone(), grants()));
            }
            Place::File(path) => {
                let text = fs::read_to_string(path).map_err(|cause| Error::Unreadable {
                    path: path.clone(),
                    cause,
                })?;
                (format!("auth.tokens.token_file = {}", path.display()), text)
            }
            Place::Variable(name) => {
                let key = "auth.tokens.token_env";
                let text = sections::variable(variables, name, key, &self.origin)?;
                (format!("{key} = {name}"), text.to_owned())
            }
        };
        let secret = Secret::new(text.trim());
        let secret =
            secret.ok_or_else(|| Error::bad_value(&self.origin, &key, Secret::TAKES, NOT_SHOWN))?;
        Ok(rule(&secret))
    }
}

/// The names under `key`, if there are any.
fn patterns(
    file: &File<'_>,
    key: &str,
    names: Option<Spanned<Names>>,
) -> Result<Vec<Pattern>, Error> {
    let Some(names) = names else {
        return Ok(Vec::new());
    };
    let origin = file.origin(names.span().start);
    let text = names.into_inner().into_text();
    Vec::<Pattern>::read(&text).ok_or_else(|| {
        Error::bad_value(
            &origin,
            &format!("auth.tokens.{key}"),
            Vec::<Pattern>::TAKES,
            &text,
        )
    })
}

/// The networks under `allow`; an empty list would be for everyone.
fn networks(file: &File<'_>, names: Option<Spanned<Names>>) -> Result<Vec<IpNet>, Error> {
    let Some(names) = names else {
        return Ok(Vec::new());
    };
    let origin = file.origin(names.span().start);
    let text = names.into_inner().into_text();
    match Vec::<IpNet>::read(&text) {
        Some(networks) if !networks.is_empty() => Ok(networks),
        _ => {
            let expected = Vec::<IpNet>::TAKES;
            Err(Error::bad_value(
                &origin,
                "auth.tokens.allow",
                expected,
                &text,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        access::{Access, Holder, Right},
        config::{Config, RawConfig},
        peer::sdp::Role,
    };

    /// The holder of this token on this machine.
    fn holder(access: &Access, token: &str) -> Option<Holder> {
        access.holder(token, Some([127, 0, 0, 1].into()))
    }

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
            assert!(holder(&access, token).is_some(), "{token}");
        }
        assert!(holder(&access, "SECRET").is_none());
        let variables = [
            ("AERIAL_AUTH_PUBLISH_TOKEN", "p"),
            ("AERIAL_AUTH_WATCH_TOKEN", "w"),
        ];
        let access = load("", &variables).unwrap().access;
        assert!(access.closes(Role::Publisher));
        assert!(!access.is_open_to_viewers());
    }

    #[test]
    fn networks_stand_alone_or_beside_a_token() {
        let text = "[[auth.tokens]]\nallow = \"10.0.0.0/8\"\nwatch = \"*\"\n\
             [[auth.tokens]]\ntoken = \"secret\"\nallow = [\"::1\", \"192.0.2.0/24\"]\npublish = \"*-cam-*\"\n";
        let access = load(text, &[]).unwrap().access;
        let network = access.network(Some([10, 1, 2, 3].into())).unwrap();
        assert!(network.may_any(Role::Viewer) && network.name() == "1");
        assert!(access.network(Some([127, 0, 0, 1].into())).is_none());
        assert!(!holder(&access, "secret").unwrap().may_any(Role::Publisher));
    }

    #[test]
    fn tokens_have_rights_and_names_for_the_log() {
        let hash = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        let text = format!(
            "[[auth.tokens]]\nname = \"grafana\"\ntoken = \"prometheus-secret\"\nmetrics = true\n\
             [[auth.tokens]]\ntoken_sha256 = \"{hash}\"\nadmin = true\n\
             [[auth.tokens]]\ntoken = \"short\"\npublish = \"a, b-*\"\n"
        );
        let access = load(&text, &[]).unwrap().access;
        let metrics = holder(&access, "prometheus-secret").unwrap();
        assert_eq!(metrics.name(), "grafana");
        assert!(metrics.has(Right::Metrics) && !metrics.has(Right::Admin));
        let admin = holder(&access, "hunter2").unwrap();
        assert_eq!(admin.name(), "2");
        assert!(admin.has(Right::Admin));
        assert!(holder(&access, "short").unwrap().may_any(Role::Publisher));
        assert_eq!(access.short_tokens().collect::<Vec<_>>(), ["3"]);
    }

    #[test]
    fn mistakes_are_told_without_the_secret() {
        let one = |rest: &str| format!("[[auth.tokens]]\n{rest}");
        for (text, words) in [
            (
                one("token = \"hunter2 x\"\npublish = \"a\""),
                ":2: `auth.tokens.token`",
            ),
            (one("token = \"a\""), "metrics"),
            (one("token = 2\nadmin = true"), ":2: `auth.tokens`"),
            (
                one("token = \"hunter2\"\nadmin = \"hunter2\""),
                ":3: `auth.tokens`",
            ),
            (
                one("token_sha256 = \"hunter2\"\nadmin = true"),
                ":2: `auth.tokens.token_sha256`",
            ),
            ("auth.tokens = [\"hunter2\"]".to_owned(), "[[auth.tokens]]"),
            (
                one("token = \"hunter2\"\nsing = \"a\""),
                "`auth.tokens.sing`",
            ),
            (
                one("token = \"hunter2\"\nwatch = \"a b\""),
                ":3: `auth.tokens.watch`",
            ),
            (one("publish = \"a\""), "token_sha256"),
            (
                one("token = \"hunter2\"\ntoken_env = \"A\"\nwatch = \"a\""),
                "token_sha256",
            ),
            (
                one("token_env = \"NOT_SET\"\nwatch = \"a\""),
                ":2: `auth.tokens.token_env`",
            ),
            (
                one("token_env = \"EMPTY\"\nwatch = \"a\""),
                "token_env = EMPTY`",
            ),
            (
                one("token_file = \"/nowhere\"\nwatch = \"a\""),
                "/nowhere: ",
            ),
            (
                one("allow = \"hunter\"\nwatch = \"a\""),
                ":2: `auth.tokens.allow`",
            ),
            (
                one("token = \"hunter2\"\nallow = []\nwatch = \"a\""),
                ":3: `auth.tokens.allow`",
            ),
            (one("allow = \"::1\""), "admin"),
            ("auth.tokens = [1]".to_owned(), "[[auth.tokens]]"),
            ("[auth]\npublic = [\"a\"]".to_owned(), ":2: `auth.public`"),
            (
                "[auth]\npublish_token = \"\"".to_owned(),
                ":2: `auth.publish_token`",
            ),
            (
                "[auth]\nwatch_token = \"hunter2 x\"".to_owned(),
                ":2: `auth.watch_token`",
            ),
        ] {
            let error = load(&text, &[("EMPTY", " ")]).map(|_| ()).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
