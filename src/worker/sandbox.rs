//! Confines a worker to the files that its pipeline declares, by Landlock. What it starts inherits that,
//! and neither it nor they can undo it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use crate::pipeline::{
    Error,
    sandbox::{Sandbox, SandboxPath, SandboxState},
};

/// The newest version whose rules are asked for; older kernels enforce what they know.
const VERSION: ABI = ABI::V6;

/// What every pipeline may read: programs, libraries, plugins, fonts, certificates, how names are
/// resolved, and what the kernel says. Of other processes it says little to a confined one.
const SYSTEM: [&str; 33] = [
    "/bin",
    "/etc/OpenCL",
    "/etc/alsa",
    "/etc/asound.conf",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/pulse",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/etc/vulkan",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
    "/var/cache/fontconfig",
];
/// Devices without content of their own.
const DEVICES: [&str; 5] = [
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];
/// Variables of the environment that name files and folders which libraries read, separated by colons.
const VARIABLES: [&str; 17] = [
    "FONTCONFIG_FILE",
    "FONTCONFIG_PATH",
    "FREI0R_PATH",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_PATH_1_0",
    "GST_PLUGIN_SCANNER",
    "GST_PLUGIN_SCANNER_1_0",
    "GST_PLUGIN_SYSTEM_PATH",
    "GST_PLUGIN_SYSTEM_PATH_1_0",
    "GST_REGISTRY",
    "GST_REGISTRY_1_0",
    "LD_LIBRARY_PATH",
    "LIBVA_DRIVERS_PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];
/// Folders of the user: the variable that names where they are, where they are without it, and which.
const FOLDERS: [(&str, &str, &str); 4] = [
    ("XDG_CACHE_HOME", ".cache", "gstreamer-1.0"),
    ("XDG_CACHE_HOME", ".cache", "fontconfig"),
    ("XDG_DATA_HOME", ".local/share", "gstreamer-1.0"),
    ("XDG_DATA_HOME", ".local/share", "fonts"),
];

/// What this kernel can enforce.
pub fn support() -> SandboxState {
    let can = |version| {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        rules(ruleset, version).and_then(Ruleset::create).is_ok()
    };
    match (can(VERSION), can(ABI::V1)) {
        (true, _) => SandboxState::Enforced,
        (false, true) => SandboxState::Partial,
        (false, false) => SandboxState::Unavailable,
    }
}

/// Confines this thread, and what it starts from now on. Call it before any thread is started.
///
/// # Errors
/// If a declared path does not exist, or the kernel refuses.
pub(super) fn enter(sandbox: &Sandbox) -> Result<SandboxState, Error> {
    Ok(match confine(sandbox)?.ruleset {
        RulesetStatus::FullyEnforced => SandboxState::Enforced,
        RulesetStatus::PartiallyEnforced => SandboxState::Partial,
        RulesetStatus::NotEnforced => SandboxState::Unavailable,
    })
}

fn confine(sandbox: &Sandbox) -> Result<RestrictionStatus, Error> {
    let refused = |error: RulesetError| Error::Failed(format!("sandbox: {error}"));
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    let kinds = AccessFs::MakeChar | AccessFs::MakeBlock;
    let write = AccessFs::from_all(VERSION) & !(kinds | AccessFs::Execute);
    let ruleset = rules(Ruleset::default(), VERSION)
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(SYSTEM, run)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(named(), run)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(DEVICES, write)))
        .map_err(refused)?;
    let ruleset = allow(ruleset, &sandbox.read, read)?;
    let ruleset = allow(ruleset, &sandbox.write, write)?;
    ruleset.restrict_self().map_err(refused)
}

/// Forbids everything that no rule allows.
fn rules(ruleset: Ruleset, version: ABI) -> Result<Ruleset, RulesetError> {
    let ruleset = ruleset.handle_access(AccessFs::from_all(version))?;
    if version < ABI::V6 {
        return Ok(ruleset);
    }
    ruleset.scope(Scope::Signal)
}

