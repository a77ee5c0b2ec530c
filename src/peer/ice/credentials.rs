//! The server's half of what two agents tell each other before they connect.

use str0m::IceCreds;

use crate::peer::{
    sdp,
    udp::{Port, UFRAG_CHARS},
};

/// Fresh credentials of a session.
pub(crate) struct NewCredentials {
    pub(crate) ufrag: [u8; UFRAG_CHARS],
    /// The same fragment, with its password.
    pub(crate) local: IceCreds,
}

pub(crate) fn credentials() -> Result<NewCredentials, sdp::Error> {
    let ufrag = random_ice_chars::<UFRAG_CHARS>()?;
    // RFC 8445 §5.3 asks for at least 128 random bits: 24 characters carry 144.
    let pass = text(&random_ice_chars::<24>()?);
    Ok(NewCredentials {
        ufrag,
        local: IceCreds {
            ufrag: text(&ufrag),
            pass,
        },
    })
}

pub(super) fn transport(local: IceCreds, fingerprint: Vec<u8>, port: &Port) -> sdp::Transport {
    sdp::Transport {
        ice_ufrag: local.ufrag,
        ice_pwd: local.pass,
        ice_lite: true,
        fingerprint,
        candidates: port.candidates(),
        tcp_candidates: port.tcp_candidates(),
        extensions_used: &[],
        feedback_used: &[],
    }
}

pub(crate) fn refused(error: impl std::fmt::Display) -> sdp::Error {
    sdp::Error::Unsupported(format!(
        "the offer's transport parameters are unusable: {error}"
    ))
}

/// Characters allowed in ICE credentials (RFC 8839 §5.4): 64, so six random bits each.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn random_ice_chars<const N: usize>() -> Result<[u8; N], sdp::Error> {
    let mut random = [0; N];
    getrandom::fill(&mut random).map_err(refused)?;
    Ok(random.map(|byte| {
        ICE_CHARS
            .get(usize::from(byte & 63))
            .copied()
            .unwrap_or(b'A')
    }))
}

fn text(chars: &[u8]) -> String {
    String::from_utf8_lossy(chars).into_owned()
}
