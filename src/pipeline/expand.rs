//! Pipeline files: `#` comment lines and `${variables}`.
//!
//! A value always remains one value: whatever it contains, it cannot end the string around it, or
//! add a property or an element. (GStreamer itself removes a pair of quotation marks from a value
//! that begins and ends with one.)

use super::Error;

/// Longest pipeline text, in bytes, with its variables filled in.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const UNCLOSED: &str = "${ without }";

/// Fills in `${variable}` and `${variable:-default}` and blanks out comment lines, whose first
/// character is `#`. Line numbers stay as they are.
///
/// # Errors
/// [`Error::Text`] with the line: a variable without value or default, a `${` without its `}`, a
/// value with a control character, text that is too long.
pub fn expand<'a>(text: &'a str, value: impl Fn(&str) -> Option<&'a str>) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    for (index, line) in text.lines().enumerate() {
        if !line.trim_start().starts_with('#') {
            let failed = |reason: String| Error::Text(format!("line {}: {reason}", index + 1));
            expand_line(line, &mut quote, &value, &mut out).map_err(failed)?;
        }
        out.push('\n');
        if out.len() > TEXT_BYTES_MAX {
            return Err(Error::Text(format!("longer than {TEXT_BYTES_MAX} bytes")));
        }
    }
    Ok(out)
}

/// The variables that are not set and have no default, each with the line of its first use.
pub(crate) fn without_value(text: &str, is_set: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let lines = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim_start().starts_with('#'));
    for (line, number) in lines {
        for variable in line
            .split("${")
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
        {
            let name = variable.0;
            let known = name.contains(":-") || is_set(name);
            if !known && !found.iter().any(|(_, found)| found == name) {
                found.push((number, name.to_owned()));
            }
        }
    }
    found
}

/// `quote` is the quotation mark that is open before the line, and then after it.
fn expand_line<'a>(
    line: &'a str,
    quote: &mut Option<char>,
    value: &impl Fn(&str) -> Option<&'a str>,
    out: &mut String,
) -> Result<(), String> {
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix("${") {
            let (variable, tail) = inside.split_once('}').ok_or(UNCLOSED)?;
            insert(variable, *quote, value, out)?;
            rest = tail;
            continue;
        }
        let mut taken = c.len_utf8();
        match (c, *quote) {
            ('\\', _) => taken += rest.chars().nth(1).map_or(0, char::len_utf8),
            ('"' | '\'', None) => *quote = Some(c),
            (_, Some(open)) if open == c => *quote = None,
            _ => {}
        }
        let (text, tail) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        out.push_str(text);
        rest = tail;
    }
    Ok(())
}

/// The replacement of `${variable}`.
fn value_of<'a>(
    variable: &'a str,
    value: &impl Fn(&str) -> Option<&'a str>,
) -> Result<&'a str, String> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Err(format!(
            "${{{name}}} is not a variable: letters, digits and _ only"
        ));
    }
    let text = value(name).or(default);
    let text = text.ok_or_else(|| format!("variable {name} has no value and no default"))?;
    if text.chars().any(char::is_control) {
        return Err(format!("the value of {name} has a control character"));
    }
    Ok(text)
}

fn insert<'a>(
    variable: &'a str,
    quote: Option<char>,
    value: &impl Fn(&str) -> Option<&'a str>,
    out: &mut String,
) -> Result<(), String> {
    let text = value_of(variable, value)?;
    if quote.is_some() && text.ends_with('\\') {
        let name = variable.split(":-").next().unwrap_or(variable);
        return Err(format!(
            "the value of {name} ends with a backslash, inside quotation marks"
        ));
    }
    escape(text, quote.is_some(), out);
    Ok(())
}

/// Fills in variables where nothing has to be escaped.
///
/// # Errors
/// As [`expand`], without the line.
pub(super) fn expand_plain<'a>(
    text: &'a str,
    value: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("${") {
        let (variable, tail) = inside.split_once('}').ok_or(UNCLOSED)?;
        out.push_str(before);
        out.push_str(value_of(variable, &value)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Writes a value so that gst-launch reads it back: a backslash makes the next character literal.
fn escape(text: &str, quoted: bool, out: &mut String) {
    const PLAIN: &str = "_-+./:%@";
    if text.is_empty() && !quoted {
        out.push_str("\"\"");
    }
    for c in text.chars() {
        let plain = if quoted {
            !matches!(c, '"' | '\'' | '\\')
        } else {
            c.is_alphanumeric() || PLAIN.contains(c)
        };
        if !plain {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::prelude::*;
    use gstreamer as gst;

    fn filled(text: &str, x: &str) -> Result<String, String> {
        expand(text, |name| (name == "x").then_some(x)).map_err(|error| error.to_string())
    }

    #[test]
    fn comments_and_defaults() {
        let text = "# ${unknown}\n  # more\na width=${w:-1280} ! b name=${x}\n";
        assert_eq!(
            filled(text, "me").unwrap(),
            "\n\na width=1280 ! b name=me\n"
        );
        assert_eq!(filled("a ${x:-1}", "2").unwrap(), "a 2\n");
        assert_eq!(filled("a=${y:-}", "").unwrap(), "a=\"\"\n");
    }

    #[test]
    fn mistakes_name_the_line_and_the_variable() {
        for (text, value, named) in [
            ("a\nb=${y}", "", "line 2: variable y "),
            ("a=${x", "", "line 1: "),
            ("a=${x y}", "", "${x y}"),
            ("a=${x}", "1\n2", "value of x "),
            ("a=\"${x}\"", "1\\", "x"),
        ] {
            let mistake = filled(text, value).unwrap_err();
            assert!(mistake.contains(named), "{text}: {mistake}");
        }
        let long = "a".repeat(TEXT_BYTES_MAX + 1);
        let mistake = filled(&long, "").unwrap_err();
        assert!(mistake.contains(&TEXT_BYTES_MAX.to_string()), "{mistake}");
    }

    /// Each value comes out of GStreamer's own parser as it went in, and adds no element.
    #[test]
    fn values_stay_values() {
        gst::init().unwrap();
        let values = [
            "plain",
            "with space",
            "a ! fakesink name=evil",
            "\"half quoted",
            "it's",
            "back\\slash",
            "\\\"mixed\\\" \"",
            "name=x location=\"/etc/passwd\"",
            "rtsp://user:pa%20ss@host:554/path?a=b&c=d#e",
            "(bin) { } [ ] ; , . $ # ~ * |",
            "uml\u{e4}ut \u{1f600}",
            "' ! fakesink '",
        ];
        let templates = [
            "filesrc name=f location=${x} ! fakesink",
            "filesrc name=f location=\"${x}\" ! fakesink",
        ];
        for template in templates {
            for value in values {
                let description = filled(template, value).unwrap();
                let pipeline = crate::pipeline::launch::parse("test", &description).unwrap();
                let source = pipeline.by_name("f").unwrap();
                assert_eq!(
                    source.property::<String>("location"),
                    value,
                    "{description}"
                );
                assert_eq!(
                    pipeline.iterate_elements().into_iter().count(),
                    2,
                    "{description}"
                );
            }
        }
    }

    #[test]
    fn numbers_in_caps_stay_numbers() {
        gst::init().unwrap();
        let text = "videotestsrc ! video/x-raw,width=${x},framerate=${r:-30/1} ! fakesink";
        let description = filled(text, "1280").unwrap();
        crate::pipeline::launch::parse("test", &description).unwrap();
        assert!(description.contains("width=1280,framerate=30/1"));
    }
}
