//! Losses, other sources, and floods: viewers never get broken pictures.

use super::*;
use crate::{fuzz::Random, media::FRAME_BYTES_MAX};

#[test]
fn a_frame_that_has_lost_a_packet_is_dropped_with_what_follows() {
    for lost in 0..3 {
        let mut stage = Stage::live();
        let packets = [
            (2, false, DELTA),
            (2, false, DELTA_REST),
            (2, true, DELTA_REST),
        ];
        for (index, packet) in packets.into_iter().enumerate() {
            if index == lost {
                stage.sequence += 1;
            } else {
                stage.send(packet);
            }
        }
        stage.send_all(&[(3, true, DELTA), (4, true, IDR), (5, true, DELTA)]);
        assert_eq!(stage.taken(), [(4, true, 3), (5, false, 1)], "{lost}");
        assert_eq!(stage.requests, 1, "{lost}");
    }
}

#[test]
fn a_lost_frame_breaks_those_behind_it() {
    for (codec, key, delta) in [
        (Codec::Vp8, VP8_KEY, VP8_DELTA),
        (Codec::Vp9, &[0x8c, 1, 0x82][..], &[0xcc, 2, 0x86][..]),
    ] {
        let mut stage = Stage::new(codec);
        stage.send((0, true, key));
        stage.sequence += 1;
        stage.send_all(&[(2, true, delta), (3, true, key), (4, true, delta)]);
        assert_eq!(stage.taken(), [(0, true, 1), (3, true, 1), (4, false, 1)]);
        assert_eq!(stage.requests, 1);
    }
}

#[test]
fn a_keyframe_that_begins_in_the_middle_is_none() {
    for (codec, rest) in [
        (Codec::H264, &[0x7c, 0x45, 1][..]),
        (Codec::Vp8, VP8_REST),
        (Codec::Vp9, &[0x84, 1, 0x82]),
        (Codec::Av1, &[0x90, 0x30, 0x10]),
    ] {
        let mut stage = Stage::new(codec);
        stage.send_all(&[(0, true, rest), (1, true, rest), (2, true, rest)]);
        assert_eq!(stage.taken(), [], "{codec}");
        assert_eq!(stage.requests, 1, "{codec}");
    }
}

#[test]
fn padding_and_new_numbers_are_no_losses() {
    let mut stage = Stage::live();
    stage.send_all(&[(1, false, &[]), (1, false, &[]), (2, true, DELTA)]);
    stage.sequence = 50_000;
    stage.send((3, true, DELTA));
    stage.sequence = 10;
    stage.send((4, true, DELTA));
    assert_eq!(stage.taken(), [(2, false, 1), (3, false, 1), (4, false, 1)]);
    assert_eq!(stage.requests, 0);
}

#[test]
fn another_source_starts_with_a_keyframe() {
    let mut stage = Stage::live();
    let restart = Packet {
        pts: Duration::from_millis(1080),
        sequence: 7,
        timestamp: 1,
        marker: true,
        restart: true,
        payload: Arc::from(DELTA),
    };
    stage.push(restart);
    stage.sequence = 8;
    stage.send_all(&[(3, true, DELTA), (4, true, IDR), (5, true, DELTA)]);
    assert_eq!(stage.taken(), [(4, true, 3), (5, false, 1)]);
    assert_eq!(stage.requests, 1);
}

#[test]
fn a_stream_without_keyframes_starts_at_a_recovery_point() {
    let recovery: &[u8] = &[6, 6, 1, 0xc4, 0x80];
    let mut stage = Stage::new(Codec::H264);
    stage.send_all(&[
        (0, false, SPS),
        (0, false, PPS),
        (0, true, DELTA),
        (1, true, DELTA),
        (2, false, recovery),
        (2, true, DELTA),
        (3, true, DELTA),
    ]);
    assert_eq!(stage.taken(), [(2, false, 4), (3, false, 1)]);
    assert_eq!(stage.requests, 1);
}

