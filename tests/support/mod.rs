//! The server as a child process, and an HTTP client that exposes every byte.

pub mod damage;
pub mod engines;
pub mod log;
pub mod starter;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gst::prelude::*;
use gstreamer as gst;

use self::log::Line;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);
pub const SDP: (&str, &str) = ("Content-Type", "application/sdp");
pub const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

/// An offer of a real client, with the line ends it has on the wire.
pub fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().flat_map(|line| [line, "\r\n"]).collect()
}

/// Limits per address that tests lift: all their clients are at one.
const LIFTED: [(&str, &str); 6] = [
    ("AERIAL_LIMITS_SOURCE_PUBLISHERS", "1000000"),
    ("AERIAL_LIMITS_SOURCE_VIEWERS", "1000000"),
    ("AERIAL_LIMITS_SOURCE_CONNECTIONS", "1000000"),
    ("AERIAL_LIMITS_SOURCE_STREAMS", "1000000"),
    ("AERIAL_LIMITS_SOURCE_OFFERS", "1000000"),
    ("AERIAL_LIMITS_SOURCE_FAILURES", "1000000"),
];

/// The built program with these arguments, and without environment variables of its own.
pub fn aerial(arguments: &[&str]) -> Command {
    let built = || env!("CARGO_BIN_EXE_aerial").into();
    let mut command = Command::new(std::env::var_os("AERIAL_BIN").unwrap_or_else(built));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AERIAL_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(LIFTED)
        .env("AERIAL_ADMIN_LISTEN", "127.0.0.1:0")
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs a command that must end on its own.
pub fn output(mut command: Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// Runs a GStreamer pipeline to its end.
pub fn run_to_end(text: &str) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(text).unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(PATIENCE.try_into().ok(), &kinds);
    // Before any check: GStreamer aborts if a running pipeline is dropped.
    pipeline.set_state(gst::State::Null).unwrap();
    let is_end = |message: &gst::Message| message.type_() == gst::MessageType::Eos;
    assert!(end.as_ref().is_some_and(is_end), "{text}\n{end:?}");
}

/// Asks repeatedly until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("no {what} in time");
}

/// A port that is free at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// How the operator reaches a server.
pub struct Operator {
    pub address: SocketAddr,
    pub token: String,
}

impl Operator {
    /// From the URL in the log.
    fn of(url: &str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        let (address, rest) = rest.split_once('/')?;
        let (_, token) = rest.split_once("?token=")?;
        Some(Self {
            address: address.parse().ok()?,
            token: token.to_owned(),
        })
    }
}

