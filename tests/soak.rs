//! A crowd that comes, goes, loses, roams, floods and attacks, beside a broadcast that must not notice it.
//!
//! `make soak` runs it for half an hour with 300 viewers against the release build.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    churn::Held,
    hostile::{spoofed, strangers},
    networks::{Path, Relay},
    rtc::{Client, Mode, clip, wait_for_frames_of_all},
    support::{PATIENCE, Server, aerial, damage::Random, fixture, wait_for},
    workers::all_workers,
};

/// Guests of half an hour.
const CROWD: usize = 300;
/// Viewers that must get every frame.
const BYSTANDERS: usize = 20;
/// One in this many guests publishes a broadcast of its own instead of watching.
const PUBLISHERS: usize = 60;
/// How long a guest stays, in seconds, is up to this much more than two.
const STAY_MAX: usize = 10;
/// A crowd arrives within this time.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Datagrams that an attacker sends at once, and its pause after them.
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);
/// Feedback packets that each of those who flood sends in a millisecond: more than a session may
/// send.
const FLOOD: usize = 3;
/// So many flood at once. All of it has to fit the processors of this machine beside the crowd itself:
/// beyond that, the kernel drops what the others send as well.
const FLOODERS: usize = 8;
/// How often an attacker begins a session whose first check it then sends from everywhere.
const NEW_CHECK: Duration = Duration::from_secs(1);
/// Connections that an attacker holds open without reading or finishing a request.
const CONNECTIONS: usize = 100;
/// How often the server's resources are looked at during a soak.
const SAMPLES: u32 = 40;

/// A link that loses 5 % and delays by 20 ms.
const LOSSY: Path = Path {
    lost: 50,
    delay: 20,
    burst: 1,
    overtaking: 5,
    twice: 5,
    jitter: 10,
};

/// The activity of the crowd.
#[derive(Debug, Default)]
struct Deeds {
    watched: AtomicUsize,
    published: AtomicUsize,
    roamed: AtomicUsize,
    lossy: AtomicUsize,
    flooded: AtomicUsize,
    flooding: AtomicUsize,
    deaf: AtomicUsize,
    never_connected: AtomicUsize,
    /// Guests that ran too seldom to keep their sessions: other work has taken the processors.
    starved: AtomicUsize,
    datagrams: AtomicUsize,
    connections: AtomicUsize,
}

struct Soak {
    server: Server,
    deeds: Deeds,
    over: AtomicBool,
}

