//! Where frames begin and end.

use super::*;

#[test]
fn a_marker_ends_a_frame_at_once() {
    let mut stage = Stage::live();
    stage.send((2, true, DELTA));
    assert_eq!(stage.taken(), [(2, false, 1)]);
    assert_eq!(stage.requests, 0);
    for (codec, key, delta) in [
        (Codec::Vp8, VP8_KEY, VP8_DELTA),
        (Codec::Vp9, &[0x8c, 1, 0x82][..], &[0xcc, 2, 0x86][..]),
        (
            Codec::Av1,
            &[0x28, 3, 0x08, 0, 0, 0x30, 0x10],
            &[0x10, 0x30, 0x30],
        ),
    ] {
        let mut stage = Stage::new(codec);
        stage.send_all(&[(0, true, key), (1, true, delta)]);
        assert_eq!(stage.taken(), [(0, true, 1), (1, false, 1)], "{codec}");
    }
}

#[test]
fn the_first_marker_waits_for_proof_but_not_for_long() {
    let mut stage = Stage::new(Codec::H264);
    stage.send_all(&[(0, false, SPS), (0, false, PPS), (0, true, IDR)]);
    assert_eq!(stage.taken(), []);
    assert!(stage.assembler.deadline().is_some());
    stage.tick(Duration::from_millis(99));
    assert_eq!(stage.taken(), []);
    stage.tick(Duration::from_millis(1));
    assert_eq!(stage.taken(), [(0, true, 3)]);
    assert_eq!(stage.assembler.deadline(), None);
}

/// Framing of several pictures, and the frames that come out.
type Case<'a> = (&'a str, &'a [Sent<'a>], &'a [(u32, bool, usize)]);

#[expect(clippy::too_many_lines, reason = "a table of cases")]
#[test]
fn however_pictures_are_marked() {
    let cases: &[Case<'_>] = &[
        (
            "parameter sets with markers",
            &[
                (0, true, SPS),
                (0, true, PPS),
                (0, true, IDR),
                (1, true, SPS),
                (1, true, PPS),
                (1, true, IDR),
                (2, true, DELTA),
            ],
            &[(0, true, 3), (1, true, 3), (2, false, 1)],
        ),
        (
            "parameter sets with the time of the picture before",
            &[
                (0, true, SPS),
                (0, true, PPS),
                (1, true, IDR),
                (1, true, SPS),
                (1, true, PPS),
                (2, true, IDR),
                (3, true, DELTA),
                (3, true, SPS),
                (4, true, DELTA),
            ],
            &[(1, true, 3), (2, true, 3), (3, false, 1), (4, false, 2)],
        ),
        (
            "no markers",
            &[
                (0, false, SPS),
                (0, false, PPS),
                (0, false, IDR),
                (0, false, IDR_REST),
                (1, false, DELTA),
                (1, false, DELTA_REST),
                (2, false, DELTA),
            ],
            &[(0, true, 4), (1, false, 2)],
        ),
        (
            "a marker on every slice",
            &[
                (0, false, SPS),
                (0, false, PPS),
                (0, true, IDR),
                (0, true, IDR_REST),
                (1, true, DELTA),
                (1, true, DELTA_REST),
                (2, true, DELTA),
            ],
            &[(0, true, 4), (1, false, 2)],
        ),
        (
            "two pictures of one timestamp",
            &[
                (0, false, SPS),
                (0, false, PPS),
                (0, true, IDR),
                (0, true, DELTA),
                (1, false, DELTA),
                (1, false, DELTA),
                (2, true, DELTA),
            ],
            &[
                (0, true, 3),
                (0, false, 1),
                (1, false, 1),
                (1, false, 1),
                (2, false, 1),
            ],
        ),
        (
            "parameter sets between slices",
            &[
                (0, false, SPS),
                (0, false, PPS),
                (0, false, IDR),
                (0, false, SPS),
                (0, false, PPS),
                (0, true, IDR_REST),
                (1, true, DELTA),
            ],
            &[(0, true, 4), (1, false, 1)],
        ),
        (
            "filler data behind the last slice",
            &[
                (0, false, SPS),
                (0, false, PPS),
                (0, false, IDR),
                (0, true, &[0x0c, 0xff, 0x80]),
                (1, true, DELTA),
                (2, true, DELTA),
            ],
            &[(0, true, 4), (1, false, 1), (2, false, 1)],
        ),
    ];
    for (name, packets, frames) in cases {
        let mut stage = Stage::new(Codec::H264);
        stage.send_all(packets);
        assert_eq!(stage.taken(), *frames, "{name}");
        assert_eq!(stage.requests, 0, "{name}");
    }
}

#[test]
fn a_marker_that_turns_out_wrong_breaks_one_picture() {
    let mut stage = Stage::live();
    stage.send_all(&[
        (2, true, DELTA),
        (2, true, DELTA_REST),
        (3, true, IDR),
        (3, true, IDR_REST),
        (4, true, DELTA),
        (4, true, DELTA_REST),
        (5, true, DELTA),
    ]);
    assert_eq!(stage.taken(), [(2, false, 1), (3, true, 4), (4, false, 2)]);
    assert_eq!(stage.requests, 1);
}

#[test]
fn other_codecs_end_where_the_timestamp_changes() {
    let mut stage = Stage::new(Codec::Vp8);
    stage.send_all(&[
        (0, false, VP8_KEY),
        (0, false, VP8_REST),
        (1, false, VP8_DELTA),
        (1, false, VP8_DELTA),
        (2, true, VP8_DELTA),
    ]);
    assert_eq!(
        stage.taken(),
        [(0, true, 2), (1, false, 1), (1, false, 1), (2, false, 1)]
    );
}

#[test]
fn timestamps_have_no_jitter() {
    let mut stage = Stage::new(Codec::Opus);
    // 20 ms of CELT each, due at 1000, 1040 and 1080 ms: within what jitter explains.
    for picture in 0..3 {
        stage.send((picture, false, &[31 << 3, 0]));
    }
    let stamps: Vec<u64> = stage.frames.iter().map(|frame| frame.timestamp).collect();
    assert_eq!(stamps, [48_000, 48_960, 49_920]);
    assert_eq!(stage.taken(), [(0, true, 1), (1, true, 1), (2, true, 1)]);
    let mut stage = Stage::live();
    stage.send_all(&[(2, true, DELTA), (2, true, DELTA)]);
    let stamps: Vec<u64> = stage.frames.iter().map(|frame| frame.timestamp).collect();
    assert_eq!(stamps, [97_200, 97_201], "no two pictures share one");
}
