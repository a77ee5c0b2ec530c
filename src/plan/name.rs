//! Names of broadcasts.

use std::fmt;

/// The name of a broadcast: safe in URLs, file names and logs as it is.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, utoipa::ToSchema,
)]
#[schema(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$", examples("demo"))]
pub struct Name(String);

impl Name {
    /// Maximum length in characters.
    pub const CHARS_MAX: usize = 64;
    /// The rule in words.
    pub const RULE: &str = "names of 1 to 64 characters A-Z a-z 0-9 . _ - that do not start with a dot and are not `whip` or `whep`";
    /// Stand for the endpoints in `/whip/{name}` and `/{name}/whip`: a broadcast of such a name
    /// would make `/whep/whip` ambiguous.
    const RESERVED: [&str; 2] = ["whip", "whep"];

    /// The name, if it follows [`Name::RULE`].
    pub fn new(text: &str) -> Option<Self> {
        let legal = (1..=Self::CHARS_MAX).contains(&text.len())
            && !text.starts_with('.')
            && !Self::RESERVED.contains(&text)
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        legal.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "demo", "A.b_c-9", "s", "WHIP", &"x".repeat(64)] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "whip",
            "whep",
            ".",
            "..",
            ".a",
            "a/b",
            "a b",
            "ä",
            "%41",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }
}
