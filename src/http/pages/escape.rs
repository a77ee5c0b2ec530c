//! Text in HTML.

/// Text in an attribute: the host in a request may be anything.
pub(in crate::http) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
