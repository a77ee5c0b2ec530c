//! [`Offer::parse`]: reading and validating, malformed things (400) before unsupported ones (422).

use super::{
    Direction, Error, Kind, Media, OFFER_BYTES_MAX, Offer, Role, Setup,
    lines::{Attributes, Description, RawSection, malformed, read_lines},
};

/// Length of `a=ice-ufrag` and of `a=ice-pwd` (RFC 8839 §5.4).
const ICE_UFRAG_BYTES: std::ops::RangeInclusive<usize> = 4..=256;
const ICE_PWD_BYTES: std::ops::RangeInclusive<usize> = 22..=256;
const SHA_256_BYTES: usize = 32;

impl Offer {
    /// Reads an offer and checks everything that does not depend on the choice of codec: syntax
    /// (RFC 8866), ICE and DTLS attributes (RFC 8839, RFC 8842), rtcp-mux, BUNDLE (RFC 9143) and
    /// direction (RFC 9725 §4.2, draft-ietf-wish-whep §4.3.5).
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is not a WebRTC offer, [`Error::Unsupported`] if it is one that
    /// the role does not allow.
    pub fn parse(text: &[u8], role: Role) -> Result<Self, Error> {
        let lines = read_lines(text, OFFER_BYTES_MAX)?;
        match lines.first() {
            None => return Err(malformed("body is empty: send an SDP offer")),
            Some(first) if first.letter == 'v' && first.value.trim() == "0" => {}
            Some(_) => return Err(malformed("an SDP offer starts with v=0")),
        }
        let description = Description::from_lines(&lines)?;
        let session = &description.session;
        let mut media = Vec::new();
        for (number, section) in (1..).zip(&description.sections) {
            media.push(Media::read(number, section, session)?);
        }
        if media.is_empty() {
            return Err(malformed(
                "the offer has no m= section: add audio or video to it",
            ));
        }
        let bundle = read_bundle(session, &media);
        check_mids(&mut media, bundle.is_some())?;
        if !media.iter().any(Media::is_track) {
            return Err(Error::Unsupported(
                "the offer has neither audio nor video: add a track or a transceiver".into(),
            ));
        }
        let tagged = tagged_section(&description, &media, bundle.as_deref());
        let ice = read_ice(tagged, session)?;
        let fingerprint = read_fingerprint(tagged, session)?;
        let setup = read_setup(tagged, session)?;
        check_rtcp_mux(&description, &media)?;
        check_bundle(&media, bundle.as_deref())?;
        check_directions(&media, role)?;
        Ok(Self {
            role,
            ice_ufrag: ice.0,
            ice_pwd: ice.1,
            fingerprint,
            setup,
            bundle,
            media,
        })
    }
}

/// The existing mids of the first BUNDLE group. `FFmpeg` names mids that do not exist.
fn read_bundle(session: &Attributes<'_>, media: &[Media]) -> Option<Vec<String>> {
    let group = session.all("group").find_map(|group| {
        let mut words = group.split_ascii_whitespace();
        (words.next() == Some("BUNDLE")).then_some(words)
    })?;
    let mut mids: Vec<String> = Vec::new();
    for mid in group {
        let exists = media.iter().any(|m| m.mid == mid);
        if exists && !mids.iter().any(|known| known == mid) {
            mids.push(mid.to_owned());
        }
    }
    Some(mids)
}

/// Mids must be unique, and present unless the only section is outside any group.
fn check_mids(media: &mut [Media], bundled: bool) -> Result<(), Error> {
    if let [only] = media
        && only.mid.is_empty()
        && !bundled
    {
        "0".clone_into(&mut only.mid);
    }
    for (index, section) in media.iter().enumerate() {
        if section.mid.is_empty() {
            return Err(malformed(format!("m= section {} has no a=mid", index + 1)));
        }
        if media
            .iter()
            .take(index)
            .any(|other| other.mid == section.mid)
        {
            return Err(malformed(format!("a=mid:{} is used twice", section.mid)));
        }
    }
    Ok(())
}

/// The section whose transport carries the bundle: the first of BUNDLE that the server can
/// accept (RFC 9143 §7.3.1).
fn tagged_index(media: &[Media], bundle: Option<&[String]>) -> usize {
    let of_bundle = bundle.unwrap_or_default().iter().find_map(|mid| {
        media
            .iter()
            .position(|section| section.is_track() && section.mid == *mid)
    });
    of_bundle
        .or_else(|| media.iter().position(Media::is_track))
        .unwrap_or(0)
}

/// The section to read transport attributes from: the tagged one, but a bundle-only section has
/// none, so then the first that has ICE credentials.
fn tagged_section<'a, 'b>(
    description: &'b Description<'a>,
    media: &[Media],
    bundle: Option<&[String]>,
) -> Option<&'b RawSection<'a>> {
    let tagged = description.sections.get(tagged_index(media, bundle));
    let has_ice = |section: &&RawSection<'_>| section.attributes.has("ice-ufrag");
    if description.session.has("ice-ufrag") {
        return tagged;
    }
    tagged
        .filter(has_ice)
        .or_else(|| description.sections.iter().find(has_ice))
        .or(tagged)
}

/// User name fragment and password.
fn read_ice(
    section: Option<&RawSection<'_>>,
    session: &Attributes<'_>,
) -> Result<(String, String), Error> {
    let read = |name: &str, length: &std::ops::RangeInclusive<usize>| {
        let value = section
            .and_then(|section| section.inherited(session, name))
            .ok_or_else(|| {
                malformed(format!(
                    "the offer has no a={name}: only WebRTC (ICE) works"
                ))
            })?;
        if !length.contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(malformed(format!(
                "a={name} must have {} to {} characters (RFC 8839 section 5.4)",
                length.start(),
                length.end()
            )));
        }
        Ok(value.to_owned())
    };
    Ok((
        read("ice-ufrag", &ICE_UFRAG_BYTES)?,
        read("ice-pwd", &ICE_PWD_BYTES)?,
    ))
}

