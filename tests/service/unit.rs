//! The files of the package that systemd and the kernel read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{aerial, output};

/// The worst exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE_MAX: &str = "25";

fn packaging(file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(".packaging").join(file)
}

/// A copy of the units that runs the built program.
fn units() -> (PathBuf, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("units");
    fs::create_dir_all(&folder).unwrap();
    let (service, socket) = (folder.join("aerial.service"), folder.join("aerial.socket"));
    let text = fs::read_to_string(packaging("aerial.service")).unwrap();
    let program = aerial(&[]).get_program().to_str().unwrap().to_owned();
    assert!(text.contains("=/usr/bin/aerial "));
    fs::write(&service, text.replace("/usr/bin/aerial", &program)).unwrap();
    fs::copy(packaging("socket/aerial.socket"), &socket).unwrap();
    (service, socket)
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let (service, socket) = units();
    let mut command = Command::new("systemd-analyze");
    command
        .args(["verify", "--man=no"])
        .arg(service)
        .arg(socket);
    let done = output(command);
    let complaints = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[test]
fn the_unit_exposes_little() {
    let (service, _) = units();
    let mut command = Command::new("systemd-analyze");
    command
        .args(["security", "--offline=true", "--no-pager"])
        .args(["--threshold", EXPOSURE_MAX])
        .arg(service);
    let done = output(command);
    let found = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{found}");
}

#[test]
fn the_kernel_knows_every_setting() {
    let text = fs::read_to_string(packaging("90-aerial.conf")).unwrap();
    let settings = text.lines().filter_map(|line| line.split_once(" = "));
    let mut count = 0;
    for (name, value) in settings {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        assert!(value.parse::<u64>().is_ok(), "{name}");
        // A network namespace hides what belongs to the whole machine.
        assert!(path.exists() || name.starts_with("net.core."), "{name}");
        count += 1;
    }
    assert!(count >= 4, "{text}");
}
