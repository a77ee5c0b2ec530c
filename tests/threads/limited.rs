//! A limit on threads: clients are refused before it is reached, and nothing ends when it is.

use std::process::Command;

use super::groups::{self, ControlGroup};
use crate::{
    hostile::spoofed::status,
    rtc::{Client, clip},
    support::{Server, fixture, output, wait_for},
};

/// What keeps a server from making threads.
enum ThreadLimit {
    /// As systemd's `TasksMax`, and containers.
    Group(ControlGroup),
    /// As `ulimit -u`, which holds for everyone but root.
    User,
}

impl ThreadLimit {
    /// `None` if the system gives neither.
    fn new(server: &Server) -> Option<Self> {
        if let Some(group) = ControlGroup::new(groups::THREADS) {
            group.take(server);
            return Some(Self::Group(group));
        }
        let owner = status(server, "Uid:");
        (owner != 0).then_some(Self::User)
    }

    /// Allows this many threads beyond those that there are.
    fn leave(&self, server: &Server, left: u64) {
        match self {
            Self::Group(group) => group.limit(group.usage() + left),
            Self::User => {
                let owner = status(server, "Uid:").to_string();
                let mut list = Command::new("ps");
                list.args(["-L", "--no-headers", "-u", &owner]);
                let threads = String::from_utf8(output(list).stdout).unwrap();
                let used = threads.lines().count() as u64;
                let mut change = Command::new("prlimit");
                change.args(["--pid", &server.pid().to_string()]);
                change.arg(format!("--nproc={}:", used + left));
                assert!(output(change).status.success());
            }
        }
    }
}

#[test]
fn a_limit_on_threads_refuses_clients_and_ends_nothing() {
    let engines = [
        "--webrtc.publisher_engine=direct",
        "--webrtc.viewer_engine=direct",
    ];
    let server = Server::start(&engines);
    let Some(limit) = ThreadLimit::new(&server) else {
        println!("skipped: the system gives no limit on threads");
        return;
    };
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(10);
    server.get("/readyz").expect(200);

    // Some are kept back, and then none is left.
    for left in [16, 0] {
        limit.leave(&server, left);
        let unready = wait_for("refusal", || {
            let reply = server.get("/readyz");
            (reply.status == 503).then_some(reply)
        });
        assert!(unready.text().contains("threads"), "{}", unready.text());
        for round in 0..20 {
            for (path, offer) in [
                (format!("/whip/b{round}"), "obs-session-level"),
                ("/whep/a".to_owned(), "chrome-whep-av"),
            ] {
                let refused = server.post_offer(&path, &fixture(offer)).expect(503);
                assert_eq!(refused.problem(), "full", "{path}");
                assert!(refused.text().contains("threads"), "{}", refused.text());
                assert!(refused.header("retry-after").is_some());
            }
            for path in ["/", "/api/broadcasts", "/watch/a", "/publish/a"] {
                server.get(path).expect(200);
            }
        }
        server.get("/healthz").expect(200);
        server.get_as_operator("/metrics").expect(200);
        viewer.wait_for_frames(30);
    }
    viewer.wait_for_all();
    assert!(!publisher.is_closed() && !viewer.is_closed());

    limit.leave(&server, 10_000);
    wait_for("room", || {
        (server.get("/readyz").status == 200).then_some(())
    });
    Client::watch(&server, "a").wait_for_frames(10);
}
