//! A viewer on webrtcbin: the offer for webrtcbin, and the answer to the client.

use super::{
    Choice, Error, Format, Offer, Section, Transport, answer,
    lines::{Description, RawSection, read_lines},
    publisher::{ENGINE_ANSWER_BYTES_MAX, accepts, check_setup, engine},
};

impl Offer {
    /// The offer for webrtcbin, reduced to the sections that send: the only ones it can carry.
    /// Its sections are in the order of those of `sections` that send.
    pub fn normalised_for_sending(&self, sections: &[Section]) -> String {
        let choices: Vec<Choice> = sections
            .iter()
            .map(|section| match section {
                Section::Send { format, .. } => Choice::Receive(format.clone()),
                _ => Choice::Rejected,
            })
            .collect();
        self.normalised(&choices)
    }
}

/// The answer to a viewer, from webrtcbin's local description once its candidates are in. As in
/// [`super::publisher_answer`], webrtcbin's text is read only for what it alone knows: accepted
/// payload types, and the SSRCs of its retransmission streams.
///
/// # Errors
///
/// [`Error::CodecMismatch`] if webrtcbin does not accept a chosen format, [`Error::Engine`] if its
/// answer is incomplete.
pub fn engine_viewer_answer(
    offer: &Offer,
    sections: &[Section],
    webrtcbin_answer: &str,
    transport: &Transport,
) -> Result<String, Error> {
    let lines = read_lines(webrtcbin_answer.as_bytes(), ENGINE_ANSWER_BYTES_MAX)
        .map_err(|error| engine(&error.to_string()))?;
    let description =
        Description::from_lines(&lines).map_err(|error| engine(&error.to_string()))?;
    let mut answered = Vec::with_capacity(sections.len());
    for (media, section) in offer.media.iter().zip(sections) {
        let Section::Send { format, ssrc, .. } = section else {
            answered.push(section.clone());
            continue;
        };
        let raw = description
            .sections
            .iter()
            .find(|raw| raw.attributes.get("mid") == Some(&media.mid))
            .ok_or_else(|| engine(&format!("section {} is missing", media.mid)))?;
        check_setup(offer, &description, raw)?;
        answered.push(send(format, *ssrc, raw)?);
    }
    Ok(answer::write(offer, &answered, transport))
}

/// The chosen format, with RTX only if webrtcbin sends it.
fn send(format: &Format, ssrc: u32, raw: &RawSection<'_>) -> Result<Section, Error> {
    if !accepts(raw, format.pt) {
        let name = format.rtpmap.as_deref().unwrap_or("an unnamed codec");
        return Err(Error::CodecMismatch(format!(
            "this server cannot send {name}: offer another variant of it"
        )));
    }
    let rtx_ssrc = retransmission_ssrc(raw, ssrc);
    let rtx = format
        .rtx
        .filter(|rtx| accepts(raw, *rtx) && rtx_ssrc.is_some());
    Ok(Section::Send {
        format: Format {
            rtx,
            ..format.clone()
        },
        ssrc,
        rtx_ssrc: rtx_ssrc.unwrap_or_default(),
    })
}

/// `a=ssrc-group:FID <ssrc> <rtx>` (RFC 5576 §4.2).
fn retransmission_ssrc(raw: &RawSection<'_>, ssrc: u32) -> Option<u32> {
    raw.attributes.all("ssrc-group").find_map(|group| {
        let mut words = group.strip_prefix("FID ")?.split_ascii_whitespace();
        let first: u32 = words.next()?.parse().ok()?;
        (first == ssrc).then(|| words.next()?.parse().ok())?
    })
}
