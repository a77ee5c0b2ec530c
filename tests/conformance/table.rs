//! The table of all rows: `docs/conformance.md` is generated from `rows.txt` and the rows listed
//! above tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const ROWS: &str = include_str!("rows.txt");
const DOCUMENT: &str = "docs/conformance.md";
/// If set, the test writes the document.
const REWRITE: &str = "CONFORMANCE_REWRITE";
const INTRODUCTION: &str = include_str!("introduction.md");
/// Levels that need a black-box test.
const BINDING: [&str; 4] = ["MUST", "MUST*", "MUST(c)", "POL"];

/// One line of `rows.txt`: id, level, source, text, and a remark that says why there is no test or
/// what it cannot show.
struct Row<'a> {
    id: &'a str,
    level: &'a str,
    source: &'a str,
    text: &'a str,
    remark: &'a str,
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Self {
        let parts: Vec<_> = line.split('|').map(str::trim).collect();
        let [id, level, source, text, remark] = parts[..] else {
            panic!("five parts in {line}");
        };
        Self {
            id,
            level,
            source,
            text,
            remark,
        }
    }

    /// Whether the remark says why the row is not met.
    fn is_open(&self) -> bool {
        ["open:", "not applicable:"]
            .iter()
            .any(|start| self.remark.starts_with(start))
    }

    fn is_binding(&self) -> bool {
        BINDING.contains(&self.level)
    }
}

fn rows() -> Vec<Row<'static>> {
    ROWS.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Row::read)
        .collect()
}

/// A test that covers rows.
struct Test {
    /// As `cargo test` takes it.
    name: String,
    /// Their ids.
    rows: Vec<String>,
}

/// The rows in a comment above a test: `Rows W-25 to W-28, E-09.` stands for five.
fn listed(comment: &str) -> Option<Vec<String>> {
    let list = comment
        .strip_prefix("/// Rows ")
        .or_else(|| comment.strip_prefix("/// Row "))?;
    let list = list.trim_end_matches('.').split(", ");
    Some(list.flat_map(range).collect())
}

/// `W-97a` is one row; `W-25 to W-28` are four.
fn range(text: &str) -> Vec<String> {
    let Some((first, last)) = text.split_once(" to ") else {
        return vec![text.to_owned()];
    };
    let split = |id: &str| {
        let (prefix, number) = id.split_once('-').expect("a row, such as W-25");
        (prefix.to_owned(), number.parse::<u32>().unwrap())
    };
    let ((prefix, first), (_, last)) = (split(first), split(last));
    let id = |number| format!("{prefix}-{number:02}");
    (first..=last).map(id).collect()
}

/// The tests below a folder that cover rows, in the order of their names.
fn tests(folder: &str) -> Vec<Test> {
    let top = root().join(folder);
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
            if path.is_dir() && !hidden && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.strip_prefix(&top).unwrap().with_extension("");
                let module = module.to_str().unwrap().replace('/', "::");
                let module = module.trim_end_matches("::mod");
                found.extend(tests_in(&fs::read_to_string(&path).unwrap(), module));
            }
        }
    }
    found.sort_by(|one: &Test, other| one.name.cmp(&other.name));
    found
}

