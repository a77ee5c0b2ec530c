//! The readers of network input, as functions of any bytes: entry points of `cargo fuzz` (see
//! `fuzz/`), and of a test that runs the corpus and a fixed number of mutated inputs.

use std::{sync::Arc, time::Duration};

use crate::{
    cluster, fanout, ingest,
    media::{Codec, Frame, Kind},
    peer::{
        sdp::{self, Fragment, Offer, Role, Section, Transport},
        session, udp,
    },
    pipeline, worker,
};

/// An offer, as publisher and as viewer: either a clear error, or an answer with the same number of
/// sections.
///
/// # Panics
///
/// If an answer does not have as many sections as the offer.
pub fn offer(data: &[u8]) {
    if let Ok(offer) = Offer::parse(data, Role::Publisher)
        && let Ok(choices) = offer.choose_publish()
    {
        let normalised = offer.normalised(&choices);
        assert!(normalised.starts_with("v=0"), "{normalised}");
    }
    let Ok(offer) = Offer::parse(data, Role::Viewer) else {
        return;
    };
    let mut sections = vec![Section::Inactive; offer.media.len()];
    for (kind, codecs) in [
        (Kind::Video, [Codec::H264, Codec::Vp8]),
        (Kind::Audio, [Codec::Opus; 2]),
    ] {
        if let Some((at, format)) = offer.choose(kind, &codecs)
            && let Some(section) = sections.get_mut(at)
        {
            *section = Section::Send {
                format: format.clone(),
                ssrc: 1,
                rtx_ssrc: 2,
            };
        }
    }
    let answer = sdp::viewer_answer(&offer, &sections, &Transport::default());
    let lines = answer.lines().filter(|line| line.starts_with("m="));
    assert_eq!(lines.count(), offer.media.len(), "{answer}");
}

/// A trickle ICE fragment (RFC 8840).
pub fn fragment(data: &[u8]) {
    drop(Fragment::parse(data));
}

/// A datagram on the port of all sessions: which session is it for, and which stream?
pub fn datagram(data: &[u8]) {
    udp::stun::look(data);
    session::rtp_stream(data);
}

/// Datagrams, each preceded by its length in two bytes, to a session of each role that has begun
/// but is not connected.
///
/// # Errors
/// If the system has no port.
pub fn session(data: &[u8]) -> std::io::Result<()> {
    let (publish, watch) = (
        include_str!("../tests/fixtures/obs-32.1-simulcast.sdp"),
        include_str!("../tests/fixtures/chrome-whep-av.sdp"),
    );
    session::fuzz::datagrams(publish, watch, data)
}

/// What a connected publisher on the direct engine may send, in steps of two bytes and the bytes
/// they announce: RTCP and RTP, which are encrypted first, forged datagrams, and pauses.
///
/// # Errors
/// If the connection cannot be made.
///
/// # Panics
///
/// If the session ends, or frames come out that are too large.
pub fn publisher(data: &[u8]) -> std::io::Result<()> {
    ingest::direct::fuzz::publisher(data).map(|_| ())
}

/// What a connected viewer on the direct engine may send, in the same steps.
///
/// # Errors
/// If the connection cannot be made.
///
/// # Panics
///
/// If the session ends.
pub fn viewer(data: &[u8]) -> std::io::Result<()> {
    fanout::fuzz::connected::viewer(data).map(|_| ())
}

/// RTP packets, each preceded by its length in one byte, as they leave the jitter buffer: frames
/// are made of them and of nothing else.
///
/// # Errors
/// If GStreamer does not start.
pub fn rtp(data: &[u8]) -> Result<(), pipeline::Error> {
    pipeline::init()?;
    pipeline::fuzz::packets(data);
    Ok(())
}

/// RTP packets of a publisher on the direct engine, in order, and with losses: frames are made of
/// them that viewers can take.
///
/// # Panics
///
/// If a frame is too large, or one of its payloads.
pub fn assembler(data: &[u8]) {
    ingest::fuzz::packets(data);
}

/// Frames, drops, joins and keyframe requests in any order: a viewer's timestamps never go back.
/// Four bytes make a step: what, how much time, how many bytes, how many packets.
pub fn switcher(data: &[u8]) {
    let mut viewer = fanout::fuzz::Viewer::new();
    let (mut number, mut time) = (0_u64, 0_u64);
    for step in data.as_chunks::<4>().0 {
        let [what, later, bytes, packets] = *step;
        time += u64::from(later);
        match what % 8 {
            0 => viewer.join(),
            1 => viewer.fall_behind(),
            // A frame before this one is lost.
            2 => number += 1,
            3 => viewer.catch_up(usize::from(bytes), time * 90),
            kind => {
                viewer.frame(number, &frame(time, kind == 4, [bytes, packets]));
                number += 1;
            }
        }
    }
}

/// Bytes on the socket between server and worker, after one that says in what pieces they arrive:
/// messages come out whole or not at all.
///
/// # Panics
///
/// If a frame does not make sense, or changes on its way.
pub fn worker(data: &[u8]) {
    worker::fuzz::both_ways(data);
}

/// Messages from another node, each after its length: frames come out whole or not at all.
///
/// # Panics
///
/// If a frame does not make sense, or changes on its way.
pub fn cluster(data: &[u8]) {
    cluster::fuzz::cluster(data);
}

