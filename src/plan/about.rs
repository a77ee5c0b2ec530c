//! What the pages say about a broadcast.

use serde::{Deserialize, Serialize};

use super::Value;

/// Length of a line, in characters.
const LINE_CHARS_MAX: usize = 200;
/// Tags of one broadcast.
const TAGS_MAX: usize = 8;

/// A line of text on the pages.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String")]
pub struct PageText(pub String);

impl TryFrom<String> for PageText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text).ok_or(Self::TAKES)
    }
}

impl Value for PageText {
    const TAKES: &'static str = "a line of at most 200 characters";

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= LINE_CHARS_MAX;
        let is_line = !text.chars().any(char::is_control);
        (fits && is_line).then(|| Self(text.to_owned()))
    }
}

impl Value for Vec<PageText> {
    const TAKES: &'static str = "a list of at most 8 lines";

    fn read(text: &str) -> Option<Self> {
        let lines: Self = text.split(',').map(PageText::read).collect::<Option<_>>()?;
        (lines.len() <= TAGS_MAX).then_some(lines)
    }
}

/// What the pages show of a broadcast besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct About {
    /// Its title, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<PageText>,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<PageText>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<PageText>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_single() {
        assert_eq!(
            PageText::read(" Canal 9 "),
            Some(PageText("Canal 9".into()))
        );
        for wrong in ["", "  ", "two\nlines", &"x".repeat(201)] {
            assert_eq!(PageText::read(wrong), None, "{wrong}");
        }
        let kept = serde_json::from_str::<PageText>("\"Canal 9\"").unwrap();
        assert_eq!(kept, PageText("Canal 9".into()));
        assert!(serde_json::from_str::<PageText>("\"\"").is_err());
        let tags = Vec::<PageText>::read("music, live").unwrap();
        assert_eq!(tags, ["music", "live"].map(|tag| PageText(tag.into())));
        for wrong in ["a,,b", "a,", "1,2,3,4,5,6,7,8,9"] {
            assert_eq!(Vec::<PageText>::read(wrong), None, "{wrong}");
        }
    }
}
