//! The encodings that Aerial carries.

use std::fmt;

use super::Kind;

/// The encodings that Aerial carries.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264 (RFC 6184), packetization mode 1.
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// AV1 (the AOMedia RTP payload specification).
    Av1,
    /// Opus (RFC 7587).
    Opus,
}

impl Codec {
    /// Every codec, in no particular order.
    pub const ALL: [Self; 6] = [
        Self::H264,
        Self::H265,
        Self::Vp8,
        Self::Vp9,
        Self::Av1,
        Self::Opus,
    ];

    /// Its number between processes and nodes.
    pub const fn number(self) -> u8 {
        match self {
            Self::H264 => 0,
            Self::H265 => 1,
            Self::Vp8 => 2,
            Self::Vp9 => 3,
            Self::Av1 => 4,
            Self::Opus => 5,
        }
    }

    /// The codec with this number.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.number() == number)
    }

    /// The track kind this codec encodes.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Opus => Kind::Audio,
            Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9 | Self::Av1 => Kind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self.kind() {
            Kind::Video => 90_000,
            Kind::Audio => 48_000,
        }
    }

    /// The encoding name of `a=rtpmap` as browsers write it; compare without case (RFC 8866 §6.6).
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Opus => "opus",
        }
    }

    /// The codec with this `a=rtpmap` encoding name, in any case.
    pub fn from_encoding_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.encoding_name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encoding_name())
    }
}
