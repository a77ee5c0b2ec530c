//! Fragmented MP4 (ISO/IEC 14496-12), as far as playing it as HLS needs: where its parts are, how long
//! they last, and what picture it has. A file may be cut off anywhere.

use std::{
    io::{self, Read, Seek, SeekFrom},
    iter,
};

use serde::Serialize;

/// Boxes of a file that are read: a day in fragments of a quarter of a second.
const BOXES_MAX: usize = 1_000_000;
/// Largest box that is read, in bytes. Media is not read.
const BOX_BYTES_MAX: u64 = 4 << 20;
/// The flag of samples that are not keyframes.
const NON_SYNC: u32 = 0x1_0000;

/// The picture of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RecordedPicture {
    /// `h264`, `h265`, `vp8`, `vp9` or `av1`.
    pub codec: &'static str,
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
}

/// The parts of a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Layout {
    /// Bytes of what comes before the media.
    pub(super) init: u64,
    /// The media, each part beginning with a keyframe.
    pub(super) parts: Vec<MediaPart>,
}

/// A part of the media that can be played by itself.
#[derive(Debug, PartialEq)]
pub(super) struct MediaPart {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

/// A track of the file.
#[derive(Debug)]
struct FileTrack {
    id: u32,
    timescale: u32,
    picture: Option<RecordedPicture>,
    is_video: bool,
    default_duration: u32,
    default_flags: u32,
}

/// One track of a fragment.
struct Run {
    time: u64,
    duration: u64,
    begins_with_keyframe: bool,
}

/// The picture of a file, which is at its beginning.
pub(super) fn picture(file: &mut (impl Read + Seek)) -> io::Result<Option<RecordedPicture>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut position = 0;
    while let Some(found) = BoxHead::read(file, position, length)? {
        match &found.kind {
            b"moov" => {
                return Ok(tracks(&found.body(file)?)
                    .into_iter()
                    .find_map(|track| track.picture));
            }
            b"moof" | b"mdat" => return Ok(None),
            _ => position = found.end,
        }
    }
    Ok(None)
}

/// Where the parts of a file are.
pub(super) fn layout(file: &mut (impl Read + Seek)) -> io::Result<Layout> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut scan = Scan::default();
    let mut position = 0;
    for _ in 0..BOXES_MAX {
        let Some(found) = BoxHead::read(file, position, length)? else {
            break;
        };
        match &found.kind {
            b"moov" => scan.begin(tracks(&found.body(file)?), found.end),
            b"moof" => scan.fragment(&found.body(file)?),
            b"mdat" => scan.end = found.end,
            _ => {}
        }
        position = found.end;
    }
    Ok(scan.finish())
}

/// The head of a complete box.
struct BoxHead {
    kind: [u8; 4],
    /// Where its content begins.
    content: u64,
    end: u64,
}

impl BoxHead {
    fn read(file: &mut (impl Read + Seek), position: u64, length: u64) -> io::Result<Option<Self>> {
        if position.saturating_add(8) > length {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(position))?;
        let mut head = [0; 8];
        file.read_exact(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        let mut bytes = u64::from(u32::from_be_bytes([a, b, c, d]));
        let mut content = position + 8;
        if bytes == 1 {
            if position.saturating_add(16) > length {
                return Ok(None);
            }
            let mut large = [0; 8];
            file.read_exact(&mut large)?;
            bytes = u64::from_be_bytes(large);
            content += 8;
        }
        let end = position.saturating_add(bytes);
        let is_whole = end >= content && end <= length;
        Ok(is_whole.then_some(Self { kind, content, end }))
    }

    fn body(&self, file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
        let bytes = self.end - self.content;
        if bytes > BOX_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        file.seek(SeekFrom::Start(self.content))?;
        let mut body = Vec::new();
        file.take(bytes).read_to_end(&mut body)?;
        Ok(body)
    }
}

/// The findings about a file.
#[derive(Default)]
struct Scan {
    init: u64,
    /// The one that the parts follow: video, if there is any.
    track: Option<FileTrack>,
    /// The offset and the time at which each part begins.
    begins: Vec<(u64, u64)>,
    /// Where the media recorded so far ends.
    end: u64,
    /// The time at which it ends.
    end_time: u64,
}

impl Scan {
    fn begin(&mut self, tracks: Vec<FileTrack>, end: u64) {
        self.init = end;
        self.end = end;
        let mut tracks = tracks;
        tracks.sort_by_key(|track| !track.is_video);
        self.track = tracks.into_iter().next();
    }

    fn fragment(&mut self, moof: &[u8]) {
        let Some(track) = &self.track else {
            return;
        };
        let Some(run) = all(moof, *b"traf").find_map(|traf| Run::of(traf, track)) else {
            return;
        };
        if run.begins_with_keyframe || self.begins.is_empty() {
            // After the media before it: what is between belongs to this part.
            self.begins.push((self.end, run.time));
        }
        self.end_time = run.time.saturating_add(run.duration);
    }

