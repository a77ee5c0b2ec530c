//! Every kind of worker, broken in every way, on a server with more than ten broadcasts. The twenty
//! viewers of one of them lose no frame, and each job that is hit works again.

mod fault;
mod kind;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use self::{
    fault::{Fault, PLANS, a_debugger_is_allowed},
    kind::{CONFIG, Victim, WorkerKind},
};
use super::{RENDITION, SOURCE, state};
use crate::{
    kill::Watched,
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Server, wait_for},
};

/// Viewers of the broadcast that must not notice.
const NEAR: usize = 20;
/// How often the API is asked, so that it is seen what it says during the pause before a restart.
const LOOK_INTERVAL: Duration = Duration::from_millis(80);
/// What hangs is found sooner than by default.
const ARGUMENTS: [&str; 4] = [
    "--timeouts.grace=1m",
    "--timeouts.worker=5s",
    "--timeouts.ended=5s",
    "--webrtc.publisher_engine=direct",
];
const DEFAULTS: &str = "[defaults]\nstall = \"5s\"\n";
/// How long everything may take to work again.
const PATIENCE: Duration = Duration::from_mins(1);

/// The clients of one set that are on webrtcbin: their sessions end with their workers.
struct OnWebrtcbin {
    publisher: Client,
    viewers: [Client; 2],
}

impl OnWebrtcbin {
    fn new(server: &Server, set: &str) -> Self {
        let far = WorkerKind::Viewers.broadcast(set);
        let received = WorkerKind::Publisher.broadcast(set);
        let viewers = [Client::watch(server, &far), Client::watch(server, &far)];
        let publisher = Client::publish(server, &received, &clip::H264);
        server.wait_for_state(&received, "live");
        for viewer in &viewers {
            viewer.wait_for_frames(10);
        }
        Self { publisher, viewers }
    }

    fn wait_for_end(&self, server: &Server) {
        for client in self.viewers.iter().chain([&self.publisher]) {
            wait_for("the end of the sessions", || {
                (server.get(&client.session).status == 404).then_some(())
            });
        }
    }
}

/// One worker of each kind, and what keeps it busy.
struct Set<'a> {
    server: &'a Server,
    name: &'static str,
    /// Publishers on the direct engine.
    publishers: [Client; 3],
    /// They watch what workers make.
    viewers: [Client; 4],
    /// `None` while the workers are replaced.
    on_webrtcbin: Option<OnWebrtcbin>,
}

impl<'a> Set<'a> {
    fn new(server: &'a Server, name: &'static str) -> Self {
        let publish = |kind: WorkerKind, clip| Client::live(server, &kind.broadcast(name), clip);
        let publishers = [
            publish(WorkerKind::Output, &*clip::H264),
            publish(WorkerKind::Viewers, &*clip::H264),
            publish(WorkerKind::Transcode, &*clip::H264),
        ];
        server.wait_for_state(&WorkerKind::Source.broadcast(name), "live");
        let small = format!("{}?rendition=small", WorkerKind::Rendition.broadcast(name));
        let coded = WorkerKind::Transcode.broadcast(name);
        Self {
            server,
            name,
            publishers,
            viewers: [
                Client::watch(server, &small),
                Client::watch(server, &WorkerKind::Slate.broadcast(name)),
                Client::watch(server, &WorkerKind::Source.broadcast(name)),
                Client::watch_only(server, &coded, &clip::VP8),
            ],
            on_webrtcbin: Some(OnWebrtcbin::new(server, name)),
        }
    }

    /// The workers, once they work.
    fn victims(&self) -> [Victim; 8] {
        WorkerKind::ALL.map(|kind| Victim::find(self.server, kind, self.name))
    }

    /// Hits all workers with a fault, and waits until everything works again.
    fn endure(&mut self, fault: &Fault) {
        let victims = self.victims();
        fault.strike(&victims);
        wait_for_restarts(self.server, fault, &victims);
        if let Some(ended) = self.on_webrtcbin.take() {
            ended.wait_for_end(self.server);
        }
        for victim in &victims {
            wait_for(&format!("the end of {victim:?}"), || {
                state(victim.pid).is_none().then_some(())
            });
            let explained = victim.is_explained(self.server, fault);
            assert!(explained, "{victim:?} of {fault:?}");
        }
        self.on_webrtcbin = Some(OnWebrtcbin::new(self.server, self.name));
        self.assert_that_others_go_on();
    }

