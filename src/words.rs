//! Lists of values in log lines, without Rust syntax. Pure.

use std::fmt;

/// Writes items separated by commas, or `none`.
pub(crate) struct Listed<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else {
            return f.write_str("none");
        };
        first.fmt(f)?;
        for other in others {
            f.write_str(",")?;
            other.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_one_value() {
        assert_eq!(Listed::<u8>(&[]).to_string(), "none");
        assert_eq!(Listed(&[1]).to_string(), "1");
        assert_eq!(Listed(&["a", "b-*"]).to_string(), "a,b-*");
    }
}
