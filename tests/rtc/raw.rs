//! A publisher whose SDP and RTP are written by hand: str0m does ICE and DTLS, nothing else.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aerial::for_tests::{PacketId, RtpHeader, Sender};
use str0m::{Candidate, IceCreds, Rtc, crypto::Fingerprint, rtp::rtcp::Nack};

use super::{connection::Offering, connection::socket, keys::Keys, peer::Peer};

/// The padding bit of an RTP header (RFC 3550 §5.1).
const PADDING: u8 = 0x20;

/// One packet, as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    /// When, after the connection is up.
    pub(crate) at: Duration,
    /// Extended by the rollover counter.
    pub(crate) sequence: u64,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// One-byte header extension elements.
    pub(crate) elements: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Bytes of padding.
    pub(crate) padding: u8,
}

impl Scripted {
    fn protected(&self, sender: &Sender) -> Vec<u8> {
        let header = RtpHeader {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence: (self.sequence & 0xffff).try_into().unwrap(),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut packet = Vec::new();
        let length = header.write(&mut packet, &self.elements);
        packet.extend_from_slice(&self.payload);
        if self.padding > 0 {
            packet[0] |= PADDING;
            packet.resize(packet.len() + usize::from(self.padding), 0);
            *packet.last_mut().unwrap() = self.padding;
        }
        let id = PacketId {
            ssrc: self.ssrc,
            index: self.sequence,
        };
        sender.protect_rtp(&mut packet, 0, length, id).unwrap();
        packet
    }
}

/// Packets at once, and how long apart: a client that could not run for a while does not send
/// all that is due in one burst, which no receive buffer takes.
const BATCH: usize = 20;
const BATCH_DISTANCE: Duration = Duration::from_millis(2);

/// What names a packet in a NACK (RFC 4585 §6.2.1): its SSRC and its sequence number.
pub(super) type Name = (u32, u16);

/// The packets that a NACK lists.
pub(super) fn missed(nack: &Nack) -> impl Iterator<Item = Name> {
    nack.reports.iter().flat_map(|entry| {
        let following = (0..16).filter(|bit| entry.blp & 1 << bit != 0);
        let following = following.map(|bit| entry.pid.wrapping_add(bit + 1));
        [entry.pid]
            .into_iter()
            .chain(following)
            .map(|number| (*nack.ssrc, number))
    })
}

/// What a publisher sends, in the order of time.
pub(crate) struct Script {
    packets: std::vec::IntoIter<Scripted>,
    begun: Option<Instant>,
    /// When the next batch may go.
    next: Option<Instant>,
    sender: Option<Sender>,
    /// To be sent again to whoever lacks it, as a busy machine drops datagrams.
    sent: HashMap<Name, Vec<u8>>,
    /// How late a packet was, at worst.
    late: Duration,
}

impl Script {
    pub(crate) fn new(mut packets: Vec<Scripted>) -> Self {
        packets.sort_by_key(|packet| packet.at);
        Self {
            packets: packets.into_iter(),
            begun: None,
            next: None,
            sender: None,
            sent: HashMap::new(),
            late: Duration::ZERO,
        }
    }

    /// When the next packet is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let packet = self.packets.as_slice().first()?;
        Some(self.next?.max(self.begun? + packet.at))
    }

    pub(super) fn is_over(&self) -> bool {
        self.packets.len() == 0
    }

    /// How late a packet was, at worst: its client could not run, as on a busy machine.
    pub(super) const fn late(&self) -> Duration {
        self.late
    }

