//! The API does what its document says: schemathesis calls it with whatever the document allows,
//! and with what it does not.

use std::{path::Path, process::Command, thread};

use crate::support::{Server, output};

/// What answers must have in common with the document.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      unsupported_method,allow_header_conformance";

/// Calls the operations of one of the server's ports for a limited time, except those of some paths.
fn call(address: &str, left_out: &str, arguments: &[&str]) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join(".venv/bin/python");
    assert!(
        python.exists(),
        "schemathesis is missing: run `.ci/setup test`"
    );
    let document = format!("{address}/api/v1/openapi.json");
    let mut command = Command::new(python);
    command
        .args(["-m", "schemathesis.cli", "run", &document, "--url", address])
        .args(["--checks", CHECKS, "--exclude-path-regex", left_out])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-time", "12", "--max-examples", "20"])
        .args(["--request-timeout", "10", "--generation-deterministic"])
        .args(["--warnings", "off", "--no-color"])
        .args(arguments)
        .env("PYTHONPATH", tests.join("openapi"))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    let done = output(command);
    let report = String::from_utf8_lossy(&done.stdout);
    let complaints = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{report}\n{complaints}");
}

/// Left out: event streams, which have no end, and `/admin/drain`, which ends the server. The
/// operator's port has neither pages nor sessions.
#[test]
fn both_ports_answer_as_the_document_says() {
    // It starts and stops recordings, too.
    let folder = concat!(
        "--recordings.directory=",
        env!("CARGO_TARGET_TMPDIR"),
        "/openapi"
    );
    let server = Server::demo(&[folder]);
    let admin = server.admin.as_ref().unwrap();
    let token = format!("Authorization: Bearer {}", admin.token);
    thread::scope(|scope| {
        scope.spawn(|| {
            let left_out = "^/(api/v1/(events|docs)|admin/|whip|whep|oembed)";
            let address = format!("http://{}", admin.address);
            call(&address, left_out, &["--header", &token]);
        });
        scope.spawn(|| {
            let address = format!("http://{}", server.address);
            call(&address, "^/(api/v1/events|admin/)", &[]);
        });
    });
}

#[test]
fn the_version_in_a_path_may_be_left_out() {
    let server = Server::start(&[]);
    for path in ["/api/openapi.json", "/api/v1/openapi.json"] {
        let document = server.get(path).expect(200).json();
        assert_eq!(document["info"]["title"], "Aerial", "{path}");
    }
    assert_eq!(
        server.get("/api/v1/broadcasts").expect(200).json()["broadcasts"],
        serde_json::json!([])
    );
    assert_eq!(server.get("/api/v2/broadcasts").status, 404);
    let admin = server.get_as_operator("/api/v1/openapi.json").expect(200);
    assert_eq!(admin.json()["info"]["title"], "Aerial");
    for (path, style) in [("/api/docs", "../v/"), ("/api/v1/docs", "../../v/")] {
        let page = server.get(path).expect(200);
        let wanted = format!("<link rel=\"stylesheet\" href=\"{style}");
        assert!(page.text().contains(&wanted), "{path}");
    }
}
