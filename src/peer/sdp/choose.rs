//! Which offered format to use.

use super::{Codec, Error, Format, Kind, Media, Offer, Role};

/// What the server does with one m= section of a publisher's offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It receives this format.
    Receive(Format),
    /// It receives nothing: an inactive section beside one of the same kind that sends.
    Inactive,
    /// Port 0 in the answer: not media (data channels), or unused.
    Rejected,
}

impl Offer {
    /// The section and the format to use for one track: the first offered codec that is wanted
    /// (RFC 9429 §5.3.1: the offerer's order is its preference), and of that codec's variants the
    /// one most widely supported. `None` if nothing fits.
    pub fn choose(&self, kind: Kind, wanted: &[Codec]) -> Option<(usize, &Format)> {
        self.media
            .iter()
            .enumerate()
            .filter(|(_, section)| section.is_active(kind, self.role))
            .find_map(|(index, section)| Some((index, best(section, wanted, self.role)?)))
    }

    /// Whether the client wants a track of this kind, in whatever codec.
    pub fn wants(&self, kind: Kind) -> bool {
        let mut sections = self.media.iter();
        sections.any(|section| section.is_active(kind, self.role))
    }

    /// Why [`Offer::choose`] finds nothing for this codec.
    pub fn lack(&self, codec: Codec) -> String {
        let mut active = self
            .media
            .iter()
            .filter(|section| section.is_active(codec.kind(), self.role));
        let listed = active.any(|section| {
            let mut formats = section.formats.iter();
            formats.any(|format| format.codec == Some(codec))
        });
        if listed {
            format!(
                "the offer lists {codec} only with packetization-mode=0, which has no room for \
                 pictures larger than a packet: offer packetization-mode=1"
            )
        } else {
            format!("the offer does not list {codec}: offer it")
        }
    }

    /// The rids of the layers of a simulcast publisher's picture (RFC 8853); empty without
    /// simulcast.
    pub fn layers(&self) -> &[String] {
        let video = self
            .media
            .iter()
            .find(|section| section.is_active(Kind::Video, self.role));
        video.map_or(&[], |section| &section.rids)
    }

    /// The section with data channels that the server can accept: it shares the transport of the
    /// media.
    pub fn channel(&self) -> Option<usize> {
        let bundle = self.bundle.as_deref().unwrap_or_default();
        let mut sections = self.media.iter();
        sections.position(|section| section.is_channel() && bundle.contains(&section.mid))
    }

    /// One choice per m= section for a publisher. All tracks are accepted, or none: a broadcast
    /// without its picture helps nobody (RFC 9725 §4.4.3).
    ///
    /// # Errors
    ///
    /// [`Error::CodecMismatch`] if a track has no codec that Aerial carries.
    pub fn choose_publish(&self) -> Result<Vec<Choice>, Error> {
        let mut used: Vec<u8> = Vec::new();
        let mut choices = Vec::new();
        for section in &self.media {
            let (Some(kind), true) = (section.kind, section.is_track()) else {
                choices.push(Choice::Rejected);
                continue;
            };
            if !section.direction.suits(self.role) {
                choices.push(Choice::Inactive);
                continue;
            }
            let format =
                best(section, &Codec::ALL, self.role).ok_or_else(|| mismatch(section, kind))?;
            // RFC 9143 §9.1. Engines tell bundled streams apart by payload type.
            if used.contains(&format.pt) {
                return Err(Error::Unsupported(format!(
                    "payload type {} means different things in audio and video",
                    format.pt
                )));
            }
            used.extend(format.rtx.into_iter().chain([format.pt]));
            choices.push(Choice::Receive(format.clone()));
        }
        Ok(choices)
    }
}

fn best<'a>(section: &'a Media, wanted: &[Codec], role: Role) -> Option<&'a Format> {
    let usable = |format: &&Format| {
        format.codec.is_some_and(|codec| wanted.contains(&codec)) && acceptable(format, role)
    };
    let first = section.formats.iter().find(usable)?;
    // `max_by_key` takes the last of equals, hence the reversal.
    section
        .formats
        .iter()
        .rev()
        .filter(usable)
        .filter(|format| format.codec == first.codec)
        .max_by_key(|format| rank(format))
}

/// Frames go out in packetization mode 1, which a receiver of mode 0 cannot read (RFC 6184 §5.4).
/// A missing mode means 0 too, but GStreamer and other viewers that leave it out read mode 1.
pub(super) fn acceptable(format: &Format, role: Role) -> bool {
    match (format.codec, role) {
        (Some(Codec::H264), Role::Viewer) => format
            .parameter("packetization-mode")
            .is_none_or(|mode| mode == "1"),
        _ => true,
    }
}

/// How widely a variant of a codec is supported; more is better.
fn rank(format: &Format) -> u8 {
    let is = |name: &str, value: &str| format.parameter(name) == Some(value);
    let is_or_missing = |name: &str, value: &str| format.parameter(name).is_none_or(|v| v == value);
    match format.codec {
        Some(Codec::H264) => {
            let profile = format.parameter("profile-level-id").unwrap_or_default();
            let constrained_baseline = if profile.eq_ignore_ascii_case("42e01f") {
                2
            } else {
                u8::from(profile.to_ascii_lowercase().starts_with("42e0"))
            };
            4 * u8::from(is("packetization-mode", "1")) + constrained_baseline
        }
        Some(Codec::Vp9) => u8::from(is_or_missing("profile-id", "0")),
        Some(Codec::Av1) => u8::from(is_or_missing("profile", "0")),
        Some(Codec::H265) => u8::from(is_or_missing("profile-id", "1")),
        Some(Codec::Vp8 | Codec::Opus) | None => 0,
    }
}

fn mismatch(section: &Media, kind: Kind) -> Error {
    let offered: Vec<&str> = section
        .formats
        .iter()
        .filter_map(|format| format.rtpmap.as_deref()?.split('/').next())
        .filter(|name| name.len() <= 16)
        .take(8)
        .collect();
    let carried: Vec<&str> = Codec::ALL
        .into_iter()
        .filter(|codec| codec.kind() == kind)
        .map(Codec::encoding_name)
        .collect();
    Error::CodecMismatch(format!(
        "no usable {kind} codec: offered {}, needed one of {}",
        if offered.is_empty() {
            "none by name".to_owned()
        } else {
            offered.join(", ")
        },
        carried.join(", ")
    ))
}
