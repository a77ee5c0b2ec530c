//! Whether a viewer that offers a codec can decode the actual profile of a stream.
//!
//! Levels are compared only for a viewer that says `level-asymmetry-allowed=0`: browsers say level
//! 3.1 (`42e01f`) whatever they can decode, and everybody sends them 1080p.

use super::{Format, Offer, choose};
use crate::media::Codec;

/// The profiles of H.264 that matter (RFC 6184 §8.1, table 5), by what can decode them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum H264 {
    /// Baseline counts as constrained baseline: no encoder in use produces the difference.
    Baseline,
    Main,
    /// With or without constraints: constrained high lacks only B-frames and interlacing, and
    /// B-frames are checked elsewhere.
    High,
    /// More bits or more colour than browsers decode.
    Professional,
}

impl Offer {
    /// Whether one of the offered formats of this codec covers a stream of this profile and level,
    /// named as in GStreamer's caps (`constrained-baseline`, `main-10`; `3.1`). Unknown ones are
    /// assumed to be covered.
    pub fn decodes(&self, codec: Codec, profile: Option<&str>, level: Option<&str>) -> bool {
        let kind = codec.kind();
        if self.choose(kind, &[codec]).is_none() {
            return false;
        }
        let sections = self
            .media
            .iter()
            .filter(|section| section.is_active(kind, self.role));
        sections
            .flat_map(|section| &section.formats)
            .filter(|format| format.codec == Some(codec) && choose::acceptable(format, self.role))
            .any(|format| {
                profile.is_none_or(|profile| covers(codec, format, profile))
                    && level.is_none_or(|level| reaches(codec, format, level))
            })
    }
}

/// Whether a format's level is high enough, if it limits the stream at all (RFC 6184 §8.1).
fn reaches(codec: Codec, format: &Format, level: &str) -> bool {
    let limits = format.parameter("level-asymmetry-allowed") == Some("0");
    if codec != Codec::H264 || !limits {
        return true;
    }
    let offered = format.parameter("profile-level-id").and_then(|id| {
        let level = id.get(4..6)?;
        u32::from_str_radix(level, 16).ok()
    });
    // H.264 table A-1: `level_idc` is ten times the level.
    let (whole, tenths) = level.split_once('.').unwrap_or((level, "0"));
    let needed = whole.parse::<u32>().ok().zip(tenths.parse::<u32>().ok());
    let needed = needed.map(|(whole, tenths)| whole * 10 + tenths);
    // Level 1b is written as 1 or 1.1, and small enough for every viewer.
    offered
        .zip(needed)
        .is_none_or(|(offered, needed)| offered >= needed)
}

fn covers(codec: Codec, format: &Format, profile: &str) -> bool {
    let number = |name: &str, default: u8| {
        format
            .parameter(name)
            .map_or(Some(default), |text| text.parse::<u8>().ok())
    };
    match codec {
        Codec::H264 => {
            // RFC 6184 §8.1: without a profile-level-id it is Baseline at level 1.
            let offered = format
                .parameter("profile-level-id")
                .map_or(Some(H264::Baseline), offered_h264);
            match (named_h264(profile), offered) {
                (None, _) => true,
                (Some(H264::Baseline), offered) => offered.is_some(),
                (Some(H264::Main), offered) => {
                    matches!(offered, Some(H264::Main | H264::High | H264::Professional))
                }
                (Some(H264::High), offered) => {
                    matches!(offered, Some(H264::High | H264::Professional))
                }
                (Some(H264::Professional), offered) => offered == Some(H264::Professional),
            }
        }
        // RFC 7798 §7.1: profile-id 1 is Main, 2 is Main 10.
        Codec::H265 => match profile {
            "main" | "main-still-picture" => number("profile-id", 1).is_some(),
            "main-10" => number("profile-id", 1) == Some(2),
            _ => false,
        },
        // RFC 9628 §6.1 (profile-id), AV1 RTP specification §7.2.1 (profile).
        Codec::Vp9 => number("profile-id", 0).map(|id| id.to_string()).as_deref() == Some(profile),
        Codec::Av1 => {
            let needed = match profile {
                "main" => 0,
                "high" => 1,
                _ => 2,
            };
            number("profile", 0).is_some_and(|offered| offered >= needed)
        }
        Codec::Vp8 | Codec::Opus => true,
    }
}

