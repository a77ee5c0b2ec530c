//! Metrics, and the examples that show them, as Prometheus' own tools judge them.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    conformance::tls::Certificate,
    rtc::{Client, clip},
    support::{Server, output, wait_for},
};

fn example(file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("examples/monitoring").join(file)
}

/// The metrics of a server with a certificate, which nobody has used.
static METRICS: LazyLock<String> = LazyLock::new(|| {
    let certificate = Certificate::new("metrics");
    let server = certificate.server(&[]);
    let metrics = server.get_as_operator("/metrics").expect(200);
    metrics.text().to_owned()
});

#[test]
fn promtool_finds_no_fault_in_the_metrics() {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(METRICS.as_bytes()).unwrap();
    drop(stdin);
    let done = promtool.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[test]
fn promtool_finds_no_fault_in_the_examples() {
    for (what, file) in [("rules", "aerial.rules.yml"), ("config", "prometheus.yml")] {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", what]);
        if what == "config" {
            promtool.arg("--syntax-only");
        }
        promtool.arg(example(file));
        let done = output(promtool);
        assert!(done.status.success(), "{done:?}");
    }
}

/// Every name of a metric in a text.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("aerial_") || word.starts_with("process_"))
        .map(|word| {
            let endings = ["_bucket", "_sum", "_count"];
            let family = endings.iter().find_map(|ending| word.strip_suffix(ending));
            family.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn the_examples_show_metrics_that_exist() {
    let families = METRICS
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<_> = families
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    for file in ["dashboard.json", "aerial.rules.yml"] {
        let text = std::fs::read_to_string(example(file)).unwrap();
        let named = named(&text);
        assert!(named.len() > 5, "{named:?}");
        let unknown: Vec<_> = named.difference(&families).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let dashboard = std::fs::read_to_string(example("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn the_certificate_says_when_it_expires() {
    let name = "aerial_certificate_expiry_timestamp_seconds ";
    let value = METRICS.lines().find_map(|line| line.strip_prefix(name));
    let expiry: u64 = value.unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let days = (expiry - now.as_secs()).div_ceil(86_400);
    assert_eq!(days, 2);
}

#[test]
fn each_broadcast_has_figures_of_its_own() {
    let server = Server::start(&[]);
    let _a = Client::live(&server, "a", &clip::H264);
    let _b = Client::live(&server, "b", &clip::VP8);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(20);
    let of = |name: &str, broadcast: &str| {
        server.metric(&format!("aerial_{name}{{broadcast=\"{broadcast}\"}}"))
    };
    assert_eq!(
        (of("broadcast_live", "a"), of("broadcast_live", "b")),
        (1, 1)
    );
    assert_eq!(
        (of("broadcast_viewers", "a"), of("broadcast_viewers", "b")),
        (1, 0)
    );
    for broadcast in ["a", "b"] {
        wait_for("packets", || {
            (of("publisher_packets_total", broadcast) > 20).then_some(())
        });
        assert!(of("publisher_bytes_total", broadcast) > 1000);
        assert_eq!(of("publisher_lost_packets_total", broadcast), 0);
    }
    for name in ["answer", "connect"] {
        for (role, count) in [("publisher", 2), ("viewer", 1)] {
            let name = format!("aerial_{name}_seconds_count{{role=\"{role}\"}}");
            assert_eq!(server.metric(&name), count, "{name}");
        }
    }
}
