use super::*;

fn of(codec: Codec, payloads: &[&[u8]]) -> Option<VideoFormat> {
    in_payloads(codec, payloads.iter().copied())
}

/// A parameter set that x264 made: 640x360, High, level 3, B-frames.
const H264: &[u8] = &[
    0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00,
    0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2d, 0x96,
];

#[test]
fn h264_says_it_in_front_of_its_slices() {
    let format = of(Codec::H264, &[H264, &[0x65, 0x88]]).unwrap();
    assert_eq!(format.profile, Some("high"));
    assert_eq!(format.level.as_deref(), Some("3"));
    assert_eq!((format.width, format.height), (640, 360));
    assert_eq!(format.reordered_max, Some(2));
    let length = u8::try_from(H264.len()).unwrap();
    let aggregated = [&[0x78, 0, 2, 9, 0x10, 0, length][..], H264].concat();
    assert_eq!(of(Codec::H264, &[&aggregated]), Some(format.clone()));
    assert_eq!(of(Codec::H264, &[&[0x41, 1], H264]), None, "behind a slice");
    let coded = [&[0, 0, 0, 1, 9, 0x10, 0, 0, 1][..], H264].concat();
    let read = in_frame(Codec::H264, Separation::StartCodes, &coded);
    assert_eq!(read, Some(format));
}

#[test]
fn vp8_says_it_in_its_key_frames() {
    let frame = [0x10, 0x02, 0, 0x9d, 0x01, 0x2a, 0x43, 0x41, 0xb9, 0x80];
    let payload = [&[0x90, 0x80, 0x81, 0x02][..], &frame].concat();
    let format = of(Codec::Vp8, &[&payload]).unwrap();
    assert_eq!((format.width, format.height), (323, 185));
    assert_eq!(format.profile, Some("0"));
    let mut inter = payload;
    inter[4] |= 1;
    assert_eq!(of(Codec::Vp8, &[&inter]), None);
}

#[test]
fn vp9_says_it_in_its_key_frames() {
    // marker, profile 0, a shown key frame, sync code, colours, 323x185
    let frame = [0x82, 0x49, 0x83, 0x42, 0x20, 0x14, 0x20, 0x0b, 0x80];
    let expected = VideoFormat {
        profile: Some("0"),
        width: 323,
        height: 185,
        ..VideoFormat::default()
    };
    let plain = [&[0x88, 0x01][..], &frame].concat();
    assert_eq!(of(Codec::Vp9, &[&plain]), Some(expected.clone()));
    // long picture id, layers, a structure with one size and a group of one
    let structure = [
        0xaa, 0x80, 0x01, 0, 0, 0x18, 1, 0x43, 0, 0xb9, 1, 0x04, 0x01,
    ];
    let full = [&structure[..], &frame].concat();
    assert_eq!(of(Codec::Vp9, &[&full]), Some(expected));
    assert_eq!(of(Codec::Vp9, &[&[0x80, 0x01, 0x82]]), None);
}

#[test]
fn damaged_headers_say_nothing_and_do_no_harm() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for codec in Codec::ALL {
        for _ in 0..20_000 {
            let length = usize::try_from(random() % 80).unwrap();
            let mut payload: Vec<u8> = (0..length)
                .map(|_| u8::try_from(random() & 0xff).unwrap())
                .collect();
            if random() % 2 == 0 {
                let begin = usize::try_from(random()).unwrap() % H264.len();
                payload.splice(0..0, H264[..begin].iter().copied());
            }
            if let (Some(first), 0) = (payload.first_mut(), random() % 2) {
                *first = [0x67, 0x42, 0x18, 0x88, 0x90][usize::try_from(random() % 5).unwrap()];
            }
            let _ = of(codec, &[&payload]);
            let _ = in_frame(codec, Separation::of(&payload), &payload);
            let _ = super::super::order::in_payloads(codec, std::iter::once(&payload[..]));
        }
    }
    for length in 0..H264.len() {
        let cut = of(Codec::H264, &[&H264[..length]]);
        assert!(cut.is_none_or(|format| format.reordered_max.is_none()));
    }
}
