//! The server under test: a process of its own, as a user would run it.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::{
    peer::{self, Http},
    process::{Usage, threads_cpu},
};
use crate::plan::Engine;

/// How long the server may take to start, and a broadcast to go live.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// Time between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running server. It is killed when dropped, and its folder removed.
pub(super) struct BenchServer {
    child: Child,
    base: String,
    folder: PathBuf,
}

impl BenchServer {
    /// Starts `aerial serve`, with viewers on this engine and this configuration file, on free
    /// ports of the loopback address, without a demo broadcast.
    pub(super) async fn start(http: &Http, viewers: Engine, config: &str) -> Result<Self> {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let folder = std::env::temp_dir().join(format!("aerial-bench-{}", udp.port()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("aerial.toml"), config)?;
        let mut command = Command::new(std::env::current_exe()?);
        // The caller's environment must not affect the measurement.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AERIAL_") {
                command.env_remove(name);
            }
        }
        let child = command
            .arg("serve")
            .args(["--listen", &tcp.to_string()])
            .args(["--udp", &udp.to_string()])
            .args(["--log", "warn", "--demo", "false", "--admin.listen", "off"])
            // All viewers are at one address.
            .args(["--limits.source_offers", "1000000"])
            .args(["--limits.source_viewers", "1000000"])
            .args(["--webrtc.viewer_engine", viewers.name()])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting the server")?;
        let mut server = Self {
            child,
            base: format!("http://{tcp}"),
            folder,
        };
        let url = server.url("/healthz");
        server
            .wait(http, &url, |_| true)
            .await
            .context("starting the server")?;
        Ok(server)
    }

    /// The URL of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Waits until the broadcast can be watched.
    pub(super) async fn wait_live(&mut self, http: &Http, broadcast: &str) -> Result<()> {
        let live = |status: &Value| {
            let tracks = status.get("tracks").and_then(Value::as_array);
            state_is(status, "live") && tracks.is_some_and(|tracks| tracks.len() == 2)
        };
        self.wait_status(http, broadcast, live)
            .await
            .context("waiting for the broadcast")
    }

    /// Waits until none of its renditions is made.
    pub(super) async fn wait_idle(&mut self, http: &Http, broadcast: &str) -> Result<()> {
        let idle = |status: &Value| {
            let renditions = status.get("renditions").and_then(Value::as_array);
            renditions.is_some_and(|all| all.iter().all(|rendition| state_is(rendition, "idle")))
        };
        self.wait_status(http, broadcast, idle)
            .await
            .context("waiting for the renditions' end")
    }

    async fn wait_status(
        &mut self,
        http: &Http,
        broadcast: &str,
        done: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let url = self.url(&format!("/api/broadcasts/{broadcast}"));
        let done = |body: &[u8]| serde_json::from_slice(body).is_ok_and(|status| done(&status));
        self.wait(http, &url, done).await
    }

    async fn wait(&mut self, http: &Http, url: &str, done: impl Fn(&[u8]) -> bool) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server has ended: {status}");
            }
            let get = http::Request::get(url).body(Full::<Bytes>::default())?;
            let answer = peer::request(http, get).await;
            if answer
                .as_ref()
                .is_ok_and(|ok| ok.status().is_success() && done(ok.body()))
            {
                return Ok(());
            }
            if begin.elapsed() > START_TIMEOUT {
                bail!("{url} gave an unexpected answer: {answer:?}");
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The resources it has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of_server(self.pid()?)
    }

    /// The processor time that its fan-out threads have used so far.
    pub(super) fn fanout_cpu(&self) -> Result<Duration> {
        threads_cpu(self.pid()?, "fanout-")
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }
}

fn state_is(status: &Value, wanted: &str) -> bool {
    status.get("state").is_some_and(|state| state == wanted)
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        // Kill first, so that nothing more is written to the folder. Both may fail only because
        // there is nothing left to do.
        drop(self.child.start_kill());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
