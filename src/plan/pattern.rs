//! Which broadcasts a section of the configuration or a token is for.

use std::fmt;

use super::Name;

/// Which broadcasts a section is for: a name in which each `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern, if it could match a name.
    pub fn new(text: &str) -> Option<Self> {
        Name::new(&text.replace('*', "x")).map(|_| Self(text.to_owned()))
    }

    /// Matches every name.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// The one name that it matches, unless it is a pattern.
    pub fn name(&self) -> Option<Name> {
        Name::new(&self.0)
    }

    /// Whether a broadcast of this name is meant.
    pub fn matches(&self, name: &Name) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts
            .next()
            .and_then(|first| name.as_str().strip_prefix(first))
        else {
            return false;
        };
        let mut parts: Vec<_> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        let inner = parts.into_iter().try_fold(rest, |rest, part| {
            let at = rest.find(part)?;
            rest.get(at + part.len()..)
        });
        inner.is_some_and(|rest| rest.ends_with(last))
    }

    /// Lower is more specific: names first, then patterns by how much they specify.
    pub(super) fn rank(&self) -> (bool, std::cmp::Reverse<usize>) {
        let stars = self.0.matches('*').count();
        (stars > 0, std::cmp::Reverse(self.0.len() - stars))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn patterns() {
        for (pattern, text, matches) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "anything", true),
            ("cam-*", "cam-1", true),
            ("cam-*", "cam", false),
            ("*-hd", "cam-hd", true),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXcb", false),
            ("a*a", "a", false),
            ("**", "a", true),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(pattern.matches(&name(text)), matches, "{pattern:?} {text}");
        }
        assert!(Pattern::new("a b*").is_none() && Pattern::new("").is_none());
    }
}
