//! Whether a viewer that offers a codec can decode the profile that a stream really has.
//!
//! Levels are not compared: browsers say level 3.1 (`42e01f`) whatever they decode, and everybody
//! sends them 1080p.

use super::{Format, Offer, choose};
use crate::media::{Codec, Kind};

/// The profiles of H.264 that matter (RFC 6184 §8.1, table 5), by what decodes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum H264 {
    /// Baseline counts as constrained baseline: no encoder in use makes what differs.
    Baseline,
    Main,
    /// With or without constraints: what constrained high lacks are B-frames and interlacing, and
    /// B-frames are looked for elsewhere.
    High,
    /// More bits or more colour than browsers decode.
    Professional,
}

impl Offer {
    /// Whether one of the offered formats of this codec covers a stream of this profile, named as
    /// GStreamer names it in caps (`constrained-baseline`, `main-10`). An unknown profile is
    /// believed to be covered.
    pub fn decodes(&self, kind: Kind, codec: Codec, profile: Option<&str>) -> bool {
        if self.choose(kind, &[codec]).is_none() {
            return false;
        }
        let Some(profile) = profile else {
            return true;
        };
        let sections = self.media.iter().filter(|it| it.kind == Some(kind));
        sections
            .flat_map(|section| &section.formats)
            .filter(|format| format.codec == Some(codec) && choose::acceptable(format, self.role))
            .any(|format| covers(codec, format, profile))
    }
}

fn covers(codec: Codec, format: &Format, profile: &str) -> bool {
    let number = |name: &str, default: u8| {
        let value = format.parameter(name);
        value.map_or(Some(default), |text| text.parse::<u8>().ok())
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
        Codec::Vp9 => number("profile-id", 0).map(|it| it.to_string()).as_deref() == Some(profile),
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

/// What a `profile-level-id` stands for; `None` if it is none that is known.
fn offered_h264(id: &str) -> Option<H264> {
    let profile = u8::from_str_radix(id.get(..2)?, 16).ok()?;
    let constraints = u8::from_str_radix(id.get(2..4)?, 16).ok()?;
    match profile {
        // 0x58: Extended, without what Main has beyond Baseline.
        0x42 | 0x58 => Some(H264::Baseline),
        // constraint_set0: it is Baseline as well; nothing of Main need be decoded.
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

    fn covers(codec: Codec, fmtp: &str, profile: &str) -> bool {
        let format = Format {
            pt: 96,
            codec: Some(codec),
            rtpmap: None,
            fmtp: (!fmtp.is_empty()).then(|| fmtp.to_owned()),
            rtx: None,
            feedback: Vec::new(),
        };
        super::covers(codec, &format, profile)
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
