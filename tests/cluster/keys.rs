//! Certificates and a user's key for NATS, in a folder that goes with them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A user of the documentation of NATS.
pub(super) const USER: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
/// The seed of its key.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// An authority, the certificate of a server at 127.0.0.1, and the seed of a user.
pub(super) struct Keys {
    folder: PathBuf,
}

impl Keys {
    pub(super) fn new() -> Self {
        let name = format!("nats-keys-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("user.nk"), SEED).unwrap();
        fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
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
            "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n\
             authorization {{ users: [{{ nkey: {USER} }}] }}",
            self.path("nats.pem"),
            self.path("nats.key")
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

impl Drop for Keys {
    fn drop(&mut self) {
        // Err: the build folder keeps it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
