//! How sessions end.

use crate::support::{Server, fixture, wait_for};

/// Rows W-97a, W-97b, W-97c, W-98f, E-52.
#[test]
fn a_session_is_deleted_once() {
    let server = Server::demo(&[]);
    for (path, offer) in [
        ("/whip/a", "obs-media-level"),
        ("/whep/demo", "chrome-whep-av"),
    ] {
        for headers in [&[][..], &[("If-Match", "\"stale\"")]] {
            let session = server
                .post_offer(path, &fixture(offer))
                .expect(201)
                .location();
            let reply = server.request("DELETE", &session, headers, "").expect(200);
            assert_eq!(reply.header("content-length"), Some("0"));
            server.delete(&session).expect(404);
            server.get(&session).expect(404);
        }
    }
    wait_for("end of sessions", || {
        (server.count("sessions") == 0).then_some(())
    });
}

/// Threads and open files of the server.
fn resources(server: &Server) -> (usize, usize) {
    let count = |what: &str| {
        let path = format!("/proc/{}/{what}", server.pid());
        std::fs::read_dir(path).unwrap().count()
    };
    (count("task"), count("fd"))
}

#[test]
fn nothing_is_left_of_many_sessions() {
    // None of them connects.
    let server = Server::demo(&["--timeouts.first_check", "15s"]);
    let round = |publishers: usize, viewers: usize| {
        let publishers =
            (0..publishers).map(|number| (format!("/whip/a{number}"), "obs-media-level"));
        let viewers = (0..viewers).map(|_| ("/whep/demo".to_owned(), "chrome-whep-av"));
        let sessions: Vec<_> = publishers
            .chain(viewers)
            .map(|(path, offer)| {
                server
                    .post_offer(&path, &fixture(offer))
                    .expect(201)
                    .location()
            })
            .collect();
        for session in sessions {
            server.delete(&session).expect(200);
        }
        wait_for("end of sessions", || {
            (server.count("sessions") == 0 && server.count("broadcasts") == 1).then_some(())
        });
    };
    // The first sessions load plugins and start thread pools.
    round(5, 5);
    let (threads, files) = resources(&server);
    for _ in 0..4 {
        round(5, 50);
    }
    let (threads_after, files_after) = wait_for("end of threads", || {
        let now = resources(&server);
        (now.0 <= threads + 3 && now.1 <= files + 3).then_some(now)
    });
    println!("threads {threads} -> {threads_after}, files {files} -> {files_after}");
}

/// Row W-97e.
#[test]
fn the_name_is_free_after_delete() {
    let server = Server::start(&[]);
    for _ in 0..3 {
        let reply = server
            .post_offer("/whip/a", &fixture("obs-media-level"))
            .expect(201);
        server.delete(&reply.location()).expect(200);
    }
}

/// Rows W-106, E-56.
#[test]
fn sessions_that_never_connect_end() {
    let server = Server::demo(&["--timeouts.connect", "1s"]);
    let sessions = [
        ("/whip/a", "obs-media-level"),
        ("/whep/demo", "chrome-whep-av"),
    ]
    .map(|(path, offer)| {
        server
            .post_offer(path, &fixture(offer))
            .expect(201)
            .location()
    });
    for session in &sessions {
        server.get(session).expect(204);
    }
    for session in &sessions {
        wait_for("end", || (server.get(session).status == 404).then_some(()));
    }
    wait_for("end of the broadcast", || {
        server.state("a").is_none().then_some(())
    });
    assert_eq!(server.count("sessions"), 0);
    wait_for("reasons", || {
        (server.ended("connect_timeout") == 2).then_some(())
    });
}
