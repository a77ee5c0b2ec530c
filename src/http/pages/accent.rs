//! The operator's colour on the pages: as legible as our own, on light grounds and on dark ones.

use std::fmt;

/// Contrast that text needs (WCAG 2.2, 1.4.3).
const CONTRAST_MIN: f64 = 4.5;
/// How finely a colour is brought to that contrast.
const STEPS: u8 = 50;
/// How much of black or white a colour takes on under the pointer.
const HOVER: f64 = 0.12;

const BLACK: Colour = Colour([0, 0, 0]);
const WHITE: Colour = Colour([255, 255, 255]);
/// The grounds of `aerial.css` (`--raised`) on which a colour is hardest to see, and its text on a
/// light colour.
const LIGHT_GROUND: Colour = Colour([0xee, 0xf1, 0xf5]);
const DARK_GROUND: Colour = Colour([0x1c, 0x23, 0x30]);
const INK: Colour = Colour([0x0b, 0x0e, 0x14]);

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour([u8; 3]);

impl Colour {
    /// Relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// From 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// This colour with a share of another.
    fn with(self, share: f64, other: Self) -> Self {
        let mut mixed = self.0;
        for (part, other) in mixed.iter_mut().zip(other.0) {
            let value = f64::from(*part) * (1.0 - share) + f64::from(other) * share;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a mean of two bytes is one"
            )]
            let value = value.round() as u8;
            *part = value;
        }
        Self(mixed)
    }

    /// The nearest colour on the way to another one that can be read on a ground.
    fn legible_on(self, ground: Self, other: Self) -> Self {
        (0..=STEPS)
            .map(|step| self.with(f64::from(step) / f64::from(STEPS), other))
            .find(|colour| colour.contrast(ground) >= CONTRAST_MIN)
            .unwrap_or(other)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// The style sheet that sets the accent colour of the pages.
pub(super) fn style_sheet(accent: [u8; 3]) -> String {
    let light = Colour(accent).legible_on(LIGHT_GROUND, BLACK);
    let light_hover = light.with(HOVER, BLACK);
    let dark = Colour(accent).legible_on(DARK_GROUND, WHITE);
    let dark_hover = dark.with(HOVER, WHITE);
    format!(
        ":root {{ --accent: {light}; --accent-hover: {light_hover}; --accent-strong: {light}; --on-accent: {WHITE}; \
         --accent-over: {dark}; --accent-over-hover: {dark_hover}; --on-accent-over: {INK}; }}\n\
         @media (prefers-color-scheme: dark) {{ :root {{ --accent: {dark}; --accent-hover: {dark_hover}; \
         --accent-strong: {dark}; --on-accent: {INK}; }} }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_the_guidelines() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 1e-9);
        let grey = Colour([0x76, 0x76, 0x76]);
        assert!((grey.contrast(WHITE) - 4.54).abs() < 0.01);
    }

    #[test]
    fn any_colour_is_legible_and_a_good_one_stays() {
        for accent in [
            [0, 0, 0],
            [255, 255, 255],
            [0xff, 0xee, 0x00],
            [0x00, 0x00, 0x80],
            [0x80, 0x80, 0x80],
        ] {
            let light = Colour(accent).legible_on(LIGHT_GROUND, BLACK);
            let dark = Colour(accent).legible_on(DARK_GROUND, WHITE);
            for (text, ground) in [
                (light, LIGHT_GROUND),
                (WHITE, light),
                (WHITE, light.with(HOVER, BLACK)),
                (dark, DARK_GROUND),
                (INK, dark),
                (INK, dark.with(HOVER, WHITE)),
            ] {
                let contrast = text.contrast(ground);
                assert!(contrast >= CONTRAST_MIN, "{text} on {ground}: {contrast}");
            }
        }
        let blue = Colour([0x1d, 0x4e, 0xd8]);
        assert_eq!(blue.legible_on(LIGHT_GROUND, BLACK), blue);
        assert!(style_sheet([0x1d, 0x4e, 0xd8]).starts_with(":root { --accent: #1d4ed8;"));
    }
}
