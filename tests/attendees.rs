//! What the operator sees of sessions, and does with them.

use serde_json::Value;

use crate::{
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Server, wait_for},
};

const SESSIONS: &str = "/api/broadcasts/a/sessions";

fn list(server: &Server) -> Vec<Value> {
    let list = server.get_as_operator(SESSIONS).expect(200).json();
    list["sessions"].as_array().unwrap().clone()
}

fn change(server: &Server, id: &Value, body: &str) -> crate::support::Reply {
    let json = [("Content-Type", "application/json")];
    server.operate("PATCH", &format!("{SESSIONS}/{id}"), &json, body)
}

#[test]
fn the_operator_sees_moves_and_kicks_sessions() {
    let folder = folder("attendees", &["h264-ladder.launch"], &[]);
    let config = "[broadcasts.\"*\"]\nrenditions = [\"h264-ladder.launch\"]\n";
    let server = server(&folder, config, &[]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let moved = Client::watch(&server, "a");
    let kicked = Client::watch(&server, "a");
    for viewer in [&moved, &kicked] {
        viewer.wait_for_frames(20);
    }

    server.get(SESSIONS).expect(401);
    let sessions = list(&server);
    let roles: Vec<_> = sessions.iter().map(|session| &session["role"]).collect();
    assert_eq!(roles, ["publisher", "viewer", "viewer"]);
    let of_role = |role: &str| {
        let path = format!("{SESSIONS}?role={role}");
        let list = server.get_as_operator(&path).expect(200).json();
        list["sessions"].as_array().unwrap().len()
    };
    assert_eq!((of_role("publisher"), of_role("viewer")), (1, 2));
    server
        .get_as_operator(&format!("{SESSIONS}?role=x"))
        .expect(400);
    for session in &sessions {
        assert_eq!(session["client"], "127.0.0.1", "{session}");
        assert_eq!(session["connected"], true, "{session}");
        assert!(session["packets"].as_u64().unwrap() > 20, "{session}");
        assert!(session["started"].as_str().unwrap().ends_with('Z'));
    }
    assert!(sessions[0]["lost"].is_u64() && sessions[0].get("tracks").is_none());
    let tracks = |session: &Value| {
        let tracks = session["tracks"].as_array().unwrap();
        tracks
            .iter()
            .map(|track| track["rendition"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(tracks(&sessions[1]), ["source", "source"]);
    let text = serde_json::to_string(&sessions).unwrap();
    for client in [&publisher, &moved, &kicked] {
        let secret = client.session.rsplit('/').next().unwrap();
        assert!(!text.contains(secret), "the URL of a session is secret");
    }

    let id = &sessions[1]["id"];
    let reply = change(&server, id, r#"{"rendition": "8k"}"#).expect(404);
    assert_eq!(reply.problem(), "no-rendition");
    change(&server, id, r#"{"renditions": null}"#).expect(400);
    change(&server, &sessions[0]["id"], r#"{"rendition": "240p"}"#).expect(404);
    change(&server, id, r#"{"rendition": "240p"}"#).expect(200);
    wait_for("the rendition", || {
        let session = server.get_as_operator(&format!("{SESSIONS}/{id}")).json();
        (tracks(&session)[0] == "240p").then_some(())
    });
    change(&server, id, r#"{"rendition": null}"#).expect(200);
    change(&server, id, r#"{"rendition": "source"}"#).expect(200);
    wait_for("the source again", || {
        (tracks(&list(&server)[1])[0] == "source").then_some(())
    });

    let path = format!("{SESSIONS}/{}", sessions[2]["id"]);
    server.operate("DELETE", &path, &[], "").expect(204);
    server.operate("DELETE", &path, &[], "").expect(404);
    wait_for("the goodbye", || kicked.is_closed().then_some(()));
    server.delete(&kicked.session).expect(404);
    wait_for("its end", || (server.ended("kicked") == 1).then_some(()));
    // The others go on, and their receivers have reported meanwhile.
    moved.wait_for_frames(20);
    wait_for("a round trip", || {
        let session = &list(&server)[1];
        let loss = session["loss"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&loss), "{session}");
        session["round_trip_ms"].as_u64().filter(|&ms| ms < 1000)
    });
}
