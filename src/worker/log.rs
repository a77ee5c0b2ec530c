//! The worker's log goes to the server, which writes it in the span of the run.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::{Arc, LazyLock},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::{
    note::{LogLevel, LogLevels, LogLine, ToServer},
    queue::Outbox,
};
use crate::{notices::Notices, pipeline::redact};

/// The targets of a worker's lines, besides those of its own code.
const GSTREAMER: &str = "gstreamer";
const GLIB: &str = "glib";
/// The target of all lines of its own code.
const OWN: &str = "aerial";
/// The field that says which viewer a line is about, by its key: the server writes it in the span of
/// the session.
pub(super) const VIEWER: &str = "viewer";
/// Longest text of a line, in bytes.
const TEXT_BYTES_MAX: usize = 2000;
/// Most fields of a line.
const FIELDS_MAX: usize = 16;
/// Lines that a worker may write at once, and per second in the long run.
const BURST: f64 = 500.0;
const PER_SECOND: f64 = 50.0;
/// Lines that strangers can make workers write at once, and per second in the long run.
const STRANGERS_BURST: f64 = 5.0;
const STRANGERS_PER_SECOND: f64 = 0.1;

/// The most talkative level that this process logs for a target.
macro_rules! level {
    ($target:expr) => {
        [
            (LogLevel::Trace, tracing::enabled!(target: $target, Level::TRACE)),
            (LogLevel::Debug, tracing::enabled!(target: $target, Level::DEBUG)),
            (LogLevel::Info, tracing::enabled!(target: $target, Level::INFO)),
            (LogLevel::Warn, tracing::enabled!(target: $target, Level::WARN)),
            (LogLevel::Error, tracing::enabled!(target: $target, Level::ERROR)),
        ]
        .into_iter()
        .find_map(|(level, enabled)| enabled.then_some(level))
    };
}

/// What this process logs of what a worker can say.
pub(super) fn levels() -> LogLevels {
    let levels = [
        (GSTREAMER, level!(GSTREAMER)),
        (GLIB, level!(GLIB)),
        (OWN, level!("aerial::pipeline")),
    ];
    let levels = levels
        .into_iter()
        .filter_map(|(target, level)| Some((target.to_owned(), level?)));
    LogLevels(levels.collect())
}

/// Sends this process's log to the server.
pub(super) fn install(levels: &LogLevels, outbox: &Arc<Outbox>) {
    let targets = levels.0.iter();
    let targets = targets.map(|(target, level)| (target.clone(), LevelFilter::from(*level)));
    let layer = Forward {
        outbox: Arc::clone(outbox),
        notices: Notices::new(PER_SECOND, BURST),
    };
    // Err: there is one already, in tests.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(targets.collect::<Targets>()))
        .try_init();
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }
}

struct Forward {
    outbox: Arc<Outbox>,
    notices: Notices,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Forward {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut text = LineText::default();
            attributes.record(&mut text);
            span.extensions_mut().insert(SpanFields(text.fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = LineText::default();
        event.record(&mut text);
        if metadata.target() == GLIB && *metadata.level() == Level::ERROR {
            // It may be the last one: `GLib` aborts the process after some. Err: nobody listens.
            let _ = writeln!(std::io::stderr(), "{}", text.message);
        }
        let Some(left_out) = self.notices.line() else {
            return;
        };
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                text.fields.extend(fields.iter().cloned());
            }
        }
        self.outbox.log(&ToServer::Log(LogLine {
            level: (*metadata.level()).into(),
            target: metadata.target().to_owned(),
            message: text.message,
            fields: text.fields,
            left_out,
        }));
    }
}

/// The fields of a span.
struct SpanFields(Vec<(String, String)>);

/// The text of a line.
#[derive(Default)]
struct LineText {
    message: String,
    fields: Vec<(String, String)>,
}

impl Visit for LineText {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else if self.fields.len() < FIELDS_MAX {
            self.fields.push((field.name().to_owned(), text));
        }
    }
}

/// The limit of what one worker may add to the server's log.
pub(super) fn limit() -> Notices {
    Notices::new(PER_SECOND, BURST)
}

/// The limit of what strangers can make all workers of peer connections say together: `GLib`
/// complains about datagrams.
pub(super) fn of_strangers() -> &'static Notices {
    static NOTICES: LazyLock<Notices> =
        LazyLock::new(|| Notices::new(STRANGERS_PER_SECOND, STRANGERS_BURST));
    &NOTICES
}

/// A text for people, on one line and without secrets.
pub(super) fn readable(text: &str) -> String {
    // Secrets first: half of one would not be known any more.
    let mut text = redact(&text.replace(char::is_control, " "));
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

impl LogLine {
    /// Whether `GLib` says it.
    pub(super) fn is_of_glib(&self) -> bool {
        self.target == GLIB
    }

    /// The viewer that it is about.
    pub(super) fn viewer(&self) -> Option<u64> {
        let field = self.fields.iter().find(|(name, _)| name == VIEWER);
        field?.1.parse().ok()
    }

    /// Its text, without its origin.
    pub(super) fn words(&self) -> String {
        let object = self.fields.iter().find(|(name, _)| name == "object");
        let message = readable(&self.message);
        object.map_or_else(
            || message.clone(),
            |(_, object)| format!("{}: {message}", readable(object)),
        )
    }

    /// The whole line; the same text as if the server had written it.
    pub(super) fn text(&self) -> String {
        let mut text = self.message.clone();
        let own = |name: &str| name == "left_out" || name == VIEWER;
        let fields = self.fields.iter().filter(|(name, _)| !own(name));
        for (name, value) in fields.take(FIELDS_MAX) {
            // Writing to a String cannot fail.
            let _ = write!(text, " {name}={value}");
        }
        readable(&text)
    }

    /// Writes the line into this process's log.
    pub(super) fn emit(&self, text: &str, left_out: u64) {
        let left_out = self.left_out.saturating_add(left_out);
        macro_rules! line {
            ($level:ident) => {
                match self.target.as_str() {
                    GSTREAMER => tracing::$level!(target: GSTREAMER, left_out, "{text}"),
                    GLIB => tracing::$level!(target: GLIB, left_out, "{text}"),
                    _ => tracing::$level!(target: "aerial::pipeline", left_out, "{text}"),
                }
            };
        }
        match self.level {
            LogLevel::Error => line!(error),
            LogLevel::Warn => line!(warn),
            LogLevel::Info => line!(info),
            LogLevel::Debug => line!(debug),
            LogLevel::Trace => line!(trace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_of_bounded_length() {
        let line = LogLine {
            level: LogLevel::Warn,
            target: GSTREAMER.to_owned(),
            message: format!("a\nb\x1b[31m {}", "é".repeat(3000)),
            fields: vec![("object".to_owned(), "x".to_owned())],
            left_out: 0,
        };
        let text = line.text();
        assert!(text.starts_with("a b [31m éé"), "{text}");
        assert!((1990..=2000).contains(&text.len()), "{}", text.len());
    }
}