/// The SHA-256 fingerprint, section before session: the hash that every client sends and the
/// engines check. There may be several fingerprints (RFC 8122 §5).
fn read_fingerprint(
    section: Option<&RawSection<'_>>,
    session: &Attributes<'_>,
) -> Result<(String, Vec<u8>), Error> {
    let of_section = section
        .into_iter()
        .flat_map(|section| section.attributes.all("fingerprint"));
    let mut other = None;
    for value in of_section.chain(session.all("fingerprint")) {
        let (hash, bytes) = value
            .split_once(' ')
            .and_then(|(hash, hex)| Some((hash.to_ascii_lowercase(), read_hex(hex.trim())?)))
            .ok_or_else(|| malformed("a=fingerprint is not of the form <hash> <hex>:<hex>..."))?;
        if hash != "sha-256" {
            other = Some(hash);
        } else if bytes.len() == SHA_256_BYTES {
            return Ok((hash, bytes));
        } else {
            return Err(malformed(format!(
                "a=fingerprint:sha-256 needs {SHA_256_BYTES} bytes"
            )));
        }
    }
    Err(match other {
        Some(hash) => Error::Unsupported(format!(
            "a=fingerprint:{hash} is not supported: use sha-256"
        )),
        None => malformed("the offer has no a=fingerprint: media must be encrypted (DTLS-SRTP)"),
    })
}

/// `AB:CD:...` to bytes.
pub(super) fn read_hex(text: &str) -> Option<Vec<u8>> {
    text.split(':')
        .map(|byte| {
            let digits = byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(byte, 16).ok()).flatten()
        })
        .collect()
}

fn read_setup(section: Option<&RawSection<'_>>, session: &Attributes<'_>) -> Result<Setup, Error> {
    match section.and_then(|section| section.inherited(session, "setup")) {
        Some("actpass") => Ok(Setup::Actpass),
        Some("active") => Ok(Setup::Active),
        Some("passive") => Ok(Setup::Passive),
        Some(other) => Err(malformed(format!(
            "a=setup:{other} is not possible: offer actpass"
        ))),
        None => Err(malformed("the offer has no a=setup: offer a=setup:actpass")),
    }
}

/// RFC 9725 §4.4.1, RFC 9429 §4.1.1: RTP and RTCP share one port. A bundle-only section has the
/// attribute of the section it is bundled into.
fn check_rtcp_mux(description: &Description<'_>, media: &[Media]) -> Result<(), Error> {
    for (section, media) in description.sections.iter().zip(media) {
        let needed = media.is_track() && !section.attributes.has("bundle-only");
        if needed
            && section
                .inherited(&description.session, "rtcp-mux")
                .is_none()
        {
            return Err(Error::Unsupported(format!(
                "the {} section has no a=rtcp-mux: RTP and RTCP must share one port \
                 (rtcpMuxPolicy \"require\")",
                media.line.medium
            )));
        }
    }
    Ok(())
}

/// RFC 9725 §4.4.1, draft-ietf-wish-whep §4.6.1: everything over one transport.
fn check_bundle(media: &[Media], bundle: Option<&[String]>) -> Result<(), Error> {
    let tracks: Vec<&Media> = media.iter().filter(|section| section.is_track()).collect();
    match bundle {
        None if tracks.len() > 1 => Err(Error::Unsupported(
            "the offer has no a=group:BUNDLE: all media must share one transport \
             (bundlePolicy \"max-bundle\")"
                .into(),
        )),
        None => Ok(()),
        Some(mids) => match tracks.iter().find(|section| !mids.contains(&section.mid)) {
            Some(section) if tracks.len() > 1 => Err(Error::Unsupported(format!(
                "a=mid:{} is not in a=group:BUNDLE: all media must share one transport",
                section.mid
            ))),
            _ => Ok(()),
        },
    }
}

/// A publisher sends everything it offers, and at most one track of each kind (RFC 9725 §4.4.2).
/// A viewer receives at least something.
fn check_directions(media: &[Media], role: Role) -> Result<(), Error> {
    let mut tracks = media.iter().filter(|section| section.is_track());
    match role {
        Role::Publisher => {
            // An inactive section beside an active one of its kind does no harm.
            let spare = |section: &Media| {
                let other = |kind| media.iter().any(|other| other.is_active(kind, role));
                section.direction == Direction::Inactive && section.kind.is_some_and(other)
            };
            let unsuitable = |section: &&Media| !section.direction.suits(role) && !spare(section);
            if let Some(section) = tracks.find(unsuitable) {
                let direction = match section.direction {
                    Direction::Inactive => "inactive",
                    _ => "recvonly",
                };
                return Err(Error::Unsupported(format!(
                    "the {} section is {direction}: a publisher offers sendonly or sendrecv",
                    section.line.medium
                )));
            }
            for kind in [Kind::Video, Kind::Audio] {
                let count = media
                    .iter()
                    .filter(|section| section.is_active(kind, role))
                    .count();
                if count > 1 {
                    return Err(Error::Unsupported(format!(
                        "the offer has {count} {kind} sections: publish at most one {kind} track"
                    )));
                }
            }
        }
        Role::Viewer => {
            if !tracks.any(|section| section.direction.suits(role)) {
                return Err(Error::Unsupported(
                    "the offer receives nothing: a viewer offers recvonly or sendrecv".into(),
                ));
            }
        }
    }
    Ok(())
}
