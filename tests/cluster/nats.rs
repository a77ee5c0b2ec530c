//! NATS servers for tests.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::machines::Machine;
use crate::support::{free_port, wait_for};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.venv/bin/nats-server");
/// Ports on machines of their own.
const CLIENTS: u16 = 4222;
const ROUTES: u16 = 6222;

/// A NATS server, killed when it is dropped.
pub(super) struct Nats {
    child: Option<Child>,
    command: Command,
    folder: PathBuf,
    pub(super) address: SocketAddr,
}

impl Nats {
    /// One server on its own; `more` goes into its configuration.
    pub(super) fn alone(more: &str) -> Self {
        Self::start(here(free_port()), more, Command::new(PROGRAM))
    }

    /// Three servers that are one cluster.
    pub(super) fn three() -> [Self; 3] {
        let routes = [free_port(), free_port(), free_port()].map(here);
        routes.map(|route| {
            let more = cluster(route, &routes);
            Self::start(here(free_port()), &more, Command::new(PROGRAM))
        })
    }

    /// A server on each of these machines, all of them one cluster; `more` goes into their
    /// configuration.
    pub(super) fn on<const MACHINES: usize>(
        machines: &[Machine; MACHINES],
        more: &str,
    ) -> [Self; MACHINES] {
        let at = |machine: &Machine, port| SocketAddr::from((machine.address, port));
        let routes = machines.each_ref().map(|machine| at(machine, ROUTES));
        machines.each_ref().map(|machine| {
            let routes = cluster(at(machine, ROUTES), &routes);
            let more = format!("{routes}\n{more}");
            Self::start(at(machine, CLIENTS), &more, machine.command(PROGRAM))
        })
    }

    fn start(address: SocketAddr, more: &str, command: Command) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let name = format!("nats-{}-{number}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name);
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("nats.conf");
        let text = format!(
            "listen: \"{address}\"\nserver_name: {name}\nmax_payload: 1MB\n\
             jetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 64MB }}\n\
             no_fast_producer_stall: true\nwrite_deadline: \"2s\"\nping_interval: \"1s\"\n\
             ping_max: 2\n{more}\n",
            folder.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = command;
        command.arg("-c").arg(&config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut nats = Self {
            child: None,
            command,
            folder,
            address,
        };
        nats.again();
        nats
    }

    /// Starts it again, with what it has stored.
    pub(super) fn again(&mut self) {
        let child = self.command.spawn();
        self.child = Some(child.expect("`.ci/setup test` installs nats-server"));
        let address = self.address;
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
        // Otherwise the build folder keeps it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn here(port: u16) -> SocketAddr {
    (IpAddr::from(Ipv4Addr::LOCALHOST), port).into()
}

/// One server of a cluster. Its clients are not told of the others: the tests choose.
fn cluster(listen: SocketAddr, routes: &[SocketAddr]) -> String {
    let routes: Vec<_> = routes
        .iter()
        .map(|route| format!("nats://{route}"))
        .collect();
    format!(
        "cluster {{ name: aerial, no_advertise: true, listen: \"{listen}\", routes: [{}] }}",
        routes.join(", ")
    )
}