/// The functions of a module that have the attribute `#[test]` and rows above it.
fn tests_in(text: &str, module: &str) -> Vec<Test> {
    let (mut is_test, mut rows) = (false, None);
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
        rows = listed(line).or(rows);
        let name = line.trim_start_matches("async ").strip_prefix("fn ");
        if let Some((name, _)) = name.and_then(|rest| rest.split_once('(')) {
            if let Some(rows) = rows.take() {
                assert!(is_test, "{module}::{name} has rows and is no test");
                let name = format!("{module}::{name}");
                found.push(Test { name, rows });
            }
            is_test = false;
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of the tests of each row.
fn by_row(tests: &[Test]) -> BTreeMap<&str, Vec<&str>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for test in tests {
        for row in &test.rows {
            found
                .entry(row.as_str())
                .or_default()
                .push(test.name.as_str());
        }
    }
    found
}

/// One line of the document.
fn line(row: &Row<'_>, tests: &[&str], units: &[&str]) -> String {
    let names = |tests: &[&str]| {
        tests
            .iter()
            .map(|test| format!("`{test}`"))
            .collect::<Vec<_>>()
            .join("<br>")
    };
    // Without the module, which may move.
    let units: Vec<_> = units
        .iter()
        .filter_map(|test| test.rsplit("::").next())
        .collect();
    let result = match (row.remark, tests.is_empty() && units.is_empty()) {
        ("", true) => "no test",
        ("", false) => "tested",
        (remark, _) => remark,
    };
    let (black, unit) = (names(tests), names(&units));
    let tests = match (black.is_empty(), unit.is_empty()) {
        (_, true) => black,
        (true, false) => format!("unit: {unit}"),
        (false, false) => format!("{black}<br>unit: {unit}"),
    };
    format!(
        "| {} | {} | {} | {} | {tests} | {result} |",
        row.id, row.level, row.text, row.source
    )
}

fn document() -> String {
    let (black, unit) = (tests("tests"), tests("src"));
    let (black, unit) = (by_row(&black), by_row(&unit));
    let mut text = INTRODUCTION.to_owned();
    let rows = rows();
    let open = rows.iter().filter(|row| row.is_open() && row.is_binding());
    let tested = rows.iter().filter(|row| black.contains_key(row.id));
    let (open, tested) = (open.count(), tested.count());
    writeln!(
        text,
        "\n{} rows: {tested} with black-box tests; {open} binding ones are open or not applicable.",
        rows.len()
    )
    .unwrap();
    for (prefix, title) in [("W-", "WHIP"), ("E-", "WHEP")] {
        write!(
            text,
            "\n## {title}\n\n| Row | Level | What | Source | Tests | Result |\n|---|---|---|---|---|---|\n"
        )
        .unwrap();
        for row in rows.iter().filter(|row| row.id.starts_with(prefix)) {
            let none = Vec::new();
            let black = black.get(row.id).unwrap_or(&none);
            let unit = unit.get(row.id).unwrap_or(&none);
            text += &(line(row, black, unit) + "\n");
        }
    }
    text
}

#[test]
fn every_binding_row_has_a_test_or_a_reason() {
    let tests = tests("tests");
    let tests = by_row(&tests);
    let rows = rows();
    let missing: Vec<_> = rows
        .iter()
        .filter(|row| row.is_binding() && !row.is_open() && !tests.contains_key(row.id))
        .map(|row| row.id)
        .collect();
    assert!(missing.is_empty(), "no black-box test for {missing:?}");
    let known: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(known.len(), rows.len(), "a row is there twice");
    let unknown: Vec<_> = tests.keys().filter(|row| !known.contains(*row)).collect();
    assert!(
        unknown.is_empty(),
        "tests for rows that do not exist: {unknown:?}"
    );
}

#[test]
fn the_document_is_fresh() {
    let (path, wanted): (PathBuf, _) = (root().join(DOCUMENT), document());
    if std::env::var_os(REWRITE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{DOCUMENT} is stale: run `{REWRITE}=1 .ci/cargo test the_document_is_fresh`"
    );
}

#[test]
fn rows_are_read_from_comments() {
    assert_eq!(
        listed("/// Rows W-25 to W-27, E-09.").unwrap(),
        ["W-25", "W-26", "W-27", "E-09"]
    );
    assert_eq!(listed("/// Row W-97a.").unwrap(), ["W-97a"]);
    assert_eq!(listed("/// Something else."), None);
    let text = "/// Row W-01.\n#[test]\nfn a() {\n}\nfn b() {}\n#[tokio::test]\nasync fn c() {}\n";
    let found = tests_in(text, "x");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), &*found[0].rows[0]),
        ("x::a", "W-01")
    );
}
