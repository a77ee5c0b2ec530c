//! Writers, subscribers, and what passes between them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;

use super::*;

/// A picture of H.264 in one slice of this size.
pub(super) fn video(pts: Duration, bytes: usize, keyframe: bool) -> Frame {
    let mut data = vec![0; bytes.max(1)];
    data[0] = if keyframe { 0x65 } else { 0x41 };
    Frame {
        codec: Codec::H264,
        keyframe,
        pts,
        timestamp: 0,
        ends: vec![u32::try_from(data.len()).unwrap()],
        data: Bytes::from(data),
    }
}

fn at(millis: u64, keyframe: bool) -> Frame {
    video(Duration::from_millis(millis), 9, keyframe)
}

/// A video stream, and how often a keyframe was wanted.
fn stream() -> (EncodedStream, Arc<AtomicU32>) {
    let wanted = Arc::<AtomicU32>::default();
    let counter = Arc::clone(&wanted);
    let stream = EncodedStream::new(Kind::Video, move || {
        counter.fetch_add(1, Relaxed);
    });
    (stream, wanted)
}

/// Times in milliseconds of what waits, with a mark where it does not continue.
fn taken(subscription: &mut StreamSubscription) -> Vec<(u128, bool)> {
    std::iter::from_fn(|| subscription.try_next())
        .map(|frame| (frame.frame.pts.as_millis(), frame.discontinuous))
        .collect()
}

#[test]
fn subscribers_begin_with_the_cached_pictures() {
    let (stream, wanted) = stream();
    let mut early = stream.subscribe().unwrap();
    assert_eq!(
        (early.present(), wanted.load(Relaxed)),
        (None, 0),
        "nobody writes"
    );
    let writer = stream.writer();
    for (millis, keyframe) in [(0, false), (20, true), (40, false)] {
        writer.push(&at(millis, keyframe));
    }
    let mut late = stream.subscribe().unwrap();
    assert_eq!(late.present(), Some(Duration::from_millis(40)));
    writer.push(&at(60, false));
    let expected = [(20, true), (40, false), (60, false)];
    assert_eq!(taken(&mut early), expected);
    assert_eq!(taken(&mut late), expected);
    assert_eq!((early.losses().count(), late.losses().count()), (1, 0));
    assert_eq!(wanted.load(Relaxed), 1, "for the first frame");
    drop(early);
    assert_eq!(stream.subscribers(), 1);
    let all: Vec<_> = std::iter::from_fn(|| stream.subscribe()).collect();
    assert_eq!(all.len() + 1, SUBSCRIBERS_MAX);
}

#[test]
fn a_new_writer_takes_the_place_of_the_old_one_with_its_first_frame() {
    let (stream, _) = stream();
    let mut subscription = stream.subscribe().unwrap();
    let (old, new) = (stream.writer(), stream.writer());
    old.push(&at(0, true));
    old.push(&at(20, false));
    new.push(&at(40, false));
    new.push(&at(60, true));
    old.push(&at(80, true));
    assert_eq!(
        taken(&mut subscription),
        [(0, true), (20, false), (60, true)]
    );
}

/// A pipeline tells it before its first frame.
#[test]
fn the_origin_outlasts_a_writer() {
    let (stream, _) = stream();
    stream.set_origin(Some("image/jpeg"));
    stream.writer().push(&at(0, true));
    assert_eq!(stream.demands().origin.as_deref(), Some("image/jpeg"));
    stream.set_origin(None);
    assert_eq!(stream.demands().origin, None);
}

#[test]
fn layers_are_one_stream_that_never_steps_back() {
    let (stream, wanted) = stream();
    let mut subscription = stream.subscribe().unwrap();
    let group = stream.layered();
    let (small, large) = (group.writer(), group.writer());
    let sized = |millis, header: &[u8]| {
        let slice = [0x65, 0x88];
        Frame {
            data: Bytes::from([header, &slice].concat()),
            ends: vec![
                u32::try_from(header.len()).unwrap(),
                u32::try_from(header.len() + slice.len()).unwrap(),
            ],
            ..at(millis, true)
        }
    };
    // Constrained Baseline: 320x180 and 640x360.
    let headers: [&[u8]; 2] = [
        &[
            0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03,
            0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x42, 0xa4, 0x80,
        ],
        &[
            0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
            0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
        ],
    ];
    small.push(&sized(10, headers[0]));
    let size = |stream: &EncodedStream| {
        let state = stream.state();
        let format = state.format.as_ref().unwrap();
        (format.width, format.height)
    };
    assert_eq!(size(&stream), (320, 180));
    large.push(&at(5, false));
    assert_eq!(taken(&mut subscription), [(10, true)]);
    assert_eq!(wanted.load(Relaxed), 0, "its size is not known");
    large.push(&sized(6, headers[1]));
    assert_eq!(size(&stream), (640, 360));
    small.push(&at(20, false));
    large.push(&at(26, false));
    assert_eq!(taken(&mut subscription), [(11, true), (26, false)]);
    stream.writer().push(&at(40, true));
    large.push(&at(46, true));
    assert_eq!(taken(&mut subscription), [(40, true)]);
}

#[tokio::test]
async fn a_subscription_ends_with_its_stream() {
    let (stream, _) = stream();
    let mut subscription = stream.subscribe().unwrap();
    stream.writer().push(&at(0, true));
    let first = subscription.next().await.unwrap();
    assert!(first.discontinuous && first.frame.keyframe);
    drop(stream);
    assert!(subscription.next().await.is_none());
}
