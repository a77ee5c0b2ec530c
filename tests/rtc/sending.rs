//! Clients' output: media in real time, and feedback.

use std::time::{Duration, Instant};

use str0m::{
    Rtc,
    media::{Mid, Rid},
    rtp::{ExtensionValues, RtpWrite, SeqNo},
};

use super::clip::{AUDIO, Clip, FRAME_RATE, GOP, SILENCE, VIDEO};

/// Not one of str0m's SSRCs: two senders must not share one.
const COMPLAINER: u32 = 0x0bad_cafe;
/// Pictures at once of a client that hurries.
const HURRIED: usize = 20;
const SECOND: Duration = Duration::from_secs(1);
/// Packets kept for retransmission.
const CACHED: usize = 1024;
const SOUND: Duration = Duration::from_millis(20);
/// Frames of a clip for which a slide is shown: 4 s.
const SLIDE_FRAMES: u32 = 4 * FRAME_RATE;

/// A publisher's media, and how far it has got.
pub(super) struct Playing {
    layers: Vec<Layer>,
    /// How many layers are sent.
    pub(super) layers_max: usize,
    video: Mid,
    /// `None` if there is no sound.
    audio: Option<Mid>,
    /// Frames from one picture to the next that is sent.
    step: u32,
    begun: Option<Instant>,
    /// The first frame of the clip to send.
    first: usize,
    /// Header extensions of pictures.
    extensions: ExtensionValues,
    /// `None` if keyframes come as the clip has them.
    demand: Option<Demand>,
    pub(super) pictures: u32,
    sounds: u32,
}

/// Keyframes that come at the beginning, and then only when they are asked for.
#[derive(Default)]
struct Demand {
    has_begun: bool,
    asked: usize,
    answered: usize,
}

impl Demand {
    /// The number of the clip's frame to be sent next, after so many.
    fn next(&mut self, pictures: u32) -> usize {
        if self.has_begun && self.asked == self.answered {
            return 1 + pictures as usize % (GOP - 1);
        }
        self.has_begun = true;
        self.answered = self.asked;
        0
    }
}

/// A stream of pictures.
struct Layer {
    clip: &'static Clip,
    /// `None` without simulcast.
    rid: Option<Rid>,
    sequence: u64,
}

impl Playing {
    pub(super) fn new(clip: &'static Clip, video: Mid, audio: Mid) -> Self {
        Self::with_layers(vec![(None, clip)], video, Some(audio))
    }

