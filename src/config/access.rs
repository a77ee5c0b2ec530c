//! Who may do what, from `[auth]`.

use std::{fs, path::Path, sync::Arc};

use super::{Auth, Config, Error, NOT_SHOWN, RawConfig, ValueOrigin, value::ServiceUrl};
use crate::{
    access::{
        Access, Authorities, Callback, CallbackOptions, Grants, Issuer, JwtKeys, JwtOptions,
        KeyOrigin, Rule,
    },
    plan::{Pattern, Value as _},
};

impl Config {
    pub(super) fn access(&self, raw: &RawConfig) -> Result<Access, Error> {
        let Auth {
            publish_token,
            watch_token,
            public,
            ..
        } = &self.auth;
        let publish = Grants {
            publish: vec![Pattern::any()],
            ..Grants::default()
        };
        let watch = Grants {
            watch: vec![Pattern::any()],
            ..Grants::default()
        };
        let mut rules = raw.rules.clone();
        for (name, secret, grants) in [
            ("publish_token", publish_token, publish),
            ("watch_token", watch_token, watch),
        ] {
            let rule = |secret| Rule::for_token(name, secret, grants);
            rules.extend(secret.as_ref().map(rule));
        }
        let authorities = Authorities {
            issuer: self.issuer(raw)?,
            callback: self.callback(raw)?,
        };
        let is_empty = rules.is_empty() && authorities.is_empty();
        match raw.first_of("auth.") {
            // Setting any of these means wanting tokens: an empty variable must not open the
            // server.
            Some((key, origin)) if is_empty => {
                let expected = "a token beside it: auth.publish_token, auth.watch_token, \
                                [[auth.tokens]], auth.jwt_key, auth.jwt_url or auth.callback";
                Err(Error::bad_value(origin, key, expected, "none"))
            }
            _ => Ok(Access::new(rules, public.clone(), authorities)),
        }
    }

    /// Whose signed tokens are accepted.
    fn issuer(&self, raw: &RawConfig) -> Result<Option<Issuer>, Error> {
        let auth = &self.auth;
        let origin = match (&auth.jwt_key, &auth.jwt_url) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let origin = raw.origin_of("auth.jwt_url");
                let expected = "no auth.jwt_key beside it";
                return Err(Error::bad_value(&origin, "auth.jwt_url", expected, "both"));
            }
            (Some(path), None) => {
                KeyOrigin::File(Arc::new(keys(path, &raw.origin_of("auth.jwt_key"))?))
            }
            (None, Some(url)) => KeyOrigin::Url(uri(raw, "auth.jwt_url", url)?, auth.jwt_refresh),
        };
        let options = JwtOptions {
            issuer: auth.jwt_issuer.clone(),
            audience: auth.jwt_audience.clone(),
            claim: auth.jwt_claim.clone(),
            leeway: auth.jwt_leeway,
        };
        Ok(Some(Issuer::new(options, origin)))
    }

    /// The server that decides about clients.
    fn callback(&self, raw: &RawConfig) -> Result<Option<Callback>, Error> {
        let auth = &self.auth;
        let (url, secret) = match (&auth.callback, &auth.callback_secret) {
            (None, None) => return Ok(None),
            (Some(url), Some(secret)) => (url, secret),
            (Some(_), None) => {
                let origin = raw.origin_of("auth.callback");
                let expected = "auth.callback_secret beside it";
                return Err(Error::bad_value(&origin, "auth.callback", expected, "none"));
            }
            (None, Some(_)) => {
                let key = "auth.callback_secret";
                let origin = raw.origin_of(key);
                let expected = "auth.callback beside it";
                return Err(Error::bad_value(&origin, key, expected, "none"));
            }
        };
        Ok(Some(Callback::new(CallbackOptions {
            url: uri(raw, "auth.callback", url)?,
            secret: secret.clone(),
            timeout: auth.callback_timeout,
            lifetime: auth.callback_lifetime,
        })))
    }
}

/// The keys in a file.
fn keys(path: &Path, origin: &ValueOrigin) -> Result<JwtKeys, Error> {
    let bytes = fs::read(path).map_err(|cause| Error::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    let expected = |what: String| {
        let given = "the content of the file (not shown)";
        Error::bad_value(origin, "auth.jwt_key", &what, given)
    };
    JwtKeys::read(&bytes).map_err(expected)
}

fn uri(raw: &RawConfig, key: &str, url: &ServiceUrl) -> Result<http::Uri, Error> {
    // It has been read as one before.
    let uri = url.0.parse();
    uri.map_err(|_| Error::bad_value(&raw.origin_of(key), key, ServiceUrl::TAKES, NOT_SHOWN))
}
