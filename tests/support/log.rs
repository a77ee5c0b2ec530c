//! The server's log as operators' tools read it: levels and fields, never the message.

/// A line of the log.
#[derive(Debug)]
pub struct Line {
    pub level: String,
    /// The module that has written it.
    pub target: String,
    fields: Vec<(String, String)>,
}

impl Line {
    /// A line as `tracing_subscriber` writes it: time, level, spans, target, message and fields.
    /// `None` if it came from elsewhere, such as GStreamer.
    pub fn parse(line: &str) -> Option<Self> {
        let (_time, rest) = line.split_once('Z')?;
        let rest = rest.trim_start();
        let (level, rest) = rest.split_once(' ')?;
        let target = rest.split(' ').find(|word| word.starts_with("aerial::"));
        ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]
            .contains(&level)
            .then(|| Self {
                level: level.to_owned(),
                target: target.unwrap_or_default().trim_end_matches(':').to_owned(),
                fields: fields(rest),
            })
    }

    /// The value of a field of the line or of its spans, without quotes.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(found, _)| found == name)?;
        Some(value)
    }

    /// Whether a field has this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.field(name) == Some(value)
    }
}

/// Every `name=value` in a text, in order.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let start = before.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
        let (value, left) = value(after);
        fields.push((before[start..].to_owned(), value));
        rest = left;
    }
    fields
}

/// The value at the start of a text, and what follows it: up to its closing quote, or the end of
/// its span, or the next field.
fn value(text: &str) -> (String, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => return (value, &quoted[at + 1..]),
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        return (value, "");
    }
    let next = text.find('=').and_then(|at| text[..at].rfind(' '));
    let end = next.into_iter().chain(text.find("}:")).min();
    let (value, left) = text.split_at(end.unwrap_or(text.len()));
    (value.to_owned(), left)
}

#[test]
fn lines_have_levels_and_fields() {
    let line = Line::parse(
        "2026-01-01T00:00:00.0Z  WARN broadcast{name=a}:session{id=7 role=viewer}: aerial::x: \
         any words error=\"an \\\"odd\\\" end=no\" ports=Some([1, 2]) lost=3 error2=no such file: x",
    )
    .unwrap();
    assert_eq!((&*line.level, &*line.target), ("WARN", "aerial::x"));
    for (name, value) in [
        ("name", "a"),
        ("id", "7"),
        ("role", "viewer"),
        ("error", "an \"odd\" end=no"),
        ("ports", "Some([1, 2])"),
        ("lost", "3"),
        ("error2", "no such file: x"),
    ] {
        assert!(line.has(name, value), "{name}: {line:?}");
    }
    assert!(Line::parse("0:00:01.5 GStreamer-CRITICAL x=1").is_none());
}
