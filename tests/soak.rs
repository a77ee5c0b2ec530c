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
    churn::{Held, leave},
    hostile::{spoofed, strangers},
    networks::{Path, Relay},
    rtc::{Client, Mode, clip, wait_for_frames_of_all},
    support::{PATIENCE, Server, aerial, damage::Random, fixture, wait_for},
};

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
        self.server.delete(&publisher.session).expect(200);
        self.deeds.published.fetch_add(1, Relaxed);
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
                let reply = self
                    .server
                    .post_offer("/whep/live", &fixture("chrome-whep-av"));
                reply.expect(201);
                self.stay(time);
                &self.deeds.never_connected
            }
            how => {
                let client = Client::watch(&self.server, "live");
                self.sees(&client);
                self.stay(time);
                leave(&self.server, client, how);
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

    /// Sends datagrams of strangers, and others in the names of the bystanders.
    fn attack(&self, clients: &[&Client]) {
        let mut random = Random(0xa77ac);
        let answer = &clients[0].answer;
        let (port, ufrag) = (
            strangers::port(answer),
            strangers::line(answer, "a=ice-ufrag:"),
        );
        let mut number = 0;
        while !self.is_over() {
            // All of 127.0.0.0/8 is this machine: every burst comes from another address.
            let host = format!("127.{}.{}.1:0", 1 + random.below(200), random.below(250));
            let socket = UdpSocket::bind(host).unwrap();
            for _ in 0..BURST {
                // Err: the kernel's buffer is full, or an earlier datagram was answered with an error.
                let _ = socket.send_to(&strangers::datagram(ufrag, &mut random), port);
                let client = clients[random.below(clients.len())];
                client
                    .wire()
                    .forge(&spoofed::datagram(client, number, &mut random));
                number += 1;
            }
            self.deeds.datagrams.fetch_add(2 * BURST, Relaxed);
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

/// The most of each resource in some samples.
fn largest(samples: &[Held]) -> Held {
    let max = |of: fn(&Held) -> usize| samples.iter().map(of).max().unwrap();
    Held {
        threads: max(|held| held.threads),
        descriptors: max(|held| held.descriptors),
        kilobytes: max(|held| held.kilobytes),
    }
}

/// Runs a soak, which fails if a bystander loses a frame. Returns what the server held meanwhile.
fn soak(time: Duration, crowd: usize) -> Vec<Held> {
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
            let held = Held::by(&soak.server);
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
    samples
}

#[test]
fn a_small_crowd_for_a_few_seconds() {
    soak(Duration::from_secs(12), 12);
}

#[test]
#[ignore = "takes half an hour: make soak"]
fn a_crowd_for_half_an_hour() {
    let samples = soak(Duration::from_mins(30), 300);
    // The crowd is complete after the first samples.
    let quarters: Vec<_> = samples.chunks(samples.len() / 4).map(largest).collect();
    let (early, late) = (quarters[1], quarters[3]);
    println!("second quarter {early:?}, last quarter {late:?}");
    for (name, early, late) in [
        ("threads", early.threads, late.threads),
        ("descriptors", early.descriptors, late.descriptors),
        ("kilobytes", early.kilobytes, late.kilobytes),
    ] {
        assert!(late <= early + early / 10, "{name}: {early}, then {late}");
    }
}
