//! How much lost media a peer may have again: a bad link costs its own viewer, nobody else.

/// One byte may be sent again for this many bytes sent.
const SHARE: usize = 2;
/// Most bytes that can be saved up.
const BYTES_MAX: usize = 256 << 10;

/// One peer's remaining retransmission budget.
#[derive(Debug)]
pub(crate) struct RetransmissionBudget {
    bytes: usize,
}

impl RetransmissionBudget {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: BYTES_MAX / 4,
        }
    }

    /// `bytes` of media have been sent for the first time.
    pub(crate) fn earn(&mut self, bytes: usize) {
        self.bytes = BYTES_MAX.min(self.bytes.saturating_add(bytes / SHARE));
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.bytes == 0
    }

    /// `bytes` have been sent again; the last packet may be larger than what was left.
    pub(crate) const fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_grows_by_half_of_what_is_sent() {
        let mut budget = RetransmissionBudget::new();
        budget.spend(BYTES_MAX);
        assert!(budget.is_spent());
        budget.earn(1000);
        budget.spend(499);
        assert!(!budget.is_spent());
        budget.spend(1);
        assert!(budget.is_spent());
        budget.earn(usize::MAX);
        assert_eq!(budget.bytes, BYTES_MAX);
    }
}
