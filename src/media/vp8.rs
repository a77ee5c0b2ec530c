//! The descriptor in front of each RTP payload of VP8 (RFC 7741 §4.2): the only reader and the only
//! writer.

use super::descriptor::{self, PICTURE_ID_BYTES};

const EXTENDED: u8 = 0x80;
const NON_REFERENCE: u8 = 0x20;
const PARTITION_START: u8 = 0x10;
const PARTITION: u8 = 0x07;
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_BASE_LAYER_INDEX: u8 = 0x40;
/// A temporal layer, or the index of the last key frame; they share a byte.
const HAS_LAYER_OR_KEY: u8 = 0x30;

/// Length of a descriptor that [`Vp8Descriptor::write`] writes.
pub const WRITTEN_BYTES: usize = 2 + PICTURE_ID_BYTES;

/// The content of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// No other picture refers to this one.
    pub non_reference: bool,
    /// A partition of the frame begins with this payload.
    pub begins_partition: bool,
    /// The partition's number, below 8.
    pub partition: u8,
    /// Length of the descriptor in bytes.
    pub bytes: usize,
}

impl Vp8Descriptor {
    /// Reads the descriptor of a payload; `None` if it is cut short.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let &first = payload.first()?;
        let mut bytes = 1;
        if first & EXTENDED != 0 {
            let &extended = payload.get(1)?;
            bytes += 1;
            if extended & HAS_PICTURE_ID != 0 {
                bytes += descriptor::picture_id_bytes(*payload.get(bytes)?);
            }
            bytes += usize::from(extended & HAS_BASE_LAYER_INDEX != 0);
            bytes += usize::from(extended & HAS_LAYER_OR_KEY != 0);
        }
        (bytes <= payload.len()).then_some(Self {
            non_reference: first & NON_REFERENCE != 0,
            begins_partition: first & PARTITION_START != 0,
            partition: first & PARTITION,
            bytes,
        })
    }

    /// Whether a frame begins with this payload.
    pub const fn begins_frame(&self) -> bool {
        self.begins_partition && self.partition == 0
    }

    /// Appends a descriptor with this picture id and nothing about layers.
    pub fn write(&self, picture_id: u16, out: &mut Vec<u8>) {
        let non_reference = if self.non_reference { NON_REFERENCE } else { 0 };
        let start = if self.begins_partition {
            PARTITION_START
        } else {
            0
        };
        out.push(EXTENDED | non_reference | start | self.partition & PARTITION);
        out.push(HAS_PICTURE_ID);
        out.extend_from_slice(&descriptor::picture_id(picture_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_every_length() {
        for (payload, bytes, begins) in [
            (&[0x10, 0][..], 1, true),
            (&[0x11, 0], 1, false),
            (&[0x00, 0], 1, false),
            (&[0x90, 0x80, 0x01, 0], 3, true),
            (&[0x90, 0x80, 0x81, 0x02, 0], 4, true),
            (&[0x90, 0xf0, 0x01, 7, 0x20, 0], 5, true),
            (&[0x90, 0xe0, 0x81, 0x01, 7, 0x20, 0], 6, true),
            (&[0x90, 0x00, 0], 2, true),
        ] {
            let descriptor = Vp8Descriptor::read(payload).unwrap();
            assert_eq!(descriptor.bytes, bytes, "{payload:?}");
            assert_eq!(descriptor.begins_frame(), begins, "{payload:?}");
            for length in 0..bytes {
                assert_eq!(Vp8Descriptor::read(&payload[..length]), None);
            }
        }
    }

    #[test]
    fn a_written_descriptor_is_read_back() {
        let descriptor = Vp8Descriptor::read(&[0xb2, 0xe0, 5, 7, 0x20]).unwrap();
        let mut written = Vec::new();
        descriptor.write(0x1234, &mut written);
        assert_eq!(written, [0xb2, 0x80, 0x92, 0x34]);
        let read = Vp8Descriptor::read(&written).unwrap();
        let bytes = WRITTEN_BYTES;
        assert_eq!(
            read,
            Vp8Descriptor {
                bytes,
                ..descriptor
            }
        );
    }
}
