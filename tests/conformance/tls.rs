//! HTTPS: certificates, their replacement at run time, and errors about unusable ones. The client
//! is the command `openssl`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::{
    networks::Relay,
    rtc::Client,
    support::{Reply, Server, aerial, fixture, log::Line, output, wait_for},
};

/// A folder with a certificate for 127.0.0.1 and its key.
pub struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// `subject` distinguishes certificates.
    pub fn new(subject: &str) -> Self {
        let name = format!("tls-{}-{subject}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let certificate = Self { folder };
        certificate.make(subject);
        certificate
    }

    fn make(&self, subject: &str) {
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", &format!("/CN={subject}")])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-keyout", &self.key(), "-out", &self.file()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    fn file(&self) -> String {
        self.folder.join("cert.pem").to_str().unwrap().to_owned()
    }

    fn key(&self) -> String {
        self.folder.join("key.pem").to_str().unwrap().to_owned()
    }

    pub fn server(&self, arguments: &[&str]) -> Server {
        let files = [self.file(), self.key()];
        let [certificate, key] = &files;
        let tls = ["--http.tls_certificate", certificate, "--http.tls_key", key];
        Server::with_demo(&[&tls, arguments].concat())
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // Err: a later run takes another folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Sends a request over TLS with these options of `openssl s_client`, and returns its output.
fn exchange(address: SocketAddr, options: &[&str], request: &str) -> Output {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-ign_eof"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Err: it has been refused.
    let _ = client.stdin.take().unwrap().write_all(request.as_bytes());
    client.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Row W-01.
#[test]
fn https_takes_tls_1_2_and_1_3_alone() {
    let certificate = Certificate::new("versions");
    let server = certificate.server(&[]);
    let file = certificate.file();
    let trust = [
        "-CAfile",
        &file,
        "-verify_return_error",
        "-verify_ip",
        "127.0.0.1",
    ];
    for version in ["-tls1_2", "-tls1_3"] {
        let options = [&trust[..], &[version]].concat();
        let reply = exchange(server.address, &options, GET);
        assert!(
            text(&reply).contains("HTTP/1.1 200 OK"),
            "{version}: {reply:?}"
        );
    }
    // Older versions are refused even to clients that allow them.
    for version in ["-tls1", "-tls1_1"] {
        let old = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
        let reply = exchange(server.address, &old, GET);
        assert!(!reply.status.success(), "{version}: {reply:?}");
    }
    // Sessions work as usual; their URLs are paths without a scheme.
    let offer = fixture("chrome-whep-av");
    let head = format!(
        "POST /whep/demo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
        offer.len()
    );
    let request = head + &offer;
    let reply = wait_for("session", || {
        let reply = text(&exchange(server.address, &trust, &request));
        reply.contains("HTTP/1.1 201 Created").then_some(reply)
    });
    assert!(reply.contains("location: /whep/s/"), "{reply}");
    // Plain HTTP on this port is answered with an explanation.
    let plain = server.raw(&[GET.as_bytes()]);
    assert_eq!(plain.status, 400);
    assert!(plain.text().contains("https://"), "{plain:?}");
}

#[test]
fn media_over_tcp_comes_in_at_the_port_of_https() {
    let certificate = Certificate::new("media");
    let server = certificate.server(&[]);
    let relay = Relay::start_tcp();
    let viewer = Client::watch_by(&relay, |offer| {
        let head = format!(
            "POST /whep/demo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
            offer.len()
        );
        let request = head + offer;
        wait_for("session", || {
            let output = exchange(server.address, &["-quiet"], &request);
            let reply = Reply::parse(&output.stdout);
            (reply.status == 201).then_some(reply)
        })
    });
    viewer.wait_for_frames(30);
}

/// Row W-01.
#[test]
fn plain_http_beyond_this_machine_is_warned_of() {
    let warned = |arguments: &[&str]| {
        let all = [
            "serve",
            "--listen",
            "0.0.0.0:0",
            "--udp",
            "127.0.0.1:0",
            "--demo",
            "false",
        ];
        let all = [&all[..], arguments].concat();
        let server = Server::attach(aerial(&all).stderr(Stdio::piped()).spawn().unwrap());
        // The last line logged at startup.
        server.wait_for_line("candidates", |line| line.field("candidates").is_some());
        let warns = |line: &Line| line.level == "WARN" && line.field("address").is_some();
        server.lines().iter().any(warns)
    };
    assert!(warned(&[]));
    // An https:// public URL means that there is a proxy with TLS.
    assert!(!warned(&["--http.public_url", "https://live.example"]));
    assert!(warned(&["--http.public_url", "http://live.example"]));
}

/// The subject of the certificate that the server presents.
fn subject(server: &Server) -> String {
    let reply = text(&exchange(server.address, &["-showcerts"], GET));
    let line = reply.lines().find_map(|line| line.strip_prefix("subject="));
    line.unwrap_or_else(|| panic!("no subject in {reply}"))
        .replace("CN = ", "")
}

#[test]
fn certificates_that_change_are_read_again() {
    let certificate = Certificate::new("first");
    let server = certificate.server(&[]);
    assert_eq!(subject(&server), "first");
    // One connection stays open all the time.
    let mut held = Held::open(server.address);
    certificate.make("second");
    server.signal("HUP");
    wait_for("second certificate", || {
        (subject(&server) == "second").then_some(())
    });
    fs::write(certificate.key(), "rubbish").unwrap();
    server.signal("HUP");
    let key = certificate.key();
    server.wait_for_line("complaint", |line| {
        line.level == "WARN"
            && line
                .field("error")
                .is_some_and(|error| error.contains(&key))
    });
    assert_eq!(subject(&server), "second");
    // It also works without a signal.
    certificate.make("third");
    wait_for("third certificate", || {
        (subject(&server) == "third").then_some(())
    });
    assert!(held.is_open(), "the connection was dropped");
}

/// A client that stays connected to an event stream.
struct Held(Child);

impl Held {
    fn open(address: SocketAddr) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        child.stdin.as_mut().unwrap().write_all(request).unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("200 OK"), "{line}");
        Self(child)
    }

    /// It ends when the server closes.
    fn is_open(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Err: it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn certificates_that_cannot_be_used_are_told_at_the_start() {
    let (one, other) = (Certificate::new("one"), Certificate::new("other"));
    let (file, key) = (one.file(), one.key());
    let other_key = other.key();
    // Certificate, key, and what the error must name.
    for (certificate, secret, culprit) in [
        (file.as_str(), "", "http.tls_key"),
        ("/nowhere/cert.pem", &*key, "/nowhere/cert.pem: "),
        (&file, "/nowhere/key.pem", "/nowhere/key.pem: "),
        (&key, &key, &*format!("{key}: ")),
        (&file, &file, &*format!("{file}: ")),
        (&file, &other_key, &*format!("{other_key}: ")),
    ] {
        let mut command = aerial(&["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
        command.args(["--demo", "false", "--http.tls_certificate", certificate]);
        command.args(["--http.tls_key", secret]);
        let ended = output(command);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(culprit), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
}