fn frame(millis: u64, keyframe: bool, [bytes, packets]: [u8; 2]) -> Arc<Frame> {
    let each = u32::from(bytes) + 1;
    let ends: Vec<u32> = (1..=u32::from(packets % 8) + 1)
        .map(|count| count * each)
        .collect();
    let len = ends.last().map_or(0, |end| *end as usize);
    Arc::new(Frame {
        codec: Codec::H264,
        keyframe,
        pts: Duration::from_millis(millis),
        timestamp: millis * 90,
        data: vec![0; len].into(),
        ends,
    })
}

/// A small generator of known quality (`SplitMix64`): the same inputs in every run.
#[cfg(test)]
pub(crate) struct Random(pub(crate) u64);

#[cfg(test)]
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Mutated inputs per target and run.
    const INPUTS: usize = 10_000;

    /// Every file in a folder of the repository.
    fn files(folder: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    /// Changes, removes, inserts and repeats bytes; takes lines from other inputs.
    fn change(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            let at = random.below(input.len() + 1);
            let to = (at + random.below(40)).min(input.len());
            match random.below(6) {
                0 if at < input.len() => input[at] = random.next().to_le_bytes()[0],
                1 if at < input.len() => input[at] ^= 1 << random.below(8),
                2 => drop(input.drain(at..to)),
                3 => {
                    let again = input[at..to].to_vec();
                    drop(input.splice(at..at, again));
                }
                4 => {
                    let other = &seeds[random.below(seeds.len())];
                    let lines: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
                    if let Some(line) = lines.get(random.below(lines.len())) {
                        drop(input.splice(at..at, line.iter().copied()));
                    }
                }
                _ => input.truncate(at.max(1)),
            }
        }
        input
    }

    fn run(target: fn(&[u8]), seeds: &[Vec<u8>]) {
        run_some(target, seeds, INPUTS);
    }

    fn run_some(target: fn(&[u8]), seeds: &[Vec<u8>], inputs: usize) {
        let mut random = Random(1);
        for seed in seeds {
            target(seed);
        }
        for _ in 0..inputs {
            let input = change(&mut random, seeds);
            let fine = std::panic::catch_unwind(|| target(&input)).is_ok();
            assert!(fine, "{:?}", String::from_utf8_lossy(&input));
        }
    }

    #[test]
    fn offers() {
        let mut seeds = files("fuzz/corpus/offer");
        seeds.extend(files("tests/fixtures"));
        run(offer, &seeds);
    }

    #[test]
    fn fragments() {
        run(fragment, &files("fuzz/corpus/fragment"));
    }

    #[test]
    fn datagrams() {
        run(datagram, &files("fuzz/corpus/datagram"));
    }

    #[test]
    fn sessions() {
        let seeds = files("fuzz/corpus/session");
        // Each makes two sessions and binds a port.
        run_some(|data| session(data).unwrap(), &seeds, INPUTS / 20);
    }

    #[test]
    fn the_corpus_is_understood() {
        let seed = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
            std::fs::read(path.join(name)).unwrap()
        };
        let frames = |data: &[u8]| ingest::direct::fuzz::publisher(data).unwrap();
        // Of their packets, one comes too late, and one twice.
        assert_eq!(frames(&seed("publisher/streams")), 4);
        assert_eq!(frames(&seed("publisher/mid")), 2);
        assert_eq!(frames(&seed("publisher/forged")), 0);
        // Forged packets that name the section of a stream do not take its place.
        assert_eq!(frames(&seed("publisher/stolen")), 3);
        let asked = |data: &[u8]| fanout::fuzz::connected::viewer(data).unwrap();
        let nothing = asked(&seed("viewer/forged"));
        assert!(asked(&seed("viewer/nack-pli")) > nothing + 3);
    }

    #[test]
    fn publishers() {
        let seeds = files("fuzz/corpus/publisher");
        // Each is a whole connection.
        run_some(|data| publisher(data).unwrap(), &seeds, INPUTS / 100);
    }

    #[test]
    fn viewers() {
        let seeds = files("fuzz/corpus/viewer");
        run_some(|data| viewer(data).unwrap(), &seeds, INPUTS / 100);
    }

    #[test]
    fn assemblers() {
        run_some(assembler, &files("fuzz/corpus/assembler"), INPUTS / 5);
    }

    #[test]
    fn packets() {
        run(|data| rtp(data).unwrap(), &files("fuzz/corpus/rtp"));
    }

    #[test]
    fn nodes() {
        let seeds = files("fuzz/corpus/cluster");
        let frames = seeds.iter().map(|seed| cluster::fuzz::cluster(seed));
        assert!(frames.sum::<usize>() > 1, "the corpus holds whole frames");
        run(cluster, &seeds);
    }

    #[test]
    fn workers() {
        let seeds = files("fuzz/corpus/worker");
        let messages = seeds.iter().map(|seed| worker::fuzz::both_ways(seed));
        assert!(messages.sum::<usize>() > 8, "the corpus says something");
        run(worker, &seeds);
    }

    #[test]
    fn switchers() {
        run(switcher, &files("fuzz/corpus/switcher"));
    }
}
