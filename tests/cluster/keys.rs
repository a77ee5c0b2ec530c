//! Certificates and a user's key for NATS, in a folder that goes with them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::machines::address;

/// A user of the documentation of NATS.
pub(super) const USER: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
/// The seed of its key.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// Machines that the certificate is good for, beside this one.
const MACHINES_MAX: u8 = 3;

/// An authority, the certificate of its servers, and the seed of a user.
pub(super) struct Keys {
    folder: PathBuf,
}

impl Keys {
    pub(super) fn new() -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let name = format!("nats-keys-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("user.nk"), SEED).unwrap();
        let names: Vec<_> = (1..=MACHINES_MAX)
            .map(|number| format!("IP:{}", address(number)))
            .collect();
        let names = format!("subjectAltName=IP:127.0.0.1,{}\n", names.join(","));
        fs::write(folder.join("names"), names).unwrap();
        let keys = Self { folder };
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        keys.openssl(&format!(
            "req -x509 {new_key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
        ));
        keys.openssl(&format!(
            "req {new_key} -subj /CN=nats -keyout nats.key -out nats.csr"
        ));
        keys.openssl(
            "x509 -req -in nats.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out nats.pem",
        );
        keys
    }

    fn openssl(&self, arguments: &str) {
        let made = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().unwrap().to_owned()
    }

    /// What the server's configuration says of them.
    pub(super) fn nats(&self) -> String {
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n{}",
            self.path("nats.pem"),
            self.path("nats.key"),
            permissions()
        )
    }

    /// The options of a node: its user's key, and the authority.
    pub(super) fn arguments(&self) -> [String; 4] {
        [
            "--cluster.credentials".to_owned(),
            self.path("user.nk"),
            "--cluster.ca".to_owned(),
            self.path("ca.pem"),
        ]
    }
}

/// What the documentation allows a user to do; here all nodes are one user.
fn permissions() -> String {
    let document = include_str!("../../docs/cluster.md");
    let (_, rest) = document.split_once("```nats-permissions\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    assert!(block.contains(USER) && block.contains("node-1"), "{block}");
    block.replace("node-1", "*")
}

impl Drop for Keys {
    fn drop(&mut self) {
        // Err: the build folder keeps it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
