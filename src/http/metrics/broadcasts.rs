//! Figures of each broadcast, with its name as a label.

use std::collections::{BTreeMap, BTreeSet};

use super::text::Exposition;
use crate::broadcast::{PublisherTotals, State, Status};

/// Broadcasts with a label of their own. Names are publishers' choice, and each costs Prometheus
/// memory for as long as it keeps figures.
const LABELS_MAX: usize = 200;
/// The label of all others.
const OTHER: &str = "other";

/// What is added up for one label.
#[derive(Default)]
struct Sum {
    live: u64,
    viewers: u64,
    received: Option<Received>,
}

#[derive(Clone, Copy, Default)]
struct Received {
    packets: u64,
    bytes: u64,
    lost: u64,
}

/// The labels: names until there are too many, and then [`OTHER`].
struct Labels<'a>(BTreeSet<&'a str>);

impl<'a> Labels<'a> {
    fn new(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.take(LABELS_MAX).collect())
    }

    fn of(&self, name: &'a str) -> &'a str {
        if self.0.contains(name) { name } else { OTHER }
    }
}

pub(super) fn write(text: &mut Exposition, status: &[Status], publishers: &[PublisherTotals]) {
    let labels = Labels::new(status.iter().map(|one| one.name.as_str()));
    let sums = sums(&labels, status, publishers);
    let name = "aerial_broadcast_live";
    text.family(name, "gauge", "Whether the broadcast can be watched.");
    for (label, sum) in &sums {
        text.value(name, &[("broadcast", label)], sum.live);
    }
    let name = "aerial_broadcast_viewers";
    text.family(name, "gauge", "Viewers of the broadcast.");
    for (label, sum) in &sums {
        text.value(name, &[("broadcast", label)], sum.viewers);
    }
    renditions(text, &labels, status);
    received(
        text,
        &sums,
        "aerial_publisher_packets_total",
        "RTP packets received from the broadcast's publisher.",
        |received| received.packets,
    );
    received(
        text,
        &sums,
        "aerial_publisher_bytes_total",
        "Bytes of media received from the broadcast's publisher.",
        |received| received.bytes,
    );
    received(
        text,
        &sums,
        "aerial_publisher_lost_packets_total",
        "RTP packets of the broadcast's publisher that never arrived.",
        |received| received.lost,
    );
}

/// A family with what publishers have sent.
fn received(
    text: &mut Exposition,
    sums: &BTreeMap<&str, Sum>,
    name: &str,
    help: &str,
    value: impl Fn(Received) -> u64,
) {
    text.family(name, "counter", help);
    for (label, sum) in sums {
        if let Some(received) = sum.received {
            text.value(name, &[("broadcast", label)], value(received));
        }
    }
}

fn sums<'a>(
    labels: &Labels<'a>,
    status: &'a [Status],
    publishers: &'a [PublisherTotals],
) -> BTreeMap<&'a str, Sum> {
    let mut sums = BTreeMap::<_, Sum>::new();
    for one in status {
        let sum = sums.entry(labels.of(one.name.as_str())).or_default();
        sum.live += u64::from(one.state == State::Live);
        sum.viewers += u64::try_from(one.viewers).unwrap_or(u64::MAX);
    }
    for publisher in publishers {
        let sum = sums
            .entry(labels.of(publisher.broadcast.as_str()))
            .or_default();
        let received = sum.received.get_or_insert_default();
        received.packets += publisher.packets;
        received.bytes += publisher.bytes;
        received.lost += publisher.lost;
    }
    sums
}

fn renditions<'a>(text: &mut Exposition, labels: &Labels<'a>, status: &'a [Status]) {
    let mut viewers = BTreeMap::<_, usize>::new();
    for one in status {
        let label = labels.of(one.name.as_str());
        for rendition in &one.renditions {
            let name = if label == OTHER {
                OTHER
            } else {
                rendition.name.as_str()
            };
            let kind = rendition.kind.to_string();
            *viewers.entry((label, name, kind)).or_default() += rendition.viewers;
        }
    }
    let name = "aerial_rendition_viewers";
    text.family(
        name,
        "gauge",
        "Viewers of a rendition that a pipeline makes.",
    );
    for ((broadcast, rendition, kind), count) in viewers {
        let labels = [
            ("broadcast", broadcast),
            ("rendition", rendition),
            ("kind", kind.as_str()),
        ];
        text.value(name, &labels, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_broadcasts_share_a_label() {
        let names: Vec<_> = (0..LABELS_MAX + 7)
            .map(|number| format!("b{number:04}"))
            .collect();
        let labels = Labels::new(names.iter().map(String::as_str));
        let own = names.iter().filter(|name| labels.of(name) != OTHER);
        assert_eq!(own.count(), LABELS_MAX);
        assert_eq!(labels.of("b0206"), OTHER);
        assert_eq!(labels.of("b0000"), "b0000");
    }
}
