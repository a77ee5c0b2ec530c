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
        Summary::of(&Config::load(&raw).unwrap()).text(address.parse().unwrap())
    }

    #[test]
    fn the_summary_has_the_addresses() {
        let text = text(&[], "127.0.0.1:8080");
        for place in ["/\n", "/publish/NAME", "/whip/NAME"] {
            let url = format!("http://127.0.0.1:8080{place}");
            assert!(text.contains(&url), "{text}");
        }
    }

    #[test]
    fn the_summary_asks_for_a_token_and_has_no_secret() {
        let flags = [
            ("auth.publish_token", "hunter2-hunter2-hunter2"),
            ("http.public_url", "https://live.example/tv"),
            ("udp", "0.0.0.0:8189"),
        ];
        let closed = text(&flags, "0.0.0.0:80");
        for part in ["https://live.example/tv/publish/NAME", " 80 ", " 8189 "] {
            assert!(closed.contains(part), "{closed}");
        }
        assert!(!closed.contains("hunter2"));
        let line = |text: &str| {
            text.lines()
                .find(|line| line.contains("/publish/"))
                .map(str::to_owned)
        };
        assert_ne!(line(&closed), line(&text(&flags[1..], "0.0.0.0:80")));
    }
}
