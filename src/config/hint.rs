//! Hints on how to mend a mistake.

/// Options that are gone, and what to do instead.
const GONE: [(&str, &str); 2] = [
    (
        "publisher_addresses",
        "remove it: publishers come to the one UDP port now. `udp` says where that listens, \
         `webrtc.public_addresses` what is advertised",
    ),
    (
        "webrtcbin_ports",
        "remove it: sessions on webrtcbin share the one UDP port, `udp`, now",
    ),
];

/// What to do about an unknown key: if it is gone, what has replaced it; else the nearest known one,
/// if it is close.
pub(super) fn hint<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let lower = key.to_ascii_lowercase();
    if let Some((_, instead)) = GONE.iter().find(|(gone, _)| lower.ends_with(gone)) {
        return (*instead).to_owned();
    }
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
