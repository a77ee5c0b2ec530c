//! The sections `[[webhooks]]`, as written.

use std::{collections::BTreeMap, fs, path::PathBuf};

use http::Uri;
use serde::Deserialize;
use toml::{Spanned, de::DeValue};

use super::{Error, NOT_SHOWN, file::File, sections};
use crate::{access::Secret, events::EventFilter, plan::Value, webhooks::WebhookOptions};

/// Maximum receivers: each has a queue and a task.
const WEBHOOKS_MAX: usize = 16;
const URL: &str = "an http:// or https:// address";
const PLACES: &str = "one of secret, secret_file and secret_env in each section";

/// A section of the file. Its secret is never shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "[[webhooks]]")]
struct Section {
    name: Option<String>,
    url: Spanned<String>,
    secret: Option<Spanned<String>>,
    secret_file: Option<Spanned<PathBuf>>,
    secret_env: Option<Spanned<String>>,
    events: Option<Spanned<Vec<String>>>,
}

/// Reads the list of receivers.
pub(super) fn read(
    file: &File<'_>,
    value: &Spanned<DeValue<'_>>,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<WebhookOptions>, Error> {
    sections::read(file, "webhooks", value, WEBHOOKS_MAX)?
        .map(|(section, number)| receiver(file, section, number, variables))
        .collect()
}

fn receiver(
    file: &File<'_>,
    section: Spanned<Section>,
    number: usize,
    variables: &BTreeMap<String, String>,
) -> Result<WebhookOptions, Error> {
    let start = section.span().start;
    let section = section.into_inner();
    let url_origin = file.origin(section.url.span().start);
    let url = section.url.into_inner();
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let url = url.parse::<Uri>().ok().filter(is_web);
    // It may hold a secret.
    let url = url.ok_or_else(|| Error::bad_value(&url_origin, "webhooks.url", URL, NOT_SHOWN))?;
    let written = Written {
        here: section.secret,
        file: section.secret_file,
        variable: section.secret_env,
    };
    let secret = written.resolve(file, start, variables)?;
    let events = match section.events {
        None => EventFilter::all(),
        Some(names) => {
            let origin = file.origin(names.span().start);
            let text = names.into_inner().join(",");
            EventFilter::read(&text).ok_or_else(|| {
                Error::bad_value(&origin, "webhooks.events", EventFilter::TAKES, &text)
            })?
        }
    };
    Ok(WebhookOptions {
        name: section.name.unwrap_or_else(|| number.to_string()),
        url,
        secret,
        events,
    })
}

/// Where a secret is stored.
struct Written {
    here: Option<Spanned<String>>,
    file: Option<Spanned<PathBuf>>,
    variable: Option<Spanned<String>>,
}

impl Written {
    fn resolve(
        self,
        file: &File<'_>,
        start: usize,
        variables: &BTreeMap<String, String>,
    ) -> Result<Secret, Error> {
        let (key, text, start) = match (self.here, self.file, self.variable) {
            (Some(text), None, None) => {
                let start = text.span().start;
                ("webhooks.secret", text.into_inner(), start)
            }
            (None, Some(path), None) => {
                let start = path.span().start;
                let path = path.into_inner();
                let text =
                    fs::read_to_string(&path).map_err(|cause| Error::Unreadable { path, cause })?;
                ("webhooks.secret_file", text, start)
            }
            (None, None, Some(name)) => {
                let start = name.span().start;
                let (key, origin) = ("webhooks.secret_env", file.origin(start));
                let text = sections::variable(variables, &name.into_inner(), key, &origin)?;
                (key, text.to_owned(), start)
            }
            _ => {
                let origin = file.origin(start);
                let given = "none or several";
                return Err(Error::bad_value(&origin, "webhooks", PLACES, given));
            }
        };
        Secret::new(text.trim()).ok_or_else(|| {
            Error::bad_value(
                &file.origin(start),
                key,
                <Secret as Value>::TAKES,
                NOT_SHOWN,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml::de::DeTable;

    use super::*;
    use crate::{events::Happening, plan::Name};

    fn load(text: &str) -> Result<Vec<WebhookOptions>, String> {
        let path = Path::new("aerial.toml");
        let table = DeTable::parse(text).unwrap();
        let variables = BTreeMap::from([("HOOK".to_owned(), "from-a-variable".to_owned())]);
        let file = File {
            path: Some(path),
            text,
        };
        let value = table.get_ref().get("webhooks").unwrap();
        read(&file, value, &variables).map_err(|error| error.to_string())
    }

    #[test]
    fn receivers_have_an_address_a_secret_and_a_choice_of_events() {
        let hooks = load(
            "[[webhooks]]\nurl = \"https://a/b?c\"\nsecret = \"hunter2\"\nevents = [\"viewer.*\"]\n\
             [[webhooks]]\nname = \"chat\"\nurl = \"http://a\"\nsecret_env = \"HOOK\"\n",
        );
        let hooks = hooks.unwrap();
        let live = Happening::Live {
            broadcast: Name::new("a").unwrap(),
        };
        let shown: Vec<_> = hooks
            .iter()
            .map(|hook| (hook.name.as_str(), hook.events.wants(&live)))
            .collect();
        assert_eq!(shown, [("1", false), ("chat", true)]);
        assert_eq!(
            hooks.last().unwrap().secret,
            Secret::new("from-a-variable").unwrap()
        );
    }

    #[test]
    fn mistakes_are_told_without_the_secret() {
        let one = |rest: &str| format!("[[webhooks]]\n{rest}");
        for (text, words) in [
            (one("secret = \"hunter2\""), "`url`"),
            (
                one("url = \"ftp://hunter2\"\nsecret = \"a\""),
                ":2: `webhooks.url`",
            ),
            (one("url = \"http://a\""), "secret_file"),
            (
                one("url = \"http://a\"\nsecret = \"hunter2 x\""),
                ":3: `webhooks.secret`",
            ),
            (
                one("url = \"http://a\"\nsecret_env = \"NOT_SET\""),
                ":3: `webhooks.secret_env`",
            ),
            (
                one("url = \"http://a\"\nsecret = \"a\"\nevents = [\"sing\"]"),
                ":4: `webhooks.events`",
            ),
            (
                one("url = \"http://a\"\nsecret = \"a\"\nsing = 1"),
                "`webhooks.sing`",
            ),
            ("webhooks = [\"hunter2\"]".to_owned(), "[[webhooks]]"),
        ] {
            let error = load(&text).map(|_| ()).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
