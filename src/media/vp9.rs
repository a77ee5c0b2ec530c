//! The descriptor in front of each RTP payload of VP9 (RFC 9628 §4.2): the only reader and the only
//! writer.

use super::descriptor::{self, PICTURE_ID_BYTES};

const HAS_PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS: u8 = 0x08;
const ENDS: u8 = 0x04;
const HAS_STRUCTURE: u8 = 0x02;
/// Most references to other pictures in one descriptor.
const REFERENCES_MAX: usize = 3;

/// Length of a descriptor that [`Vp9Descriptor::write`] writes.
pub const WRITTEN_BYTES: usize = 1 + PICTURE_ID_BYTES;

/// The content of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp9Descriptor {
    /// The frame refers to earlier pictures.
    pub predicted: bool,
    /// A frame of one spatial layer begins with this payload.
    pub begins: bool,
    /// A frame of one spatial layer ends with this payload.
    pub ends: bool,
    /// The spatial layer; 0 without layers.
    pub spatial_layer: u8,
    /// Length of the descriptor in bytes.
    pub bytes: usize,
}

impl Vp9Descriptor {
    /// Reads the descriptor of a payload; `None` if it is cut short or malformed.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (&first, mut rest) = payload.split_first()?;
        if first & HAS_PICTURE_ID != 0 {
            rest = rest.get(descriptor::picture_id_bytes(*rest.first()?)..)?;
        }
        let mut spatial_layer = 0;
        if first & HAS_LAYERS != 0 {
            let &layers = rest.first()?;
            spatial_layer = layers >> 1 & 7;
            // Without flexible mode, the index of the base layer's frame follows.
            rest = rest.get(if first & FLEXIBLE == 0 { 2 } else { 1 }..)?;
        }
        if first & FLEXIBLE != 0 && first & PREDICTED != 0 {
            rest = skip_references(rest)?;
        }
        if first & HAS_STRUCTURE != 0 {
            rest = skip_structure(rest)?;
        }
        Some(Self {
            predicted: first & PREDICTED != 0,
            begins: first & BEGINS != 0,
            ends: first & ENDS != 0,
            spatial_layer,
            bytes: payload.len() - rest.len(),
        })
    }

    /// Whether a picture begins with this payload.
    pub const fn begins_picture(&self) -> bool {
        self.begins && self.spatial_layer == 0
    }

    /// Appends a descriptor with this picture id and nothing about layers.
    pub fn write(&self, picture_id: u16, out: &mut Vec<u8>) {
        out.push(head(self.predicted, self.begins, self.ends));
        out.extend_from_slice(&descriptor::picture_id(picture_id));
    }
}

/// The first byte of a descriptor that [`Vp9Descriptor::write`] writes.
pub const fn head(predicted: bool, begins: bool, ends: bool) -> u8 {
    let mut head = HAS_PICTURE_ID;
    if predicted {
        head |= PREDICTED;
    }
    if begins {
        head |= BEGINS;
    }
    if ends {
        head |= ENDS;
    }
    head
}

/// Whether the descriptor with this first byte says that its frame refers to earlier pictures.
pub const fn is_predicted(head: u8) -> bool {
    head & PREDICTED != 0
}

fn skip_references(mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..REFERENCES_MAX {
        let (&reference, behind) = rest.split_first()?;
        rest = behind;
        if reference & 1 == 0 {
            return Some(rest);
        }
    }
    None
}

/// Skips the scalability structure.
fn skip_structure(rest: &[u8]) -> Option<&[u8]> {
    let (&head, mut rest) = rest.split_first()?;
    if head & 0x10 != 0 {
        let layers = usize::from(head >> 5) + 1;
        rest = rest.get(4 * layers..)?; // their sizes in pixels
    }
    if head & 0x08 == 0 {
        return Some(rest);
    }
    let (&pictures, mut rest) = rest.split_first()?;
    for _ in 0..pictures {
        let (&picture, behind) = rest.split_first()?;
        rest = behind.get(usize::from(picture >> 2 & 3)..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_every_length() {
        let structure = [0x18, 1, 0x40, 0, 0xf0, 2, 0x04, 1, 0x48, 1, 2];
        let with_structure = [&[0x8a, 0x81, 2][..], &structure, &[0x82]].concat();
        for (payload, bytes) in [
            (&[0x08, 0x82][..], 1),
            (&[0x88, 0x01, 0x82], 2),
            (&[0x88, 0x81, 0x02, 0x82], 3),
            (&[0xa8, 0x81, 0x02, 0x20, 9, 0x82], 5),
            (&[0xb8, 0x81, 0x02, 0x20, 0x82], 4),
            (&[0xf8, 0x81, 0x02, 0x20, 3, 5, 4, 0x82], 7),
            (&with_structure, 14),
        ] {
            let descriptor = Vp9Descriptor::read(payload).unwrap();
            assert_eq!(descriptor.bytes, bytes, "{payload:?}");
            assert!(descriptor.begins_picture(), "{payload:?}");
            for length in 0..bytes {
                assert_eq!(Vp9Descriptor::read(&payload[..length]), None);
            }
        }
        let endless = [0xd0, 1, 3, 3, 3, 3];
        assert_eq!(Vp9Descriptor::read(&endless), None, "four references");
    }

    #[test]
    fn upper_layers_begin_no_picture() {
        let descriptor = Vp9Descriptor::read(&[0xac, 1, 0x03, 9, 0x82]).unwrap();
        assert_eq!(descriptor.spatial_layer, 1);
        assert!(descriptor.begins && descriptor.ends && !descriptor.begins_picture());
    }

    #[test]
    fn a_written_descriptor_is_read_back() {
        let descriptor = Vp9Descriptor::read(&[0xec, 0x81, 0x02, 0x20, 9, 0x86]).unwrap();
        let mut written = Vec::new();
        descriptor.write(0x1234, &mut written);
        assert_eq!(written, [0xcc, 0x92, 0x34]);
        let read = Vp9Descriptor::read(&written).unwrap();
        let bytes = WRITTEN_BYTES;
        assert_eq!(
            read,
            Vp9Descriptor {
                bytes,
                ..descriptor
            }
        );
    }
}
