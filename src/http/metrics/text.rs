//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::histogram::TimeDistribution;

/// A label's name and value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// Metrics as text.
#[derive(Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a family; its values follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// A value of the family that has begun.
    pub(super) fn value(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        let labels = braces(labels);
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A family of one value without labels.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.value(name, &[], value);
    }

    /// The values of a histogram.
    pub(super) fn histogram(&mut self, name: &str, label: Label<'_>, times: &TimeDistribution) {
        let bucket = format!("{name}_bucket");
        for (end, count) in &times.up_to {
            self.value(&bucket, &[label, ("le", &end.to_string())], count);
        }
        self.value(&bucket, &[label, ("le", "+Inf")], times.count);
        self.value(&format!("{name}_sum"), &[label], times.seconds);
        self.value(&format!("{name}_count"), &[label], times.count);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn braces(labels: &[Label<'_>]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    format!("{{{}}}", labels.join(","))
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::histogram::TimeHistogram;

    #[test]
    fn values_and_labels() {
        let mut text = Exposition::default();
        text.family("a_total", "counter", "What.");
        text.value("a_total", &[("x", "1"), ("y", "a\"b\\c\nd")], 7);
        text.single("b", "gauge", "That.", 1.5);
        let expected = "# HELP a_total What.\n# TYPE a_total counter\n\
                        a_total{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 7\n\
                        # HELP b That.\n# TYPE b gauge\nb 1.5\n";
        assert_eq!(text.into_text(), expected);
    }

    #[test]
    fn a_histogram_ends_with_all_its_times() {
        let histogram = TimeHistogram::default();
        histogram.note(Duration::from_secs(1));
        histogram.note(Duration::from_mins(1));
        let mut text = Exposition::default();
        text.histogram("t_seconds", ("role", "viewer"), &histogram.read());
        let text = text.into_text();
        for line in [
            "t_seconds_bucket{role=\"viewer\",le=\"0.5\"} 0",
            "t_seconds_bucket{role=\"viewer\",le=\"1\"} 1",
            "t_seconds_bucket{role=\"viewer\",le=\"+Inf\"} 2",
            "t_seconds_sum{role=\"viewer\"} 61",
            "t_seconds_count{role=\"viewer\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
