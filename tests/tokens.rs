//! Tokens of other issuers, callbacks, and sessions whose permission ends.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use crate::support::{Reply, SDP, Server, aerial, fixture, output, wait_for};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Sessions of these tests never connect.
const PATIENT: [&str; 4] = ["--timeouts.first_check", "1m", "--timeouts.connect", "1m"];

fn file(text: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("tokens-{}-{number}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

/// A token that expires after this many seconds.
fn jwt(seconds: u64, rights: &serde_json::Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims =
        serde_json::json!({ "sub": "ada", "exp": now.as_secs() + seconds, "aerial": rights });
    let key = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

fn publish(server: &Server, name: &str, token: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [SDP, ("Authorization", authorization.as_str())];
    let path = format!("/whip/{name}");
    server.request("POST", &path, &headers, &fixture("obs-media-level"))
}

/// What an event stream has sent when the server ends it.
pub(crate) fn events_to_end(server: &Server, token: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let request = format!(
        "GET /api/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an end");
    text
}

#[test]
fn an_event_stream_ends_when_its_token_expires() {
    let key = file(SECRET);
    let options = [
        "--auth.jwt_key",
        key.to_str().unwrap(),
        "--auth.jwt_leeway",
        "0s",
    ];
    let server = Server::start(&options);
    let token = jwt(2, &serde_json::json!({ "watch": "*" }));
    let events = events_to_end(&server, &token);
    assert!(events.contains("event:broadcasts"), "{events}");
    let headers = [("Authorization", &*format!("Bearer {token}"))];
    let refused = server.request("GET", "/api/events", &headers, "");
    assert_eq!(refused.expect(401).problem(), "token-expired");
}

#[test]
fn a_session_ends_when_its_token_expires() {
    let key = file(SECRET);
    let options = [
        "--auth.jwt_key",
        key.to_str().unwrap(),
        "--auth.jwt_leeway",
        "0s",
    ];
    let server = Server::start(&[&options[..], &PATIENT].concat());
    let rights = serde_json::json!({ "publish": "live-*" });
    let long = publish(&server, "live-1", &jwt(600, &rights)).expect(201);
    let short = publish(&server, "live-2", &jwt(2, &rights)).expect(201);
    let refused = publish(&server, "other", &jwt(600, &rights)).expect(403);
    assert_eq!(refused.problem(), "token-insufficient");
    wait_for("end of the session", || {
        (server.ended("expired") == 1).then_some(())
    });
    server.get(&short.location()).expect(404);
    server.get(&long.location()).expect(204);
    let expired = publish(&server, "live-2", &jwt(0, &rights)).expect(401);
    assert_eq!(expired.problem(), "token-expired");
    // Without a token, publishing is closed.
    let reply = server.post_offer("/whip/live-3", &fixture("obs-media-level"));
    assert_eq!(reply.expect(401).problem(), "token-missing");
    server.wait_for_line("who", |line| line.has("token", "ada"));
}

/// A server that is asked, and says yes as long as the switch is on.
fn authority(answer: &'static str) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let is_on = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_on);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = if switch.load(Ordering::Relaxed) {
                answer
            } else {
                r#"{"allow": false, "reason": "banned"}"#
            };
            let length = answer.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let mut stream = reader.into_inner();
            stream
                .write_all(format!("{head}{answer}").as_bytes())
                .unwrap();
        }
    });
    (format!("http://{address}/ask"), is_on)
}

#[test]
fn a_callback_renames_and_takes_back() {
    let (url, is_on) =
        authority(r#"{"allow": true, "broadcast": "studio-7", "user": "ada", "lifetime": 1}"#);
    let options = [
        "--auth.callback",
        &url,
        "--auth.callback_secret",
        "shared-secret",
    ];
    let server = Server::start(&[&options[..], &PATIENT].concat());
    let session = publish(&server, "stream-key", "their-token")
        .expect(201)
        .location();
    wait_for("the broadcast", || {
        let list = server.get_as_operator("/api/broadcasts").expect(200).json();
        (list["broadcasts"][0]["name"] == "studio-7").then_some(())
    });
    // The token that it began with is right, whatever the callback would say of the new name.
    let headers = [("Authorization", "Bearer their-token")];
    server.request("GET", &session, &headers, "").expect(204);
    is_on.store(false, Ordering::Relaxed);
    wait_for("end of the session", || {
        (server.ended("withdrawn") == 1).then_some(())
    });
    let denied = publish(&server, "stream-key", "another-token").expect(403);
    assert_eq!(denied.problem(), "denied");
    assert!(denied.text().contains("banned"), "{}", denied.text());
    for secret in ["their-token", "another-token", "shared-secret", &url] {
        assert!(!server.log().contains(secret), "{secret} is in the log");
    }
}

#[test]
fn without_the_callback_nobody_is_let_in() {
    let options = [
        "--auth.callback",
        "http://127.0.0.1:1/",
        "--auth.callback_secret",
        "shared-secret",
    ];
    let server = Server::start(&options);
    let refused = publish(&server, "a", "token").expect(503);
    assert_eq!(refused.problem(), "authorization-unavailable");
    assert!(refused.header("retry-after").is_some());
    server.get("/healthz").expect(200);
}

/// A secret in the wrong place is not repeated.
#[test]
fn mistakes_are_told_without_the_secret() {
    for (key, value) in [
        ("auth.publish_token", "hunter2 hunter2"),
        ("auth.callback_secret", "hunter2 hunter2"),
        ("auth.callback", "hunter2"),
        ("auth.jwt_url", "https://user:hunter2@issuer.example/"),
        ("webrtc.ice_servers", "turn:user:hunter2,;@turn.example"),
    ] {
        let flag = format!("--{key}");
        let output = output(aerial(&["serve", &flag, value]));
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(key), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
