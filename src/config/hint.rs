//! What to do about a mistake.

/// What to do about an unknown key: take the nearest known one, if it is close.
pub(super) fn hint<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known
        .map(|known| (strsim::levenshtein(key, known), known))
        .min();
    match nearest {
        Some((distance, known)) if distance <= 2 + known.len() / 6 => {
            format!("did you mean `{known}`?")
        }
        _ => "`aerial serve --help` lists all".to_owned(),
    }
}
