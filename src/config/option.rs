//! What is known about one option.

/// One option, as `--help` and error messages show it.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// `section.name`, or `name` for those outside a section.
    pub key: &'static str,
    /// Its description.
    pub help: &'static str,
    /// The form of its values.
    pub takes: &'static str,
    /// Whether its values are secret.
    pub secret: bool,
    /// The value when nobody sets it; empty means unset.
    pub default: &'static str,
    /// Smallest and largest value, both allowed.
    pub range: Option<(&'static str, &'static str)>,
}

impl Opt {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("AERIAL_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The type of the option, with its range.
    pub fn expected(&self) -> String {
        match self.range {
            Some((min, max)) => format!("{} from {min} to {max}", self.takes),
            None => self.takes.to_owned(),
        }
    }
}

/// The range of an option, if it has one.
macro_rules! range {
    () => {
        None
    };
    ($min:literal $max:literal) => {
        Some(($min, $max))
    };
}
pub(super) use range;
