//! Finds what is wrong with a pipeline file without running it.

mod elements;
mod links;

use std::fmt;

use gstreamer as gst;
use serde::{Deserialize, Serialize};

use super::{Error, PipelineRole, Variables, codec, expand, job, launch, lexer, sandbox::Sandbox};
use crate::media::Codec;

/// Something to fix before a file works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProblem {
    /// The file.
    pub file: String,
    /// The line, counted from 1, if the problem has one.
    pub line: Option<usize>,
    /// The problem, and how to fix it.
    pub text: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

/// A file to check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileCheck {
    /// The file.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The configured values of its variables.
    pub variables: Variables,
}

/// Everything that is wrong with a pipeline file's text. Variables that the server itself sets need
/// no value. Elements are created, but nothing is started: call it in a worker, and it may block.
pub fn check(file: &FileCheck) -> Vec<FileProblem> {
    let FileCheck {
        file,
        text,
        variables,
    } = file;
    let mut found = Findings {
        file,
        problems: Vec::new(),
    };
    let mut values = with_server_variables(variables);
    let without_value = expand::without_value(text, |name| values.value(name).is_some());
    let complete = without_value.is_empty();
    for (line, name) in without_value {
        let advice = format!(
            "variable {name} has no value: set {name} under the broadcast's vars, or write \
             ${{{name}:-default}}"
        );
        found.add(Some(line), advice);
        values = values.with(name, "0");
    }
    let declared = job::declared(text).unwrap_or_else(|error| {
        found.error(&error);
        Vec::new()
    });
    if let Err(error) = Sandbox::declared(text, &values) {
        found.error(&error);
    }
    let description = match values.expand(text) {
        Ok(description) => description,
        Err(error) => {
            found.error(&error);
            return found.sorted();
        }
    };
    let tokens = lexer::tokens(&description);
    let role = PipelineRole::of(&description)
        .map_err(|error| found.at(&tokens, &error))
        .ok();
    let unknown = elements::check(&tokens, &mut found);
    if unknown || !complete {
        return found.sorted(); // GStreamer would only repeat it
    }
    match launch::parse("check", &description) {
        Ok(pipeline) => {
            if let Some(role) = role {
                links::check(&pipeline, &role, &tokens, &mut found);
            }
            for adjustable in declared {
                if let Err(error) = adjustable.find(&pipeline) {
                    found.add(Some(adjustable.line), error.to_string());
                }
            }
        }
        Err(error) => found.at(&tokens, &error),
    }
    found.sorted()
}

/// Checks that this machine has every element that a text names. Element names must not contain
/// variables.
///
/// # Errors
/// [`Error::MissingElement`] for the first one that is missing.
pub fn has_elements(text: &str) -> Result<(), Error> {
    let description = Variables::default().expand(text)?;
    let tokens = lexer::tokens(&description);
    elements::named(&tokens).try_for_each(|name| known(name).map(drop))
}

/// The video codecs that an output can take; empty if it takes no video, or is wrong. Elements are
/// created, but nothing is started: call it in a worker.
pub fn video_codecs(file: &FileCheck) -> Vec<Codec> {
    job::video_codecs(&file.text, &with_server_variables(&file.variables))
}

/// Variables, with those that the server itself sets.
fn with_server_variables(variables: &Variables) -> Variables {
    let mut values = variables.clone();
    for (name, value) in server_variables() {
        if values.value(name).is_none() {
            values = values.with(name, value);
        }
    }
    values
}

/// The variables that the server sets for every pipeline; any value will do here.
fn server_variables() -> [(&'static str, &'static str); 3] {
    let parser = codec::elements(Codec::H264).parser_name();
    [
        ("name", "check"),
        ("time", "20260101T000000Z"),
        ("video_parser", parser),
    ]
}

/// The problems found so far.
struct Findings<'a> {
    file: &'a str,
    problems: Vec<FileProblem>,
}

