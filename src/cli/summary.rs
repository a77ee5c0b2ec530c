//! A summary for people who start the server on a terminal.

use std::net::SocketAddr;

use crate::{config::Config, peer::sdp::Role};

/// What the summary needs of the configuration.
pub(super) struct Summary {
    public_url: Option<String>,
    has_tls: bool,
    publishing_needs_token: bool,
    watching_needs_token: bool,
    udp: SocketAddr,
}

impl Summary {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            public_url: config.http.public_url.as_ref().map(|url| url.0.clone()),
            has_tls: config.http.tls_certificate.is_some(),
            publishing_needs_token: config.access.closes(Role::Publisher),
            watching_needs_token: !config.access.is_open_to_viewers(),
            udp: config.main.udp,
        }
    }

    /// A few lines, for a server whose HTTP is at this address.
    pub(super) fn text(&self, address: SocketAddr) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        let here = if address.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", address.port())
        } else {
            format!("{scheme}://{address}")
        };
        let url = self.public_url.as_deref().unwrap_or(&here);
        let token = |needed: bool| if needed { " (needs a token)" } else { "" };
        let publish = token(self.publishing_needs_token);
        let watch = token(self.watching_needs_token);
        let bearer = if self.publishing_needs_token {
            "one that may publish"
        } else {
            "leave it empty"
        };
        let (tcp, udp) = (address.port(), self.udp.port());
        let reach = if address.ip().is_loopback() {
            format!(
                "only this machine can reach the pages; to let others in, set listen = \
                 \"0.0.0.0:{tcp}\""
            )
        } else {
            format!("let TCP {tcp} and UDP {udp} through the firewall")
        };
        format!(
            "\n  Watch    {url}/{watch}\
             \n  Publish  {url}/publish/NAME{publish}, in a browser\
             \n  OBS      service: WHIP; server: {url}/whip/NAME; bearer token: {bearer}\
             \n  Network  {reach}\
             \n  Stop     Ctrl+C\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    fn text(flags: &[(&'static str, &str)], address: &str) -> String {
        let flags = flags.iter().map(|&(key, value)| (key, value.to_owned()));
        let raw = RawConfig::read(None, [], flags).unwrap();
        let config = Config::load(&raw).unwrap();
        Summary::of(&config).text(address.parse().unwrap())
    }

    #[test]
    fn it_says_where_to_go() {
        let text = text(&[], "127.0.0.1:8080");
        for words in [
            "Watch    http://127.0.0.1:8080/\n",
            "Publish  http://127.0.0.1:8080/publish/NAME, in a browser\n",
            "server: http://127.0.0.1:8080/whip/NAME; bearer token: leave it empty",
            "only this machine",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn it_says_what_is_needed_but_no_secret() {
        let flags = [
            ("auth.publish_token", "hunter2-hunter2-hunter2"),
            ("http.public_url", "https://live.example/tv"),
            ("udp", "0.0.0.0:8189"),
        ];
        let text = text(&flags, "0.0.0.0:80");
        for words in [
            "https://live.example/tv/publish/NAME (needs a token)",
            "bearer token: one that may publish",
            "let TCP 80 and UDP 8189 through",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert!(!text.contains("hunter2"));
    }
}