#[test]
fn without_parameter_sets_nothing_starts() {
    let mut stage = Stage::new(Codec::H264);
    stage.send_all(&[(0, true, IDR), (1, true, DELTA), (2, true, IDR)]);
    assert_eq!(stage.taken(), []);
    stage.send_all(&[(3, false, SPS), (3, false, PPS), (3, true, IDR)]);
    assert_eq!(stage.taken(), [(3, true, 3)]);
}

#[test]
fn parameter_sets_may_be_what_was_lost() {
    let mut stage = Stage::live();
    stage.sequence += 1;
    stage.send_all(&[(2, true, IDR), (3, true, DELTA)]);
    assert_eq!(stage.taken(), [], "remembered ones may be stale");
    stage.send_all(&[(4, false, SPS), (4, false, PPS), (4, true, IDR)]);
    stage.sequence += 1;
    stage.send_all(&[(5, false, SPS), (5, false, PPS), (5, true, IDR)]);
    assert_eq!(stage.taken(), [(4, true, 3), (5, true, 3)]);
}

#[test]
fn a_missing_picture_set_comes_behind_its_sequence_set() {
    let mut stage = Stage::live();
    stage.send_all(&[(2, false, SPS), (2, true, IDR)]);
    assert_eq!(payloads(&stage.frames[0]), [SPS, PPS, IDR]);
}

#[test]
fn slow_publishers_prove_their_markers_too() {
    let mut stage = Stage::new(Codec::H264);
    stage.send_all(&[(0, false, SPS), (0, false, PPS), (0, true, IDR)]);
    stage.tick(Duration::from_millis(200));
    assert_eq!(stage.taken(), [(0, true, 3)]);
    stage.send((5, true, DELTA));
    assert_eq!(stage.taken(), [(5, false, 1)], "at once");
}

#[test]
fn floods_are_bounded() {
    let mut stage = Stage::live();
    let part = [&[0x7c, 0x01][..], &[7; 1100]].concat();
    stage.send((2, false, &[0x7c, 0x81, 0x80]));
    for _ in 0..FRAME_BYTES_MAX / 1100 + 100 {
        stage.send((2, false, &part));
    }
    stage.send_all(&[(3, true, DELTA), (4, true, IDR)]);
    assert_eq!(stage.taken(), [(4, true, 3)]);
    // Parameter sets without end.
    for picture in 5..500 {
        stage.send((picture, true, &[&[0x06][..], &[0; 1000]].concat()));
    }
    stage.send((500, true, DELTA));
    let frame = stage.frames.last().unwrap();
    assert!(frame.data.len() <= 70 << 10, "{}", frame.data.len());
    // Very small packets.
    for _ in 0..40_000 {
        stage.send((501, false, &[0x41]));
    }
    stage.send((502, true, IDR));
    assert!(stage.frames.last().unwrap().ends.len() < 5);
}

#[test]
fn any_packets_make_bounded_frames() {
    let mut random = Random(7);
    let heads: &[u8] = &[
        0x41, 0x65, 0x67, 0x68, 0x78, 0x7c, 0x26, 0x40, 0x42, 0x44, 0x60, 0x62, 0x10, 0x90, 0x88,
        0x8c, 0xa8, 0x18, 0x28, 0x00, 0xff,
    ];
    for codec in Codec::ALL {
        let mut stage = Stage::new(codec);
        for _ in 0..5000 {
            let long = random.below(10) == 0;
            let length = random.below(if long { 1500 } else { 12 });
            let mut payload = vec![heads[random.below(heads.len())]];
            payload.extend((0..length).map(|_| random.below(256).to_le_bytes()[0]));
            stage.sequence += u64::from(random.below(20) == 0);
            let picture = u32::try_from(random.below(4)).unwrap();
            stage.send((picture, random.below(3) == 0, &payload));
            stage.tick(Duration::from_millis(u64::from(picture)));
        }
        stage.frames.iter().for_each(check);
    }
}
