//! The counters in Prometheus' text format.

mod broadcasts;
mod process;
mod text;

use std::time::Duration;

use ::http::StatusCode;
use warp::reply::Response;

pub(super) use self::broadcasts::BroadcastLabels;
use self::text::Exposition;
use super::{App, api, problem::Problem, reply::with_body, request::HttpRequest};
use crate::{
    access::Right,
    broadcast::{Broadcasts, State},
    peer::sdp::Role,
};

const ROLES: [(Role, &str); 2] = [(Role::Publisher, "publisher"), (Role::Viewer, "viewer")];

/// Get the metrics
///
/// In Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "server",
    security(("token" = ["metrics"])),
    responses((status = 200, content_type = "text/plain; version=0.0.4; charset=utf-8", body = String))
)]
pub(super) fn answer(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Metrics)?;
    let mut text = Exposition::default();
    gauges(app, &mut text);
    counters(app, &mut text);
    sessions(app, &mut text);
    pipelines(&mut text);
    times(app, &mut text);
    cluster(app, &mut text);
    let status = app.broadcasts.local_status();
    let publishers = app.broadcasts.publishers();
    broadcasts::write(&mut text, &app.broadcast_labels, &status, &publishers);
    if let Some(expiry) = app.options.tls.as_ref().and_then(super::Tls::expiry) {
        let help = "When the certificate expires, since 1970.";
        let name = "aerial_certificate_expiry_timestamp_seconds";
        text.single(name, "gauge", help, expiry);
    }
    webhooks(app, &mut text);
    process::write(&mut text);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(with_body(StatusCode::OK, kind, text.into_text()))
}

fn webhooks(app: &App, text: &mut Exposition) {
    let name = "aerial_webhook_events_total";
    let help = "Events for webhooks, by outcome.";
    text.family(name, "counter", help);
    for (webhook, counters) in app.options.webhooks.all() {
        for (result, count) in counters.results() {
            text.value(name, &[("webhook", webhook), ("result", result)], count);
        }
    }
}

fn gauges(app: &App, text: &mut Exposition) {
    let status = app.broadcasts.local_status();
    let live = status.iter().filter(|one| one.state == State::Live).count();
    // Of this node: those of others are in its list of broadcasts as well.
    let publishers = app
        .broadcasts
        .publishers()
        .iter()
        .filter(|one| one.connected)
        .count();
    let viewers = api::viewers(&status);
    let sessions = app.broadcasts.sessions();
    let buffers = app.fanout.port().buffer_sizes();
    for (name, help, value) in [
        ("broadcasts", "Broadcasts that exist.", status.len()),
        ("broadcasts_live", "Broadcasts that can be watched.", live),
        (
            "publishers",
            "WHIP publishers that are connected.",
            publishers,
        ),
        ("viewers", "Viewers, connected or connecting.", viewers),
        ("sessions", "WHIP and WHEP sessions.", sessions),
        (
            "transcodes",
            "Automatic transcodes that run or are promised to viewers that are connecting.",
            app.broadcasts.transcodes(),
        ),
        (
            "http_connections",
            "Open HTTP connections.",
            app.admission.connections(),
        ),
        (
            "http_event_streams",
            "Open event streams.",
            app.admission.streams(),
        ),
        (
            "pipelines_hanging",
            "Pipelines whose killed processes do not end.",
            Broadcasts::hanging_pipelines(),
        ),
        (
            "media_tcp_connections",
            "TCP connections that carry media.",
            app.fanout.port().tcp_connections(),
        ),
        (
            "udp_send_buffer_bytes",
            "Send buffer of each UDP socket, as granted by the kernel.",
            buffers.send,
        ),
        (
            "udp_receive_buffer_bytes",
            "Receive buffer of each UDP socket, as granted by the kernel.",
            buffers.receive,
        ),
    ] {
        text.single(&format!("aerial_{name}"), "gauge", help, value);
    }
}