    fn finish(self) -> Layout {
        let timescale = f64::from(self.track.map_or(1, |track| track.timescale.max(1)));
        let last = (self.end, self.end_time);
        let ends = self.begins.iter().skip(1).copied().chain([last]);
        let parts = self.begins.iter().zip(ends).map(|(begin, end)| MediaPart {
            offset: begin.0,
            bytes: end.0.saturating_sub(begin.0),
            #[expect(clippy::cast_precision_loss, reason = "seconds of a playlist")]
            seconds: end.1.saturating_sub(begin.1) as f64 / timescale,
        });
        Layout {
            init: self.init,
            parts: parts.filter(|part| part.bytes > 0).collect(),
        }
    }
}

impl Run {
    fn of(traf: &[u8], track: &FileTrack) -> Option<Self> {
        let tfhd = first(traf, *b"tfhd")?;
        if u32_at(tfhd, 4)? != track.id {
            return None;
        }
        let flags = u32_at(tfhd, 0)? & 0xff_ffff;
        let mut at = 8;
        let mut optional = |bit: u32, bytes: usize| {
            let here = at;
            let is_there = flags & bit != 0;
            at += if is_there { bytes } else { 0 };
            is_there.then_some(here)
        };
        optional(0x1, 8);
        optional(0x2, 4);
        let duration = optional(0x8, 4).and_then(|at| u32_at(tfhd, at));
        optional(0x10, 4);
        let sample_flags = optional(0x20, 4).and_then(|at| u32_at(tfhd, at));
        let tfdt = first(traf, *b"tfdt")?;
        let is_long = u32_at(tfdt, 0)? >> 24 == 1;
        let time = if is_long {
            u64_at(tfdt, 4)?
        } else {
            u32_at(tfdt, 4)?.into()
        };
        let duration = duration.unwrap_or(track.default_duration);
        let sample_flags = sample_flags.unwrap_or(track.default_flags);
        let mut run = Self {
            time,
            duration: 0,
            begins_with_keyframe: false,
        };
        let mut is_first = true;
        for trun in all(traf, *b"trun") {
            let samples = Samples::of(trun, duration, sample_flags)?;
            run.duration = run.duration.saturating_add(samples.duration);
            if std::mem::take(&mut is_first) {
                run.begins_with_keyframe = samples.first_flags & NON_SYNC == 0;
            }
        }
        Some(run)
    }
}

/// The samples of a `trun`.
struct Samples {
    duration: u64,
    first_flags: u32,
}

impl Samples {
    fn of(trun: &[u8], duration: u32, flags: u32) -> Option<Self> {
        let present = u32_at(trun, 0)? & 0xff_ffff;
        let count = u32_at(trun, 4)?;
        let has = |bit: u32| present & bit != 0;
        let mut at = 8 + if has(0x1) { 4 } else { 0 };
        let mut first_flags = flags;
        if has(0x4) {
            first_flags = u32_at(trun, at)?;
            at += 4;
        } else if has(0x400) {
            let before = [0x100, 0x200].into_iter().filter(|bit| has(*bit)).count();
            first_flags = u32_at(trun, at + 4 * before)?;
        }
        if !has(0x100) {
            return Some(Self {
                duration: u64::from(duration) * u64::from(count),
                first_flags,
            });
        }
        let fields = [0x100, 0x200, 0x400, 0x800];
        let bytes = 4 * fields.into_iter().filter(|bit| has(*bit)).count();
        let durations = trun
            .get(at..)?
            .chunks_exact(bytes)
            .filter_map(|sample| u32_at(sample, 0));
        let durations = durations.take(usize::try_from(count).ok()?);
        Some(Self {
            duration: durations.map(u64::from).sum(),
            first_flags,
        })
    }
}

fn tracks(moov: &[u8]) -> Vec<FileTrack> {
    let defaults = |id: u32| {
        let mvex = first(moov, *b"mvex")?;
        let mut all = all(mvex, *b"trex");
        let trex = all.find(|trex| u32_at(trex, 4) == Some(id))?;
        Some((u32_at(trex, 12)?, u32_at(trex, 20)?))
    };
    let track = |trak: &[u8]| {
        let tkhd = first(trak, *b"tkhd")?;
        let id = u32_at(tkhd, after_times(tkhd)?)?;
        let mdia = first(trak, *b"mdia")?;
        let mdhd = first(mdia, *b"mdhd")?;
        let is_video = first(mdia, *b"hdlr")?.get(8..12)? == b"vide";
        let (default_duration, default_flags) = defaults(id).unwrap_or_default();
        Some(FileTrack {
            id,
            timescale: u32_at(mdhd, after_times(mdhd)?)?,
            picture: if is_video { shown(mdia) } else { None },
            is_video,
            default_duration,
            default_flags,
        })
    };
    all(moov, *b"trak").filter_map(track).collect()
}

/// Where the field after the two times of a `tkhd` or `mdhd` is.
fn after_times(head: &[u8]) -> Option<usize> {
    Some(if u32_at(head, 0)? >> 24 == 1 { 20 } else { 12 })
}

fn shown(mdia: &[u8]) -> Option<RecordedPicture> {
    let stbl = first(first(mdia, *b"minf")?, *b"stbl")?;
    let stsd = first(stbl, *b"stsd")?;
    let codec = match stsd.get(12..16)? {
        b"avc1" | b"avc3" => "h264",
        b"hvc1" | b"hev1" => "h265",
        b"vp08" => "vp8",
        b"vp09" => "vp9",
        b"av01" => "av1",
        _ => return None,
    };
    let size = u32_at(stsd, 40)?;
    Some(RecordedPicture {
        codec,
        width: u16::try_from(size >> 16).ok()?,
        height: u16::try_from(size & 0xffff).ok()?,
    })
}

/// The contents of the boxes of a kind.
fn all(bytes: &[u8], kind: [u8; 4]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let boxes = iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let (kind, content) = (rest.get(4..8)?, rest.get(8..length)?);
        rest = rest.get(length..)?;
        Some((kind, content))
    });
    boxes
        .filter(move |(found, _)| *found == kind)
        .map(|(_, content)| content)
}

