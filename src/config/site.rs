//! The operator's design of the pages: logo and colour.

use std::path::PathBuf;

use crate::plan::Value;

/// A picture that browsers show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogoFile(pub PathBuf);

impl Value for LogoFile {
    const TAKES: &'static str = "a file that ends in .svg, .png, .webp, .jpg or .jpeg";

    fn read(text: &str) -> Option<Self> {
        let path = PathBuf::from(text);
        let kind = path.extension()?.to_str()?.to_lowercase();
        let is_picture = ["svg", "png", "webp", "jpg", "jpeg"].contains(&kind.as_str());
        is_picture.then_some(Self(path))
    }
}

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccentColour(pub [u8; 3]);

impl Value for AccentColour {
    const TAKES: &'static str = "a colour such as #1d4ed8";

    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some(Self([red, green, blue]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logos_and_colours() {
        assert_eq!(
            LogoFile::read("/etc/a.SVG"),
            Some(LogoFile("/etc/a.SVG".into()))
        );
        for wrong in ["", "logo", "logo.html", ".png"] {
            assert_eq!(LogoFile::read(wrong), None, "{wrong}");
        }
        assert_eq!(
            AccentColour::read("#1D4ed8"),
            Some(AccentColour([0x1d, 0x4e, 0xd8]))
        );
        for wrong in [
            "",
            "1d4ed8",
            "#1d4",
            "#1d4ed8ff",
            "#1d4eg8",
            "#+d4ed8",
            "red",
        ] {
            assert_eq!(AccentColour::read(wrong), None, "{wrong}");
        }
    }
}