#[rustfmt::skip] // a table: one row per line
fn counters(app: &App, text: &mut Exposition) {
    let own = app.broadcasts.counters();
    let fanout = app.fanout.statistics();
    for (name, help, value) in [
        ("keyframe_requests_total", "Keyframes requested from publishers.", own.keyframe_requests()),
        ("source_restarts_total", "Restarts of source pipelines.", own.source_restarts()),
        ("sent_packets_total", "RTP packets sent to viewers.", fanout.packets),
        ("sent_bytes_total", "Bytes of RTP sent to viewers.", fanout.bytes),
        ("retransmitted_packets_total", "Packets retransmitted to viewers.", fanout.retransmitted),
        ("retransmissions_refused_total", "Retransmissions refused because a viewer's budget was spent.", fanout.retransmissions_refused),
        ("keyframe_requests_capped_total", "Viewers' keyframe requests that came too soon.", fanout.keyframe_requests_capped),
        ("send_dropped_total", "Frames and datagrams dropped because a socket's buffer stayed full.", fanout.send_dropped),
        ("send_failed_total", "Sends that failed for another reason, such as no route.", fanout.send_failed),
        ("queue_dropped_total", "Frames and datagrams lost to full queues.", fanout.queue_dropped),
        ("unknown_datagrams_total", "Datagrams that belong to no session.", fanout.unknown_datagrams),
        ("datagrams_refused_total", "Datagrams dropped because a session exceeded its budget.", fanout.datagrams_refused),
        ("worker_panics_total", "Faults that ended the viewers of one worker thread.", fanout.worker_panics),
        ("udp_reader_panics_total", "Faults of tasks that read the UDP port.", fanout.reader_panics),
    ] {
        text.single(&format!("aerial_{name}"), "counter", help, value);
    }
}

/// Writes the traffic between this node and others.
fn cluster(app: &App, text: &mut Exposition) {
    let Some(cluster) = app.broadcasts.cluster() else {
        return;
    };
    for (name, help, value) in [
        ("nodes", "Live nodes of the cluster.", cluster.nodes()),
        (
            "connected",
            "Whether NATS can be reached.",
            usize::from(cluster.is_connected()),
        ),
    ] {
        text.single(&format!("aerial_cluster_{name}"), "gauge", help, value);
    }
    for (name, help, value) in cluster.counters().all() {
        text.single(name, "counter", help, value);
    }
}

fn sessions(app: &App, text: &mut Exposition) {
    let counters = app.broadcasts.counters();
    let roles = |count: &dyn Fn(Role) -> u64| ROLES.map(|(role, label)| (label, count(role)));
    labelled(
        text,
        "aerial_pipeline_starts_total",
        "Pipelines that have started, by kind.",
        "kind",
        counters.pipeline_starts(),
    );
    labelled(
        text,
        "aerial_http_refused_total",
        "HTTP connections and event streams refused, by the limit.",
        "limit",
        app.admission.refused(),
    );
    labelled(
        text,
        "aerial_sessions_refused_total",
        "Sessions refused because their client or token had too many.",
        "role",
        roles(&|role| app.sessions.refused(role)),
    );
    labelled(
        text,
        "aerial_sessions_started_total",
        "Sessions that were answered.",
        "role",
        roles(&|role| counters.sessions(role)),
    );
    labelled(
        text,
        "aerial_sessions_ended_total",
        "Sessions that ended, by reason.",
        "reason",
        counters.ends(),
    );
    labelled(
        text,
        "aerial_publishers_refused_total",
        "Requests to publish that were refused, by reason.",
        "reason",
        app.refusals.counts(),
    );
}

/// A family of counters with one label.
fn labelled(
    text: &mut Exposition,
    name: &str,
    help: &str,
    label: &str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) {
    text.family(name, "counter", help);
    for (value, count) in counts {
        text.value(name, &[(label, value)], count);
    }
}

fn times(app: &App, text: &mut Exposition) {
    let name = "aerial_answer_seconds";
    text.family(
        name,
        "histogram",
        "Time from a session's request to its answer.",
    );
    for (role, label) in ROLES {
        text.histogram(name, ("role", label), &app.answer_times.of(role).read());
    }
    let name = "aerial_connect_seconds";
    let help = "Time from a session's request until its connection is up.";
    text.family(name, "histogram", help);
    let counters = app.broadcasts.counters();
    for (role, label) in ROLES {
        text.histogram(name, ("role", label), &counters.connect_times(role).read());
    }
}

/// What the processes of pipelines use, as the kernel says.
fn pipelines(text: &mut Exposition) {
    let usage = Broadcasts::pipeline_usage();
    let name = "aerial_pipeline_cpu_seconds_total";
    text.family(name, "counter", "CPU time of each pipeline's processes.");
    for one in &usage {
        let time = Duration::from_millis(one.cpu_ms);
        text.value(name, &[("pipeline", &one.name)], time.as_secs_f64());
    }
    let name = "aerial_pipeline_memory_bytes";
    let help = "Memory of each pipeline's processes (PSS).";
    text.family(name, "gauge", help);
    for one in &usage {
        if let Some(bytes) = one.memory_bytes {
            text.value(name, &[("pipeline", &one.name)], bytes);
        }
    }
    let name = "aerial_pipeline_queued_bytes";
    let help = "Frames and messages that wait for each pipeline's processes to read them.";
    text.family(name, "gauge", help);
    for one in &usage {
        if let Some(bytes) = one.queued_bytes {
            text.value(name, &[("pipeline", &one.name)], bytes);
        }
    }
}
