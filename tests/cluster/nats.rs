//! NATS servers for tests.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::support::{free_port, wait_for};

/// A NATS server, killed when it is dropped.
pub(super) struct Nats {
    child: Option<Child>,
    config: PathBuf,
    pub(super) port: u16,
}

impl Nats {
    /// One server on its own; `more` goes into its configuration.
    pub(super) fn alone(more: &str) -> Self {
        Self::start(free_port(), more)
    }

    /// Three servers that are one cluster.
    pub(super) fn three() -> [Self; 3] {
        let routes = [free_port(), free_port(), free_port()];
        let urls = routes.map(|port| format!("nats://127.0.0.1:{port}"));
        let start = |route: u16| {
            let cluster = format!(
                "cluster {{ name: aerial, listen: \"127.0.0.1:{route}\", routes: [{}] }}",
                urls.join(", ")
            );
            Self::start(free_port(), &cluster)
        };
        routes.map(start)
    }

    fn start(port: u16, more: &str) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let name = format!("nats-{}-{number}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name);
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nserver_name: {name}\nmax_payload: 1MB\n\
             jetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 64MB }}\n\
             no_fast_producer_stall: true\nwrite_deadline: \"2s\"\nping_interval: \"1s\"\n\
             ping_max: 2\n{more}\n",
            folder.display()
        );
        fs::write(&config, text).unwrap();
        let mut nats = Self {
            child: None,
            config,
            port,
        };
        nats.again();
        nats
    }

    /// Starts it again, with what it has stored.
    pub(super) fn again(&mut self) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.venv/bin/nats-server");
        let child = Command::new(program)
            .arg("-c")
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("`.ci/setup test` installs nats-server"));
        let address = ("127.0.0.1", self.port);
        wait_for("NATS server", || std::net::TcpStream::connect(address).ok());
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
        if let Some(folder) = self.config.parent() {
            // Otherwise the build folder keeps it.
            let _ = fs::remove_dir_all(folder);
        }
    }
}
