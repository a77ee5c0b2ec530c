//! The switcher under any sequence of events, for the fuzz targets. Not part of the interface.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    gop::{Gop, Limits},
    switcher::Switcher,
};
use crate::media::{Codec, Frame};

/// Payload bytes above which a frame is paced.
const BURST: usize = 100;
/// Units of a timestamp in a millisecond.
const RATE: u64 = 90;

/// What one viewer has got.
#[derive(Default)]
struct Sent {
    last: Option<u64>,
    /// Nothing has been sent since the viewer had to wait.
    waits: bool,
}

impl Sent {
    fn send(&mut self, frame: &Frame, timestamp: u64) {
        assert!(
            self.last.is_none_or(|last| timestamp > last),
            "time goes back"
        );
        assert!(frame.keyframe || !self.waits, "nothing to decode it with");
        self.last = Some(timestamp);
        self.waits = false;
    }
}

/// Reads two bytes an event: a frame that comes, is lost, is sent from the cache; a viewer that
/// must wait or begins again.
///
/// # Panics
/// If a viewer would see time go back, or a frame that it cannot decode.
pub fn switch(data: &[u8]) {
    let limits = Limits {
        bytes: 2000,
        duration: Duration::from_secs(1),
    };
    let (mut gop, mut sent) = (Gop::new(limits), Sent::default());
    let mut switcher = Switcher::start(&gop);
    sent.waits = true;
    let (mut number, mut millis) = (0, 0);
    for event in data.as_chunks::<2>().0 {
        let [kind, value] = *event;
        millis += 1 + u64::from(value >> 2);
        let edge = millis * RATE;
        match kind % 8 {
            0..=3 => {
                let frame = frame(millis, kind & 8 != 0, usize::from(value));
                let continuity = gop.push(number, Arc::clone(&frame));
                let now = switcher.live(number, &frame, continuity, BURST);
                sent.waits |= switcher.is_waiting();
                if let Some(timestamp) = now {
                    sent.send(&frame, timestamp);
                }
                number += 1;
            }
            // Lost on the way here.
            4 => number += 1 + u64::from(value & 3),
            5 => {
                for _ in 0..=value & 7 {
                    let Some(cursor) = switcher.replay(&gop, edge) else {
                        break;
                    };
                    if cursor.packet == 0 {
                        sent.send(&cursor.frame, cursor.timestamp);
                    }
                    cursor.packet += 1 + usize::from(value >> 7);
                }
                sent.waits |= switcher.is_waiting();
            }
            6 => {
                switcher.wait();
                sent.waits = true;
            }
            _ => {
                // Whoever asks again has got what there is.
                if switcher.is_waiting() && switcher.replay_from_keyframe(&gop) {
                    sent.waits = true;
                }
            }
        }
    }
}

fn frame(millis: u64, keyframe: bool, bytes: usize) -> Arc<Frame> {
    let half = u32::try_from(bytes / 2).unwrap_or_default();
    Arc::new(Frame {
        codec: Codec::H264,
        keyframe,
        pts: Duration::from_millis(millis),
        timestamp: millis * RATE,
        data: Bytes::from(vec![0; 2 * half as usize]),
        ends: vec![half, 2 * half],
    })
}
