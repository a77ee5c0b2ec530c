//! Every kind of worker, broken in every way, on a server with more than ten broadcasts. The twenty
//! viewers of one of them lose no frame, and each job that is hit works again.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    RENDITION, SOURCE, pipelines, publishers_worker, signal, state, viewers_workers, workers,
};
use crate::{
    kill::Watched,
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Server, wait_for},
};

/// Viewers of the broadcast that must not notice.
const NEAR: usize = 20;
/// There is a worker of each kind for each of these, so that three faults are tried at once.
const SETS: [&str; 3] = ["a", "b", "c"];
/// How often the API is asked, so that it is seen what it says during the pause before a restart.
const LOOK_INTERVAL: Duration = Duration::from_millis(80);
/// The broadcasts of one set.
const CONFIG: &str = r#"
[broadcasts.made-SET]
source = "card.launch"

[broadcasts.slated-SET]
slate = "card.launch"

[broadcasts.taken-SET]
renditions = ["small.launch"]
outputs = ["record-mkv.launch"]
vars = { directory = "FOLDER" }

[broadcasts.rtc-SET]
publisher_engine = "webrtcbin"

[broadcasts.far-SET]
viewer_engine = "webrtcbin"
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerKind {
    Source,
    Slate,
    Rendition,
    Output,
    /// On webrtcbin.
    Publisher,
    /// On webrtcbin.
    Viewers,
}

impl WorkerKind {
    const ALL: [Self; 6] = [
        Self::Source,
        Self::Slate,
        Self::Rendition,
        Self::Output,
        Self::Publisher,
        Self::Viewers,
    ];

    fn broadcast(self, set: &str) -> String {
        let name = match self {
            Self::Source => "made",
            Self::Slate => "slated",
            Self::Rendition | Self::Output => "taken",
            Self::Publisher => "rtc",
            Self::Viewers => "far",
        };
        format!("{name}-{set}")
    }

    /// The name of its pipeline file, if it has one.
    const fn pipeline(self) -> Option<&'static str> {
        match self {
            Self::Source | Self::Slate => Some("card"),
            Self::Rendition => Some("small"),
            Self::Output => Some("record-mkv"),
            Self::Publisher | Self::Viewers => None,
        }
    }

    /// How the names of the threads begin that pass media on.
    const fn media_threads(self) -> &'static str {
        match self {
            Self::Source | Self::Slate => "videotestsrc",
            Self::Rendition | Self::Output => "video:src",
            Self::Publisher => "rtpjitterbuf",
            Self::Viewers => "playout",
        }
    }
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug)]
enum Means {
    Signal(&'static str),
    /// Rust's own handler takes the first one, and goes back to where a true fault would happen again.
    SignalTwice(&'static str),
    /// The threads that pass media on loop. It still answers.
    LoopInMedia,
    /// The thread that reads the socket loops: the socket fills.
    LoopInReader,
}

/// A fault, and what log and API call it.
#[derive(Clone, Copy, Debug)]
struct Fault {
    means: Means,
    /// The codes of which one names it.
    codes: &'static [&'static str],
    /// The signal in the reason, if one has ended the process.
    signal: &'static str,
}

/// These end a worker at once.
const ENDS: [Fault; 3] = [
    Fault {
        means: Means::Signal("KILL"),
        codes: &["crashed"],
        signal: "SIGKILL",
    },
    Fault {
        means: Means::SignalTwice("SEGV"),
        codes: &["crashed"],
        signal: "SIGSEGV",
    },
    Fault {
        means: Means::Signal("ABRT"),
        codes: &["crashed"],
        signal: "SIGABRT",
    },
];
/// These have to be found. Whether it is the silence that is found first, or that no media comes, is a
/// matter of milliseconds.
const HANGS: [Fault; 3] = [
    Fault {
        means: Means::Signal("STOP"),
        codes: &["hung", "stalled"],
        signal: "",
    },
    Fault {
        means: Means::LoopInMedia,
        codes: &["stalled"],
        signal: "",
    },
    Fault {
        means: Means::LoopInReader,
        codes: &["hung", "stalled"],
        signal: "",
    },
];

impl Fault {
    /// Whether a code and the text beside it name it.
    fn is_named(&self, code: Option<&str>, text: Option<&str>) -> bool {
        code.is_some_and(|code| self.codes.contains(&code))
            && text.is_some_and(|text| text.contains(self.signal))
    }

    fn strike(&self, victims: &[Victim]) {
        let pids = || victims.iter().map(|victim| victim.pid);
        match self.means {
            Means::Signal(name) => signal(name, pids()),
            Means::SignalTwice(name) => {
                signal(name, pids());
                thread::sleep(Duration::from_millis(100));
                signal(name, pids());
            }
            Means::LoopInMedia => {
                let threads = victims.iter();
                let threads = threads.map(|victim| (victim.pid, victim.kind.media_threads()));
                assert!(make_loop(threads), "a debugger was allowed before");
            }
            Means::LoopInReader => {
                assert!(
                    make_loop(pids().map(|pid| (pid, "main"))),
                    "a debugger was allowed before"
                );
            }
        }
    }
}

/// Makes threads of processes loop for ever. Returns false where the system lets no debugger do that.
fn make_loop<'a>(threads: impl Iterator<Item = (u32, &'a str)>) -> bool {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/loop.py");
    let mut command = Command::new("python3");
    command.arg(script);
    for (pid, name) in threads {
        command.args([&pid.to_string(), name]);
    }
    let status = command.status().unwrap();
    assert!(matches!(status.code(), Some(0 | 3)), "{status}");
    status.success()
}

