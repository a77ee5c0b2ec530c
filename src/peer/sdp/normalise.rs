//! [`Offer::normalised`]: an offer that webrtcbin understands.
//!
//! webrtcbin 1.22 rejects or misreads valid offers: session-level `a=setup`, BUNDLE with a mid that
//! does not exist, bundle-only sections without a transport, another group before BUNDLE. And it
//! answers with every codec it can find. So it gets a new offer, written from the parsed one: only
//! the accepted sections, each with one payload type and its RTX, and with everything it needs in
//! place. It gets no candidates: it would send checks to whatever addresses the client names. Its peer
//! is a relay on loopback ([`crate::peer::relay`]), whose checks tell it where that is.

use super::{Choice, Direction, Format, Media, Offer, Role, answer::FEEDBACK};

/// Header extensions that stay in webrtcbin's offer: transport-wide congestion control, without
/// which a browser needs half a minute to dare 1 Mb/s. The others are dropped, as a receiver skips
/// extensions that it did not negotiate (RFC 8285 §4.1.2); it must do so anyway for OBS, which
/// sends mid and rid un-negotiated.
pub(super) const EXTENSIONS: [&str; 1] =
    ["http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"];
/// The feedback that goes with [`EXTENSIONS`].
pub(super) const EXTENSIONS_FEEDBACK: [&str; 1] = ["transport-cc"];

impl Offer {
    /// The offer for webrtcbin, reduced to what was chosen by [`Offer::choose_publish`]. Rejected
    /// sections are left out: sections of its answer are found by mid, not by position.
    pub fn normalised(&self, choices: &[Choice]) -> String {
        let accepted: Vec<(&Media, &Format)> = self
            .media
            .iter()
            .zip(choices)
            .filter_map(|(media, choice)| match choice {
                Choice::Receive(format) => Some((media, format)),
                Choice::Inactive | Choice::Rejected => None,
            })
            .collect();
        let group = accepted
            .iter()
            .fold(String::new(), |all, (media, _)| all + " " + &media.mid);
        let mut lines = vec![
            "v=0".to_owned(),
            "o=- 1 1 IN IP4 127.0.0.1".to_owned(),
            "s=-".to_owned(),
            "t=0 0".to_owned(),
            format!("a=group:BUNDLE{group}"),
            "a=ice-options:trickle".to_owned(),
        ];
        for (media, format) in accepted {
            self.section(&mut lines, media, format);
        }
        lines.push(String::new());
        lines.join("\r\n")
    }

    fn section(&self, lines: &mut Vec<String>, media: &Media, format: &Format) {
        let pt = format.pt;
        let rtx = format.rtx.map(|rtx| format!(" {rtx}")).unwrap_or_default();
        let (hash, bytes) = &self.fingerprint;
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let direction = match media.direction {
            Direction::Sendrecv if self.role == Role::Viewer => "recvonly",
            Direction::Sendrecv | Direction::Sendonly => "sendonly",
            Direction::Recvonly => "recvonly",
            Direction::Inactive => "inactive",
        };
        lines.extend([
            format!("m={} 9 UDP/TLS/RTP/SAVPF {pt}{rtx}", media.line.medium),
            "c=IN IP4 0.0.0.0".to_owned(),
            format!("a=mid:{}", media.mid),
            format!("a=ice-ufrag:{}", self.ice_ufrag),
            format!("a=ice-pwd:{}", self.ice_pwd),
            format!("a=fingerprint:{hash} {}", hex.join(":")),
            format!("a=setup:{}", self.setup.name()),
            "a=rtcp-mux".to_owned(),
            format!("a={direction}"),
        ]);
        if media.rtcp_rsize {
            lines.push("a=rtcp-rsize".to_owned());
        }
        // Media for viewers carries no header extensions.
        let receives = self.role == Role::Publisher;
        if receives {
            lines.extend(extension_lines(media));
        }
        if let (Some(codec), Some(rtpmap)) = (format.codec, &format.rtpmap) {
            let rest = rtpmap.split_once('/').map_or("", |(_, rest)| rest);
            lines.push(format!("a=rtpmap:{pt} {}/{rest}", codec.encoding_name()));
        }
        for value in &format.feedback {
            let of_extensions = receives && EXTENSIONS_FEEDBACK.contains(&value.as_str());
            if FEEDBACK.contains(&value.as_str()) || of_extensions {
                lines.push(format!("a=rtcp-fb:{pt} {value}"));
            }
        }
        lines.extend(format.fmtp.iter().map(|fmtp| format!("a=fmtp:{pt} {fmtp}")));
        if let Some(rtx) = format.rtx {
            lines.push(format!("a=rtpmap:{rtx} rtx/90000"));
            lines.push(format!("a=fmtp:{rtx} apt={pt}"));
        }
        lines.extend(media.ssrcs.iter().map(|ssrc| format!("a={ssrc}")));
    }
}

/// `a=extmap` lines of a section for webrtcbin.
pub(super) fn extension_lines(media: &Media) -> impl Iterator<Item = String> + '_ {
    let used = |(_, uri): &&(u8, String)| EXTENSIONS.contains(&uri.as_str());
    media
        .extensions
        .iter()
        .filter(used)
        .map(|(id, uri)| format!("a=extmap:{id} {uri}"))
}
