//! Sources that run only while somebody watches, and what is checked before the server starts.

use std::time::Instant;

use crate::{
    outputs::{folder, server},
    rtc::Client,
    support::{Server, aerial, engines::with_each_engine, output, wait_for},
};

#[test]
fn a_source_on_demand_runs_while_somebody_watches() {
    let folder = folder("demand", &["demo.launch"], &[]);
    let config = "[broadcasts.card]\nsource = \"demo.launch\"\non_demand = true\n\
                  grace = \"500ms\"\n";
    let server = server(&folder, config, &[]);
    let shown = server.get("/api/broadcasts/card").json();
    assert_eq!(
        (&shown["state"], &shown["on_demand"]),
        (&"waiting".into(), &true.into())
    );
    assert_eq!(server.pipeline_starts("source"), 0);
    for round in 1..=2 {
        let begun = Instant::now();
        let viewer = Client::watch(&server, "card");
        let answered = begun.elapsed();
        viewer.wait_for_frames(10);
        println!(
            "cold source: answer after {answered:?}, 10 frames after {:?}",
            begun.elapsed()
        );
        let second = Client::watch(&server, "card");
        second.wait_for_frames(10);
        assert_eq!(server.pipeline_starts("source"), round);
        server.delete(&viewer.session).expect(200);
        server.delete(&second.session).expect(200);
        server.wait_for_state("card", "waiting");
        wait_for("end", || {
            let shown = server.get("/api/broadcasts/card/pipelines").json();
            (shown["pipelines"][0]["state"] == "idle").then_some(())
        });
    }
}

#[test]
fn who_comes_while_a_source_starts_waits_for_its_first_frame() {
    with_each_engine(|engine| {
        let server = Server::with_demo(&["--webrtc.viewer_engine", engine]);
        // Not 409.
        let viewer = Client::watch(&server, "demo");
        viewer.wait_for_frames(10);
    });
}

#[test]
fn a_server_with_faulty_pipelines_does_not_start() {
    let faulty = "# a comment\nvideotestsrc patern=ball ! x264enc ! appsink name=video\n";
    let files = [("faulty.launch", faulty)];
    let folder = folder("faulty", &["demo.launch"], &files);
    for (config, expected) in [
        (
            "[broadcasts.a]\nsource = \"faulty.launch\"\n",
            "faulty.launch:2: ",
        ),
        ("[defaults]\noutputs = [\"demo.launch\"]\n", "demo.launch: "),
    ] {
        let file = folder.join("aerial.toml");
        std::fs::write(&file, config).unwrap();
        let (file, folder) = (file.to_str().unwrap(), folder.to_str().unwrap());
        let ports = ["--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
        let rest = [
            "serve",
            "--config",
            file,
            "--pipelines",
            folder,
            "--demo=false",
        ];
        let arguments: Vec<_> = rest.into_iter().chain(ports).collect();
        let result = output(aerial(&arguments));
        let text = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