    /// Nobody else's session has ended, and what workers make arrives again.
    fn assert_that_others_go_on(&self) {
        for client in self.publishers.iter().chain(&self.viewers) {
            self.server.get(&client.session).expect(204);
        }
        let before = self.viewers.each_ref().map(Client::seen_pictures);
        for (viewer, before) in self.viewers.iter().zip(before) {
            wait_for("pictures", || {
                (viewer.seen_pictures() > before + 10).then_some(())
            });
        }
    }
}

/// Waits until the pipelines of workers that were hit run again. The API must have named the fault.
fn wait_for_restarts(server: &Server, fault: &Fault, victims: &[Victim]) {
    let mut shown = false;
    let mut waiting: Vec<_> = victims.iter().collect();
    let begin = Instant::now();
    while !waiting.is_empty() {
        waiting.retain(|victim| !victim.runs_again(server, fault, &mut shown));
        assert!(begin.elapsed() < PATIENCE, "{waiting:?} after {fault:?}");
        thread::sleep(LOOK_INTERVAL);
    }
    assert!(shown, "the API does not name {fault:?}");
}

/// A limit of a process, as the kernel says.
pub(crate) fn limit(pid: u32, name: &str) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let soft = line.unwrap().split_whitespace().next().unwrap();
    soft.parse().unwrap_or(u64::MAX)
}

/// The nice level of a process.
fn nice(pid: u32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(16).unwrap().parse().unwrap()
}

/// What each worker may use, as the kernel has it.
fn assert_limited(set: &Set<'_>) {
    let own = nice(set.server.pid());
    for Victim { kind, pid, .. } in set.victims() {
        assert_eq!(limit(pid, "Max core file size"), 0, "{kind:?}");
        assert_eq!(limit(pid, "Max data size"), 4096 << 20, "{kind:?}");
        assert!(limit(pid, "Max open files") <= 1024, "{kind:?}");
        assert_eq!(nice(pid), (own + kind.nice()).min(19), "{kind:?}");
        let oom = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert!(oom.trim().parse::<i32>().unwrap() >= 500, "{kind:?}: {oom}");
    }
}

/// The processes that a server has started and not collected yet, with their states.
fn children(server: &Server) -> Vec<(u32, char)> {
    let own = server.pid().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?.chars().next()?;
        (fields.next()? == own).then_some((pid, state))
    });
    processes.collect()
}

/// Waits until the server has the workers of these sets and the one that is kept ready, and nothing else.
fn assert_no_remains(server: &Server, sets: &[Set<'_>]) {
    let victims: Vec<_> = sets.iter().flat_map(Set::victims).collect();
    let mine: BTreeSet<_> = victims.iter().map(|victim| victim.pid).collect();
    wait_for("the end of everything else", || {
        let children = children(server);
        let others = children.iter().filter(|(pid, _)| !mine.contains(pid));
        let zombies = children.iter().filter(|(_, state)| *state == 'Z');
        (others.count() == 1 && zombies.count() == 0).then_some(())
    });
    assert_eq!(server.metric("aerial_pipelines_hanging"), 0);
}

#[test]
fn whatever_becomes_of_a_worker_nobody_else_notices() {
    let debugger = a_debugger_is_allowed();
    if !debugger {
        println!("no loops, leaks and floods: the system lets no debugger make them");
    }
    let files = [("card.launch", SOURCE), ("small.launch", RENDITION)];
    let built_in = ["record-mkv.launch", "snapshot.launch"];
    let folder = folder("workers-faults", &built_in, &files);
    let config = PLANS.map(|(set, _)| CONFIG.replace("SET", set)).concat();
    let server = server(&folder, &format!("{DEFAULTS}{config}"), &ARGUMENTS);
    let begun = Instant::now();
    let mut sets = PLANS.map(|(set, _)| Set::new(&server, set));
    let near = Watched::by(&server, "near", NEAR);
    let broadcasts = server.get("/api/broadcasts").json();
    let broadcasts = broadcasts["broadcasts"].as_array().unwrap().len();
    assert!(broadcasts >= 10, "{broadcasts}");
    assert_limited(&sets[0]);
    println!("everything runs after {:?}", begun.elapsed());
    thread::scope(|scope| {
        for (set, (_, faults)) in sets.iter_mut().zip(PLANS) {
            let possible = |fault: &&Fault| debugger || !fault.needs_a_debugger();
            scope.spawn(move || {
                for fault in faults.iter().filter(possible) {
                    set.endure(fault);
                    println!("{fault:?} is over after {:?}", begun.elapsed());
                }
            });
        }
    });
    assert_no_remains(&server, &sets);
    near.assert_complete();
}
