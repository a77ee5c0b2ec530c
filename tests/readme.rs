//! The README says what the code does.

use aerial::config::{self, Opt};

const README: &str = include_str!("../README.md");

fn row(option: &Opt) -> String {
    let default = Some(option.default).filter(|default| !default.is_empty());
    let default = default
        .map(|default| format!("`{default}`"))
        .unwrap_or_default();
    let range = option
        .range
        .map(|(min, max)| format!(" From {min} to {max}."));
    let (help, range) = (option.help.trim(), range.unwrap_or_default());
    format!("| `{}` | {default} | {help}{range} |", option.key)
}

#[test]
fn the_readme_lists_every_option_as_it_is() {
    let wanted: Vec<_> = config::all().map(row).collect();
    let (_, after) = README.split_once("| Key in `aerial.toml` |").unwrap();
    let listed: Vec<_> = after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(
        listed,
        wanted,
        "the table in README.md should be:\n{}\n",
        wanted.join("\n")
    );
}
