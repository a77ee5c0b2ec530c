//! W-49: damaged offers are answered or refused, at once, and never panic.

use std::time::{Duration, Instant};

use super::{answers::assert_well_formed, *};
use crate::fuzz::Random;

const MUTATIONS: usize = 200;
/// Far above what the largest offer takes (milliseconds), far below a hang.
const TIME_MAX: Duration = Duration::from_secs(2);

/// One to three damages.
fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        let (at, other) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(11) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            3 => lines[at] = lines[at].replace(|c: char| c.is_ascii_digit(), "4294967296"),
            4 => lines[at] = lines[at].replace(|c: char| c.is_ascii_digit(), "0"),
            5 => lines[at].push_str(&"x".repeat(10_000)),
            6 => lines[at].push_str(&" 1".repeat(random.below(900))),
            7 => lines.extend(vec![
                "m=video 9 UDP/TLS/RTP/SAVPF 96".to_owned();
                random.below(500)
            ]),
            8 => lines.extend(vec![lines[at].clone(); random.below(500)]),
            9 => lines.truncate(at + 1),
            _ => lines[at] = lines[at].replacen(':', [" ", "", "::", ":*", ": "][other % 5], 1),
        }
        if lines.is_empty() {
            break;
        }
    }
    let mut bytes = lines.join("\r\n").into_bytes();
    if random.below(4) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] = u8::try_from(random.below(256)).unwrap();
    }
    if random.below(8) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

fn try_publish(name: &str, text: &[u8]) -> bool {
    let Ok(offer) = Offer::parse(text, Role::Publisher) else {
        return false;
    };
    let Ok(choices) = offer.choose_publish() else {
        return false;
    };
    let again = publish(&offer.normalised(&choices)).unwrap();
    assert_eq!(
        again.choose_publish().unwrap().len(),
        again.media.len(),
        "{name}"
    );
    let engine = engine_answer(&offer, &choices);
    let answer = publisher_answer(&offer, &choices, &engine, transport()).unwrap();
    assert_well_formed(name, &offer, &answer);
    true
}

fn try_view(name: &str, text: &[u8]) -> bool {
    let Ok(offer) = Offer::parse(text, Role::Viewer) else {
        return false;
    };
    let answer = viewer_answer(&offer, &sections(&offer, Codec::Vp8), &transport());
    assert_well_formed(name, &offer, &answer);
    true
}

/// Row W-49.
#[test]
fn mutated_offers_are_answered_or_refused_at_once() {
    let refused = REFUSED
        .into_iter()
        .map(|(name, text)| (name, text.to_owned()));
    let viewers = VIEWERS
        .into_iter()
        .map(|(name, text)| (name, text.to_owned()));
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let mut accepted = 0;
    for (name, text) in publishers().chain(refused).chain(viewers) {
        for _ in 0..MUTATIONS {
            let mutated = mutate(&text, &mut random);
            let start = Instant::now();
            accepted += usize::from(try_publish(name, &mutated));
            accepted += usize::from(try_view(name, &mutated));
            let _ = Fragment::parse(&mutated); // must not panic; most are refused
            assert!(
                start.elapsed() < TIME_MAX,
                "{name}: {:?}",
                String::from_utf8_lossy(&mutated)
            );
        }
    }
    assert!(
        accepted > MUTATIONS,
        "only {accepted} were mild enough to test answers"
    );
}

/// Row W-49.
#[test]
fn the_worst_of_the_largest_offers_is_answered_soon() {
    let wildcards = format!("{OBS}{}", "a=rtcp-fb:* nack\r\n".repeat(4000));
    let pts = (0..128).fold(String::new(), |pts, pt| format!("{pts} {pt}"));
    let formats = wildcards.replace("SAVPF 96", &format!("SAVPF{pts}"));
    let extensions = format!("{OBS}{}", "a=extmap:1 urn:x\r\n".repeat(4000));
    let candidates = format!(
        "{OBS}{}",
        "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(2000)
    );
    for text in [wildcards, formats, extensions, candidates] {
        let start = Instant::now();
        try_publish("largest", text.as_bytes());
        assert!(start.elapsed() < TIME_MAX, "{:?}", start.elapsed());
    }
}
