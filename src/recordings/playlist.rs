//! Playlists of HLS (RFC 8216) over fragmented MP4: byte ranges of the files as they are.

use std::fmt::{self, Write as _};

use super::mp4::Layout;

/// A file of a recording, as the playlist needs it.
pub(super) struct PlayedFile {
    pub(super) name: String,
    pub(super) layout: Layout,
}

/// The playlist. A recording that is still being written ends with the last part that is complete,
/// and players come again for more.
pub(super) fn write(
    files: &[PlayedFile],
    started: &str,
    growing: bool,
) -> Result<String, fmt::Error> {
    let parts = || files.iter().flat_map(|file| &file.layout.parts);
    let longest = parts().map(|part| part.seconds).fold(1.0, f64::max);
    let kind = if growing { "EVENT" } else { "VOD" };
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    writeln!(text, "#EXT-X-PLAYLIST-TYPE:{kind}")?;
    writeln!(text, "#EXT-X-TARGETDURATION:{:.0}", longest.ceil())?;
    text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    let mut is_first = true;
    let playable = files.iter().filter(|file| !file.layout.parts.is_empty());
    for PlayedFile { name, layout } in playable {
        if std::mem::take(&mut is_first) {
            writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{started}")?;
        } else {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        writeln!(
            text,
            "#EXT-X-MAP:URI=\"{name}\",BYTERANGE=\"{}@0\"",
            layout.init
        )?;
        for part in &layout.parts {
            writeln!(text, "#EXTINF:{:.3},", part.seconds)?;
            writeln!(text, "#EXT-X-BYTERANGE:{}@{}", part.bytes, part.offset)?;
            writeln!(text, "{name}")?;
        }
    }
    if !growing {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings::mp4::MediaPart;

    fn file(name: &str, seconds: &[f64]) -> PlayedFile {
        let part = |(place, seconds): (u64, &f64)| MediaPart {
            offset: 500 + place * 1000,
            bytes: 1000,
            seconds: *seconds,
        };
        PlayedFile {
            name: name.to_owned(),
            layout: Layout {
                init: 500,
                parts: (0..).zip(seconds).map(part).collect(),
            },
        }
    }

    #[test]
    fn each_file_brings_its_own_beginning() {
        let files = [
            file("a.mp4", &[2.0, 2.5]),
            file("empty.mp4", &[]),
            file("b.mp4", &[1.0]),
        ];
        let text = write(&files, "2026-01-01T00:00:00Z", false).unwrap();
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:3\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\n\
             #EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"500@0\"\n\
             #EXTINF:2.000,\n#EXT-X-BYTERANGE:1000@500\na.mp4\n\
             #EXTINF:2.500,\n#EXT-X-BYTERANGE:1000@1500\na.mp4\n\
             #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b.mp4\",BYTERANGE=\"500@0\"\n\
             #EXTINF:1.000,\n#EXT-X-BYTERANGE:1000@500\nb.mp4\n#EXT-X-ENDLIST\n"
        );
        let growing = write(&files, "2026-01-01T00:00:00Z", true).unwrap();
        assert!(growing.contains("TYPE:EVENT") && !growing.contains("ENDLIST"));
    }
}
