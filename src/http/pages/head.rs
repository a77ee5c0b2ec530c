//! What a page says about itself: where its files are, and what link previews show.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{escape::escape, theme::Theme};
use crate::plan::{About, Name};

/// Where a page has what is written here.
const MARK: &str = "<!-- head -->";
/// The root in the addresses of pages that may be at any depth.
const ROOT: &str = "{root}";
/// Folders whose files have the version in their addresses.
const VERSIONED: [&str; 2] = ["js/", "css/"];
/// Size of the picture that others show, in pixels.
pub(super) const CARD: Size = Size {
    width: 1200,
    height: 630,
};

pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The server as a client reaches it: scheme, authority and perhaps a path, without a slash at the end.
pub(in crate::http) struct Site<'a>(pub(in crate::http) &'a str);

impl Site<'_> {
    /// An address on this server, as text of an attribute.
    pub(super) fn attribute(&self, path: &str) -> String {
        escape(&format!("{}/{path}", self.0))
    }
}

/// A broadcast that has a page.
pub(in crate::http) struct ShownBroadcast {
    pub(in crate::http) name: Name,
    /// What this reader may know about it.
    pub(in crate::http) about: About,
}

impl ShownBroadcast {
    fn title(&self) -> String {
        match &self.about.title {
            Some(title) => escape(&title.0),
            None => self.name.to_string(),
        }
    }

    fn description(&self) -> String {
        match &self.about.description {
            Some(description) => escape(&description.0),
            None => format!(
                "Watch {} live, with less than a second of delay.",
                self.title()
            ),
        }
    }
}

/// Where a page is.
pub(super) struct PagePlace<'a> {
    /// Folders above it.
    pub(super) depth: usize,
    /// The version of its files, if they stay as they are.
    pub(super) version: Option<&'a str>,
    /// The broadcast that it shows.
    pub(super) broadcast: Option<&'a ShownBroadcast>,
    /// The operator's design of the pages.
    pub(super) theme: &'a Theme,
}

impl PagePlace<'_> {
    /// The page's text with all that depends on its place.
    pub(super) fn complete(&self, page: &str, site: &Site<'_>) -> String {
        let mut page = page.to_owned();
        if let Some(version) = self.version {
            for folder in VERSIONED {
                let plain = format!("\"{ROOT}{folder}");
                page = page.replace(&plain, &format!("\"{ROOT}v/{version}/{folder}"));
            }
        }
        let root = match self.depth {
            0 => "./".to_owned(),
            depth => "../".repeat(depth),
        };
        let page = page.replace(ROOT, &root);
        // The page first: what the operator and the request say may be anything.
        let (before, after) = page.split_once(MARK).unwrap_or((page.as_str(), ""));
        let (before, after) = (
            self.theme.apply(before, &root),
            self.theme.apply(after, &root),
        );
        if page.contains(MARK) {
            format!("{before}{}{after}", self.describe(site))
        } else {
            before
        }
    }

    /// For pages and messengers that show what a link leads to (Open Graph, oEmbed).
    fn describe(&self, site: &Site<'_>) -> String {
        let (title, kind, address) = match self.broadcast {
            Some(shown) => (
                shown.title(),
                "video.other",
                format!("watch/{}", shown.name),
            ),
            None => (escape(&self.theme.name), "website", String::new()),
        };
        let description = match self.broadcast {
            Some(shown) => shown.description().into(),
            None => self.theme.about(),
        };
        let server = escape(&self.theme.name);
        let Size { width, height } = CARD;
        let (url, picture) = (site.attribute(&address), site.attribute("card.png"));
        let mut head = format!(
            r#"<meta name="description" content="{description}" />
    <meta property="og:site_name" content="{server}" />
    <meta property="og:type" content="{kind}" />
    <meta property="og:title" content="{title}" />
    <meta property="og:description" content="{description}" />
    <meta property="og:url" content="{url}" />
    <meta property="og:image" content="{picture}" />
    <meta property="og:image:width" content="{width}" />
    <meta property="og:image:height" content="{height}" />
    <meta name="twitter:card" content="summary_large_image" />"#
        );
        if self.broadcast.is_some() {
            let of = encoded(&format!("{}/{address}", site.0));
            let oembed = site.attribute(&format!("oembed?url={of}"));
            // Writing to a String cannot fail.
            let _ = write!(
                head,
                "\n    <link rel=\"alternate\" type=\"application/json+oembed\" href=\"{oembed}\" title=\"{title}\" />"
            );
        }
        head
    }
}

/// A text as the value of a parameter.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PageText, Value as _};

    const PAGE: &str = r#"<!-- head --><a href="{root}">x</a>
        <link href="{root}css/a.css"><script src="{root}js/a.js"></script>{site.name}"#;

    fn theme() -> Theme {
        Theme {
            name: "<!-- head -->{root}".to_owned(),
            description: Some("a \"b\"".to_owned()),
            footer: None,
            logo: None,
            accent: None,
        }
    }

    #[test]
    fn files_have_the_version_in_their_addresses() {
        let theme = theme();
        let place = |depth, version| PagePlace {
            depth,
            version,
            broadcast: None,
            theme: &theme,
        };
        let page = place(2, Some("7")).complete(PAGE, &Site("https://a"));
        for part in [
            "href=\"../../v/7/css/a.css\"",
            "src=\"../../v/7/js/a.js\"",
            "href=\"../../\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = place(0, None).complete(PAGE, &Site("https://a"));
        assert!(page.contains("href=\"./\"") && page.contains("href=\"./css/a.css\""));
    }

    #[test]
    fn a_broadcast_is_described_to_others() {
        let theme = theme();
        let demo = ShownBroadcast {
            name: Name::new("demo").unwrap(),
            about: About::default(),
        };
        let place = PagePlace {
            depth: 1,
            version: None,
            broadcast: Some(&demo),
            theme: &theme,
        };
        let page = place.complete(PAGE, &Site("https://a\"><b"));
        for part in [
            "og:title\" content=\"demo\"",
            "og:url\" content=\"https://a&quot;&gt;&lt;b/watch/demo\"",
            "og:image\" content=\"https://a&quot;&gt;&lt;b/card.png\"",
            "/oembed?url=https%3A%2F%2Fa%22%3E%3Cb%2Fwatch%2Fdemo\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn a_broadcast_is_described_by_its_title() {
        let line = |text: &str| PageText::read(text);
        let theme = theme();
        let demo = ShownBroadcast {
            name: Name::new("demo").unwrap(),
            about: About {
                title: line("\"Demo\" & more"),
                description: line("<b>"),
                tags: Vec::new(),
            },
        };
        let place = PagePlace {
            depth: 1,
            version: None,
            broadcast: Some(&demo),
            theme: &theme,
        };
        let page = place.complete(PAGE, &Site("https://a"));
        for part in [
            "og:title\" content=\"&quot;Demo&quot; &amp; more\"",
            "og:description\" content=\"&lt;b&gt;\"",
            "og:url\" content=\"https://a/watch/demo\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn the_server_is_described_as_the_operator_does() {
        let theme = theme();
        let place = PagePlace {
            depth: 0,
            version: None,
            broadcast: None,
            theme: &theme,
        };
        let page = place.complete(PAGE, &Site("https://a"));
        for part in [
            "og:site_name\" content=\"&lt;!-- head --&gt;{root}\"",
            "og:description\" content=\"a &quot;b&quot;\"",
            "</script>&lt;!-- head --&gt;{root}",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
