//! Trickle ICE fragments (RFC 8840 §9), the bodies of PATCH.

use super::{
    Error, FRAGMENT_BYTES_MAX, Offer, Transport, candidate,
    lines::{Attributes, Description, malformed, read_lines},
};

/// A parsed trickle fragment, without its candidates: no engine needs them, because the server learns
/// where a client is from its checks. One that sent to addresses of a client's choice would scan
/// networks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// ICE user name fragment, if given at session or media level.
    pub ice_ufrag: Option<String>,
    /// ICE password, likewise.
    pub ice_pwd: Option<String>,
    /// `a=mid` of its sections.
    pub mids: Vec<String>,
    /// Whether `a=end-of-candidates` is present.
    pub end_of_candidates: bool,
}

/// What to remember of an offer to judge later fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// ICE user name fragment of the peer.
    pub ice_ufrag: String,
    /// ICE password of the peer.
    pub ice_pwd: String,
    /// Every mid of the session.
    pub mids: Vec<String>,
}

/// What a fragment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// More candidates.
    Trickle,
    /// An ICE restart: both credentials are new (RFC 9725 §4.3.3).
    Restart,
}

impl Offer {
    /// What to remember of this offer to judge later fragments.
    pub fn remote(&self) -> Remote {
        Remote {
            ice_ufrag: self.ice_ufrag.clone(),
            ice_pwd: self.ice_pwd.clone(),
            mids: self
                .media
                .iter()
                .map(|section| section.mid.clone())
                .collect(),
        }
    }
}

impl Fragment {
    /// Reads a fragment. Lenient about what clients leave out or add: m= lines with any profile,
    /// credentials at either level or missing, repeated candidates.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is not a fragment or contradicts itself.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let lines = read_lines(text, FRAGMENT_BYTES_MAX)?;
        let description = Description::from_lines(&lines)?;
        let mut fragment = Self {
            ice_ufrag: None,
            ice_pwd: None,
            mids: Vec::new(),
            end_of_candidates: false,
        };
        let mut candidate_seen = false;
        let of_sections = description
            .sections
            .iter()
            .map(|section| &section.attributes);
        for attributes in std::iter::once(&description.session).chain(of_sections) {
            keep(&mut fragment.ice_ufrag, attributes, "ice-ufrag")?;
            keep(&mut fragment.ice_pwd, attributes, "ice-pwd")?;
            fragment
                .mids
                .extend(attributes.all("mid").map(str::to_owned));
            fragment.end_of_candidates |= attributes.has("end-of-candidates");
            candidate_seen |= attributes.has("candidate");
        }
        let says_something =
            candidate_seen || fragment.end_of_candidates || fragment.ice_ufrag.is_some();
        if !says_something {
            return Err(malformed(
                "not a trickle ICE fragment: it has no a=candidate, no a=end-of-candidates and no \
                 a=ice-ufrag (RFC 8840 section 9)",
            ));
        }
        Ok(fragment)
    }

    /// Compares the fragment with the session it is for.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for a mid that the session lacks, and if only one of the two
    /// credentials has changed (RFC 8839 §4.4.1.1.1).
    pub fn change(&self, remote: &Remote) -> Result<Change, Error> {
        if let Some(mid) = self.mids.iter().find(|mid| !remote.mids.contains(mid)) {
            return Err(malformed(format!("the session has no a=mid:{mid}")));
        }
        let changed = |new: &Option<String>, old: &String| new.as_ref().map(|new| new != old);
        let ufrag = changed(&self.ice_ufrag, &remote.ice_ufrag);
        let pwd = changed(&self.ice_pwd, &remote.ice_pwd);
        match (ufrag, pwd) {
            (Some(true), Some(true)) => Ok(Change::Restart),
            (Some(true), _) | (_, Some(true)) => Err(malformed(
                "an ICE restart changes both a=ice-ufrag and a=ice-pwd, trickling changes neither",
            )),
            _ => Ok(Change::Trickle),
        }
    }
}

/// The body of the answer to an ICE restart (RFC 9725 §4.3.3): the server's new credentials and
/// all its candidates, for the session whose first section has this mid.
pub fn restart_answer(mid: &str, transport: &Transport) -> String {
    let mut text = String::with_capacity(512);
    if transport.ice_lite {
        text.push_str("a=ice-lite\r\n");
    }
    text.push_str("a=ice-options:trickle\r\n");
    // The m= line only carries the mid; its other values mean nothing (RFC 8840 §4.4).
    let head = format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n",
        transport.ice_ufrag, transport.ice_pwd
    );
    text.push_str(&head);
    for line in candidate::lines(transport) {
        text.push_str("a=candidate:");
        text.push_str(&line);
        text.push_str("\r\n");
    }
    text.push_str("a=end-of-candidates\r\n");
    text
}

/// Takes a credential; different ones in one fragment make no sense in a bundle.
fn keep(slot: &mut Option<String>, attributes: &Attributes<'_>, name: &str) -> Result<(), Error> {
    for value in attributes.all(name) {
        match slot {
            Some(known) if known != value => {
                return Err(malformed(format!(
                    "the fragment has two different a={name}"
                )));
            }
            Some(_) => {}
            None => *slot = Some(value.to_owned()),
        }
    }
    Ok(())
}
