//! What str0m has to send and to say, after each input.

use std::time::Instant;

use str0m::{Event as RtcEvent, Output, RtcError, rtp::RawPacket};

use super::{PeerSession, Report, keys::Exported};
use crate::peer::{
    End, srtp,
    udp::{RemoteEnd, stun},
};

impl PeerSession {
    pub(super) fn finish(
        &mut self,
        now: Instant,
        result: Result<(), RtcError>,
        from: Option<RemoteEnd>,
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
        from: Option<RemoteEnd>,
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
        if self.agent.proven().is_some()
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
        self.agent.send(datagram, datagram.len());
    }

    fn event(
        &mut self,
        now: Instant,
        event: RtcEvent,
        from: Option<RemoteEnd>,
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
                self.agent.handshake_done(now);
            }
            RtcEvent::RtpPacket(packet) => {
                self.agent.hear(now, from);
                // It is authentic and no repetition.
                self.agent.hear_from_anywhere(now);
                reports.push(Report::Rtp(Box::new(packet)));
            }
            RtcEvent::RawPacket(packet) => {
                if let RawPacket::RtcpRx(rtcp) = *packet {
                    self.agent.hear(now, from);
                    reports.push(Report::Rtcp(Box::new(rtcp)));
                }
            }
            RtcEvent::ChannelOpen(id, label) => self.channel_opened(id, &label, reports),
            RtcEvent::ChannelData(message) => self.channel_data(message, reports),
            RtcEvent::ChannelClose(id) => self.channel_closed(id, reports),
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
