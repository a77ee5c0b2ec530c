//! The WebRTC client of the benchmark, the fuzz targets and the tests: str0m in place of a browser.
//!
//! It has no socket, no thread and no clock; whoever drives it provides them. The integration tests
//! include this file by its path, so it uses nothing but str0m.

use std::{io, net::SocketAddr, time::Instant};

use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::{SdpAnswer, SdpPendingOffer},
    media::{Direction, MediaKind, Mid},
    net::{Protocol, Receive, Transmit},
};

/// One end of a connection.
pub(crate) struct Peer {
    pub(crate) rtc: Box<Rtc>,
    /// Where its datagrams come from.
    pub(crate) address: SocketAddr,
    /// The tracks it has offered.
    pub(crate) tracks: Vec<(MediaKind, Mid)>,
    /// Until the answer comes.
    pub(crate) pending: Option<SdpPendingOffer>,
}

impl Peer {
    /// A client at this address that sends or receives a track of each of these kinds, and its
    /// offer.
    ///
    /// # Errors
    /// If str0m refuses the address, or offers nothing.
    pub(crate) fn offering(
        config: &RtcConfig,
        address: SocketAddr,
        direction: Direction,
        kinds: &[MediaKind],
    ) -> io::Result<(Self, String)> {
        let mut rtc = config.clone().build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").map_err(io::Error::other)?);
        let mut changes = rtc.sdp_api();
        let mut tracks: Vec<(MediaKind, Mid)> = Vec::new();
        for kind in kinds {
            let mid = changes.add_media(*kind, direction, None, None, None);
            // str0m draws three characters at random.
            if tracks.iter().any(|(_, other)| *other == mid) {
                return Self::offering(config, address, direction, kinds);
            }
            tracks.push((*kind, mid));
        }
        let (offer, pending) = changes
            .apply()
            .ok_or_else(|| io::Error::other("nothing to offer"))?;
        let peer = Self {
            rtc: Box::new(rtc),
            address,
            tracks,
            pending: Some(pending),
        };
        Ok((peer, offer.to_sdp_string()))
    }

    /// Takes the answer to the offer.
    ///
    /// # Errors
    /// If it is not an answer, or does not fit the offer.
    pub(crate) fn accept(&mut self, answer: &str) -> io::Result<()> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(io::Error::other)?;
        let Some(pending) = self.pending.take() else {
            return Err(io::Error::other("no offer waits for an answer"));
        };
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .map_err(io::Error::other)
    }

    /// The name of the track of this kind.
    pub(crate) fn mid(&self, kind: MediaKind) -> Option<Mid> {
        let mut tracks = self.tracks.iter();
        tracks
            .find(|(offered, _)| *offered == kind)
            .map(|(_, mid)| *mid)
    }

    /// Takes a datagram; anything but STUN, DTLS, RTP and RTCP is ignored.
    ///
    /// # Errors
    /// If the session fails.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        sender: SocketAddr,
        datagram: &[u8],
    ) -> io::Result<()> {
        let Ok(contents) = datagram.try_into() else {
            return Ok(());
        };
        let receive = Receive {
            proto: Protocol::Udp,
            source: sender,
            destination: self.address,
            contents,
        };
        self.rtc
            .handle_input(Input::Receive(now, receive))
            .map_err(io::Error::other)
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// If the session fails.
    pub(crate) fn tick(&mut self, now: Instant) -> io::Result<()> {
        self.rtc
            .handle_input(Input::Timeout(now))
            .map_err(io::Error::other)
    }

    /// Sends everything that is due and reports everything that has happened. Returns when
    /// [`Self::tick`] is due.
    ///
    /// # Errors
    /// If the session or the sending fails.
    pub(crate) fn poll(
        &mut self,
        mut send: impl FnMut(&Transmit) -> io::Result<()>,
        mut tell: impl FnMut(Event),
    ) -> io::Result<Instant> {
        loop {
            match self.rtc.poll_output().map_err(io::Error::other)? {
                Output::Timeout(due) => return Ok(due),
                Output::Transmit(datagram) => send(&datagram)?,
                Output::Event(event) => tell(event),
            }
        }
    }
}
