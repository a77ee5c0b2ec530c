//! The logs of `GStreamer` and `GLib` as tracing events.

use std::io::{self, Write as _};

use gstreamer as gst;
use tracing::Level;

use super::redact;
use crate::notices::Notices;

/// Messages of `GLib` that are logged at once, and per second in the long run. A peer can provoke
/// them: the DTLS elements complain about every datagram that is not theirs.
const GLIB_BURST: f64 = 10.0;
const GLIB_PER_SECOND: f64 = 0.1;

/// Sends both logs to tracing instead of standard error.
pub(crate) fn install() {
    glib::log_set_default_handler(of_glib());
    if std::env::var_os("GST_DEBUG_FILE").is_none() {
        install_gstreamer();
    }
}

/// Logs messages of `GLib`, most of which are warnings about misuse, until there are too many.
fn of_glib() -> impl Fn(Option<&str>, glib::LogLevel, &str) + Send + Sync {
    let notices = Notices::new(GLIB_PER_SECOND, GLIB_BURST);
    let debug = std::env::var("G_DEBUG").unwrap_or_default();
    move |domain, level, message| {
        if is_fatal(level, &debug) {
            // Err: nobody is reading.
            let _ = writeln!(io::stderr(), "{}", redact(message));
            return;
        }
        let Some(left_out) = notices.line() else {
            return;
        };
        let (domain, message) = (domain.unwrap_or_default(), redact(message));
        match level {
            glib::LogLevel::Critical => {
                tracing::error!(target: "glib", domain, left_out, "CRITICAL: {message}");
            }
            glib::LogLevel::Warning => {
                tracing::warn!(target: "glib", domain, left_out, "{message}");
            }
            _ => tracing::debug!(target: "glib", domain, left_out, "{message}"),
        }
    }
}

/// Whether a message ends the process, which leaves no time to pass it on: what is written to standard
/// error is among a worker's last words.
fn is_fatal(level: glib::LogLevel, debug: &str) -> bool {
    match level {
        glib::LogLevel::Error => true,
        glib::LogLevel::Critical => {
            debug.contains("fatal-criticals") || debug.contains("fatal-warnings")
        }
        glib::LogLevel::Warning => debug.contains("fatal-warnings"),
        _ => false,
    }
}

/// `GST_DEBUG` sets the levels; without it, warnings and errors are logged. An element's error is
/// logged as a warning, because its pipeline reports it if it matters. With `GST_DEBUG_FILE`,
/// `GStreamer` writes to that file instead.
fn install_gstreamer() {
    gst::log::remove_default_log_function();
    if std::env::var_os("GST_DEBUG").is_none() {
        let warnings = tracing::enabled!(target: "gstreamer", Level::DEBUG);
        gst::log::set_default_threshold(if warnings {
            gst::DebugLevel::Warning
        } else {
            gst::DebugLevel::Error
        });
    }
    gst::log::add_log_function(|category, level, file, _function, line, object, message| {
        let category = category.name();
        let object = object.map(ToString::to_string).unwrap_or_default();
        let message = message.get();
        let message = redact(message.as_ref().map_or("", |text| text.as_str()));
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(target: "gstreamer", category, object, "{message} ({file}:{line})")
            };
        }
        match level {
            gst::DebugLevel::Error => log!(warn),
            gst::DebugLevel::Warning | gst::DebugLevel::Fixme | gst::DebugLevel::Info => {
                log!(debug);
            }
            _ => log!(trace),
        }
    });
}
