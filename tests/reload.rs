//! The configuration is read again while the server runs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::json;

use crate::{
    rtc::{Client, clip},
    support::{Reply, SDP, Server, fixture, wait_for},
    tokens::events_to_end,
};

/// A configuration file of its own.
fn file(text: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("reload-{}-{number}.toml", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Publishing takes one of these tokens.
fn tokens(tokens: &[&str]) -> String {
    let section = |token: &&str| format!("[[auth.tokens]]\ntoken = \"{token}\"\npublish = \"*\"\n");
    let sections: String = tokens.iter().map(section).collect();
    format!("demo = false\n[timeouts]\nfirst_check = \"1m\"\nconnect = \"1m\"\n{sections}")
}

fn publish(server: &Server, name: &str, token: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [SDP, ("Authorization", authorization.as_str())];
    let path = format!("/whip/{name}");
    server.request("POST", &path, &headers, &fixture("obs-media-level"))
}

/// Asks the operator's port for a reload.
fn reload(server: &Server) -> Reply {
    server.operate("POST", "/admin/reload", &[], "")
}

/// Replaces the file at once, as careful programs do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn tokens_come_and_go_and_their_sessions_with_them() {
    let path = file(&tokens(&["first-token-secret", "second-token-secret"]));
    let server = Server::configured(&path, &[]);
    let first = publish(&server, "a", "first-token-secret")
        .expect(201)
        .location();
    let second = publish(&server, "b", "second-token-secret")
        .expect(201)
        .location();
    replace(
        &path,
        &tokens(&["second-token-secret", "third-token-secret"]),
    );
    let changed = reload(&server).expect(200).json();
    assert_eq!(changed["changed"], json!(["auth.tokens"]));
    assert_eq!(changed["needs_restart"], json!([]));
    wait_for("end of the session", || {
        (server.ended("withdrawn") == 1).then_some(())
    });
    server.get(&first).expect(404);
    server.get(&second).expect(204);
    publish(&server, "c", "first-token-secret").expect(401);
    publish(&server, "c", "third-token-secret").expect(201);
    // The same file again changes nothing.
    let unchanged = reload(&server).expect(200).json();
    assert_eq!(unchanged["changed"], json!([]));
    server.get(&second).expect(204);
}

#[test]
fn an_event_stream_ends_when_its_token_is_withdrawn() {
    let watching = |tokens: &[&str]| {
        let section = |token| format!("[[auth.tokens]]\ntoken = \"{token}\"\nwatch = \"*\"\n");
        let sections: String = tokens.iter().map(section).collect();
        format!("demo = false\n{sections}")
    };
    let path = file(&watching(&["first-token-secret", "second-token-secret"]));
    let server = Server::configured(&path, &[]);
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| events_to_end(&server, "first-token-secret"));
        wait_for("the listener", || {
            (server.metric("aerial_http_event_streams") == 1).then_some(())
        });
        // Another token is none of its business.
        replace(&path, &watching(&["first-token-secret"]));
        reload(&server).expect(200);
        assert!(!stream.is_finished());
        replace(&path, &watching(&["third-token-secret"]));
        reload(&server).expect(200);
        assert!(stream.join().unwrap().contains("event:broadcasts"));
    });
}

#[test]
fn a_mistake_changes_nothing_and_is_named() {
    let path = file(&tokens(&["first-token-secret"]));
    let server = Server::configured(&path, &[]);
    let right = tokens(&["second-token-secret"]);
    let pipeline = format!("{right}[broadcasts.a]\noutputs = [\"no-such.launch\"]\n");
    for (mistake, words) in [
        (right.replace("first_check", "first_chekc"), ".toml:3: "),
        (pipeline, "`no-such.launch`"),
        (format!("{right}["), "TOML"),
        (
            format!("{right}[limits]\nviewers = \"many\"\n"),
            "`limits.viewers`",
        ),
    ] {
        replace(&path, &mistake);
        let refused = reload(&server).expect(422);
        assert_eq!(refused.problem(), "bad-configuration");
        assert!(refused.text().contains(words), "{}", refused.text());
        assert!(!refused.text().contains("token-secret"));
        publish(&server, "a", "second-token-secret").expect(401);
    }
    publish(&server, "a", "first-token-secret").expect(201);
    // Only the operator may ask for it.
    let headers = [("Authorization", "Bearer first-token-secret")];
    let stranger = server.request("POST", "/admin/reload", &headers, "");
    assert!([401, 403].contains(&stranger.status));
}