fn a_debugger_is_allowed() -> bool {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let allowed = make_loop([(child.id(), "main")].into_iter());
    child.kill().unwrap();
    child.wait().unwrap();
    allowed
}

/// A worker that is to be hit.
#[derive(Debug)]
struct Victim {
    kind: WorkerKind,
    broadcast: String,
    pid: u32,
    /// How often its pipeline had been restarted before.
    restarts: u64,
}

impl Victim {
    /// A worker of a set, once it works.
    fn find(server: &Server, kind: WorkerKind, set: &str) -> Self {
        let broadcast = kind.broadcast(set);
        let (pid, restarts) = match (kind, kind.pipeline()) {
            (_, Some(pipeline)) => wait_for(&format!("running {pipeline} of {broadcast}"), || {
                let status = pipelines(server, &broadcast).remove(pipeline)?;
                let name = match kind {
                    WorkerKind::Source => format!("source-{broadcast}"),
                    _ => format!("{broadcast}-{pipeline}"),
                };
                let pid = *workers(server).get(&name)?;
                let runs = status["state"] == "running";
                runs.then_some((pid, status["restarts"].as_u64()?))
            }),
            (WorkerKind::Publisher, None) => (publishers_worker(server, &broadcast), 0),
            (_, None) => (*viewers_workers(server, &broadcast).last().unwrap(), 0),
        };
        Self {
            kind,
            broadcast,
            pid,
            restarts,
        }
    }

    /// Whether its pipeline runs again. Notes in `shown` whether the API has named the fault.
    fn runs_again(&self, server: &Server, fault: &Fault, shown: &mut bool) -> bool {
        let Some(pipeline) = self.kind.pipeline() else {
            return true;
        };
        let Some(status) = pipelines(server, &self.broadcast).remove(pipeline) else {
            return false;
        };
        *shown |= fault.is_named(status["failure"].as_str(), status["error"].as_str());
        status["restarts"].as_u64() > Some(self.restarts) && status["state"] == "running"
    }

    /// Whether the log names the fault, and the pause before the restart.
    fn is_explained(&self, server: &Server, fault: &Fault) -> bool {
        server.lines().iter().any(|line| {
            let text = line.field("error").or_else(|| line.field("reason"));
            let pause = line.field("pause_ms").and_then(|ms| ms.parse().ok());
            let restarts = match self.kind.pipeline() {
                Some(pipeline) => line.has("pipeline", pipeline) && pause >= Some(250_u64),
                None => true,
            };
            restarts
                && line.has("name", &self.broadcast)
                && fault.is_named(line.field("failure"), text)
        })
    }
}

/// The clients of one set that are on webrtcbin: their sessions end with their workers.
struct OnWebrtcbin {
    publisher: Client,
    viewers: [Client; 2],
}

impl OnWebrtcbin {
    fn new(server: &Server, set: &str) -> Self {
        let far = WorkerKind::Viewers.broadcast(set);
        let viewers = [Client::watch(server, &far), Client::watch(server, &far)];
        for viewer in &viewers {
            viewer.wait_for_frames(10);
        }
        Self {
            publisher: Client::live(server, &WorkerKind::Publisher.broadcast(set), &clip::H264),
            viewers,
        }
    }

    /// One after the other: each takes the worker that is kept ready.
    fn of_all(server: &Server) -> Vec<Self> {
        SETS.map(|set| Self::new(server, set)).into()
    }

    fn wait_for_end(&self, server: &Server) {
        for client in self.viewers.iter().chain([&self.publisher]) {
            wait_for("the end of the sessions", || {
                (server.get(&client.session).status == 404).then_some(())
            });
        }
    }
}

/// Does something for each set, at once.
fn for_each_set<T: Send>(work: impl Fn(&str) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let running = SETS.map(|set| scope.spawn(|| work(set)));
        running.map(|one| one.join().unwrap()).into()
    })
}

/// A server with workers of each kind.
struct House {
    server: Server,
    /// Publishers on the direct engine.
    publishers: Vec<Client>,
    /// They watch what workers make.
    viewers: Vec<Client>,
    on_webrtcbin: Vec<OnWebrtcbin>,
}

