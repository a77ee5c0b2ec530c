//! Whether the pictures of a stream end at its marker bits: judged by what follows the first one.
//! Pure.

use crate::media::{
    Codec,
    nal::{self, Payload, UnitKind},
    rtp::{self, RtpHeader},
};

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkerVerdict {
    /// Nothing is known yet, and need not be.
    Pass,
    /// Wait for the next packet.
    Hold,
    /// The picture with the first marker has ended there.
    Right,
    /// It goes on.
    Wrong,
}

/// Looks for proof. A stream needs one only at its beginning.
pub(super) struct MarkerProof {
    codec: Codec,
    /// Timestamp of the picture that has had a marker after a slice.
    marked: Option<u32>,
}

/// The slices in a packet.
struct Slices {
    /// Whether the first one begins a picture, here.
    begins_picture: bool,
    /// Whether the last one ends here.
    ends: bool,
}

impl MarkerProof {
    pub(super) const fn new(codec: Codec) -> Self {
        Self {
            codec,
            marked: None,
        }
    }

    pub(super) fn look(&mut self, packet: &[u8]) -> MarkerVerdict {
        let Some(header) = RtpHeader::read(packet) else {
            return MarkerVerdict::Pass;
        };
        let payload = rtp::payload(packet).and_then(|range| packet.get(range));
        let slices = self.slices(payload.unwrap_or_default());
        let Some(marked) = self.marked else {
            if !header.marker || slices.is_none_or(|slices| !slices.ends) {
                return MarkerVerdict::Pass;
            }
            self.marked = Some(header.timestamp);
            return MarkerVerdict::Hold;
        };
        if header.timestamp != marked {
            return MarkerVerdict::Right;
        }
        match slices {
            None => MarkerVerdict::Hold,
            Some(slices) if slices.begins_picture => MarkerVerdict::Right,
            Some(_) => MarkerVerdict::Wrong,
        }
    }

    fn slices(&self, payload: &[u8]) -> Option<Slices> {
        match Payload::read(self.codec, payload) {
            Payload::Fragment(fragment) => fragment.kind.is_slice().then(|| Slices {
                begins_picture: fragment.begins && nal::begins_picture(fragment.body),
                ends: fragment.ends,
            }),
            Payload::Units(units) => {
                let mut units = units.filter_map(|range| payload.get(range));
                let slice = units.find(|unit| UnitKind::of(self.codec, unit).is_slice())?;
                let body = slice.get(nal::header_bytes(self.codec)..);
                Some(Slices {
                    begins_picture: body.is_some_and(nal::begins_picture),
                    ends: true,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = &[0x41, 0x80];
    const SECOND: &[u8] = &[0x41, 0x40];
    const PARAMETERS: &[u8] = &[0x67, 1];

    /// The decisions on packets with these timestamps, markers and payloads.
    fn verdicts(packets: &[(u32, bool, &[u8])]) -> Vec<MarkerVerdict> {
        let mut proof = MarkerProof::new(Codec::H264);
        let verdicts = packets.iter().map(|&(timestamp, marker, payload)| {
            let header = RtpHeader {
                marker,
                payload_type: 96,
                sequence: 1,
                timestamp,
                ssrc: 1,
            };
            let mut packet = Vec::new();
            header.write(&mut packet, &[]);
            packet.extend_from_slice(payload);
            proof.look(&packet)
        });
        verdicts.collect()
    }

    #[test]
    fn the_unit_after_the_first_marker_decides() {
        use MarkerVerdict::{Hold, Pass, Right, Wrong};
        let marked = (1, true, FIRST);
        for (next, verdict) in [
            ((2, false, PARAMETERS), Right),
            ((1, true, FIRST), Right),
            ((1, true, SECOND), Wrong),
            ((1, false, &[0x7c, 0x01, 0x40][..]), Wrong),
            ((1, true, PARAMETERS), Hold),
        ] {
            assert_eq!(verdicts(&[marked, next]), [Hold, verdict], "{next:?}");
        }
        let sets = [(1, true, PARAMETERS), (1, false, FIRST), (2, false, FIRST)];
        assert_eq!(verdicts(&sets), [Pass; 3], "no slice has a marker");
    }
}
