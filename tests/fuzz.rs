//! The checks of the fuzz targets, over their corpus and a fixed number of damaged inputs.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::{fs, path::Path};

use crate::support::damage::{self, Random};

/// Damaged inputs of each file.
const DAMAGED: usize = 300;

/// Runs a check over the files of some folders.
fn run(folders: &[&str], damaged: usize, check: fn(&[u8])) {
    let mut random = Random(0x00f0_22ed);
    let mut files = 0;
    for folder in folders {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(folder).unwrap() {
            let content = fs::read(entry.unwrap().path()).unwrap();
            files += 1;
            check(&content);
            for number in 0..damaged {
                match std::str::from_utf8(&content) {
                    Ok(text) if number % 2 == 0 => check(&damage::text(text, &mut random)),
                    _ => check(&damage::bytes(&content, &mut random)),
                }
            }
        }
    }
    assert!(files > 2, "{files} files");
    for length in 0..damaged {
        check(&random.bytes(length));
    }
}

#[test]
fn offers() {
    run(
        &["tests/fixtures", "fuzz/corpus/offer"],
        DAMAGED,
        checks::offer,
    );
}

#[test]
fn fragments() {
    run(&["fuzz/corpus/fragment"], DAMAGED, checks::fragment);
}

#[test]
fn rtp() {
    run(&["fuzz/corpus/rtp"], DAMAGED, checks::rtp);
}

#[test]
fn datagrams() {
    run(&["fuzz/corpus/datagrams"], DAMAGED / 10, checks::datagrams);
}

#[test]
fn switcher() {
    run(&["fuzz/corpus/switcher"], 10 * DAMAGED, checks::switcher);
}
