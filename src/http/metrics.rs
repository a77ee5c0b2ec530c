//! The counters in Prometheus' text format.

use std::fmt::{self, Write as _};

use ::http::StatusCode;
use warp::reply::Response;

use super::{App, api, reply::with_body};
use crate::{broadcast::State, peer::sdp::Role};

pub(super) fn answer(app: &App) -> Response {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(app, &mut text);
    with_body(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text,
    )
}

fn write(app: &App, text: &mut String) -> fmt::Result {
    let status = app.broadcasts.status();
    let live = status
        .iter()
        .filter(|status| status.state == State::Live)
        .count();
    let counters = app.broadcasts.counters();
    let fanout = app.fanout.statistics();
    for (name, help, value) in [
        ("broadcasts", "Broadcasts that exist.", status.len()),
        ("broadcasts_live", "Broadcasts that can be watched.", live),
        (
            "publishers",
            "WHIP publishers that are connected.",
            api::publishers(&status),
        ),
        (
            "viewers",
            "Viewers, connected or connecting.",
            api::viewers(&status),
        ),
        (
            "sessions",
            "WHIP and WHEP sessions.",
            app.broadcasts.sessions(),
        ),
    ] {
        writeln!(
            text,
            "# HELP aerial_{name} {help}\n# TYPE aerial_{name} gauge"
        )?;
        writeln!(text, "aerial_{name} {value}")?;
    }
    for (name, help, value) in [
        (
            "keyframe_requests",
            "Keyframes asked of publishers.",
            counters.keyframe_requests(),
        ),
        (
            "source_restarts",
            "Restarts of source pipelines.",
            counters.source_restarts(),
        ),
        (
            "sent_packets",
            "RTP packets sent to viewers.",
            fanout.packets,
        ),
        ("sent_bytes", "Bytes of RTP sent to viewers.", fanout.bytes),
        (
            "send_dropped",
            "Sends refused by the kernel.",
            fanout.send_dropped,
        ),
        (
            "queue_dropped",
            "Frames and datagrams lost to full queues.",
            fanout.queue_dropped,
        ),
        (
            "unknown_datagrams",
            "Datagrams of no session.",
            fanout.unknown_datagrams,
        ),
    ] {
        writeln!(
            text,
            "# HELP aerial_{name}_total {help}\n# TYPE aerial_{name}_total counter"
        )?;
        writeln!(text, "aerial_{name}_total {value}")?;
    }
    writeln!(
        text,
        "# HELP aerial_sessions_started_total Sessions that were answered."
    )?;
    writeln!(text, "# TYPE aerial_sessions_started_total counter")?;
    for (role, name) in [(Role::Publisher, "publisher"), (Role::Viewer, "viewer")] {
        let value = counters.sessions(role);
        writeln!(
            text,
            "aerial_sessions_started_total{{role=\"{name}\"}} {value}"
        )?;
    }
    writeln!(
        text,
        "# HELP aerial_sessions_ended_total Sessions that ended, by reason."
    )?;
    writeln!(text, "# TYPE aerial_sessions_ended_total counter")?;
    for (reason, value) in counters.ends() {
        writeln!(
            text,
            "aerial_sessions_ended_total{{reason=\"{reason}\"}} {value}"
        )?;
    }
    Ok(())
}
