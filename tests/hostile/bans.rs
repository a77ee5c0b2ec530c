//! The filter for fail2ban in docs/deployment.md, run by fail2ban on the server's own log.

use std::{fs, process::Command};

use crate::{
    outputs::folder,
    support::{SDP, Server, fixture, output, wait_for},
};

const DEPLOYMENT: &str = include_str!("../../docs/deployment.md");
/// What a client may pretend to be called, so that somebody else is banned.
const INNOCENT: &str = "198.51.100.9";

/// The addresses in a log that the documented filter would ban, in order.
fn banned(log: &str) -> Vec<String> {
    let folder = folder("bans", &[], &[("aerial.log", log)]);
    let (_, rest) = DEPLOYMENT.split_once("```ini\n[Definition]").unwrap();
    let (filter, _) = rest.split_once("```").unwrap();
    let file = folder.join("filter.conf");
    fs::write(&file, format!("[Definition]{filter}")).unwrap();
    let mut command = Command::new("fail2ban-regex");
    let command_line = [&folder.join("aerial.log"), &file];
    command.args(["--raw", "--out", "ip"]).args(command_line);
    let output = output(command);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn fail2ban_bans_a_client_with_wrong_tokens_and_nobody_else() {
    if Command::new("fail2ban-regex")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: fail2ban is not installed (`make setup-test` installs it)");
        return;
    }
    let server = Server::start(&[
        "--auth.publish_token=right-and-long-enough",
        "--http.trusted_proxies=127.0.0.1",
    ]);
    let agent = format!("x WARN aerial::http::auth: unknown token client={INNOCENT} y");
    let quoted = format!("x\" WARN aerial::http::auth: unknown token client={INNOCENT} y");
    for (client, token, agent) in [
        ("192.0.2.7", "wrong", "OBS"),
        ("2001:db8::7", "wrong", "OBS"),
        ("192.0.2.8", "wrong", &agent),
        ("192.0.2.9", "wrong", &quoted),
        ("192.0.2.10", "right-and-long-enough", &agent),
    ] {
        let token = format!("Bearer {token}");
        let headers = [
            SDP,
            ("X-Forwarded-For", client),
            ("User-Agent", agent),
            ("Authorization", &token),
        ];
        server.request("POST", "/whip/a", &headers, &fixture("obs-media-level"));
    }
    let log = wait_for("line of the last client", || {
        let log = server.log();
        log.contains("client=192.0.2.10").then_some(log)
    });
    let wrong = ["192.0.2.7", "2001:db8::7", "192.0.2.8", "192.0.2.9"];
    assert_eq!(banned(&log), wrong);
    // As the journal has the lines.
    let lines = log.lines().map(|line| format!("host aerial[7]: {line}\n"));
    assert_eq!(banned(&lines.collect::<String>()), wrong);
}