impl House {
    fn new() -> Self {
        let files = [("card.launch", SOURCE), ("small.launch", RENDITION)];
        let folder = folder("workers-faults", &["record-mkv.launch"], &files);
        let arguments = ["--timeouts.grace=1m", "--webrtc.publisher_engine=direct"];
        let config = SETS.map(|set| CONFIG.replace("SET", set)).concat();
        let server = server(&folder, &config, &arguments);
        let publishers = for_each_set(|set| {
            let published = [WorkerKind::Output, WorkerKind::Viewers];
            published.map(|kind| Client::live(&server, &kind.broadcast(set), &clip::H264))
        });
        let viewers = for_each_set(|set| {
            server.wait_for_state(&WorkerKind::Source.broadcast(set), "live");
            let watched = [
                format!("taken-{set}?rendition=small"),
                format!("slated-{set}"),
                format!("made-{set}"),
            ];
            watched.map(|path| Client::watch(&server, &path))
        });
        Self {
            publishers: publishers.into_iter().flatten().collect(),
            viewers: viewers.into_iter().flatten().collect(),
            on_webrtcbin: OnWebrtcbin::of_all(&server),
            server,
        }
    }

    /// The workers of each set, once they work.
    fn victims(&self) -> Vec<[Victim; 6]> {
        for_each_set(|set| WorkerKind::ALL.map(|kind| Victim::find(&self.server, kind, set)))
    }

    /// Hits all workers of a set with a fault, and those of the others with others, and waits until
    /// everything works again.
    fn endure(&mut self, faults: &[Fault]) {
        let victims = self.victims();
        let struck: Vec<_> = faults.iter().zip(&victims).collect();
        for (fault, victims) in &struck {
            fault.strike(*victims);
        }
        let server = &self.server;
        let mut shown = vec![false; struck.len()];
        wait_for(&format!("restarts after {faults:?}"), || {
            thread::sleep(LOOK_INTERVAL);
            let mut all = true;
            for ((fault, victims), shown) in struck.iter().zip(&mut shown) {
                for victim in *victims {
                    all &= victim.runs_again(server, fault, shown);
                }
            }
            all.then_some(())
        });
        for on_webrtcbin in &self.on_webrtcbin[..struck.len()] {
            on_webrtcbin.wait_for_end(server);
        }
        for ((fault, victims), shown) in struck.iter().zip(shown) {
            assert!(shown, "the API does not name {fault:?}");
            for victim in *victims {
                wait_for(&format!("the end of {victim:?}"), || {
                    state(victim.pid).is_none().then_some(())
                });
                let explained = victim.is_explained(server, fault);
                assert!(explained, "{victim:?} of {fault:?}");
            }
        }
        self.on_webrtcbin.clear(); // those that were not hit leave, too
        self.on_webrtcbin = OnWebrtcbin::of_all(server);
        self.assert_that_others_go_on();
    }

    /// Nobody's session has ended, and what workers make arrives again.
    fn assert_that_others_go_on(&self) {
        for client in self.publishers.iter().chain(&self.viewers) {
            self.server.get(&client.session).expect(204);
        }
        for viewer in &self.viewers {
            let before = viewer.seen_pictures();
            wait_for("pictures", || {
                (viewer.seen_pictures() > before + 10).then_some(())
            });
        }
    }
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
fn assert_limited(house: &House) {
    let own = nice(house.server.pid());
    for Victim { kind, pid, .. } in house.victims().into_iter().flatten() {
        assert_eq!(limit(pid, "Max core file size"), 0, "{kind:?}");
        assert_eq!(limit(pid, "Max data size"), 4096 << 20, "{kind:?}");
        assert!(limit(pid, "Max open files") <= 1024, "{kind:?}");
        let lower = if kind == WorkerKind::Output { 5 } else { 0 };
        assert_eq!(nice(pid), (own + lower).min(19), "{kind:?}");
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

/// Waits until the server has these workers and the one that is kept ready, and nothing else.
fn assert_no_remains(house: &House) {
    let victims = house.victims();
    let mine: BTreeSet<_> = victims.iter().flatten().map(|victim| victim.pid).collect();
    wait_for("the end of everything else", || {
        let children = children(&house.server);
        let others = children.iter().filter(|(pid, _)| !mine.contains(pid));
        let zombies = children.iter().filter(|(_, state)| *state == 'Z');
        (others.count() == 1 && zombies.count() == 0).then_some(())
    });
    assert_eq!(house.server.metric("aerial_pipelines_hanging"), 0);
}

#[test]
fn whatever_becomes_of_a_worker_nobody_else_notices() {
    let mut house = House::new();
    let near = Watched::by(&house.server, "near", NEAR);
    let broadcasts = house.server.get("/api/broadcasts").json();
    let broadcasts = broadcasts["broadcasts"].as_array().unwrap().len();
    assert!(broadcasts >= 10, "{broadcasts}");
    assert_limited(&house);
    let begun = Instant::now();
    house.endure(&ENDS);
    println!("ended and back after {:?}", begun.elapsed());
    if a_debugger_is_allowed() {
        house.endure(&HANGS);
    } else {
        println!("no loops: the system lets no debugger make one");
        house.endure(&HANGS[..1]);
    }
    assert_no_remains(&house);
    near.assert_complete();
}
