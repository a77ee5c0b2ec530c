//! The operator's design of the pages: name, texts, logo, colour.

use std::{borrow::Cow, path::PathBuf};

use super::{accent, escape::escape, files::PageFile};

/// Parts that pages have in common, between them and their marks in pages.
pub(super) const PARTS: [PagePart; 2] = [
    PagePart {
        mark: "<!-- part head -->",
        file: "parts/head.html",
    },
    PagePart {
        mark: "<!-- part foot -->",
        file: "parts/foot.html",
    },
];
/// Where the logo and the colour are.
pub(super) const LOGO: &str = "site/logo";
pub(super) const STYLE: &str = "site/theme.css";
/// Where the manifest is, which has the name as well.
pub(super) const MANIFEST: &str = "manifest.webmanifest";
/// Where pages have a mark before their name, their icons and the colour.
const MARK: &str = "<!-- mark -->";
const ICONS: &str = "<!-- icons -->";
const THEME: &str = "<!-- theme -->";
/// Where pages have the name.
const NAME: &str = "{site.name}";
/// Our own line at the foot of pages, in the reader's language.
const SLOGAN: &str = "<p data-t=\"slogan\"></p>";

/// A part of many pages.
pub(super) struct PagePart {
    /// Where pages have it.
    pub(super) mark: &'static str,
    /// In the folder of the pages.
    pub(super) file: &'static str,
}

/// The design of this server's pages.
#[derive(Clone, Debug)]
pub struct Theme {
    /// The name of the server.
    pub name: String,
    /// Its description, for search engines and messengers.
    pub description: Option<String>,
    /// A line at the foot of each page.
    pub footer: Option<String>,
    /// A picture before the name.
    pub logo: Option<PathBuf>,
    /// Red, green and blue of what stands out.
    pub accent: Option<[u8; 3]>,
}

impl Theme {
    /// A page's text with what is the operator's. `root` leads from the page to the root.
    pub(super) fn apply(&self, page: &str, root: &str) -> String {
        let page = page
            .replace(MARK, &self.mark(root))
            .replace(ICONS, &self.icons(root))
            .replace(THEME, &self.link(root));
        let page = match &self.footer {
            Some(footer) => page.replace(SLOGAN, &format!("<p>{}</p>", escape(footer))),
            None => page,
        };
        // Last: names may be anything.
        page.replace(NAME, &escape(&self.name))
    }

    fn mark(&self, root: &str) -> String {
        match self.logo {
            Some(_) => format!("<img src=\"{root}{LOGO}\" alt=\"\" />"),
            None => "<span data-icon=\"signal\"></span>".to_owned(),
        }
    }

    fn icons(&self, root: &str) -> String {
        if self.logo.is_some() {
            return format!("<link rel=\"icon\" href=\"{root}{LOGO}\" />");
        }
        format!(
            "<link rel=\"icon\" href=\"{root}favicon.ico\" sizes=\"32x32\" />\n    \
             <link rel=\"icon\" href=\"{root}favicon.svg\" type=\"image/svg+xml\" />\n    \
             <link rel=\"apple-touch-icon\" href=\"{root}touch-icon.png\" />"
        )
    }

    fn link(&self, root: &str) -> String {
        match self.accent {
            Some(_) => format!("<link rel=\"stylesheet\" href=\"{root}{STYLE}\" />"),
            None => String::new(),
        }
    }

    /// The style sheet with the colour, if there is one.
    pub(super) fn style(&self) -> Option<PageFile> {
        self.accent
            .map(|accent| PageFile::of_text(accent::style_sheet(accent)))
    }

    /// The manifest with the server's name.
    pub(super) fn manifest(&self, file: PageFile) -> PageFile {
        let Ok(mut manifest) = serde_json::from_slice::<serde_json::Value>(&file.content) else {
            return file; // the operator's own
        };
        if let Some(object) = manifest.as_object_mut() {
            for key in ["name", "short_name"] {
                object.insert(key.to_owned(), self.name.as_str().into());
            }
        }
        PageFile::of_text(manifest.to_string())
    }

    /// The description of the server.
    pub(super) fn about(&self) -> Cow<'_, str> {
        match &self.description {
            Some(description) => escape(description).into(),
            None => "Live broadcasts with less than a second of delay.".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<html data-aerial=\"{site.name}\"><!-- icons --><!-- theme -->\
                        <a><!-- mark -->{site.name}</a><p data-t=\"slogan\"></p>";

    fn plain() -> Theme {
        Theme {
            name: "Aerial".to_owned(),
            description: None,
            footer: None,
            logo: None,
            accent: None,
        }
    }

    #[test]
    fn pages_are_ours_unless_the_operator_says_otherwise() {
        let page = plain().apply(PAGE, "../");
        for part in [
            "data-aerial=\"Aerial\"",
            "\"../favicon.svg\"",
            "<span data-icon=\"signal\"></span>Aerial",
            "data-t=\"slogan\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("site/"), "{page}");
    }

    #[test]
    fn the_operators_texts_are_escaped() {
        let theme = Theme {
            name: "<b>\"{site.name}\"".to_owned(),
            footer: Some("a & {site.name} <i>".to_owned()),
            logo: Some("logo.svg".into()),
            accent: Some([0, 0, 255]),
            ..plain()
        };
        let page = theme.apply(PAGE, "./");
        for part in [
            "data-aerial=\"&lt;b&gt;&quot;{site.name}&quot;\"",
            "<img src=\"./site/logo\" alt=\"\" />",
            "href=\"./site/logo\"",
            "href=\"./site/theme.css\"",
            "<p>a &amp; ",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("<b>") && !page.contains("<i>"), "{page}");
    }

    #[test]
    fn the_manifest_has_the_name() {
        let file = PageFile::of_text("{\"name\":\"Aerial\",\"scope\":\"./\"}".to_owned());
        let theme = Theme {
            name: "Canal \"9\"".to_owned(),
            ..plain()
        };
        let manifest: serde_json::Value =
            serde_json::from_slice(&theme.manifest(file).content).unwrap();
        assert_eq!(manifest["name"], "Canal \"9\"");
        assert_eq!(manifest["scope"], "./");
    }
}