impl Findings<'_> {
    fn sorted(mut self) -> Vec<FileProblem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    fn add(&mut self, line: Option<usize>, text: impl Into<String>) {
        let problem = FileProblem {
            file: self.file.to_owned(),
            line,
            text: text.into(),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds an error whose text may begin with its line.
    fn error(&mut self, error: &Error) {
        let text = error.to_string();
        let numbered = text.strip_prefix("line ").and_then(|rest| {
            let (line, rest) = rest.split_once(": ")?;
            Some((line.parse().ok()?, rest.to_owned()))
        });
        match numbered {
            Some((line, text)) => self.add(Some(line), text),
            None => self.add(None, text),
        }
    }

    /// Adds an error that quotes an element; its line is that of the last token it names.
    fn at(&mut self, tokens: &[lexer::LaunchToken], error: &Error) {
        let text = error.to_string();
        let text = text.strip_prefix("check: ").unwrap_or(&text);
        let named = |word: &str| {
            word.len() > 2
                && word.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.contains(word)
        };
        let line = tokens.iter().rev().find(|token| match &token.kind {
            lexer::TokenKind::Word(word) => named(word),
            lexer::TokenKind::Property(name, value) => {
                name == "name" && text.contains(&format!("name={value}"))
            }
        });
        self.add(line.map(|token| token.line), text);
    }
}

/// The factory of an element; the error names the package to install.
fn known(element: &str) -> Result<gst::ElementFactory, Error> {
    gst::ElementFactory::find(element).ok_or_else(|| super::elements::missing(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        crate::pipeline::init().unwrap();
        let found = check(&FileCheck {
            file: "x.launch".to_owned(),
            text: text.to_owned(),
            variables: Variables::default(),
        });
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_file_of_ours_is_without_fault() {
        crate::pipeline::init().unwrap();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // what has no default must come from the configuration
            let given = [
                ("url", "rtsp://127.0.0.1/x"),
                ("file", "/tmp/x.mp4"),
                ("picture", "/tmp/x.png"),
            ];
            let found = check(&FileCheck {
                file: path.display().to_string(),
                text: std::fs::read_to_string(&path).unwrap(),
                variables: given.into_iter().collect(),
            });
            assert_eq!(found, [], "{}", path.display());
            seen += 1;
        }
        assert!(seen > 15, "{seen}");
    }

    #[test]
    fn elements_that_this_machine_lacks() {
        crate::pipeline::init().unwrap();
        let has = |text| has_elements(text).map_err(|error| error.to_string());
        assert_eq!(
            has("videotestsrc ! x264enc tune=4 ! appsink name=video"),
            Ok(())
        );
        let lacks = has("appsrc name=video ! decodebin ! nvh264enc ! appsink name=video_x");
        assert!(lacks.unwrap_err().contains("gstreamer1.0-plugins-bad"));
    }

    #[test]
    fn all_problems_are_named_with_their_lines() {
        let text = "# a comment\nvideotestsrc patern=ball ! x264encc\n  ! appsink name=video\n\
                    audiotestsrc freq=${tone} ! opusenc bitrate=fast ! appsink name=sound\n";
        let found = problems(text);
        assert_eq!(found.len(), 5, "{found:#?}");
        let expected = [
            ("x.launch:2: videotestsrc ", "patern"),
            ("x.launch:2: ", "x264encc"),
            ("x.launch:4: variable tone ", "${tone:-default}"),
            ("x.launch:4: ", "appsink name=sound"),
            ("x.launch:4: opusenc: bitrate ", "fast"),
        ];
        for (beginning, part) in expected {
            let fits = |error: &String| error.starts_with(beginning) && error.contains(part);
            assert!(found.iter().any(fits), "{beginning} {found:#?}");
        }
    }

    #[test]
    fn media_that_does_not_fit_is_found() {
        let raw = problems("videotestsrc is-live=true\n ! appsink name=video");
        assert!(
            raw[0].starts_with("x.launch:2: ") && raw[0].contains("encoder"),
            "{raw:?}"
        );
        let kind = problems("audiotestsrc ! opusenc ! appsink name=video");
        assert!(
            kind.len() == 1 && kind[0].contains("appsink name=video"),
            "{kind:?}"
        );
        let undecoded = problems("appsrc name=video ! videoscale ! jpegenc ! filesink location=x");
        assert!(undecoded[0].contains("decodebin"), "{undecoded:?}");
        let caps = problems("videotestsrc ! audioconvert ! opusenc ! appsink name=audio");
        assert!(caps[0].contains("videotestsrc"), "{caps:?}");
        assert!(
            problems("appsrc name=audio ! opusparse ! oggmux ! filesink location=x").is_empty()
        );
    }

    #[test]
    fn roles_and_declarations_are_checked() {
        let found = problems(
            "# adjustable: enc.bitrat (1..2)\nvideotestsrc ! x264enc name=enc\n ! fakesink",
        );
        assert!(found[0].contains("appsink"), "{found:?}");
        assert!(
            found[1].starts_with("x.launch:1: enc ") && found[1].contains("bitrat"),
            "{found:?}"
        );
    }
}
