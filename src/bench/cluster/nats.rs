//! The NATS server between the nodes: a process of its own on the loopback address.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use super::super::process::Usage;

/// How long it may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running NATS server. It is killed when dropped, and its folder removed.
pub(super) struct BenchNats {
    child: Child,
    folder: PathBuf,
    /// The value of `cluster.nats`.
    pub(super) address: String,
}

impl BenchNats {
    /// Starts it as docs/cluster.md advises.
    pub(super) async fn start(program: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let folder = std::env::temp_dir().join(format!("aerial-bench-nats-{port}"));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("nats.conf");
        let address = format!("127.0.0.1:{port}");
        let store = folder.display();
        let text = format!(
            "listen: \"{address}\"\njetstream {{ store_dir: \"{store}\" }}\nmax_payload: 8MB\n\
             no_fast_producer_stall: true\nwrite_deadline: \"2s\"\nping_interval: \"1s\"\n\
             ping_max: 2\n"
        );
        std::fs::write(&file, text)?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}; see --nats-server", program.display()))?;
        let mut nats = Self {
            child,
            folder,
            address,
        };
        nats.wait().await?;
        Ok(nats)
    }

    async fn wait(&mut self) -> Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(&self.address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the NATS server has ended: {status}");
            }
            if begin.elapsed() > START_TIMEOUT {
                bail!("the NATS server does not answer");
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// The resources it has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id().context("the NATS server has ended")?)
    }
}

impl Drop for BenchNats {
    fn drop(&mut self) {
        // Kill first, so that nothing more is written to the folder. Both may fail only because
        // there is nothing left to do.
        drop(self.child.start_kill());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