/// A running server on free ports of the loopback address.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// The operator's own port, and the token that was made for it.
    pub admin: Option<Operator>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// A server without the demo.
    pub fn start(arguments: &[&str]) -> Self {
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
        let arguments = [&fixed[..], &["--demo", "false"], arguments].concat();
        let child = aerial(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        Self::attach(child)
    }

    /// A server with this configuration file.
    pub fn configured(file: &Path, arguments: &[&str]) -> Self {
        let file = ["serve", "--config", file.to_str().unwrap()];
        let fixed = ["--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
        let arguments = [&file[..], &fixed[..], arguments].concat();
        let child = aerial(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        Self::attach(child)
    }

    /// A server whose broadcast `demo` can be watched.
    pub fn demo(arguments: &[&str]) -> Self {
        let server = Self::with_demo(arguments);
        server.wait_for_state("demo", "live");
        server
    }

    /// A server whose broadcast `demo` is starting.
    pub fn with_demo(arguments: &[&str]) -> Self {
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
        let arguments: Vec<_> = fixed
            .iter()
            .copied()
            .chain(arguments.iter().copied())
            .collect();
        let child = aerial(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        Self::attach(child)
    }

    pub fn attach(mut child: Child) -> Self {
        let log = Arc::<Mutex<String>>::default();
        let (lines, copy) = (
            BufReader::new(child.stderr.take().unwrap()),
            Arc::clone(&log),
        );
        let reader = thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                copy.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let logged = |name: &str| {
            let log = log.lock().unwrap();
            let mut lines = log.lines().filter_map(Line::parse);
            lines.find_map(|line| line.field(name).map(str::to_owned))
        };
        let address = wait_for("listening server", || {
            let url = logged("url")?;
            let (_, rest) = url.split_once("://")?;
            rest.split_once('/')?.0.parse().ok()
        });
        // The line before it; absent if the operator's port is off or has a token of its own.
        let admin = logged("admin").and_then(|url| Operator::of(&url));
        Self {
            child,
            address,
            admin,
            log,
            reader: Some(reader),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The server's log so far, without lines that others wrote.
    pub fn lines(&self) -> Vec<Line> {
        self.log().lines().filter_map(Line::parse).collect()
    }

    /// Waits until the server has logged such a line.
    pub fn wait_for_line(&self, what: &str, is_it: impl Fn(&Line) -> bool) -> Line {
        wait_for(what, || self.lines().into_iter().find(&is_it))
    }

    /// Whether no task of the server has panicked and `GLib` has raised no critical warning.
    fn is_sound(&self) -> bool {
        let log = self.log();
        !log.contains("panicked at") && !log.contains("CRITICAL")
    }

    /// A value of `/metrics`, by its name and labels.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.get_as_operator("/metrics").expect(200);
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {name} in {}", metrics.text()));
        value.parse().unwrap()
    }

    /// How many sessions have ended for this reason.
    pub fn ended(&self, reason: &str) -> u64 {
        self.metric(&format!(
            "aerial_sessions_ended_total{{reason=\"{reason}\"}}"
        ))
    }

    /// How many pipelines of this kind have started.
    pub fn pipeline_starts(&self, kind: &str) -> u64 {
        self.metric(&format!("aerial_pipeline_starts_total{{kind=\"{kind}\"}}"))
    }

    /// Sends a request and reads the reply.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.request_bytes(method, path, headers, body.as_bytes())
    }

    pub fn request_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let head = head(method, path, headers, body.len());
        self.raw(&[head.as_bytes(), body])
    }

    /// Sends these bytes and reads the reply.
    pub fn raw(&self, parts: &[&[u8]]) -> Reply {
        exchange(self.address, parts)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], "")
    }

    /// Sends a request as the operator and reads the reply.
    pub fn operate(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let admin = self.admin.as_ref().expect("a port for the operator");
        let token = format!("Bearer {}", admin.token);
        let headers = [headers, &[("Authorization", token.as_str())]].concat();
        let head = head(method, path, &headers, body.len());
        exchange(admin.address, &[head.as_bytes(), body.as_bytes()])
    }

    pub fn get_as_operator(&self, path: &str) -> Reply {
        self.operate("GET", path, &[], "")
    }

    pub fn post_offer(&self, path: &str, offer: &str) -> Reply {
        self.request("POST", path, &[SDP], offer)
    }

    pub fn patch(&self, session: &str, headers: &[(&str, &str)], fragment: &str) -> Reply {
        let headers: Vec<_> = [FRAGMENT]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        self.request("PATCH", session, &headers, fragment)
    }

    pub fn delete(&self, session: &str) -> Reply {
        self.request("DELETE", session, &[], "")
    }

    /// A member of `/api/server`.
    pub fn count(&self, what: &str) -> u64 {
        self.get("/api/server").json()[what].as_u64().unwrap()
    }

    pub fn state(&self, broadcast: &str) -> Option<String> {
        let reply = self.get(&format!("/api/broadcasts/{broadcast}"));
        Some(reply.json().get("state")?.as_str()?.to_owned())
    }

    pub fn wait_for_state(&self, broadcast: &str, state: &str) {
        wait_for(&format!("{state} {broadcast}"), || {
            (self.state(broadcast)?.as_str() == state).then_some(())
        });
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args(["-s", name, &self.pid().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let status = wait_for("exit", || self.child.try_wait().unwrap());
        self.read_log_to_end();
        status
    }

    fn read_log_to_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            // Err: it has panicked and printed why.
            let _ = reader.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Err: it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_log_to_end();
        if thread::panicking() {
            println!("log of the server:\n{}", self.log());
        } else {
            assert!(self.is_sound(), "{}", self.log());
        }
    }
}

/// The head of a request.
fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if length > 0 || method == "POST" || method == "PATCH" {
        head += &format!("Content-Length: {length}\r\n");
    }
    head + "\r\n"
}

/// Sends these bytes and reads the reply.
pub fn exchange(address: SocketAddr, parts: &[&[u8]]) -> Reply {
    exchange_on(TcpStream::connect(address).unwrap(), parts)
}

/// Sends these bytes on a new connection and reads the reply.
pub fn exchange_on(mut stream: TcpStream, parts: &[&[u8]]) -> Reply {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for part in parts {
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(part);
    }
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    Reply::parse(&bytes)
}

/// A reply as received.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Status line and headers as written.
    pub head: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        loop {
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
            let end =
                end.unwrap_or_else(|| panic!("no reply: {:?}", String::from_utf8_lossy(bytes)));
            let head = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 4..];
            let status = head[9..12].parse().unwrap();
            if status == 100 {
                continue;
            }
            let headers = head
                .lines()
                .skip(1)
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            return Self {
                status,
                head,
                headers,
                body: rest.to_vec(),
            };
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a header that is a list has this member, in any case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        let members = self.header(name).unwrap_or_default();
        members
            .split(',')
            .any(|found| found.trim().eq_ignore_ascii_case(member))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks the status, and that an error explains itself (W-110).
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}\n\n{}",
            self.head,
            String::from_utf8_lossy(&self.body)
        );
        if status >= 400 && !self.body.is_empty() {
            assert_eq!(
                self.header("content-type"),
                Some("application/problem+json")
            );
            let problem = self.json();
            assert_eq!(problem["status"], status);
            for member in ["type", "title", "detail", "error"] {
                assert!(problem[member].is_string(), "{member} in {problem}");
            }
            assert!(problem["type"].as_str().unwrap().contains(':'), "{problem}");
        }
        self
    }

    /// The name by which programs know the problem: the last part of its `type`.
    pub fn problem(&self) -> String {
        let problem = self.json();
        let kind = problem["type"].as_str().unwrap();
        let (_, kind) = kind.rsplit_once(':').unwrap();
        kind.to_owned()
    }

    /// The session's path, checked (W-29, W-30).
    pub fn location(&self) -> String {
        let location = self.header("location").expect("a Location");
        assert!(
            location.starts_with('/') && !location.contains(['?', '#']),
            "{location}"
        );
        location.to_owned()
    }

    pub fn etag(&self) -> String {
        self.header("etag").expect("an ETag").to_owned()
    }
}
