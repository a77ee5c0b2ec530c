//! webrtcbin's answer, completed for webrtcbin itself and rewritten for the client.

use serde::{Deserialize, Serialize};

use super::{
    Choice, EngineTransport, Error, Format, Media, Offer, Section, Transport, answer, candidate,
    lines::{Description, RawSection, read_lines},
    normalise::{EXTENSIONS, EXTENSIONS_FEEDBACK, extension_lines},
    offer::read_hex,
};

/// Largest answer read from webrtcbin, in bytes: many interfaces make many candidates.
pub(super) const ENGINE_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What webrtcbin's local description lacks of one section.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SectionExtensions {
    mid: String,
    /// `a=extmap` lines.
    lines: Vec<String>,
}

/// What [`local_description`] puts back.
pub fn section_extensions(offer: &Offer) -> Vec<SectionExtensions> {
    let of_section = |media: &Media| SectionExtensions {
        mid: media.mid.clone(),
        lines: extension_lines(media).collect(),
    };
    offer.media.iter().map(of_section).collect()
}

/// The local description for webrtcbin, from the answer that it created for
/// [`Offer::normalised`].
///
/// webrtcbin 1.22 drops every header extension from the answers that it creates, but uses those of
/// its local description: once transport-wide congestion control is put back, it sends the
/// feedback. Where it is left out, [`publisher_answer`] does not promise the feedback either.
pub fn local_description(extensions: &[SectionExtensions], created: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in created.lines().filter(|line| !line.is_empty()) {
        lines.push(line.to_owned());
        let mid = line.strip_prefix("a=mid:");
        let section = extensions
            .iter()
            .find(|section| mid == Some(section.mid.as_str()));
        lines.extend(
            section
                .into_iter()
                .flat_map(|section| section.lines.clone()),
        );
    }
    lines.push(String::new());
    lines.join("\r\n")
}

/// The answer to a publisher, from webrtcbin's local description once its candidates are in.
///
/// webrtcbin's text is read only for what webrtcbin alone knows: its accepted payload types, and in
/// [`engine_transport`] how to reach it. The rest is wrong in places (webrtcbin 1.22 drops
/// profile-level-id, writes OPUS, leaks host and user name in the cname, omits end-of-candidates),
/// so the answer is rewritten, in the order of the original offer, with the server's `transport`.
///
/// # Errors
///
/// [`Error::CodecMismatch`] if webrtcbin does not accept a chosen format, [`Error::Engine`] if
/// its answer is incomplete.
pub fn publisher_answer(
    offer: &Offer,
    choices: &[Choice],
    webrtcbin_answer: &str,
    mut transport: Transport,
) -> Result<String, Error> {
    let lines = read_lines(webrtcbin_answer.as_bytes(), ENGINE_ANSWER_BYTES_MAX)
        .map_err(|error| engine(&error.to_string()))?;
    let description =
        Description::from_lines(&lines).map_err(|error| engine(&error.to_string()))?;
    let mut sections = Vec::new();
    let mut extensions = Vec::new();
    for (media, choice) in offer.media.iter().zip(choices) {
        let format = match choice {
            Choice::Receive(format) => format,
            Choice::Inactive => {
                sections.push(Section::Inactive);
                continue;
            }
            Choice::Rejected => {
                sections.push(Section::Rejected);
                continue;
            }
        };
        let answered = description
            .sections
            .iter()
            .find(|section| section.attributes.get("mid") == Some(&media.mid))
            .ok_or_else(|| engine(&format!("section {} is missing", media.mid)))?;
        check_setup(offer, &description, answered)?;
        sections.push(receive(format, answered)?);
        extensions.extend(extension_lines(media).map(|line| {
            let value = line.strip_prefix("a=extmap:");
            answered
                .attributes
                .all("extmap")
                .any(|answered| Some(answered) == value)
        }));
    }
    if !extensions.is_empty() && extensions.into_iter().all(|answered| answered) {
        transport.extensions_used = &EXTENSIONS;
        transport.feedback_used = &EXTENSIONS_FEEDBACK;
    }
    Ok(answer::write(offer, &sections, &transport))
}

/// The chosen format, with RTX only if webrtcbin accepts that too.
fn receive(format: &Format, answered: &RawSection<'_>) -> Result<Section, Error> {
    if !accepts(answered, format.pt) {
        let name = format.rtpmap.as_deref().unwrap_or("an unnamed codec");
        return Err(Error::CodecMismatch(format!(
            "this server cannot receive {name}: publish with another codec"
        )));
    }
    let rtx = format.rtx.filter(|rtx| accepts(answered, *rtx));
    Ok(Section::Receive {
        format: Format {
            rtx,
            ..format.clone()
        },
        rids: Vec::new(),
    })
}

/// Whether the section is accepted with this payload type.
pub(super) fn accepts(section: &RawSection<'_>, pt: u8) -> bool {
    let mut words = section.line.split_ascii_whitespace().skip(1);
    let port_used = words.next().is_some_and(|port| port != "0");
    let pt_used = words.skip(1).any(|word| word.parse() == Ok(pt));
    port_used && pt_used && !section.attributes.has("inactive")
}

/// The offer decides the DTLS role; if webrtcbin took the other one, nothing would connect.
pub(super) fn check_setup(
    offer: &Offer,
    description: &Description<'_>,
    section: &RawSection<'_>,
) -> Result<(), Error> {
    let expected = offer.setup.answer().name();
    match section.inherited(&description.session, "setup") {
        Some(setup) if setup == expected => Ok(()),
        setup => Err(engine(&format!(
            "a=setup is {}, not {expected}",
            setup.unwrap_or("missing")
        ))),
    }
}

/// How webrtcbin is reached, from its answer: credentials and fingerprint of the first section, and
/// the first candidate, because it gathers on one address of loopback only.
///
/// # Errors
///
/// [`Error::Engine`] if the answer is incomplete.
pub fn engine_transport(webrtcbin_answer: &str) -> Result<EngineTransport, Error> {
    let lines = read_lines(webrtcbin_answer.as_bytes(), ENGINE_ANSWER_BYTES_MAX)
        .map_err(|error| engine(&error.to_string()))?;
    let description =
        Description::from_lines(&lines).map_err(|error| engine(&error.to_string()))?;
    let first = description
        .sections
        .first()
        .ok_or_else(|| engine("it has no m= section"))?;
    let read = |name: &str| {
        first
            .inherited(&description.session, name)
            .ok_or_else(|| engine(&format!("it has no a={name}")))
    };
    let fingerprint = read("fingerprint")?
        .split_once(' ')
        .filter(|(hash, _)| hash.eq_ignore_ascii_case("sha-256"))
        .and_then(|(_, hex)| read_hex(hex.trim()))
        .ok_or_else(|| engine("its fingerprint is not SHA-256"))?;
    let attributes = description
        .sections
        .iter()
        .map(|section| &section.attributes);
    let candidate = std::iter::once(&description.session)
        .chain(attributes)
        .flat_map(|attributes| attributes.all("candidate"))
        .find_map(candidate::engine_host)
        .ok_or_else(|| engine("it has no candidate on loopback"))?;
    Ok(EngineTransport {
        ice_ufrag: read("ice-ufrag")?.to_owned(),
        ice_pwd: read("ice-pwd")?.to_owned(),
        fingerprint,
        candidate,
    })
}

pub(super) fn engine(what: &str) -> Error {
    Error::Engine(format!("webrtcbin's answer is unusable: {what}"))
}