/// Adds paths that have to be there.
fn allow(
    ruleset: RulesetCreated,
    declared: &[SandboxPath],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Error> {
    for SandboxPath { path, line } in declared {
        // The path itself may come from a variable, whose value is not shown.
        let missing = |error| Error::Text(format!("line {line}: sandbox: {error}"));
        fs::metadata(path).map_err(missing)?;
    }
    let paths = declared.iter().map(|declared| &declared.path);
    let added = ruleset.add_rules(path_beneath_rules(paths, access));
    added.map_err(|error: RulesetError| Error::Failed(format!("sandbox: {error}")))
}

/// The paths that the environment names.
fn named() -> Vec<PathBuf> {
    let mut paths: Vec<_> = VARIABLES
        .into_iter()
        .filter_map(env::var_os)
        .flat_map(|value| env::split_paths(&value).collect::<Vec<_>>())
        .collect();
    let home = env::var_os("HOME").map(PathBuf::from);
    for (variable, usual, folder) in FOLDERS {
        let parent = env::var_os(variable).map(PathBuf::from);
        let parent = parent.or_else(|| Some(home.as_ref()?.join(usual)));
        paths.extend(parent.map(|parent| parent.join(folder)));
    }
    // An empty or relative one would be the working directory.
    paths.retain(|path| path.is_absolute() && path != Path::new("/"));
    paths
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    fn declared(path: PathBuf) -> SandboxPath {
        SandboxPath { path, line: 7 }
    }

    /// What a confined thread, and a process that it starts, may do with files of these folders.
    fn attempts(folder: &Path, sandbox: &Sandbox) -> Vec<(String, bool)> {
        let cat = |path: &Path| {
            let output = Command::new("cat").arg(path).output();
            output.is_ok_and(|output| output.status.success())
        };
        let folder = folder.to_owned();
        let sandbox = sandbox.clone();
        let work = move || {
            assert_eq!(enter(&sandbox).unwrap(), support());
            let mut done = Vec::new();
            for name in ["read", "write", "other"] {
                let file = folder.join(name).join("file");
                let new = folder.join(name).join("new");
                done.push((format!("{name}: read"), fs::read(&file).is_ok()));
                done.push((format!("{name}: child"), cat(&file)));
                done.push((format!("{name}: write"), fs::write(&file, "x").is_ok()));
                done.push((format!("{name}: make"), fs::write(&new, "x").is_ok()));
            }
            done
        };
        thread::Builder::new().spawn(work).unwrap().join().unwrap()
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "it says that it was skipped")]
    fn a_confined_worker_and_its_children_use_only_what_is_declared() {
        if support() == SandboxState::Unavailable {
            println!("skipped: this kernel has no Landlock");
            return;
        }
        let folder = env::temp_dir().join(format!("aerial-sandbox-{}", std::process::id()));
        for name in ["read", "write", "other"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("file"), "x").unwrap();
        }
        let sandbox = Sandbox {
            read: vec![declared(folder.join("read"))],
            write: vec![declared(folder.join("write"))],
        };
        let done = attempts(&folder, &sandbox);
        let allowed = done.iter().filter(|(_, done)| *done);
        let allowed: Vec<_> = allowed.map(|(what, _)| what.as_str()).collect();
        let expected = [
            "read: read",
            "read: child",
            "write: read",
            "write: child",
            "write: write",
            "write: make",
        ];
        assert_eq!(allowed, expected);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_declared_path_has_to_be_there() {
        let sandbox = Sandbox {
            read: vec![declared("/no/such/folder".into())],
            ..Sandbox::default()
        };
        let work = move || enter(&sandbox);
        let refused = thread::Builder::new().spawn(work).unwrap().join().unwrap();
        let refused = refused.unwrap_err().to_string();
        assert!(refused.starts_with("line 7: sandbox: "), "{refused}");
    }
}
