//! Whether an output does what it is there for.

use std::time::{Duration, Instant};

use crate::pipeline::job::JobFigures;

/// How long an output must run after data first reached a sink before it counts as running.
const PROOF: Duration = Duration::from_millis(900);

/// Whether an output's sinks have accepted anything. A full disk shows only when data is written,
/// so a successful start proves nothing.
#[derive(Debug, Default)]
pub(super) struct Acceptance {
    /// When data was first seen to have reached a sink.
    since: Option<Instant>,
    proven: bool,
}

impl Acceptance {
    /// Looks at the figures; true once, when it is proven.
    pub(super) fn is_proven(&mut self, figures: &JobFigures, now: Instant) -> bool {
        if figures.outputs.iter().any(|output| output.frames > 0) {
            self.since.get_or_insert(now);
        }
        let accepted = |since: Instant| now.saturating_duration_since(since) >= PROOF;
        let proven = !self.proven && self.since.is_some_and(accepted);
        self.proven |= proven;
        proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::job::OutputFigures;

    #[test]
    fn an_output_counts_as_running_once_its_data_has_been_accepted() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let figures = |frames| JobFigures {
            outputs: vec![OutputFigures {
                frames,
                ..OutputFigures::default()
            }],
            ..JobFigures::default()
        };
        let mut acceptance = Acceptance::default();
        assert!(!acceptance.is_proven(&JobFigures::default(), at(0)));
        assert!(!acceptance.is_proven(&figures(0), at(5000)));
        assert!(
            !acceptance.is_proven(&figures(1), at(6000)),
            "it may fail yet"
        );
        assert!(acceptance.is_proven(&figures(1), at(7000)));
        assert!(!acceptance.is_proven(&figures(9), at(8000)), "said once");
    }
}
