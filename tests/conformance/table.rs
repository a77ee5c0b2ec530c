//! The table of all rows: `docs/conformance.md` is made of `rows.txt` and of the tests' names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const ROWS: &str = include_str!("rows.txt");
const DOCUMENT: &str = "docs/conformance.md";
/// Set to anything, it makes the test write the document.
const REWRITE: &str = "CONFORMANCE_REWRITE";
const INTRODUCTION: &str = include_str!("introduction.md");
/// Levels that need a black-box test.
const BINDING: [&str; 4] = ["MUST", "MUST*", "MUST(c)", "POL"];

/// One line of `rows.txt`: id, level, source, text, and why there is no test or what it cannot
/// show.
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

    /// `W-97a` is `w_97a` in names.
    fn name(&self) -> String {
        self.id.replace('-', "_").to_lowercase()
    }

    /// Whether the remark says why the row is not met.
    fn is_open(&self) -> bool {
        ["open:", "not applicable:"]
            .iter()
            .any(|start| self.remark.starts_with(start))
    }
}

fn rows() -> Vec<Row<'static>> {
    ROWS.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Row::read)
        .collect()
}

/// The rows that the name of a test begins with: `w_25_to_w_28_e_09_created` stands for five.
fn named(test: &str) -> Vec<String> {
    let mut words = test.split('_').peekable();
    let mut found: Vec<String> = Vec::new();
    let mut from: Option<u32> = None;
    while let Some(word) = words.next() {
        match word {
            "w" | "e" => {
                let Some(number) = words.next_if(|number| is_number(number)) else {
                    break;
                };
                let row = format!("{word}_{number}");
                let between = from.take().map(|first| first + 1..number.parse().unwrap());
                found.extend(between.into_iter().flatten().map(|n| format!("{word}_{n}")));
                found.push(row);
            }
            "to" => {
                let Some((_, number)) = found.last().and_then(|last| last.split_once('_')) else {
                    break;
                };
                from = Some(number.parse().expect("ranges of whole numbers"));
            }
            _ => break,
        }
    }
    found
}

/// `35`, or `97a`.
fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    digits.len() >= 2 && text.len() - digits.len() < 2 && digits.parse::<u32>().is_ok()
}

/// The names of all tests below a folder.
fn tests(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
            if path.is_dir() && !hidden && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.extend(tests_in(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// The functions of a file that have the attribute `#[test]`.
fn tests_in(text: &str) -> Vec<String> {
    let mut is_test = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
        let name = line.trim_start_matches("async ").strip_prefix("fn ");
        if let Some((name, _)) = name.and_then(|rest| rest.split_once('(')) {
            if is_test {
                found.push(name.to_owned());
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
fn by_row(tests: &BTreeSet<String>) -> BTreeMap<String, Vec<&str>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for test in tests {
        for row in named(test) {
            found.entry(row).or_default().push(test.as_str());
        }
    }
    found
}

/// One line of the document.
fn line(row: &Row<'_>, tests: &[&str], units: &[&str]) -> String {
    let names = |tests: &[&str]| {
        let names = tests.iter().map(|test| format!("`{test}`"));
        names.collect::<Vec<_>>().join("<br>")
    };
    let result = match (row.remark, tests.is_empty() && units.is_empty()) {
        ("", true) => "no test",
        ("", false) => "tested",
        (remark, _) => remark,
    };
    let (black, unit) = (names(tests), names(units));
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
    let open = rows.iter().filter(|row| row.is_open() && is_binding(row));
    let tested = rows.iter().filter(|row| black.contains_key(&row.name()));
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
            let black = black.get(&row.name()).unwrap_or(&none);
            let unit = unit.get(&row.name()).unwrap_or(&none);
            text += &(line(row, black, unit) + "\n");
        }
    }
    text
}

fn is_binding(row: &Row<'_>) -> bool {
    BINDING.contains(&row.level)
}

#[test]
fn every_binding_row_has_a_test_or_a_reason() {
    let tests = tests("tests");
    let tests = by_row(&tests);
    let rows = rows();
    let missing: Vec<_> = rows
        .iter()
        .filter(|row| is_binding(row) && !row.is_open() && !tests.contains_key(&row.name()))
        .map(|row| row.id)
        .collect();
    assert!(missing.is_empty(), "no black-box test for {missing:?}");
    let known: BTreeSet<_> = rows.iter().map(Row::name).collect();
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
fn names_of_rows() {
    assert_eq!(
        named("w_25_to_w_27_e_09_created_exactly"),
        ["w_25", "w_26", "w_27", "e_09"]
    );
    assert_eq!(named("w_97a_w_97b_delete"), ["w_97a", "w_97b"]);
    assert_eq!(named("w_95c_if_match"), ["w_95c"]);
    assert!(named("words_with_w").is_empty());
    assert!(named("e_mail").is_empty());
    assert_eq!(
        tests_in("#[test]\nfn a() {\n}\nfn b() {}\n#[tokio::test]\nasync fn c() {}\n"),
        ["a", "c"]
    );
}