impl Soak {
    fn start() -> Self {
        let mut command = aerial(&[
            "serve",
            "--listen=127.0.0.1:0",
            "--udp=127.0.0.1:0",
            "--demo=false",
            // A client that roams finds out by its next check, up to some seconds later.
            "--timeouts.consent=10s",
            "--timeouts.grace=1s",
            // The crowd runs when the server does not, and may be late.
            "--timeouts.first_check=10s",
            // The whole crowd has one address.
            "--limits.source_offers=10000",
        ]);
        command.env("MALLOC_ARENA_MAX", "2").stderr(Stdio::piped());
        Self {
            server: Server::attach(command.spawn().unwrap()),
            deeds: Deeds::default(),
            over: AtomicBool::new(false),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Waits this long, or until the soak is over.
    fn stay(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// One of the crowd: comes and goes for as long as the soak lasts.
    fn guest(&self, number: usize) {
        let mut random = Random(0x5eed + u64::try_from(number).unwrap());
        self.stay(ARRIVAL * u32::try_from(random.below(1000)).unwrap() / 1000);
        while !self.is_over() {
            let seconds = 2 + random.below(STAY_MAX);
            let time = Duration::from_secs(seconds.try_into().unwrap());
            if number.is_multiple_of(PUBLISHERS) {
                self.publish(number, time);
            } else {
                self.watch(time, &mut random);
            }
        }
    }

    /// Waits until a viewer has seen some frames. If it sees none, prints what the server knows about it.
    fn sees(&self, viewer: &Client) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (video, audio) = viewer.frames();
            if video >= 5 && audio >= 5 {
                return;
            }
            if Instant::now() > end {
                let status = self.server.get(&viewer.session).status;
                let (connected, closed) = (viewer.is_connected(), viewer.is_closed());
                panic!(
                    "{} ({status}): {video} and {audio} frames, connected {connected}, closed {closed}",
                    viewer.session
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn publish(&self, number: usize, time: Duration) {
        let name = format!("guest-{number}");
        let publisher = Client::live(&self.server, &name, &clip::H264);
        let viewer = Client::watch(&self.server, &name);
        self.sees(&viewer);
        self.stay(time);
        drop(viewer);
        self.end(&publisher);
        self.deeds.published.fetch_add(1, Relaxed);
    }

    /// Ends a guest's session, which may have ended by itself.
    fn end(&self, guest: &Client) {
        match self.server.delete(&guest.session).status {
            200 => {}
            404 => drop(self.deeds.starved.fetch_add(1, Relaxed)),
            status => panic!("{status} for {}", guest.session),
        }
    }

    fn watch(&self, time: Duration, random: &mut Random) {
        let deed = match random.below(10) {
            0 => {
                let relay = Relay::start(LOSSY);
                let _client = Client::watch_through(&self.server, "live", &relay);
                self.stay(time);
                &self.deeds.lossy
            }
            1 => {
                let relay = Relay::start(Path::default());
                let client = Client::watch_through(&self.server, "live", &relay);
                self.sees(&client);
                relay.rebind();
                client.wait_for_frames(20);
                &self.deeds.roamed
            }
            2 => {
                let client = Client::watch(&self.server, "live");
                self.sees(&client);
                let others = self.deeds.flooding.fetch_add(1, Relaxed);
                if others < FLOODERS {
                    client.set(Mode::Flood(FLOOD));
                }
                self.stay(time);
                self.deeds.flooding.fetch_sub(1, Relaxed);
                if others < FLOODERS {
                    &self.deeds.flooded
                } else {
                    &self.deeds.watched
                }
            }
            3 => {
                let client = Client::watch(&self.server, "live");
                self.sees(&client);
                client.set(Mode::Deaf);
                self.stay(time);
                &self.deeds.deaf
            }
            4 => {
                let mut offer = fixture("chrome-whep-av");
                if random.below(2) == 0 {
                    // An encoder would have to be started.
                    offer = offer.replace("H264/90000", "other/90000");
                }
                self.server.post_offer("/whep/live", &offer).expect(201);
                self.stay(time);
                &self.deeds.never_connected
            }
            how => {
                let client = Client::watch(&self.server, "live");
                self.sees(&client);
                self.stay(time);
                match how % 3 {
                    0 => self.end(&client),
                    1 => {
                        client.set(Mode::Close);
                        wait_for("end of the client", || client.is_closed().then_some(()));
                    }
                    // Silently.
                    _ => {}
                }
                &self.deeds.watched
            }
        };
        deed.fetch_add(1, Relaxed);
    }

    /// What the server has refused or lost so far, and why sessions have ended.
    fn losses(&self) -> Vec<String> {
        let metrics = self.server.get_as_operator("/metrics").expect(200);
        let told = [
            "aerial_queue_dropped_total ",
            "aerial_send_dropped_total ",
            "aerial_datagrams_refused_total ",
            "aerial_unknown_datagrams_total ",
            "aerial_sessions_ended_total{",
        ];
        metrics
            .text()
            .lines()
            .filter(|line| told.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0"))
            .map(str::to_owned)
            .collect()
    }

    /// Sends datagrams of strangers, others in the names of the bystanders, and copies of valid checks.
    fn attack(&self, clients: &[&Client]) {
        let mut random = Random(0xa77ac);
        let answer = &clients[0].answer;
        let (port, ufrag) = (
            strangers::port(answer),
            strangers::line(answer, "a=ice-ufrag:"),
        );
        let mut number = 0;
        let mut asked = Instant::now();
        let (_, mut check) = Client::ask_to_watch(&self.server, "live");
        while !self.is_over() {
            if asked.elapsed() > NEW_CHECK {
                asked = Instant::now();
                (_, check) = Client::ask_to_watch(&self.server, "live");
            }
            // All of 127.0.0.0/8 is this machine: every burst comes from another address.
            let host = format!("127.{}.{}.1:0", 1 + random.below(200), random.below(250));
            let socket = UdpSocket::bind(host).unwrap();
            for _ in 0..BURST {
                // Err: the kernel's buffer is full, or an earlier datagram was answered with an error.
                let _ = socket.send_to(&strangers::datagram(ufrag, &mut random), port);
                let _ = socket.send_to(&check, port);
                let client = clients[random.below(clients.len())];
                client
                    .wire()
                    .forge(&spoofed::datagram(client, number, &mut random));
                number += 1;
            }
            self.deeds.datagrams.fetch_add(3 * BURST, Relaxed);
            thread::sleep(PAUSE);
        }
    }

    /// Opens event streams that it does not read, and requests that it does not finish.
    fn hold_connections(&self) {
        let beginnings = [
            "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /whep/live HTTP/1.1\r\nHost: ",
        ];
        let mut held = std::collections::VecDeque::new();
        while !self.is_over() {
            for beginning in beginnings {
                let mut stream = TcpStream::connect(self.server.address).unwrap();
                stream.write_all(beginning.as_bytes()).unwrap();
                held.push_back(stream);
            }
            if held.len() > CONNECTIONS {
                for mut old in held.drain(..CONNECTIONS / 2) {
                    old.set_read_timeout(Some(Duration::from_millis(1)))
                        .unwrap();
                    let _ = old.read(&mut [0; 512]);
                }
            }
            self.deeds.connections.fetch_add(beginnings.len(), Relaxed);
            thread::sleep(PAUSE);
        }
    }
}

/// From here on, this thread and those that it starts run only when the server does not. Hundreds of
/// clients on the server's own machine would take the processors from it, which those elsewhere
/// cannot.
fn give_way() {
    let thread = fs::read_link("/proc/thread-self").unwrap();
    let mut command = Command::new("chrt");
    let command = command.args(["--idle", "--pid", "0"]);
    let command = command.arg(thread.file_name().unwrap());
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

/// What the server and its workers hold.
#[derive(Clone, Copy, Debug)]
struct Sample {
    server: Held,
    workers: usize,
    /// The most of each resource that a worker holds.
    worker: Held,
}

impl Sample {
    fn of(server: &Server) -> Self {
        let workers = all_workers(server);
        let held = workers.iter().map(|(_, pid)| *pid);
        Self {
            server: Held::by(server),
            workers: workers.len(),
            // Some end meanwhile.
            worker: Held::largest(held.filter_map(Held::by_process)),
        }
    }

    fn largest(samples: &[Self]) -> Self {
        Self {
            server: Held::largest(samples.iter().map(|sample| sample.server)),
            workers: samples.iter().map(|sample| sample.workers).max().unwrap(),
            worker: Held::largest(samples.iter().map(|sample| sample.worker)),
        }
    }

    /// Each figure, with its name.
    fn figures(&self) -> Vec<(String, usize)> {
        let of = |whose: &str, held: Held| {
            [
                (format!("threads of {whose}"), held.threads),
                (format!("descriptors of {whose}"), held.descriptors),
                (format!("kilobytes of {whose}"), held.kilobytes),
            ]
        };
        let (server, worker) = (of("the server", self.server), of("a worker", self.worker));
        server.into_iter().chain(worker).collect()
    }
}

/// Runs a soak, which fails if a bystander loses a frame. Returns what the server held meanwhile.
fn soak(time: Duration, crowd: usize) -> Vec<Sample> {
    let soak = Soak::start();
    let publisher = Client::live(&soak.server, "live", &clip::H264);
    let bystanders: Vec<_> = (0..BYSTANDERS)
        .map(|_| Client::watch(&soak.server, "live"))
        .collect();
    wait_for_frames_of_all(&bystanders, 10);
    let seen = || bystanders.iter().map(Client::seen_pictures);
    let (before, sent) = (seen().collect::<Vec<_>>(), publisher.pictures());
    give_way();
    let samples = thread::scope(|scope| {
        let soak = &soak;
        for number in 0..crowd {
            scope.spawn(move || soak.guest(number));
        }
        let clients: Vec<_> = bystanders.iter().chain([&publisher]).collect();
        scope.spawn(move || soak.attack(&clients));
        scope.spawn(|| soak.hold_connections());
        let sample = |_| {
            thread::sleep(time / SAMPLES);
            let held = Sample::of(&soak.server);
            let sessions = soak.server.count("sessions");
            println!("{held:?}, {sessions} sessions, {:?}", soak.losses());
            held
        };
        let samples: Vec<_> = (0..SAMPLES).map(sample).collect();
        soak.over.store(true, Relaxed);
        samples
    });
    println!("{:?}", soak.deeds);
    let sent = publisher.pictures() - sent;
    wait_for("every frame", || {
        let came = seen().zip(&before).map(|(now, before)| now - before);
        came.min().filter(|&came| came >= sent)
    });
    for bystander in &bystanders {
        bystander.wait_for_all();
        assert!(bystander.is_connected() && !bystander.is_closed());
    }
    println!("{sent} pictures sent, none lost by {BYSTANDERS} bystanders");
    let [starved, watched] =
        [&soak.deeds.starved, &soak.deeds.watched].map(|count| count.load(Relaxed));
    assert!(
        starved <= 1 + watched / 20,
        "{starved} of {watched} starved"
    );
    samples
}

#[test]
fn a_small_crowd_for_a_few_seconds() {
    soak(Duration::from_secs(12), 12);
}

#[test]
#[ignore = "takes half an hour: make soak"]
fn a_crowd_for_half_an_hour() {
    let samples = soak(Duration::from_mins(30), CROWD);
    // The crowd is complete after the first samples.
    let quarter = samples.len() / 4;
    let quarters: Vec<_> = samples.chunks(quarter).map(Sample::largest).collect();
    let (early, late) = (quarters[1], quarters[3]);
    println!("second quarter {early:?}, last quarter {late:?}");
    for ((name, early), (_, late)) in early.figures().into_iter().zip(late.figures()) {
        assert!(late <= early + early / 10, "{name}: {early}, then {late}");
    }
    // Those of the publishers, and one that is kept ready for the next, while others end.
    let publishers = 1 + CROWD / PUBLISHERS;
    assert!(
        late.workers <= 2 * publishers + 1,
        "{} workers",
        late.workers
    );
}
