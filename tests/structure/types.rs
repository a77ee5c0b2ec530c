//! Type names: one that is visible beyond its file stands for one thing.

use std::collections::BTreeMap;

use super::code::Code;

/// Names that several rooms may give to a type of their own, because they are used with the room's
/// name (`fanout::Options`).
const SHARED: &[(&str, &str)] = &[
    ("Error", "each room's ways to fail"),
    ("Event", "what a room's parts report"),
    ("Options", "what a room is told by the configuration"),
    ("Statistics", "what a room counts"),
];

/// Every name that stands for several types, with the modules that declare them.
pub(super) fn ambiguous(code: &Code) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (module, names) in code.modules() {
        for name in &names.types {
            places.entry(name).or_default().push(module.join("::"));
        }
    }
    places.retain(|name, places| {
        let allowed = SHARED.iter().any(|(shared, _)| shared == name);
        places.len() > 1 && !allowed
    });
    places
        .into_iter()
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect()
}
