//! The command line, refusals to start, and shutdown.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::UdpSocket,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use crate::support::{PATIENCE, Server, aerial, fixture, output};

/// Runs a command that must be refused with exit code 2 and one line.
fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = aerial(arguments);
    command.envs(variables.iter().copied());
    let output = output(command);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn without_a_command_there_is_help() {
    for arguments in [&[][..], &["--help"]] {
        let output = output(aerial(arguments));
        assert!(output.status.success());
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("serve") && text.contains("Usage:"), "{text}");
    }
    let output = output(aerial(&["--version"]));
    assert_eq!(
        output.stdout,
        concat!("aerial ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()
    );
}

#[test]
fn commands_say_what_they_do() {
    let help = |arguments: &[&str]| String::from_utf8(output(aerial(arguments)).stdout).unwrap();
    let all = help(&["--help"]);
    for command in ["serve", "check", "config", "token", "hash", "try", "bench"] {
        // The list of commands and the command itself have the same description.
        let listed = all.lines().find_map(|line| {
            let described = line.trim_start().strip_prefix(command)?;
            described.starts_with(' ').then_some(described.trim())
        });
        let listed = listed.unwrap_or_else(|| panic!("no {command} in {all}"));
        let own = help(&[command, "--help"]);
        assert!(own.starts_with(listed), "{command}: {own}");
    }
}

/// On a terminal, the server begins with what a person needs; elsewhere with lines of the log only.
#[test]
fn a_person_learns_where_to_go() {
    let server = Server::start(&[]);
    assert!(!server.log().contains("/whip/NAME"), "{}", server.log());
    let program = aerial(&[]).get_program().to_str().unwrap().to_owned();
    let words = "serve --listen 127.0.0.1:0 --udp 127.0.0.1:0 --admin.listen off --demo false";
    // `script` makes the terminal; `timeout` ends both if the test fails. It stays outside the
    // terminal: inside, it would pass Ctrl+C on a second time, and a second one ends the server at
    // once.
    let line = format!("exec {program} {words}");
    let mut terminal = Command::new("timeout")
        .args(["60", "script", "-qec", &line, "/dev/null"])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(terminal.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(shown.any(|line| line.contains("/whip/NAME")));
    // Ctrl+C.
    terminal.stdin.take().unwrap().write_all(&[3]).unwrap();
    assert!(shown.any(|line| line.contains("stopped")));
    assert!(terminal.wait().unwrap().success());
}

#[test]
fn mistakes_are_named_in_one_line() {
    let config = file(
        "bad.toml",
        "listen = \"127.0.0.1:0\"\n\n[webrtc]\njiter = \"1s\"\n",
    );
    let config = config.to_str().unwrap();
    for (arguments, expected) in [
        (&["serve", "--nonsense"][..], "--nonsense"),
        (&["nonsense"], "nonsense"),
        (&["serve", "--listen", "nowhere"], "--listen"),
        (&["serve", "--log", "loud"], "--log"),
        (&["serve", "--timeouts.grace", "5"], "--timeouts.grace"),
        (&["serve", "--config", "missing.toml"], "missing.toml"),
        (&["serve", "--pipelines", "/missing"], "/missing"),
        (&["serve", "--config", config], "bad.toml:4: "),
    ] {
        let text = refusal(arguments, &[]);
        assert!(text.contains(expected), "{text}");
    }
    // A near miss gets the right name as advice.
    for variable in ["AERIAL_LISTN", "AERIAL_LISTEN"] {
        let text = refusal(&["serve"], &[(variable, "x")]);
        assert!(text.contains("AERIAL_LISTEN"), "{text}");
    }
    let missing = file(
        "missing_pipeline.toml",
        "[broadcasts.a]\nsource = \"nope.launch\"\n",
    );
    let text = refusal(&["serve", "--config", missing.to_str().unwrap()], &[]);
    assert!(
        text.contains("missing_pipeline.toml:2") && text.contains("demo.launch"),
        "{text}"
    );
}

#[test]
fn a_hangup_never_ends_the_server() {
    let mut server = Server::start(&[]);
    for _ in 0..3 {
        server.signal("HUP");
        server.get("/healthz").expect(200);
    }
    server.signal("TERM");
    assert!(server.wait_for_exit().success());
}

#[test]
fn a_port_in_use_is_named() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let text = refusal(
        &["serve", "--listen", &address, "--udp", "127.0.0.1:0"],
        &[],
    );
    assert!(
        text.contains(&address) && text.contains("--listen"),
        "{text}"
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let text = refusal(
        &["serve", "--listen", "127.0.0.1:0", "--udp", &address],
        &[],
    );
    assert!(text.contains(&address) && text.contains("--udp"), "{text}");
}

#[test]
fn the_environment_and_the_file_configure() {
    let config = file(
        "good.toml",
        "demo = false\nudp = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:1\"\n",
    );
    let mut command = aerial(&[
        "serve",
        "--config",
        config.to_str().unwrap(),
        "--log",
        "off",
    ]);
    // This machine does not have the address, so the error says which one took precedence.
    command.env("AERIAL_LISTEN", "192.0.2.1:1");
    let output = output(command);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("192.0.2.1:1"), "{text}");
}

#[test]
fn a_broadcast_section_turns_the_demo_off() {
    let config = file(
        "own.toml",
        "[broadcasts.camera]\nsource = \"demo.launch\"\n",
    );
    let config = config.to_str().unwrap();
    let text = {
        let child = aerial(&[
            "serve",
            "--config",
            config,
            "--listen",
            "127.0.0.1:0",
            "--udp",
            "127.0.0.1:0",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let server = Server::attach(child);
        server.wait_for_state("camera", "live");
        server.get("/api/broadcasts").text().to_owned()
    };
    assert!(!text.contains("\"demo\""), "{text}");
}

#[test]
fn signals_end_everything_within_the_drain_time() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::demo(&[]);
        server
            .post_offer("/whip/a", &fixture("obs-media-level"))
            .expect(201);
        server
            .post_offer("/whep/demo", &fixture("chrome-whep-av"))
            .expect(201);
        let begun = Instant::now();
        server.signal(signal);
        let status = server.wait_for_exit();
        assert!(status.success(), "{status}\n{}", server.log());
        assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
        let lines = server.lines();
        let told = lines.iter().filter(|line| line.has("end", "shutdown"));
        assert_eq!(told.count(), 2, "{lines:?}");
    }
}

#[test]
fn the_log_has_no_session_urls() {
    let server = Server::start(&["--log", "trace"]);
    let created = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    let session = created.location();
    server.delete(&session).expect(200);
    let id = session.rsplit_once('/').unwrap().1;
    assert!(!server.log().contains(id));
}