#[test]
fn a_changed_file_and_a_signal_are_noticed() {
    let path = file(&tokens(&["first-token-secret"]));
    let server = Server::configured(&path, &[]);
    fs::write(&path, tokens(&["second-token-secret"])).unwrap();
    wait_for("the new token", || {
        let reply = publish(&server, "a", "second-token-secret");
        (reply.status == 201).then_some(())
    });
    let reloads = |why| {
        server
            .lines()
            .iter()
            .filter(|line| line.has("why", why))
            .count()
    };
    assert_eq!(reloads("file"), 1);
    server.signal("HUP");
    wait_for("reload at the signal", || {
        (reloads("SIGHUP") == 1).then_some(())
    });
}

#[test]
fn limits_ice_servers_and_log_change_and_the_rest_waits() {
    let path = file("demo = false\n");
    let server = Server::configured(&path, &["--timeouts.first_check", "1m"]);
    let offer = fixture("obs-media-level");
    let before = server.post_offer("/whip/a", &offer).expect(201);
    assert_eq!(before.header("link"), None);
    let text = "demo = false\nlog = \"debug\"\n[http]\nheader_timeout = \"9s\"\n\
                [webrtc]\nice_servers = [\"stun:stun.example:3478\"]\n";
    replace(&path, &format!("{text}[limits]\noffer_bytes = \"1KiB\"\n"));
    let answer = reload(&server).expect(200).json();
    let changed = ["log", "limits.offer_bytes", "webrtc.ice_servers"];
    assert_eq!(answer["changed"], json!(changed));
    assert_eq!(answer["needs_restart"], json!(["http.header_timeout"]));
    server.wait_for_line("a line about the restart", |line| {
        line.has("options", "http.header_timeout")
    });
    server.post_offer("/whip/b", &offer).expect(413);
    replace(&path, text);
    let again = reload(&server).expect(200).json();
    assert_eq!(again["changed"], json!(["limits.offer_bytes"]));
    assert_eq!(again["needs_restart"], json!(["http.header_timeout"]));
    let after = server.post_offer("/whip/b", &offer).expect(201);
    let link = after.header("link").unwrap_or_default();
    assert!(link.contains("stun.example"), "{link}");
    server.get(&before.location()).expect(204);
    server.wait_for_line("debugging", |line| line.level == "DEBUG");
}

#[test]
fn broadcasts_come_change_and_go() {
    let path = file("demo = false\n");
    let server = Server::configured(&path, &[]);
    let section = "[broadcasts.card]\nsource = \"demo.launch\"\n";
    replace(&path, &format!("demo = false\n{section}"));
    let answer = reload(&server).expect(200).json();
    assert_eq!(answer["changed"], json!(["broadcasts"]));
    server.wait_for_state("card", "live");
    replace(
        &path,
        &format!("demo = false\n{section}vars = {{ text = \"other\" }}\n"),
    );
    let answer = reload(&server).expect(200).json();
    assert_eq!(answer["broadcasts"], json!(["card"]));
    wait_for("second source", || {
        (server.pipeline_starts("source") == 2).then_some(())
    });
    server.wait_for_state("card", "live");
    replace(&path, "demo = false\n");
    reload(&server).expect(200);
    wait_for("end of the broadcast", || {
        let gone = server.get("/api/broadcasts/card").status == 404;
        gone.then_some(())
    });
}

/// A reload ten times a second, for some seconds: viewers get every picture.
#[test]
fn viewers_lose_nothing() {
    let text = |viewers| {
        let token = format!("[[auth.tokens]]\ntoken = \"token-{viewers}\"\nadmin = true\n");
        format!("demo = false\n[limits]\nviewers = {viewers}\n{token}")
    };
    let path = file(&text(99));
    let server = Server::configured(&path, &["--admin.listen", "off"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let viewers = [(); 3].map(|()| Client::watch(&server, "a"));
    for viewer in &viewers {
        viewer.wait_for_frames(5);
    }
    for round in 100..140 {
        replace(&path, &text(round));
        let before = round - 1;
        let answer = wait_for("an answer to one of both tokens", || {
            [before, round].into_iter().find_map(|number| {
                let token = format!("Bearer token-{number}");
                let headers = [("Authorization", token.as_str())];
                let reply = server.request("POST", "/admin/reload", &headers, "");
                (reply.status == 200).then_some(reply)
            })
        });
        assert_eq!(answer.json()["needs_restart"], json!([]));
        std::thread::sleep(Duration::from_millis(20));
    }
    crate::rtc::wait_for_frames_of_all(&viewers, 10);
    assert_eq!(server.count("sessions"), 4);
}