    /// Sends the pictures of several clips as simulcast layers.
    pub(super) fn with_layers(
        layers: Vec<(Option<Rid>, &'static Clip)>,
        video: Mid,
        audio: Option<Mid>,
    ) -> Self {
        let layer = |(rid, clip)| Layer {
            clip,
            rid,
            sequence: 1000,
        };
        Self {
            layers: layers.into_iter().map(layer).collect(),
            layers_max: usize::MAX,
            video,
            audio,
            step: 1,
            begun: None,
            first: 0,
            extensions: ExtensionValues::default(),
            demand: None,
            pictures: 0,
            sounds: 0,
        }
    }

    pub(super) fn without_pictures(audio: Mid) -> Self {
        // Never used, because there are no layers.
        let video = audio;
        Self::with_layers(Vec::new(), video, Some(audio))
    }

    /// Sends a picture every 4 s, and no sound.
    pub(super) fn slides(clip: &'static Clip, video: Mid) -> Self {
        Self {
            step: SLIDE_FRAMES,
            ..Self::with_layers(vec![(None, clip)], video, None)
        }
    }

    /// Sends keyframes when they are asked for.
    pub(super) fn on_demand(self) -> Self {
        Self {
            demand: Some(Demand::default()),
            ..self
        }
    }

    /// It has been asked for so many keyframes by now.
    pub(super) fn asked(&mut self, times: usize) {
        if let Some(demand) = &mut self.demand {
            demand.asked = times;
        }
    }

    pub(super) fn starting_at(self, first: usize, extensions: ExtensionValues) -> Self {
        Self {
            first,
            extensions,
            ..self
        }
    }

    /// When the next packet is due.
    pub(super) fn due(&self) -> Instant {
        match self.begun {
            Some(begun) => {
                let sound = self.audio.map(|_| SOUND * self.sounds);
                begun + sound.map_or(self.picture_at(), |sound| sound.min(self.picture_at()))
            }
            None => Instant::now() + SOUND,
        }
    }

    fn picture_at(&self) -> Duration {
        SECOND * self.pictures * self.step / FRAME_RATE
    }

    /// Sends everything that is due.
    pub(super) fn send(&mut self, rtc: &mut Rtc, now: Instant) {
        if self.begun.is_none() && !self.layers.is_empty() {
            // By default str0m stops retransmitting above 15 % of what it sends; browsers do not.
            let mut api = rtc.direct_api();
            let stream = api.stream_tx_by_mid(self.video, None).unwrap();
            stream.set_rtx_cache(CACHED, Duration::from_secs(3), None);
        }
        let elapsed = now - *self.begun.get_or_insert(now);
        while self.picture_at() <= elapsed {
            self.send_picture(rtc, now);
        }
        let Some(audio) = self.audio else {
            return;
        };
        while SOUND * self.sounds <= elapsed {
            let mut api = rtc.direct_api();
            let stream = api.stream_tx_by_mid(audio, None).unwrap();
            let (sequence, time) = (u64::from(self.sounds) + 1, 960 * self.sounds);
            let write = RtpWrite::new(
                AUDIO.into(),
                SeqNo::from(sequence),
                time,
                now,
                SILENCE.as_slice(),
            );
            // Only pictures have layers.
            let extensions = ExtensionValues {
                mid: self.extensions.mid.map(|_| audio),
                ..ExtensionValues::default()
            };
            stream.write_rtp(write.ext_vals(extensions));
            self.sounds += 1;
        }
    }

    /// Sends pictures that are not due yet.
    pub(super) fn hurry(&mut self, rtc: &mut Rtc, now: Instant) {
        for _ in 0..HURRIED {
            self.send_picture(rtc, now);
        }
    }

    fn send_picture(&mut self, rtc: &mut Rtc, now: Instant) {
        let number = match &mut self.demand {
            Some(demand) => demand.next(self.pictures),
            None => self.first + self.pictures as usize,
        };
        for layer in self.layers.iter_mut().take(self.layers_max) {
            let payloads = &layer.clip.frames[number % layer.clip.frames.len()];
            let mut api = rtc.direct_api();
            let stream = api.stream_tx_by_mid(self.video, layer.rid).unwrap();
            let extensions = ExtensionValues {
                rid: layer.rid.or(self.extensions.rid),
                ..self.extensions.clone()
            };
            for (index, payload) in payloads.iter().enumerate() {
                let write = RtpWrite::new(
                    VIDEO.into(),
                    SeqNo::from(layer.sequence),
                    90_000 / FRAME_RATE * self.step * self.pictures,
                    now,
                    payload.clone(),
                );
                let last = index + 1 == payloads.len();
                let write = write.ext_vals(extensions.clone());
                stream.write_rtp(write.marker(last).nackable(true));
                layer.sequence += 1;
            }
        }
        self.pictures += 1;
    }
}

/// A receiver report without contents, and a request for a keyframe (RFC 5104 §4.3.1). Its command number is always the same, but a stranger
/// cannot know which one was the last.
pub(super) fn full_intra_request(media: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(COMPLAINER.to_be_bytes());
    packet.extend([0x84, 206, 0, 4]);
    packet.extend(COMPLAINER.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(media.to_be_bytes());
    packet.extend([1, 0, 0, 0]);
    packet
}

/// A request for a keyframe, or for 68 packets up to the newest, as RTCP (RFC 4585 §6).
pub(super) fn complaint(media: u32, newest: u64, keyframe: bool) -> Vec<u8> {
    let head: [u8; 4] = if keyframe {
        [0x81, 206, 0, 2]
    } else {
        [0x81, 205, 0, 6]
    };
    let mut packet = head.to_vec();
    packet.extend(COMPLAINER.to_be_bytes());
    packet.extend(media.to_be_bytes());
    if !keyframe {
        for block in 1..=4 {
            let first = newest.wrapping_sub(17 * block - 1).to_be_bytes();
            packet.extend([first[6], first[7], 0xff, 0xff]);
        }
    }
    packet
}
