//! Which kinds of events somebody wants.

use super::Happening;

/// Kinds of events: all, groups such as `viewer.*`, or single ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter(Vec<String>);

impl EventFilter {
    /// Completes "this takes ...".
    pub const TAKES: &str = "kinds of events such as broadcast.live, viewer.* or *";

    /// Everything.
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// From names separated by commas. `None` if one of them stands for no event.
    pub fn read(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split(',').map(|word| word.trim().to_owned()).collect();
        let is_known = |word: &String| {
            let mut names = Happening::NAMES.iter();
            names.any(|name| covers(word, name))
        };
        words.iter().all(is_known).then_some(Self(words))
    }

    /// Whether this event is wanted.
    pub fn wants(&self, what: &Happening) -> bool {
        self.0.iter().any(|word| covers(word, what.name()))
    }
}

fn covers(word: &str, name: &str) -> bool {
    match word.strip_suffix('*') {
        Some("") => true,
        Some(group) => group.ends_with('.') && name.starts_with(group),
        None => word == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Name;

    #[test]
    fn filters_name_events_and_groups() {
        let live = Happening::Live {
            broadcast: Name::new("a").unwrap(),
        };
        for (text, wants) in [
            ("*", true),
            ("broadcast.*", true),
            ("broadcast.live", true),
            ("viewer.*, broadcast.live", true),
            ("viewer.*", false),
            ("broadcast.stale", false),
        ] {
            assert_eq!(
                EventFilter::read(text).unwrap().wants(&live),
                wants,
                "{text}"
            );
        }
        for text in ["", "broadcast", "broadcast*", "live", "viewer.*,", "x.*"] {
            assert_eq!(EventFilter::read(text), None, "{text}");
        }
    }
}
