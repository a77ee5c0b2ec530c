//! What the actor of a broadcast decides, in virtual time: no task runs, and no time passes.

mod nodes;
mod outputs;
mod publishers;
mod reload;
mod sources;
mod viewers;

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::*;
use crate::{
    broadcast::{
        Times,
        action::{InputStart, RunStart, Switched, View, Work},
        choice::tests::offer,
        gate::InputId,
        slot::{Retry, RunId},
        takeover::Pulse,
        transcodes::TranscodeBudget,
    },
    fanout::Rendition,
    plan::{PipelineFile, Plans},
};

/// How often the actor checks its time limits.
const TICK: Duration = Duration::from_millis(250);
const SOURCE: &str = "appsink name=video  appsink name=audio";
const LADDER: &str = "appsrc name=video  appsink name=video_720p  appsink name=video_480p";
const AUTOMATIC: &str = "appsrc name=video  appsink name=video_h264";
const SLATE: &str = "appsink name=video";

/// A publisher or source that tests drive.
struct TestInput {
    id: InputId,
    pulse: watch::Sender<Pulse>,
    /// Whether it sends packets all the time.
    flows: bool,
}

/// A broadcast driven by hand. Its actions are noted in words.
struct Broadcast {
    parts: Parts,
    began: Instant,
    now: Instant,
    sessions: u64,
    inputs: u64,
    /// By session, or 0 for the source.
    publishers: BTreeMap<u64, TestInput>,
    runs: BTreeMap<String, RunId>,
    noted: Vec<String>,
    views: BTreeMap<u64, View>,
    /// Whether viewers connect as soon as they are admitted.
    viewers_connect: bool,
}

fn file(name: &str, text: &str) -> PipelineFile {
    PipelineFile {
        file: format!("{name}.launch"),
        text: text.into(),
    }
}

/// An empty plan, with grace periods of 10 s.
fn plan() -> Plan {
    Plans::default().of(&Name::new("demo").unwrap())
}

fn rules() -> Rules {
    Rules {
        times: Times {
            connect: Duration::from_secs(15),
            media: Duration::from_secs(10),
            stale: Duration::from_secs(2),
            silent: None,
            ended: Duration::from_secs(10),
        },
        grace: Duration::from_secs(10),
        viewers_max: 100,
        transcodes: TranscodeBudget::new(16),
        transcodes_max: 4,
        replace_live: false,
        clustered: false,
    }
}

impl Broadcast {
    fn new(plan: Plan) -> Self {
        Self::with_rules(plan, &rules())
    }

    fn with_rules(plan: Plan, rules: &Rules) -> Self {
        let keys = std::sync::atomic::AtomicU64::new(1);
        let new_rendition: NewRendition = Arc::new(move |kind| {
            Rendition::unconnected(
                keys.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                kind,
            )
        });
        let (name, now) = (Name::new("demo").unwrap(), Instant::now());
        Self {
            parts: Parts::new(&name, rules, Arc::new(plan), &new_rendition, now),
            began: now,
            now,
            sessions: 0,
            inputs: 0,
            publishers: BTreeMap::new(),
            runs: BTreeMap::new(),
            noted: Vec::new(),
            views: BTreeMap::new(),
            viewers_connect: true,
        }
    }

    /// Lets time pass up to this many seconds after the start.
    fn until(&mut self, seconds: f64) {
        let end = self.began + Duration::from_secs_f64(seconds);
        assert!(end >= self.now, "time does not go back");
        while self.now < end {
            self.now = (self.now + TICK).min(end);
            for input in self.publishers.values().filter(|input| input.flows) {
                input
                    .pulse
                    .send_modify(|pulse| pulse.last_packet = Some(self.now));
            }
            let actions = self.parts.tick(self.now);
            self.perform(actions);
        }
    }

    /// Checks the actions since the last call.
    fn expect(&mut self, expected: &[&str]) {
        let seconds = (self.now - self.began).as_secs_f64();
        assert_eq!(
            std::mem::take(&mut self.noted),
            expected,
            "after {seconds} s"
        );
    }

    fn state(&self) -> State {
        self.parts.status(self.now).state
    }

    fn perform(&mut self, actions: impl IntoIterator<Item = Action>) {
        let mut admitted = Vec::new();
        for action in actions {
            let note = match action {
                Action::StartPublisher { session, input } => {
                    self.begin_input(session, input);
                    format!("publisher {session} begins")
                }
                Action::StartRun(start) => self.start_run(*start),
                Action::StopRun(stop) => {
                    let mut runs = self.runs.iter();
                    let (name, _) = runs.find(|(_, run)| **run == stop.run).unwrap();
                    format!("stop {name}")
                }
                Action::Admit { session, view } => {
                    self.views.insert(session, view);
                    admitted.push(session);
                    format!("admit {session}")
                }
                Action::Refuse { session, error } => {
                    format!("refuse {session}: {}", variant(&error))
                }
                Action::Switch(switching) => {
                    let Switched { from, to, .. } = self.parts.switched(&switching).unwrap();
                    format!("switch {} from {from} to {to}", switching.session)
                }
                Action::Close { session, why } => {
                    self.publishers.remove(&session);
                    format!("close {session}: {why:?}")
                }
                Action::RequestKeyframe { session } => format!("keyframe of {session}"),
                Action::Claim => "claim".to_owned(),
                Action::StartRemote(start) => {
                    self.begin_input(0, start.input);
                    format!("follow {}", start.origin.node)
                }
                Action::StopRemote => "stop following".to_owned(),
                Action::AskOrigin => "keyframe of the origin".to_owned(),
            };
            self.noted.push(note);
        }
        if self.viewers_connect {
            for session in admitted {
                self.connect_viewer(session);
            }
        }
    }

