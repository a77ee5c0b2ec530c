//! Payloads that are split, completed, and get new descriptors (VP8 and VP9).

use super::*;
use crate::media::nal::{self, Payload};

/// The NAL units in a frame's payloads, put together again.
fn units(codec: Codec, frame: &Frame) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for payload in payloads(frame) {
        match Payload::read(codec, payload) {
            Payload::Fragment(fragment) if fragment.begins => {
                units.push([fragment.header(), fragment.body].concat());
            }
            Payload::Fragment(fragment) => units.last_mut().unwrap().extend(fragment.body),
            Payload::Units(ranges) => units.extend(ranges.map(|range| payload[range].to_vec())),
        }
    }
    units
}

fn long(head: &[u8], length: usize) -> Vec<u8> {
    let body = (0..length - head.len()).map(|index| (index % 251).to_le_bytes()[0]);
    head.iter().copied().chain(body).collect()
}

/// Payloads in, payloads out, and their number.
type Case<'a> = (&'a [&'a [u8]], Vec<Vec<u8>>, usize);

#[test]
fn large_units_are_cut_into_fragments() {
    let slice = long(IDR, 3000);
    let fragment = |first: bool| {
        long(
            if first {
                &[0x7c, 0x85, 0x80]
            } else {
                &[0x7c, 0x45]
            },
            1400,
        )
    };
    let (first, last) = (fragment(true), fragment(false));
    let aggregated = |sizes: [usize; 2]| {
        let mut payload = vec![0x78];
        for (head, size) in [(IDR, sizes[0]), (IDR_REST, sizes[1])] {
            payload.extend(u16::try_from(size).unwrap().to_be_bytes());
            payload.extend(long(head, size));
        }
        payload
    };
    let cases: [Case<'_>; 4] = [
        (&[&slice], vec![slice.clone()], 3),
        (
            &[&first, &last],
            vec![[&[0x65], &first[2..], &last[2..]].concat()],
            4,
        ),
        (
            &[&aggregated([800, 700])],
            vec![long(IDR, 800), long(IDR_REST, 700)],
            2,
        ),
        (
            &[&aggregated([1300, 100])],
            vec![long(IDR, 1300), long(IDR_REST, 100)],
            3,
        ),
    ];
    for (sent, expected, count) in cases {
        let mut stage = Stage::live();
        let (last, others) = sent.split_last().unwrap();
        for payload in others {
            stage.send((2, false, payload));
        }
        stage.send((2, true, last));
        let frame = stage.frames[0].clone();
        let sets = [SPS.to_vec(), PPS.to_vec()];
        assert_eq!(units(Codec::H264, &frame), [&sets[..], &expected].concat());
        assert_eq!(stage.taken(), [(2, true, 2 + count)]);
    }
}

#[test]
fn units_of_h265_are_cut_likewise() {
    let sets: [&[u8]; 3] = [
        &[0x40, 1, 0x0c, 1],
        &[0x42, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0x80],
        &[0x44, 1, 0x80],
    ];
    let slice = long(&[0x26, 1, 0x80], 2500);
    let mut stage = Stage::new(Codec::H265);
    for set in sets {
        stage.send((0, false, set));
    }
    stage.send_all(&[(0, true, &slice), (1, true, &slice)]);
    let expected: Vec<_> = sets
        .iter()
        .chain([&&slice[..]])
        .map(|unit| unit.to_vec())
        .collect();
    for picture in 0..2 {
        stage.tick(Duration::from_millis(100));
        assert_eq!(
            units(Codec::H265, &stage.frames[picture]),
            expected,
            "{picture}"
        );
    }
    assert_eq!(stage.taken(), [(0, true, 6), (1, true, 6)]);
}

#[test]
fn keyframes_get_the_parameter_sets_that_they_lack() {
    let delimiter: &[u8] = &[0x09, 0x10];
    let (sequence, picture): (&[u8], &[u8]) = (&[0x67, 66, 0xc0, 32, 0x80], &[0x68, 0x90]);
    let aggregated: &[u8] = &[0x78, 0, 5, 0x67, 66, 0xc0, 31, 0x80, 0, 2, 0x68, 0x80];
    for (sent, expected) in [
        (&[IDR][..], &[SPS, PPS, IDR][..]),
        (&[SPS, PPS, IDR], &[SPS, PPS, IDR]),
        (&[SPS, IDR], &[SPS, PPS, IDR]),
        (&[aggregated, IDR], &[aggregated, IDR]),
        (&[delimiter, IDR], &[delimiter, SPS, PPS, IDR]),
        (&[sequence, picture, IDR], &[sequence, picture, IDR]),
        (&[DELTA], &[DELTA]),
    ] {
        let mut stage = Stage::live();
        for payload in sent {
            let is_last = payload == sent.last().unwrap();
            stage.send((2, is_last, payload));
        }
        assert_eq!(payloads(&stage.frames[0]), expected);
    }
    let mut stage = Stage::live();
    stage.send_all(&[(2, false, sequence), (2, true, DELTA), (3, true, IDR)]);
    let frame = stage.frames.last().unwrap();
    assert_eq!(payloads(frame), [sequence, PPS, IDR], "the latest one");
}

#[test]
fn parameter_sets_behind_a_slice_of_the_same_packet_are_left_out() {
    let sets = [&[0, 5][..], SPS, &[0, 2], PPS].concat();
    let sent = [&[0x78][..], &sets, &[0, 3], IDR, &sets].concat();
    let mut stage = Stage::live();
    stage.send_all(&[(2, false, &sent), (2, true, IDR_REST)]);
    assert_eq!(payloads(&stage.frames[0]), [SPS, PPS, IDR, IDR_REST]);
}

#[test]
fn upper_layers_of_h264_are_left_out() {
    let (prefix, upper): (&[u8], &[u8]) = (&[0x6e, 0x80, 0, 7, 0x20], &[0x74, 0x80, 0x10, 7, 1]);
    let mut stage = Stage::live();
    stage.send_all(&[
        (2, false, prefix),
        (2, false, DELTA),
        (2, true, upper),
        (3, true, DELTA),
    ]);
    assert_eq!(stage.frames.len(), 2);
    assert_eq!(payloads(&stage.frames[0]), [DELTA]);
}

#[test]
fn malformed_aggregation_packets_are_put_right() {
    let beyond = [&[0x78, 0, 3][..], DELTA, &[0, 9, 1]].concat();
    let empty = [&[0x78, 0, 0, 0, 3][..], DELTA].concat();
    for payload in [beyond, empty] {
        let mut stage = Stage::live();
        stage.send((2, true, &payload));
        assert_eq!(payloads(&stage.frames[0]), [DELTA]);
    }
    let mut stage = Stage::live();
    stage.send_all(&[(2, false, &[0x79, 1, 2, 3]), (2, true, DELTA)]);
    assert_eq!(payloads(&stage.frames[0]), [DELTA], "not of this mode");
}

#[test]
fn vp8_gets_picture_ids_of_our_own_and_no_layers() {
    let mut stage = Stage::new(Codec::Vp8);
    let large = long(&[0xb0, 0xe0, 0x85, 0x39, 7, 0x20, 0x00], 1300);
    let delta = [0x90, 0xe0, 0x85, 0x3c, 9, 0x60, 0x01, 5];
    stage.send_all(&[
        (0, false, &large),
        (0, true, &[0x81, 0xe0, 0x85, 0x39, 7, 0x20, 6]),
        (1, true, &delta),
    ]);
    let first = payloads(&stage.frames[0]);
    assert_eq!(first.len(), 3);
    assert_eq!(first[0][..4], [0xb0, 0x80, 0x80, 0]);
    assert_eq!(first[1][..4], [0xa0, 0x80, 0x80, 0], "the same partition");
    assert_eq!([&first[0][4..], &first[1][4..]].concat(), large[6..]);
    assert_eq!(first[2], [0x81, 0x80, 0x80, 0, 6]);
    assert_eq!(payloads(&stage.frames[1]), [[0x90, 0x80, 0x80, 1, 1, 5]]);
    assert_eq!(stage.taken(), [(0, true, 3), (1, false, 1)]);
}

#[test]
fn spatial_layers_of_vp9_become_one_frame() {
    let mut stage = Stage::new(Codec::Vp9);
    let upper = long(&[0xac, 0x85, 0x39, 0x03, 7, 0x86], 1500);
    stage.send_all(&[
        (0, false, &[0xac, 0x85, 0x39, 0x00, 7, 0x82]),
        (0, true, &upper),
        (1, false, &[0xec, 0x85, 0x3a, 0x00, 8, 0x86]),
        (1, true, &[0xec, 0x85, 0x3a, 0x03, 8, 0x86]),
    ]);
    let first = payloads(&stage.frames[0]);
    let heads: Vec<_> = first.iter().map(|payload| &payload[..3]).collect();
    assert_eq!(heads, [[0x88, 0x80, 0], [0x80, 0x80, 0], [0x84, 0x80, 0]]);
    assert_eq!([&first[1][3..], &first[2][3..]].concat(), upper[5..]);
    let second = payloads(&stage.frames[1]);
    assert_eq!(second, [[0xc8, 0x80, 1, 0x86], [0xc4, 0x80, 1, 0x86]]);
    assert_eq!(stage.taken(), [(0, true, 3), (1, false, 2)]);
}

#[test]
fn key_frames_of_av1_get_the_sequence_header_that_they_lack() {
    let (sequence, key): (&[u8], &[u8]) = (&[0x10, 0x08, 0, 0], &[0x10, 0x30, 0x10]);
    let mut stage = Stage::new(Codec::Av1);
    stage.send_all(&[
        (0, false, sequence),
        (0, true, key),
        (1, true, key),
        (2, true, &[0x18, 0x30, 0x30]),
    ]);
    for picture in 0..2 {
        let expected: [&[u8]; 2] = [&[0x18, 0x08, 0, 0], key];
        assert_eq!(payloads(&stage.frames[picture]), expected, "{picture}");
    }
    let delta: &[u8] = &[0x10, 0x30, 0x30];
    assert_eq!(payloads(&stage.frames[2]), [delta], "no sequence begins");
    assert_eq!(stage.taken(), [(0, true, 2), (1, true, 2), (2, false, 1)]);
}

#[test]
fn large_payloads_of_av1_are_cut_between_and_within_obus() {
    let (sequence, frame) = ([0x08, 0, 0], long(&[0x30, 0x10], 1400));
    let sent = [&[0x28, 3][..], &sequence, &frame].concat();
    let mut stage = Stage::new(Codec::Av1);
    stage.send_all(&[(0, false, &sent), (0, true, &[0x90, 9])]);
    let parts = payloads(&stage.frames[0]);
    assert_eq!(parts[0], [&[0x18][..], &sequence].concat());
    let heads: Vec<u8> = parts.iter().map(|part| part[0]).collect();
    assert_eq!(heads, [0x18, 0x50, 0x90, 0x90]);
    assert_eq!([&parts[1][1..], &parts[2][1..]].concat(), frame);
    assert_eq!(stage.taken(), [(0, true, 4)]);
}

#[test]
fn fragments_without_a_last_one_are_left_to_decoders() {
    let begun = [0x7c, 0x81, 0x80, 1];
    let mut stage = Stage::live();
    stage.send_all(&[(2, false, &begun), (2, true, DELTA_REST)]);
    assert_eq!(stage.taken(), [(2, false, 2)]);
    assert!(nal::is_carried(Codec::H264, &begun));
}