fn first(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    all(bytes, kind).next()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_be_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..at.checked_add(8)?)?;
    eight.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn packed(kind: [u8; 4], content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = u32::try_from(content.len() + 8).unwrap();
        [&length.to_be_bytes()[..], &kind, &content].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// One video track of 1000 ticks a second.
    fn head() -> Vec<u8> {
        let mut entry = vec![0; 44];
        entry[12..16].copy_from_slice(b"avc1");
        entry[40..44].copy_from_slice(&[640_u16.to_be_bytes(), 360_u16.to_be_bytes()].concat());
        let stbl = packed(*b"stbl", &[&packed(*b"stsd", &[&entry])]);
        let handler = [&words(&[0, 0])[..], b"vide"].concat();
        let mdia = packed(
            *b"mdia",
            &[
                &packed(*b"mdhd", &[&words(&[0, 0, 0, 1000, 0])]),
                &packed(*b"hdlr", &[&handler]),
                &packed(*b"minf", &[&stbl]),
            ],
        );
        let tkhd = packed(*b"tkhd", &[&words(&[0, 0, 0, 7])]);
        let trak = packed(*b"trak", &[&tkhd, &mdia]);
        let mvex = packed(
            *b"mvex",
            &[&packed(*b"trex", &[&words(&[0, 7, 1, 40, 0, 0])])],
        );
        [
            packed(*b"ftyp", &[b"iso5"]),
            packed(*b"moov", &[&trak, &mvex]),
        ]
        .concat()
    }

    /// A second of media, in 25 samples.
    fn fragment(seconds: u32, keyframe: bool) -> Vec<u8> {
        let flags = if keyframe { 0 } else { NON_SYNC };
        let traf = packed(
            *b"traf",
            &[
                &packed(*b"tfhd", &[&words(&[0, 7])]),
                &packed(*b"tfdt", &[&words(&[0, seconds * 1000])]),
                &packed(*b"trun", &[&words(&[0x4, 25, flags])]),
            ],
        );
        [packed(*b"moof", &[&traf]), packed(*b"mdat", &[&[0; 100]])].concat()
    }

    #[test]
    fn parts_begin_with_keyframes() {
        let head = head();
        let fragments = [(0, true), (1, false), (2, true)].map(|(at, key)| fragment(at, key));
        let length = u64::try_from(fragments[0].len()).unwrap();
        let init = u64::try_from(head.len()).unwrap();
        let file = [head, fragments.concat()].concat();
        let layout = layout(&mut Cursor::new(&file)).unwrap();
        let part = |offset, bytes, seconds| MediaPart {
            offset,
            bytes,
            seconds,
        };
        let expected = Layout {
            init,
            parts: vec![
                part(init, 2 * length, 2.0),
                part(init + 2 * length, length, 1.0),
            ],
        };
        assert_eq!(layout, expected);
        let picture = picture(&mut Cursor::new(&file)).unwrap().unwrap();
        assert_eq!(
            (picture.codec, picture.width, picture.height),
            ("h264", 640, 360)
        );
    }

    #[test]
    fn a_file_may_be_cut_off_anywhere_or_be_something_else() {
        let file = [head(), fragment(0, true), fragment(1, true)].concat();
        for length in 0..file.len() {
            let cut = &file[..length];
            let layout = layout(&mut Cursor::new(cut)).unwrap();
            let end = layout
                .parts
                .last()
                .map_or(0, |part| part.offset + part.bytes);
            assert!(end <= u64::try_from(length).unwrap());
            assert!(layout.parts.len() < 2);
            picture(&mut Cursor::new(cut)).unwrap();
        }
        for at in 0..file.len() {
            let mut broken = file.clone();
            broken[at] ^= 0xff;
            // Ok or not: it ends, and does not panic.
            let _ = layout(&mut Cursor::new(&broken));
        }
    }
}
