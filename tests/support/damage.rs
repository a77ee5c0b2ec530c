//! Random damage to texts and bytes, the same in every run.

/// xorshift64.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let byte = |_| u8::try_from(self.below(256)).unwrap();
        (0..length).map(byte).collect()
    }
}

/// A text of lines with one to three damages.
pub fn text(text: &str, random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        if lines.is_empty() {
            break;
        }
        let (at, other) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(9) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            3 => lines[at] = lines[at].replace(|c: char| c.is_ascii_digit(), "4294967296"),
            4 => lines[at] = lines[at].replace(|c: char| c.is_ascii_digit(), "0"),
            5 => lines[at].push_str(&"x".repeat(random.below(10_000))),
            6 => lines.extend(vec![lines[at].clone(); random.below(300)]),
            7 => lines.truncate(at + 1),
            _ => lines[at] = lines[at].replacen(':', [" ", "", "::", ":*", ": "][other % 5], 1),
        }
    }
    let mut bytes = (lines.join("\r\n") + "\r\n").into_bytes();
    if random.below(4) == 0 {
        bytes = self::bytes(&bytes, random);
    }
    bytes
}

/// Bytes with one to three damages.
pub fn bytes(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return random.bytes(8);
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
            _ => bytes[at] = u8::try_from(random.below(256)).unwrap(),
        }
    }
    bytes
}