    /// A viewer's connection comes up.
    fn connect_viewer(&mut self, session: u64) {
        let event = MediaEvent::Connected { session };
        let actions = self.parts.media(event, self.now);
        self.perform(actions);
    }

    fn begin_input(&mut self, session: u64, input: InputStart) {
        self.inputs += 1;
        let input = TestInput {
            id: InputId(self.inputs),
            pulse: input.pulse,
            flows: false,
        };
        self.publishers.insert(session, input);
    }

    fn start_run(&mut self, start: RunStart) -> String {
        let name = start.file.name().to_owned();
        self.runs.insert(name.clone(), start.run);
        start.tell_start();
        if let Work::Source(input) = start.work {
            self.begin_input(0, input);
        }
        let word = if start.again { "restart" } else { "start" };
        format!("{word} {name}")
    }

    /// A publisher with these codecs arrives. Returns its session.
    fn publish(&mut self, codecs: &[Codec]) -> Result<u64, Error> {
        self.publish_arrived(codecs, self.now)
    }

    fn publish_arrived(&mut self, codecs: &[Codec], arrived: Instant) -> Result<u64, Error> {
        self.parts.check_publisher(arrived, self.now)?;
        self.sessions += 1;
        let actions = self.parts.publish(self.sessions, codecs, &[], self.now);
        self.perform(actions);
        Ok(self.sessions)
    }

    fn pulse(&self, session: u64, change: impl FnOnce(&mut Pulse)) {
        self.publishers[&session].pulse.send_modify(change);
    }

    /// A publisher gets its answer, connects, and keeps sending.
    fn connect(&mut self, session: u64) {
        let now = self.now;
        self.pulse(session, |pulse| {
            *pulse = Pulse {
                answered: Some(now),
                connected: Some(now),
                last_packet: Some(now),
                ..Pulse::default()
            };
        });
        self.publishers.get_mut(&session).unwrap().flows = true;
    }

    /// A publisher falls silent.
    fn mute(&mut self, session: u64) {
        self.publishers.get_mut(&session).unwrap().flows = false;
    }

    /// The first frame of a track arrives.
    fn frame(&mut self, session: u64, codec: Codec) {
        let input = self.publishers[&session].id;
        let kind = codec.kind();
        let event = MediaEvent::Started { input, kind, codec };
        let actions = self.parts.media(event, self.now);
        self.perform(actions);
    }

    /// A publisher that is live.
    fn live(&mut self, codecs: &[Codec]) -> u64 {
        let session = self.publish(codecs).unwrap();
        self.connect(session);
        for codec in codecs {
            self.frame(session, *codec);
        }
        assert_eq!(self.state(), State::Live);
        session
    }

    /// A publisher says goodbye.
    fn leave(&mut self, session: u64) {
        self.publishers.remove(&session);
        let actions = self
            .parts
            .publisher_ended(session, End::PeerClosed, self.now);
        self.perform(actions);
    }

    /// A viewer arrives. Returns its session.
    fn watch(&mut self, formats: &[&str], requested: Option<&str>) -> Result<u64, Error> {
        self.parts.check_viewer(requested, self.now)?;
        self.sessions += 1;
        let visitor = Visitor {
            offer: Arc::new(offer(formats)),
            requested: requested.map(str::to_owned),
        };
        let actions = self.parts.watch(self.sessions, visitor, self.now);
        self.perform(actions);
        Ok(self.sessions)
    }

    /// A viewer leaves.
    fn unwatch(&mut self, session: u64) {
        self.parts.viewer_ended(session);
    }

    /// The first frame of a rendition arrives.
    fn rendition(&mut self, pipeline: &str, name: &str, codec: Codec) {
        let event = MediaEvent::Rendition {
            run: self.runs[pipeline],
            kind: codec.kind(),
            name: name.to_owned(),
            codec,
        };
        let actions = self.parts.media(event, self.now);
        self.perform(actions);
    }

    /// A pipeline fails, or ends because it was asked to stop.
    fn end_run(&mut self, pipeline: &str) {
        let end = RunEnd {
            run: self.runs[pipeline],
            made_frames: true,
            error: Some("not-negotiated".to_owned()),
            jitter: 1.0,
            retry: Retry::default(),
        };
        let actions = self.parts.run_ended(&end, self.now);
        self.perform(actions);
    }
}

/// The name of an error's variant.
fn variant(error: &Error) -> String {
    let shown = format!("{error:?}");
    let is_name = |c: &char| c.is_ascii_alphanumeric();
    shown.chars().take_while(is_name).collect()
}