    /// The datagrams that are due, after those that are missed.
    pub(super) fn take(&mut self, keys: &Keys, now: Instant, missed: &[Name]) -> Vec<Vec<u8>> {
        let mut datagrams: Vec<_> = missed
            .iter()
            .filter_map(|name| self.sent.get(name))
            .cloned()
            .collect();
        if self.sender.is_none() {
            self.sender = keys.sender();
        }
        let Some(sender) = &self.sender else {
            return datagrams;
        };
        let begun = *self.begun.get_or_insert(now);
        if self.next.is_some_and(|next| now < next) {
            return datagrams;
        }
        self.next = Some(now + BATCH_DISTANCE);
        while datagrams.len() < BATCH
            && let Some(packet) = self.packets.as_slice().first()
            && begun + packet.at <= now
        {
            self.late = self.late.max(now - (begun + packet.at));
            let datagram = packet.protected(sender);
            let number = (packet.sequence & 0xffff).try_into().unwrap();
            self.sent.insert((packet.ssrc, number), datagram.clone());
            datagrams.push(datagram);
            self.packets.next();
        }
        datagrams
    }
}

/// A client with this offer, in which its credentials replace those that are there.
pub(super) fn offering(offer: &str) -> Offering {
    let keys = Keys::default();
    let config = Rtc::builder()
        .set_crypto_provider(keys.provider())
        .set_rtp_mode(true)
        .enable_raw_packets(true);
    let mut rtc = config.build(Instant::now());
    let socket = socket();
    let address = socket.local_addr().unwrap();
    rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
    let offer = with_credentials(offer, &mut rtc);
    Offering {
        peer: Peer {
            rtc: Box::new(rtc),
            address,
            tracks: Vec::new(),
            pending: None,
        },
        socket,
        keys,
        offer,
        accept: |peer, answer| answered(&mut peer.rtc, answer),
    }
}

/// The rest of the first line with this prefix.
pub(super) fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    let found = sdp.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {sdp}"))
}

/// Replaces the rest of every line with this prefix.
fn replace(sdp: &str, name: &str, value: &str) -> String {
    let lines = sdp.lines().map(|line| {
        let line = if line.starts_with(name) {
            format!("{name}{value}")
        } else {
            line.to_owned()
        };
        line + "\r\n"
    });
    lines.collect()
}

/// An offer with this client's credentials in place of those it has.
pub(super) fn with_credentials(offer: &str, rtc: &mut Rtc) -> String {
    let api = rtc.direct_api();
    let IceCreds { ufrag, pass } = api.local_ice_credentials();
    let fingerprint = write_fingerprint(api.local_dtls_fingerprint());
    let offer = replace(offer, "a=ice-ufrag:", &ufrag);
    let offer = replace(&offer, "a=ice-pwd:", &pass);
    replace(&offer, "a=fingerprint:", &fingerprint)
}

fn read_fingerprint(text: &str) -> Fingerprint {
    let (hash, bytes) = text.split_once(' ').unwrap();
    Fingerprint {
        hash_func: hash.to_lowercase(),
        bytes: bytes
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect(),
    }
}

fn write_fingerprint(fingerprint: &Fingerprint) -> String {
    let bytes = fingerprint.bytes.iter();
    let bytes: Vec<_> = bytes.map(|byte| format!("{byte:02X}")).collect();
    format!("{} {}", fingerprint.hash_func, bytes.join(":"))
}

/// Takes the answer as OBS does: candidates and keys, nothing else.
pub(super) fn answered(rtc: &mut Rtc, answer: &str) {
    for line in answer.lines().filter_map(|line| line.strip_prefix("a=")) {
        if line.starts_with("candidate:") {
            rtc.add_remote_candidate(Candidate::from_sdp_string(line).unwrap());
        }
    }
    let mut api = rtc.direct_api();
    api.set_ice_controlling(true);
    api.set_remote_ice_credentials(IceCreds {
        ufrag: value(answer, "a=ice-ufrag:").to_owned(),
        pass: value(answer, "a=ice-pwd:").to_owned(),
    });
    api.set_remote_fingerprint(read_fingerprint(value(answer, "a=fingerprint:")));
    assert_eq!(value(answer, "a=setup:"), "active");
    api.start_dtls(false).unwrap();
}
