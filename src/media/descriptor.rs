//! Picture ids, which the payload descriptors of VP8 and VP9 have in common (RFC 7741 §4.2,
//! RFC 9628 §4.2).

/// Set in the first byte of a picture id of 15 bits.
const LONG: u8 = 0x80;

/// Length of a picture id of 15 bits.
pub(super) const PICTURE_ID_BYTES: usize = 2;

/// Length of the picture id that begins with this byte.
pub(super) const fn picture_id_bytes(first: u8) -> usize {
    if first & LONG == 0 {
        1
    } else {
        PICTURE_ID_BYTES
    }
}

/// The lower 15 bits of a number as a picture id.
pub(super) const fn picture_id(number: u16) -> [u8; PICTURE_ID_BYTES] {
    let [high, low] = number.to_be_bytes();
    [high | LONG, low]
}
