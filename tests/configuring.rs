//! The operator changes the configuration through the API.

use std::fs;

use serde_json::{Value, json};

use crate::{
    outputs::{folder, server},
    support::{Reply, Server, wait_for},
};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const CONFIGURATION: &str = "/api/v1/configuration";
const DOOR: &str = "/api/v1/configuration/broadcasts/door";

fn send(server: &Server, method: &str, path: &str, body: &Value) -> Reply {
    server.operate(method, path, &[JSON], &body.to_string())
}

fn configuration(server: &Server) -> Value {
    server.get_as_operator(CONFIGURATION).expect(200).json()
}

#[test]
fn a_broadcast_is_created_changed_kept_and_deleted() {
    let folder = folder("configured", &["demo.launch"], &[]);
    let state = folder.join("state");
    let state_argument = format!("--state={}", state.display());
    let config = "[broadcasts.card]\ngrace = \"7s\"\n";
    let mut first = server(&folder, config, &[&state_argument]);
    let entry = json!({"source": "demo.launch", "vars": {"label": "a hidden value"}});
    let put = send(&first, "PUT", DOOR, &entry).expect(200);
    assert_eq!(put.json()["keys"]["source"], "demo.launch");
    assert!(!put.text().contains("hidden value"), "{}", put.text());
    first.wait_for_state("door", "live");
    // Another section of the same broadcast counts where this one says nothing.
    let card = "/api/v1/configuration/broadcasts/card";
    first.operate("GET", card, &[], "").expect(404);
    first.operate("DELETE", card, &[], "").expect(404);
    for (method, wrong, words) in [
        (
            "PUT",
            json!({"source": "nothing.launch"}),
            "`nothing.launch`",
        ),
        ("PATCH", json!({"sauce": 1}), "`source`"),
        ("PATCH", json!({"grace": "soon"}), "`broadcasts.door.grace`"),
        (
            "PATCH",
            json!({"source": null, "on_demand": true}),
            "`broadcasts.door.on_demand`",
        ),
    ] {
        let refused = send(&first, method, DOOR, &wrong).expect(422);
        assert_eq!(refused.problem(), "bad-configuration");
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    send(&first, "PATCH", DOOR, &json!([1])).expect(400);
    let stranger = first.request("PUT", DOOR, &[JSON], "{}");
    assert!([401, 403].contains(&stranger.status));
    let changed = send(&first, "PATCH", DOOR, &json!({"grace": "3s"})).expect(200);
    assert_eq!(changed.json()["keys"]["source"], "demo.launch");
    assert_eq!(first.state("door").as_deref(), Some("live"));
    first.signal("TERM");
    assert!(first.wait_for_exit().success());

    let second = server(&folder, config, &[&state_argument]);
    second.wait_for_state("door", "live");
    let all = configuration(&second);
    let sections = all["sections"].as_array().unwrap();
    let names: Vec<_> = sections
        .iter()
        .map(|one| one["broadcasts"].as_str())
        .collect();
    assert_eq!(names, [Some("door"), Some("card")]);
    assert_eq!(sections[1]["changeable"], false);
    second.operate("DELETE", DOOR, &[], "").expect(204);
    second.operate("DELETE", DOOR, &[], "").expect(404);
    let kept = fs::read_to_string(state.join("api.toml")).unwrap();
    assert!(!kept.contains("door"), "{kept}");
    assert_eq!(
        configuration(&second)["sections"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn the_log_level_and_other_options_are_set_while_the_server_runs() {
    let folder = folder("configured-options", &[], &[]);
    let server = server(
        &folder,
        "",
        &["--limits.viewers=5", "--auth.watch_token=a-hidden-token"],
    );
    let level = || configuration(&server)["options"]["log"].clone();
    assert_eq!(
        level(),
        json!({"value": "info", "origin": "default", "changeable": true})
    );
    let told = || {
        server
            .lines()
            .into_iter()
            .filter(|line| line.has("why", "api"))
            .count()
    };
    let change = json!({"limits.viewers": 7});
    let set = send(&server, "PATCH", CONFIGURATION, &change)
        .expect(200)
        .json();
    assert_eq!(
        set["options"]["limits.viewers"]["value"], "7",
        "more than a flag"
    );
    wait_for("a line", || (told() == 1).then_some(()));
    let quiet = json!({"log": "warn", "limits.viewers": 8});
    let set = send(&server, "PATCH", CONFIGURATION, &quiet)
        .expect(200)
        .json();
    assert_eq!(set["options"]["log"]["value"], "warn");
    for wrong in [
        json!({"log": "loud"}),
        json!({"log": "warn", "listen": "127.0.0.1:1"}),
        json!({"auth.watch_token": "another-token"}),
        json!({"pipelines": "/etc"}),
        json!({"lock": "x"}),
    ] {
        let refused = send(&server, "PATCH", CONFIGURATION, &wrong).expect(422);
        assert_eq!(refused.problem(), "bad-configuration");
        assert_eq!(level()["value"], "warn");
    }
    send(&server, "PATCH", CONFIGURATION, &json!({"log": {}})).expect(400);
    send(&server, "PATCH", CONFIGURATION, &json!({"log": null})).expect(200);
    assert_eq!(level()["value"], "info");
    wait_for("a line again", || (told() > 1).then_some(()));
    assert_eq!(told(), 2, "it was quiet meanwhile");
    let all = server.get_as_operator(CONFIGURATION).expect(200);
    assert!(!all.text().contains("hidden-token"));
    assert_eq!(all.json()["options"]["limits.viewers"]["value"], "8");
}
