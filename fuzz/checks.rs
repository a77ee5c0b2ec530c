//! What must hold for any bytes. Run by the fuzz targets, and by the ordinary tests over the corpus.

use aerial::peer::sdp::{Change, Fragment, Offer, Remote, Role};

/// An offer is refused, or read the same after it has been normalised.
pub fn offer(data: &[u8]) {
    if let Ok(offer) = Offer::parse(data, Role::Publisher)
        && let Ok(choices) = offer.choose_publish()
    {
        let text = offer.normalised(&choices);
        let again =
            Offer::parse(text.as_bytes(), Role::Publisher).expect("what we write ourselves");
        let choices = again.choose_publish().expect("what has been chosen from");
        assert_eq!(choices.len(), again.media.len(), "one choice a section");
    }
    if let Ok(offer) = Offer::parse(data, Role::Viewer) {
        assert!(!offer.media.is_empty(), "nothing to watch");
    }
}

/// A fragment is refused or read.
pub fn fragment(data: &[u8]) {
    if let Ok(fragment) = Fragment::parse(data) {
        let remote = Remote {
            ice_ufrag: fragment.ice_ufrag.clone().unwrap_or_default(),
            ice_pwd: fragment.ice_pwd.clone().unwrap_or_default(),
            mids: fragment.mids.clone(),
        };
        let change = fragment.change(&remote);
        assert_eq!(change, Ok(Change::Trickle), "it is from this session");
    }
}

/// RTP packets become frames that are made of them.
pub fn rtp(data: &[u8]) {
    aerial::pipeline::init().expect("GStreamer");
    aerial::pipeline::fuzz::packets(data);
}

/// STUN, DTLS, RTP and RTCP of strangers do nothing to a session.
pub fn datagrams(data: &[u8]) {
    let (publish, watch) = (
        include_str!("../tests/fixtures/obs-32.1-simulcast.sdp"),
        include_str!("../tests/fixtures/chrome-whep-av.sdp"),
    );
    aerial::peer::direct::fuzz::datagrams(publish, watch, data).expect("two sessions");
}

/// A viewer sees one continuous stream.
pub fn switcher(data: &[u8]) {
    aerial::fanout::fuzz::switch(data);
}
