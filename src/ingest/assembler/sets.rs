//! Parameter sets and sequence headers: remembered, for keyframes without them.

use super::payloads::Payloads;
use crate::media::{
    Codec,
    nal::{self, Payload, UnitKind},
    obu::{self, Av1Payload, BEGINS_SEQUENCE, ObuElement},
    parameter_sets,
};

/// Parameter sets remembered of one stream: encoders use one or two of each kind.
const SETS_MAX: usize = 32;
/// Largest parameter set or sequence header remembered, in bytes: more than any encoder makes.
const SET_BYTES_MAX: usize = 4 << 10;

/// The parameter sets of one stream.
#[derive(Debug, Default)]
pub(super) struct KnownSets {
    /// In the order in which decoders need them.
    sets: Vec<ParameterSet>,
    /// The sequence header of AV1.
    sequence: Vec<u8>,
}

/// Whether a picture has the sets with which a decoder starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// They came with it.
    Whole,
    /// It got remembered ones.
    Inserted,
    /// One is not known: no decoder can start there.
    Unknown,
}

#[derive(Debug)]
struct ParameterSet {
    id: SetId,
    unit: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SetId {
    kind: SetKind,
    number: u32,
}

/// In the order in which decoders need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SetKind {
    Video,
    Sequence,
    Picture,
}

impl SetKind {
    const fn of(kind: UnitKind) -> Option<Self> {
        match kind {
            UnitKind::VideoParameters => Some(Self::Video),
            UnitKind::SequenceParameters => Some(Self::Sequence),
            UnitKind::PictureParameters => Some(Self::Picture),
            _ => None,
        }
    }

    const fn needed(codec: Codec) -> &'static [Self] {
        match codec {
            Codec::H264 => &[Self::Sequence, Self::Picture],
            Codec::H265 => &[Self::Video, Self::Sequence, Self::Picture],
            Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => &[],
        }
    }
}

impl KnownSets {
    /// Remembers the sets that a payload carries whole.
    pub(super) fn learn(&mut self, codec: Codec, payload: &[u8]) {
        match codec {
            Codec::H264 | Codec::H265 => {
                let Payload::Units(units) = Payload::read(codec, payload) else {
                    return;
                };
                for unit in units.filter_map(|range| payload.get(range)) {
                    if let Some(kind) = SetKind::of(UnitKind::of(codec, unit))
                        && let Some(number) = parameter_sets::number(codec, unit)
                    {
                        self.remember(SetId { kind, number }, unit);
                    }
                }
            }
            Codec::Av1 => {
                let sequence = Av1Payload::read(payload)
                    .map(Av1Payload::elements)
                    .into_iter()
                    .flatten()
                    .find(ObuElement::is_sequence_header);
                if let Some(sequence) = sequence
                    && sequence.bytes.len() <= SET_BYTES_MAX
                {
                    self.sequence.clear();
                    self.sequence.extend_from_slice(sequence.bytes);
                }
            }
            Codec::Vp8 | Codec::Vp9 | Codec::Opus => {}
        }
    }

    fn remember(&mut self, id: SetId, unit: &[u8]) {
        if unit.len() > SET_BYTES_MAX {
            return;
        }
        match self.sets.binary_search_by_key(&id, |set| set.id) {
            Ok(at) => {
                if let Some(set) = self.sets.get_mut(at)
                    && set.unit != unit
                {
                    set.unit = unit.to_vec();
                }
            }
            Err(at) if self.sets.len() < SETS_MAX => {
                let unit = unit.to_vec();
                self.sets.insert(at, ParameterSet { id, unit });
            }
            Err(_) => {}
        }
    }

    /// Puts the parameter sets that a picture lacks in front of its slices.
    pub(super) fn complete_units(&self, codec: Codec, payloads: &mut Payloads) -> Completion {
        let mut present = Vec::new();
        let mut delimited = false;
        let mut slices = payloads.ends.len();
        for (index, payload) in payloads.iter().enumerate() {
            match Payload::read(codec, payload) {
                Payload::Fragment(fragment) if fragment.kind.is_slice() => {
                    slices = index;
                    break;
                }
                Payload::Fragment(fragment) => {
                    present.extend(SetKind::of(fragment.kind).map(|kind| (kind, index)));
                }
                Payload::Units(units) => {
                    let kinds = units.filter_map(|range| payload.get(range));
                    let kinds = kinds.map(|unit| UnitKind::of(codec, unit));
                    let kinds: Vec<_> = kinds.take_while(|kind| !kind.is_slice()).collect();
                    delimited |= index == 0 && kinds == [UnitKind::Delimiter];
                    let sets = kinds.into_iter().filter_map(SetKind::of);
                    present.extend(sets.map(|kind| (kind, index)));
                    if nal::first_slice(codec, payload).is_some() {
                        slices = index;
                        break;
                    }
                }
            }
        }
        let mut insertions = Vec::new();
        for &kind in SetKind::needed(codec) {
            if present.iter().any(|(present, _)| *present == kind) {
                continue;
            }
            let mut front = Payloads::default();
            for set in self.sets.iter().filter(|set| set.id.kind == kind) {
                front.add_unit(codec, &set.unit);
            }
            if front.ends.is_empty() {
                return Completion::Unknown;
            }
            // Behind what it builds on. A delimiter is always the first unit (H.264 §7.4.1.2.3).
            let behind = present
                .iter()
                .filter(|(present, _)| *present < kind)
                .map(|(_, index)| index + 1)
                .max();
            let place = behind.unwrap_or(usize::from(delimited)).min(slices);
            insertions.push((place, front));
        }
        if insertions.is_empty() {
            return Completion::Whole;
        }
        // From the last place to the first, so that places stay what they are.
        for (place, front) in insertions.iter().rev() {
            payloads.insert(*place, front);
        }
        Completion::Inserted
    }

    /// Puts the sequence header in front of a key frame of AV1 that lacks it.
    pub(super) fn complete_obus(&self, payloads: &mut Payloads) -> Completion {
        if self.sequence.is_empty() {
            return Completion::Unknown;
        }
        let header = obu::aggregation_header(true, true) | BEGINS_SEQUENCE;
        let mut front = Payloads::default();
        front.push(&[&[header][..], &self.sequence].concat());
        payloads.insert(0, &front);
        Completion::Inserted
    }
}
