//! Pictures that carry their number, and show when they are garbled.
//!
//! A picture has 16 times 8 cells. The first row is its number in binary, the second one the
//! inverse; the rest never changes, so that a decoder that lacks the keyframe has nothing to show
//! there.

const COLUMNS: usize = 16;
const ROWS: usize = 8;
const DARK: u8 = 40;
const BRIGHT: u8 = 210;
/// How far a cell's brightness may be off after encoding.
const TOLERANCE: u8 = 30;
/// How much brighter grain makes a pixel, at most.
const GRAIN: u8 = 16;

/// A picture's size in pixels: each a multiple of the cells there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Size {
    pub(crate) const SMALL: Self = Self {
        width: 256,
        height: 128,
    };
    pub(crate) const LARGE: Self = Self {
        width: 512,
        height: 256,
    };
    /// 4K.
    pub(crate) const HUGE: Self = Self {
        width: 3840,
        height: 2160,
    };
}

/// The brightness of a cell.
fn cell(number: u16, column: usize, row: usize) -> u8 {
    let set = number >> column & 1 == 1;
    match row {
        0 if set => BRIGHT,
        1 if !set => BRIGHT,
        0 | 1 => DARK,
        _ => [60, 110, 160, 200][(column * 7 + row * 5 + column * row) % 4],
    }
}

/// The picture with this number, in the format I420.
pub(crate) fn draw(number: u16, size: Size) -> Vec<u8> {
    let Size { width, height } = size;
    let mut bytes = Vec::with_capacity(width * height * 3 / 2);
    for row in 0..ROWS {
        let line = (0..width).map(|x| cell(number, x * COLUMNS / width, row));
        let line: Vec<u8> = line.collect();
        for _ in row * height / ROWS..(row + 1) * height / ROWS {
            bytes.extend_from_slice(&line);
        }
    }
    bytes.resize(width * height * 3 / 2, 128);
    bytes
}

/// The same, and grain all over it, which takes about a bit for each pixel and is always the same.
pub(crate) fn draw_grained(number: u16, size: Size) -> Vec<u8> {
    let mut state = 1u32;
    let mut bytes = draw(number, size);
    for byte in &mut bytes[..size.width * size.height] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = byte.wrapping_add((state >> 24) as u8 % GRAIN);
    }
    bytes
}

/// The number of a picture; `None` if it is garbled. `luma` has rows of `stride` bytes.
pub(crate) fn read(luma: &[u8], stride: usize, size: Size) -> Option<u16> {
    let brightness = |column: usize, row: usize| {
        let (width, height) = (size.width / COLUMNS, size.height / ROWS);
        let (left, top) = (column * width + width / 4, row * height + height / 4);
        let mut sum = 0;
        for y in top..top + height / 2 {
            let line = &luma[y * stride + left..][..width / 2];
            sum += line.iter().map(|&pixel| usize::from(pixel)).sum::<usize>();
        }
        sum / (width / 2 * (height / 2))
    };
    let number = (0..COLUMNS).fold(0, |number, column| {
        number | u16::from(brightness(column, 0) > 125) << column
    });
    let whole = (0..ROWS).all(|row| {
        (0..COLUMNS).all(|column| {
            let expected = usize::from(cell(number, column, row));
            brightness(column, row).abs_diff(expected) <= usize::from(TOLERANCE)
        })
    });
    whole.then_some(number)
}

#[test]
fn a_picture_says_its_number_unless_it_is_garbled() {
    let size = Size::SMALL;
    let mut picture = draw(0x1234, size);
    assert_eq!(read(&picture, size.width, size), Some(0x1234));
    picture[size.width * 100..size.width * 120].fill(128);
    assert_eq!(read(&picture, size.width, size), None);
}
