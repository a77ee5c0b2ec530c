//! What values look like as text, the same in files, variables and flags.

use std::time::Duration;

use super::{Engine, Pattern};

/// A type of option.
pub trait Value: Sized + PartialOrd {
    /// Completes "this option takes ...".
    const TAKES: &'static str;
    /// Whether its values are secret.
    const SECRET: bool = false;

    /// Reads a value; `None` if the text is not one.
    fn read(text: &str) -> Option<Self>;

    /// Reads a value within a range, both ends allowed.
    fn read_within(text: &str, range: Option<(&str, &str)>) -> Option<Self> {
        let value = Self::read(text)?;
        let Some((min, max)) = range else {
            return Some(value);
        };
        let fits = Self::read(min)? <= value && value <= Self::read(max)?;
        fits.then_some(value)
    }
}

impl Value for bool {
    const TAKES: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for String {
    const TAKES: &'static str = "a text";

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for usize {
    const TAKES: &'static str = "a whole number";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Duration {
    const TAKES: &'static str = "a time with its unit, such as 500ms, 5s or 2m,";

    fn read(text: &str) -> Option<Self> {
        let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
        let number: u64 = number.parse().ok()?;
        match unit {
            "ms" => Some(Self::from_millis(number)),
            "s" => Some(Self::from_secs(number)),
            "m" => Some(Self::from_secs(number.checked_mul(60)?)),
            "h" => Some(Self::from_secs(number.checked_mul(3600)?)),
            _ => None,
        }
    }
}

impl Value for Engine {
    const TAKES: &'static str = "webrtcbin or direct";

    fn read(text: &str) -> Option<Self> {
        match text {
            "webrtcbin" => Some(Self::Webrtcbin),
            "direct" => Some(Self::Direct),
            _ => None,
        }
    }
}

impl Value for Vec<Pattern> {
    const TAKES: &'static str =
        "names of broadcasts, or patterns such as live-*, separated by commas";

    fn read(text: &str) -> Option<Self> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Pattern::new)
            .collect()
    }
}

impl<T: Value> Value for Option<T> {
    const TAKES: &'static str = T::TAKES;
    const SECRET: bool = T::SECRET;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::read(text).map(Some)
        }
    }

    fn read_within(text: &str, range: Option<(&str, &str)>) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::read_within(text, range).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        assert_eq!(Duration::read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(Duration::read("2m"), Some(Duration::from_mins(2)));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 s",
            "99999999999999999999s",
            "5d",
        ] {
            assert_eq!(Duration::read(wrong), None, "{wrong}");
        }
    }
}
