//! The counters in Prometheus' text format.

use std::fmt::{self, Write as _};

use ::http::StatusCode;
use warp::reply::Response;

use super::{App, api, reply::with_body};
use crate::{
    broadcast::{Broadcasts, State},
    peer::sdp::Role,
};

pub(super) fn answer(app: &App) -> Response {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = gauges(app, &mut text)
        .and_then(|()| counters(app, &mut text))
        .and_then(|()| sessions(app, &mut text))
        .and_then(|()| pipelines(&mut text));
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    with_body(StatusCode::OK, kind, text)
}

fn gauges(app: &App, text: &mut String) -> fmt::Result {
    let status = app.broadcasts.status();
    let live = status.iter().filter(|one| one.state == State::Live).count();
    let publishers = api::publishers(&status);
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
            "Event streams that run.",
            app.admission.streams(),
        ),
        (
            "pipelines_hanging",
            "Pipelines whose processes have been killed and do not end.",
            Broadcasts::hanging_pipelines(),
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
        head(text, name, "gauge", help)?;
        writeln!(text, "aerial_{name} {value}")?;
    }
    Ok(())
}

#[rustfmt::skip] // a table: one row per line
fn counters(app: &App, text: &mut String) -> fmt::Result {
    let own = app.broadcasts.counters();
    let fanout = app.fanout.statistics();
    for (name, help, value) in [
        ("keyframe_requests_total", "Keyframes asked of publishers.", own.keyframe_requests()),
        ("source_restarts_total", "Restarts of source pipelines.", own.source_restarts()),
        ("sent_packets_total", "RTP packets sent to viewers.", fanout.packets),
        ("sent_bytes_total", "Bytes of RTP sent to viewers.", fanout.bytes),
        ("retransmitted_packets_total", "Packets sent to viewers again.", fanout.retransmitted),
        ("retransmissions_refused_total", "Requests past a viewer's budget.", fanout.retransmissions_refused),
        ("keyframe_requests_capped_total", "Viewers' keyframe requests that came too soon.", fanout.keyframe_requests_capped),
        ("send_dropped_total", "Frames and datagrams dropped because a socket's buffer stayed full.", fanout.send_dropped),
        ("send_failed_total", "Sends that failed for another reason, such as no route.", fanout.send_failed),
        ("queue_dropped_total", "Frames and datagrams lost to full queues.", fanout.queue_dropped),
        ("unknown_datagrams_total", "Datagrams of no session.", fanout.unknown_datagrams),
        ("datagrams_refused_total", "Datagrams past a session's budget.", fanout.datagrams_refused),
        ("worker_panics_total", "Faults that ended the viewers of one worker.", fanout.worker_panics),
    ] {
        head(text, name, "counter", help)?;
        writeln!(text, "aerial_{name} {value}")?;
    }
    Ok(())
}

fn sessions(app: &App, text: &mut String) -> fmt::Result {
    let counters = app.broadcasts.counters();
    let name = "pipeline_starts_total";
    head(
        text,
        name,
        "counter",
        "Pipelines that have started, by kind.",
    )?;
    for (kind, value) in counters.pipeline_starts() {
        writeln!(text, "aerial_{name}{{kind=\"{kind}\"}} {value}")?;
    }
    let name = "http_refused_total";
    let help = "HTTP connections and event streams refused, by the limit.";
    head(text, name, "counter", help)?;
    for (limit, value) in app.admission.refused() {
        writeln!(text, "aerial_{name}{{limit=\"{limit}\"}} {value}")?;
    }
    let name = "sessions_refused_total";
    let help = "Sessions refused because their client or token had too many.";
    head(text, name, "counter", help)?;
    for (role, label) in [(Role::Publisher, "publisher"), (Role::Viewer, "viewer")] {
        let value = app.sessions.refused(role);
        writeln!(text, "aerial_{name}{{role=\"{label}\"}} {value}")?;
    }
    let name = "sessions_started_total";
    head(text, name, "counter", "Sessions that were answered.")?;
    for (role, label) in [(Role::Publisher, "publisher"), (Role::Viewer, "viewer")] {
        let value = counters.sessions(role);
        writeln!(text, "aerial_{name}{{role=\"{label}\"}} {value}")?;
    }
    let name = "sessions_ended_total";
    head(text, name, "counter", "Sessions that ended, by reason.")?;
    for (reason, value) in counters.ends() {
        writeln!(text, "aerial_{name}{{reason=\"{reason}\"}} {value}")?;
    }
    let name = "publishers_refused_total";
    head(
        text,
        name,
        "counter",
        "Requests to publish that were refused, by reason.",
    )?;
    for (reason, value) in app.refusals.counts() {
        writeln!(text, "aerial_{name}{{reason=\"{reason}\"}} {value}")?;
    }
    Ok(())
}

/// What the processes of pipelines use, as the kernel says.
fn pipelines(text: &mut String) -> fmt::Result {
    let mut usage = Broadcasts::pipeline_usage();
    for one in &mut usage {
        one.name = one.name.replace(['"', '\\', '\n'], "");
    }
    let name = "pipeline_cpu_seconds_total";
    head(
        text,
        name,
        "counter",
        "CPU time of each pipeline's process.",
    )?;
    for one in &usage {
        let (pipeline, milliseconds) = (&one.name, one.figures.cpu_ms);
        let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
        writeln!(
            text,
            "aerial_{name}{{pipeline=\"{pipeline}\"}} {seconds}.{rest:03}"
        )?;
    }
    let name = "pipeline_memory_bytes";
    head(
        text,
        name,
        "gauge",
        "Memory of each pipeline's process (PSS).",
    )?;
    for one in &usage {
        let (pipeline, bytes) = (&one.name, one.figures.memory_bytes);
        writeln!(text, "aerial_{name}{{pipeline=\"{pipeline}\"}} {bytes}")?;
    }
    Ok(())
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(
        text,
        "# HELP aerial_{name} {help}\n# TYPE aerial_{name} {kind}"
    )
}
