//! GStreamer's log as tracing events with the target `gstreamer`.

use gstreamer as gst;
use tracing::Level;

use super::redact;

/// Sends GStreamer's log to tracing instead of standard error. `GST_DEBUG` sets the levels; without
/// it, warnings and errors are logged. An element's error is logged as a warning, because its
/// pipeline reports it if it matters. With `GST_DEBUG_FILE`, GStreamer writes to that file instead.
pub(crate) fn install() {
    if std::env::var_os("GST_DEBUG_FILE").is_some() {
        return;
    }
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
