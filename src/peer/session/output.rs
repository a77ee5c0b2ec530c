//! What str0m has to send and to say, after each input.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use str0m::{Event as RtcEvent, Output, RtcError, rtp::RawPacket};

use super::{PeerSession, Report, keys::Exported};
use crate::peer::{
    End, srtp,
    udp::{AddressPair, stun},
};

/// Time between two claims to the address that is sent to, while it gives signs of life.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

impl PeerSession {
    pub(super) fn finish(
        &mut self,
        now: Instant,
        result: Result<(), RtcError>,
        from: Option<SocketAddr>,
        reports: &mut Vec<Report>,
    ) {
        match result {
            Ok(()) => self.poll(now, from, reports),
            Err(error) => {
                tracing::debug!(parent: &self.span, %error, "session failed");
                reports.push(Report::Closed(End::Failed));
            }
        }
    }

    pub(super) fn poll(
        &mut self,
        now: Instant,
        from: Option<SocketAddr>,
        reports: &mut Vec<Report>,
    ) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.wake = at;
                    break;
                }
                Ok(Output::Transmit(datagram)) => self.send(&datagram.contents),
                Ok(Output::Event(event)) => self.event(now, event, from, reports),
                Err(error) => {
                    tracing::debug!(parent: &self.span, %error, "session failed");
                    reports.push(Report::Closed(End::Failed));
                    return;
                }
            }
        }
        if self.ice.proven().is_some()
            && let Some(sender) = self.connected.take()
        {
            reports.push(Report::Connected(sender));
        }
        if !self.rtc.is_alive() {
            reports.push(Report::Closed(End::PeerClosed));
        }
    }

    /// Sends what str0m has written.
    fn send(&mut self, datagram: &[u8]) {
        // Checks are answered already, and with the peer's real address.
        if stun::is_stun(datagram) {
            return;
        }
        if let Some(ends) = self.ice.destination(datagram.len()) {
            self.port.send(ends, datagram, datagram.len());
        }
    }

    /// Notes a sign of life, which is consent only from where the session's media goes (RFC 7675
    /// §5.1).
    fn hear(&mut self, now: Instant, from: Option<SocketAddr>) {
        let Some(AddressPair { remote, .. }) = self.ice.proven() else {
            return;
        };
        if from != Some(remote) {
            return;
        }
        self.ice.hear(now, remote);
        if now.saturating_duration_since(self.claimed) >= CLAIM_INTERVAL {
            self.claimed = now;
            self.bind(remote, now);
        }
        self.heard = now;
    }

    fn event(
        &mut self,
        now: Instant,
        event: RtcEvent,
        from: Option<SocketAddr>,
        reports: &mut Vec<Report>,
    ) {
        match event {
            RtcEvent::Connected => {
                let Some((sender, verifier)) = self.keys() else {
                    reports.push(Report::Closed(End::Failed));
                    return;
                };
                self.verifier = Some(verifier);
                self.connected = Some(Box::new(sender));
                self.ice.handshake_done();
                self.expect_response();
                if let Some(path) = self.ice.proven() {
                    self.bind(path.remote, now);
                }
            }
            RtcEvent::RtpPacket(packet) => {
                self.hear(now, from);
                // Wherever it comes from: it is authentic and no repetition, and consent only
                // matters to those who are sent media.
                self.heard = now;
                reports.push(Report::Rtp(Box::new(packet)));
            }
            RtcEvent::RawPacket(packet) => {
                if let RawPacket::RtcpRx(rtcp) = *packet {
                    self.hear(now, from);
                    reports.push(Report::Rtcp(Box::new(rtcp)));
                }
            }
            _ => {}
        }
    }

    /// The sender that encrypts for the peer, and the verifier of its packets.
    fn keys(&self) -> Option<(srtp::Sender, srtp::Verifier)> {
        let Exported {
            material,
            profile,
            client,
        } = self.keys.get()?;
        let key = |client| srtp::MasterKey::from_dtls(material, *profile, client);
        let sender = key(*client).and_then(|key| srtp::Sender::new(&key));
        let verifier = key(!client).and_then(|key| srtp::Verifier::new(&key));
        sender
            .and_then(|sender| Ok((sender, verifier?)))
            .inspect_err(|error| tracing::warn!(parent: &self.span, %error, "no SRTP keys"))
            .ok()
    }
}
