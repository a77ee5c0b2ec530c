//! The examples of reverse proxies, each in front of a server and in the real program.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use socket2::{Domain, Socket, Type};

use crate::{
    outputs::folder,
    support::{PATIENCE, SDP, Server, exchange_on, fixture, free_port, wait_for},
};

/// The address of the clients: not a proxy's.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A proxy that runs until it is dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Err: it has ended by itself, and the test says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts a program on an example that these replacements fit to this machine. The port of the
    /// example becomes one without TLS: what is tested is what follows it.
    fn start(
        name: &str,
        server: &Server,
        example: &str,
        replacements: &[(&str, &str)],
        command: impl Fn(&Path) -> Command,
    ) -> Self {
        let folder = folder(&format!("proxies-{name}"), &[], &[]);
        let port = free_port();
        let mut text = example.to_owned();
        for (old, new) in replacements {
            assert!(text.contains(old), "{old} in {example}");
            text = text.replace(old, &new.replace("PORT", &port.to_string()));
        }
        assert!(text.contains("127.0.0.1:8080"), "{example}");
        let text = text.replace("127.0.0.1:8080", &server.address.to_string());
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        let mut child = command(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_for(name, || {
            assert!(child.try_wait().unwrap().is_none(), "{name} has ended");
            TcpStream::connect(address).ok()
        });
        Self { child, address }
    }

    /// A client's connection.
    fn connect(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        socket.into()
    }
}

/// A server that believes proxies of this machine, and lets a client send ten offers at once.
fn server() -> Server {
    Server::start(&[
        "--http.trusted_proxies=127.0.0.1",
        "--http.public_url=https://stream.example.org",
        "--limits.source_offers=1",
    ])
}

/// What everybody needs from a proxy: sessions, their URLs, events as they happen, and the client's
/// own address, whatever it claims to be.
fn expect_service(proxy: &Proxy) {
    let post = |path: &str, offer: &str, address: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: stream.example.org\r\nConnection: close\r\n\
             {}: {}\r\nX-Forwarded-For: {address}\r\nContent-Length: {}\r\n\r\n",
            SDP.0,
            SDP.1,
            offer.len()
        );
        exchange_on(proxy.connect(), &[head.as_bytes(), offer.as_bytes()])
    };
    let events = Events::of(proxy);
    events.wait_for("event:broadcasts");
    let offer = fixture("obs-media-level");
    let created = post("/whip/show", &offer, "192.0.2.1").expect(201);
    let location = created.header("location").unwrap();
    let path = location
        .strip_prefix("https://stream.example.org/")
        .unwrap();
    assert!(path.starts_with("whip/s/"), "{location}");
    events.wait_for("\"name\":\"show\"");

    // One client, under however many names.
    let refused = |number: u8| post("/whep/show", "", &format!("192.0.2.{number}")).status == 429;
    assert!(
        (2..100).any(refused),
        "limited by the address that it claims"
    );
}

/// An event stream through a proxy.
struct Events {
    seen: Arc<Mutex<String>>,
    ended: Arc<AtomicBool>,
}

impl Events {
    fn of(proxy: &Proxy) -> Self {
        let mut stream = proxy.connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /api/events HTTP/1.1\r\nHost: stream.example.org\r\n\r\n")
            .unwrap();
        let seen = Arc::<Mutex<String>>::default();
        let ended = Arc::<AtomicBool>::default();
        let (text, end) = (Arc::clone(&seen), Arc::clone(&ended));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let part = String::from_utf8_lossy(&buffer[..count]);
                text.lock().unwrap().push_str(&part);
                if end.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self { seen, ended }
    }

    fn wait_for(&self, text: &str) {
        wait_for(text, || {
            self.seen.lock().unwrap().contains(text).then_some(())
        });
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[test]
fn behind_nginx() {
    let server = server();
    let example = include_str!("../examples/proxies/nginx.conf");
    let proxy = Proxy::start(
        "nginx.conf",
        &server,
        example,
        &[
            ("listen 443 ssl http2;", "listen 127.0.0.1:PORT;"),
            ("    ssl_certificate ", "    # ssl_certificate "),
            ("    ssl_certificate_key ", "    # ssl_certificate_key "),
        ],
        |file| {
            let folder = file.parent().unwrap().display();
            let main = format!(
                "daemon off; master_process off; error_log stderr error; pid {folder}/pid; events {{}} http {{ \
                 access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; \
                 fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; \
                 scgi_temp_path {folder}/s; include {}; }}",
                file.display()
            );
            let main_file = file.with_file_name("main.conf");
            fs::write(&main_file, main).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command
                .arg("-c")
                .arg(main_file)
                .arg("-p")
                .arg(file.parent().unwrap());
            command
        },
    );
    expect_service(&proxy);
}

#[test]
fn behind_haproxy() {
    let server = server();
    let example = include_str!("../examples/proxies/haproxy.cfg");
    let proxy = Proxy::start(
        "haproxy.cfg",
        &server,
        example,
        &[(
            "bind :443 ssl crt /etc/haproxy/stream.example.org.pem alpn h2,http/1.1",
            "bind 127.0.0.1:PORT",
        )],
        |file| {
            let mut command = Command::new("/usr/sbin/haproxy");
            command.arg("-db").arg("-f").arg(file);
            command
        },
    );
    expect_service(&proxy);
}

#[test]
fn behind_caddy() {
    let server = server();
    let example = include_str!("../examples/proxies/Caddyfile");
    let proxy = Proxy::start(
        "Caddyfile",
        &server,
        example,
        &[(
            "\nstream.example.org {",
            "\n{\n\tadmin off\n}\n\nhttp://stream.example.org:PORT {\n\tbind 127.0.0.1",
        )],
        |file| {
            let mut command = Command::new("/usr/bin/caddy");
            command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(file)
                .env("HOME", file.parent().unwrap())
                .stderr(Stdio::null());
            command
        },
    );
    expect_service(&proxy);
}
