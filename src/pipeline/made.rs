//! Which codec a pipeline makes, as far as its text tells. Pure.

use super::lexer::{TokenKind, tokens};
use crate::media::Codec;

/// Parts of the names of elements and caps that make or describe a codec.
const NAMES: [(&str, Codec); 8] = [
    ("h264", Codec::H264),
    ("x264", Codec::H264),
    ("h265", Codec::H265),
    ("x265", Codec::H265),
    ("vp8", Codec::Vp8),
    ("vp9", Codec::Vp9),
    ("av1", Codec::Av1),
    ("opus", Codec::Opus),
];

/// The codec that reaches an appsink of an expanded description: that of the last encoder, parser or
/// caps before it that names one. `None` if its chain names none.
pub fn codec_of_appsink(description: &str, name: &str) -> Option<Codec> {
    let mut codec = None;
    let mut at_appsink = false;
    for token in tokens(description) {
        match token.kind {
            TokenKind::Property(property, value) => {
                if at_appsink && property == "name" && value == name {
                    return codec;
                }
            }
            TokenKind::Word(word) => {
                at_appsink = word == "appsink";
                if begins_anew(&word) {
                    codec = None;
                } else if let Some(named) = codec_in(&word) {
                    codec = Some(named);
                }
            }
        }
    }
    None
}

/// Whether what is known of the codec ends here: another chain begins, or media is decoded.
fn begins_anew(word: &str) -> bool {
    word.contains("appsrc") || word.ends_with('.') || word.contains("dec") || word.contains("raw")
}

fn codec_in(word: &str) -> Option<Codec> {
    let mut names = NAMES.into_iter();
    let (_, codec) = names.find(|(name, _)| word.contains(name))?;
    Some(codec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_the_codec() {
        for (text, expected) in [
            (
                "appsrc name=video ! x264enc ! appsink name=video_a",
                Some(Codec::H264),
            ),
            (
                "appsrc name=video ! decodebin ! vah264enc ! video/x-h264,profile=main ! h264parse \
                 ! appsink sync=false name=video_a",
                Some(Codec::H264),
            ),
            (
                "appsrc ! avdec_h264 ! vp9enc deadline=1 ! appsink name=\"video_a\"",
                Some(Codec::Vp9),
            ),
            (
                "appsrc ! h264parse ! avdec_h264 ! strange ! appsink name=video_a",
                None,
            ),
            (
                "appsrc ! x264enc ! tee name=t t. ! queue ! appsink name=video_a",
                None,
            ),
            (
                "appsrc ! decodebin ! video/x-raw,width=10 ! appsink name=video_a",
                None,
            ),
            (
                "appsrc name=audio ! opusdec ! opusenc ! appsink name=audio_a",
                Some(Codec::Opus),
            ),
            (
                "appsrc ! decodebin ! tee name=t ! x265enc ! appsink name=video_b \
                 t. ! svtav1enc ! appsink name=video_a",
                Some(Codec::Av1),
            ),
            ("appsrc ! x264enc ! appsink name=video_b", None),
        ] {
            let name = if text.contains("audio_a") {
                "audio_a"
            } else {
                "video_a"
            };
            assert_eq!(codec_of_appsink(text, name), expected, "{text}");
        }
    }
}
