//! Figures of each broadcast, with its name as a label.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::text::Exposition;
use crate::{
    awake,
    broadcast::{PublisherTotals, State, Status},
};

/// Broadcasts with a label of their own. Names are publishers' choice, and each costs Prometheus
/// memory for as long as it keeps figures.
const LABELS_MAX: usize = 200;
/// How long a broadcast that is over keeps its label: whatever names publishers invent, no more than
/// [`LABELS_MAX`] new ones come in this time.
const LABEL_KEPT: Duration = Duration::from_hours(24);
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

/// The broadcasts with a label of their own, and when each was last there: those that came first,
/// over the life of the server.
#[derive(Debug, Default)]
pub(in crate::http) struct BroadcastLabels(Mutex<BTreeMap<String, Instant>>);

impl BroadcastLabels {
    /// The labels of the broadcasts with these names that exist now.
    fn of<'a>(&self, names: impl Iterator<Item = &'a str>, now: Instant) -> Labels<'a> {
        let mut last_there = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut own, mut others) = (BTreeSet::new(), Vec::new());
        for name in names {
            if let Some(last) = last_there.get_mut(name) {
                *last = now;
                own.insert(name);
            } else {
                others.push(name);
            }
        }
        last_there.retain(|_, last| now.saturating_duration_since(*last) < LABEL_KEPT);
        let room = LABELS_MAX.saturating_sub(last_there.len());
        for name in others.into_iter().take(room) {
            last_there.insert(name.to_owned(), now);
            own.insert(name);
        }
        Labels(own)
    }
}

/// The labels: names of their own for some, and [`OTHER`] for the rest.
struct Labels<'a>(BTreeSet<&'a str>);

impl<'a> Labels<'a> {
    fn of(&self, name: &'a str) -> &'a str {
        if self.0.contains(name) { name } else { OTHER }
    }
}

pub(super) fn write(
    text: &mut Exposition,
    known: &BroadcastLabels,
    status: &[Status],
    publishers: &[PublisherTotals],
) {
    let labels = known.of(status.iter().map(|one| one.name.as_str()), awake::now());
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

    fn names(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|number| format!("b{number:04}")).collect()
    }

    #[test]
    fn broadcasts_beyond_a_number_share_a_label_for_as_long_as_the_server_runs() {
        let (known, begin) = (BroadcastLabels::default(), Instant::now());
        let own = |names: &[String], hours: u64| {
            let now = begin + Duration::from_hours(hours);
            let labels = known.of(names.iter().map(String::as_str), now);
            names
                .iter()
                .filter(|name| labels.of(name) != OTHER)
                .cloned()
                .collect::<Vec<_>>()
        };
        let many = names(100, 107 + LABELS_MAX);
        assert_eq!(own(&many, 0), names(100, 100 + LABELS_MAX));
        // Others come and go, also such whose names come first.
        for hour in 1..23 {
            let others = names(1000 * hour, 1000 * hour + 500);
            let hour = u64::try_from(hour).unwrap();
            assert_eq!(own(&others, hour), Vec::<String>::new());
            assert_eq!(own(&names(0, 101), hour), names(100, 101));
        }
        // Most of the first ones have been gone for a day.
        let fresh = names(500, 1000);
        assert_eq!(own(&fresh, 24), names(500, 500 + LABELS_MAX - 1));
    }
}