/// The meaning of a `profile-level-id`; `None` if unknown.
fn offered_h264(id: &str) -> Option<H264> {
    let profile = u8::from_str_radix(id.get(..2)?, 16).ok()?;
    let constraints = u8::from_str_radix(id.get(2..4)?, 16).ok()?;
    match profile {
        // 0x58: Extended, without what Main has beyond Baseline.
        0x42 | 0x58 => Some(H264::Baseline),
        // constraint_set0: it is Baseline as well, so nothing of Main needs to be decoded.
        0x4d if constraints & 0x80 != 0 => Some(H264::Baseline),
        0x4d => Some(H264::Main),
        0x64 => Some(H264::High),
        0x6e | 0x7a | 0xf4 => Some(H264::Professional),
        _ => None,
    }
}

fn named_h264(name: &str) -> Option<H264> {
    match name {
        "constrained-baseline" | "baseline" => Some(H264::Baseline),
        "main" => Some(H264::Main),
        "high" | "constrained-high" | "progressive-high" => Some(H264::High),
        name if name.starts_with("high-") => Some(H264::Professional),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(codec: Codec, fmtp: &str) -> Format {
        Format {
            pt: 96,
            codec: Some(codec),
            rtpmap: None,
            fmtp: (!fmtp.is_empty()).then(|| fmtp.to_owned()),
            rtx: None,
            feedback: Vec::new(),
        }
    }

    fn covers(codec: Codec, fmtp: &str, profile: &str) -> bool {
        super::covers(codec, &format(codec, fmtp), profile)
    }

    #[test]
    fn h264_profiles() {
        for (id, profile, expected) in [
            ("42e01f", "constrained-baseline", true),
            ("42001f", "constrained-baseline", true),
            ("42e01f", "baseline", true),
            ("42e01f", "main", false),
            ("42e01f", "high", false),
            ("42E01F", "high", false),
            ("4d001f", "constrained-baseline", true),
            ("4d001f", "main", true),
            ("4d801f", "main", false),
            ("4d001f", "high", false),
            ("64001f", "main", true),
            ("64001f", "high", true),
            ("640c1f", "high", true),
            ("640c1f", "constrained-high", true),
            ("64001f", "high-4:2:2", false),
            ("f4001f", "high-4:4:4", true),
            ("nonsense", "constrained-baseline", false),
        ] {
            let fmtp = format!("packetization-mode=1;profile-level-id={id}");
            assert_eq!(
                covers(Codec::H264, &fmtp, profile),
                expected,
                "{id} {profile}"
            );
        }
        assert!(covers(Codec::H264, "", "constrained-baseline"));
        assert!(!covers(Codec::H264, "packetization-mode=1", "high"));
    }

    #[test]
    fn h264_levels_count_only_where_they_are_a_limit() {
        let fits = |asymmetry: &str, level| {
            let fmtp = format!("profile-level-id=42e01f{asymmetry}");
            reaches(Codec::H264, &format(Codec::H264, &fmtp), level)
        };
        for (level, expected) in [("3.1", true), ("3", true), ("3.2", false), ("4", false)] {
            let limited = ";level-asymmetry-allowed=0";
            assert_eq!(fits(limited, level), expected, "{level}");
            assert!(fits("", level) && fits(";level-asymmetry-allowed=1", level));
        }
        assert!(fits(";level-asymmetry-allowed=0", "1b"));
    }

    #[test]
    fn other_profiles() {
        assert!(covers(Codec::H265, "", "main"));
        assert!(!covers(Codec::H265, "profile-id=1;tier-flag=0", "main-10"));
        assert!(covers(Codec::H265, "profile-id=2", "main-10"));
        assert!(covers(Codec::Vp9, "profile-id=0", "0"));
        assert!(covers(Codec::Vp9, "", "0") && !covers(Codec::Vp9, "", "2"));
        assert!(covers(Codec::Av1, "", "main") && !covers(Codec::Av1, "profile=0", "high"));
        assert!(covers(Codec::Vp8, "", "0"));
    }
}
