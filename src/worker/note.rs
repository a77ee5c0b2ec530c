//! The messages between server and worker, besides frames.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    media::{Codec, Kind},
    peer,
    pipeline::{
        Error, Event, Variables,
        check::{FileCheck, FileProblem},
        job::{JobFigures, Property},
        sandbox::{Sandbox, SandboxState},
    },
    playout::{Backlog, Target},
    webrtcbin::{
        publisher::{ReceiverFigures, ReceiverSetup},
        viewers::{SenderFigures, SenderSetup},
    },
};

/// From the server to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// The first note. Answered with [`ToServer::Ready`], or [`ToServer::Refused`].
    Prepare(Preparation),
    /// The second note: run a pipeline.
    Setup(Box<WorkerSetup>),
    /// The second note: receive a publisher. Answered with [`ToServer::Answered`].
    Receive(Box<ReceiverSetup>),
    /// The second note: serve viewers. Answered with [`ToServer::Started`].
    ServeViewers,
    /// The second note: check pipeline files, which follow one by one.
    Check(CheckSetup),
    /// Answered with [`ToServer::Checked`].
    CheckFile(FileCheck),
    /// Answered with [`ToServer::Codecs`].
    FindCodecs(FileCheck),
    /// Looks for the elements that a text names. Answered with [`ToServer::Searched`].
    FindElements(String),
    /// Asks the publisher for a keyframe.
    RequestKeyframe,
    /// Asks the publisher for at most this many bit/s.
    RequestBitrate(u64),
    /// The frames of this rendition follow as this track, the cached ones first.
    BeginRendition {
        track: u16,
        rendition: u64,
        backlog: Backlog,
    },
    /// No more frames of this track follow.
    EndRendition { track: u16 },
    /// To one viewer.
    Viewer { viewer: u64, command: ViewerCommand },
    /// Requests a keyframe from the encoder before an appsink.
    ForceKeyframe { appsink: String },
    /// Answered with [`ToServer::Answer`].
    Request { id: u64, request: Request },
    /// Stops the pipeline; an output first completes its files, and a publisher hears a goodbye.
    Stop,
}

/// What the server wants of one viewer's connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ViewerCommand {
    /// The first one. Answered with [`ViewerNote::Answered`].
    Join(Box<SenderSetup>),
    /// Media may flow: the relay knows that the connection is up.
    Open,
    /// Send this layer of its picture, or choose.
    Select(Option<usize>),
    /// Send another rendition of a track.
    Switch(Target),
    /// Say goodbye. Answered with [`ViewerNote::Gone`].
    Close,
}

/// What is reported about one viewer's connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ViewerNote {
    /// webrtcbin's answer, or why there is none; then nothing follows.
    Answered(Result<String, Error>),
    /// The connection, or the playout, reports.
    Event(peer::Event),
    /// What has been sent so far, after every change.
    Sent(SenderFigures),
    /// The connection is closed; what has been sent in all. Nothing follows.
    Gone(SenderFigures),
}

/// What a worker needs whatever it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Preparation {
    /// The clock time that counts as zero, on the system's monotonic clock.
    pub(super) base_time: Duration,
    pub(super) log: LogLevels,
    /// Whether it will run webrtcbin.
    pub(super) webrtcbin: bool,
    /// The sandbox, if its pipeline declares one.
    pub(super) sandbox: Option<Sandbox>,
}

/// What a worker needs in order to check files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CheckSetup {
    /// Values that are kept out of texts, by the names of their variables.
    pub(super) secrets: Vec<(String, String)>,
}

/// The work of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WorkerSetup {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) variables: Variables,
    pub(super) stall: Duration,
    /// Values that are kept out of texts, by the names of their variables.
    pub(super) secrets: Vec<(String, String)>,
    /// The inputs that there are, with the codec that they have now.
    pub(super) inputs: Vec<InputSetup>,
    /// The appsinks whose media is wanted. A frame's track is the place in this list.
    pub(super) outlets: Vec<OutletSetup>,
}

/// An input. Its frames have [`track_of`] its kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InputSetup {
    pub(super) kind: Kind,
    pub(super) codec: Option<Codec>,
    /// Whether its sound is known to be in stereo.
    pub(super) stereo: bool,
    /// Whether everything that comes counts, and not only the last group of pictures before the
    /// pipeline runs.
    pub(super) held: bool,
}

/// The track of an input's frames.
pub(super) fn track_of(kind: Kind) -> u16 {
    match kind {
        Kind::Video => 0,
        Kind::Audio => 1,
    }
}

/// An outlet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OutletSetup {
    pub(super) appsink: String,
    /// Whether media that no browser plays is transcoded.
    pub(super) transcode: bool,
}

/// What the server logs, by target. The worker sends nothing else.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LogLevels(pub(super) BTreeMap<String, LogLevel>);

/// A level of the log, from the most urgent to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What an operator asks of a running pipeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Properties,
    Adjust(Vec<(String, String)>),
    Dot(JobFigures),
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Properties(Vec<Property>),
    Adjusted,
    Dot(String),
}

/// From a worker to the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToServer {
    /// The first note.
    Hello {
        version: u32,
    },
    /// It is ready for its work.
    Ready {
        /// How much of its sandbox the kernel enforces.
        sandbox: Option<SandboxState>,
    },
    /// The pipeline runs, or viewers can join.
    Started,
    /// Its work does not start. Nothing follows.
    Refused(Error),
    Event(Event),
    /// The problems of a pipeline file.
    Checked(Vec<FileProblem>),
    /// The video codecs that an output can take.
    Codecs(Vec<Codec>),
    /// Why a text cannot run on this machine, if it cannot.
    Searched(Option<Error>),
    /// webrtcbin's answer to a publisher's offer.
    Answered(String),
    /// The publisher's connection reports.
    Connection(peer::Event),
    /// Sent regularly: what has been received from the publisher.
    Received(ReceiverFigures),
    /// Sent regularly: how many frames for viewers have been taken.
    Served {
        taken: u64,
    },
    /// Of one viewer.
    Viewer {
        viewer: u64,
        note: ViewerNote,
    },
    /// A decoder cannot continue without a keyframe of this input.
    KeyframeWanted(Kind),
    /// Sent regularly: a worker that sends none hangs.
    Figures {
        figures: JobFigures,
        /// Frames that the pipeline has taken from its inputs.
        taken: u64,
    },
    Answer {
        id: u64,
        answer: Result<Answer, Error>,
    },
    Log(LogLine),
    /// The pipeline has stopped and its files are complete. Nothing follows.
    Stopped,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogLine {
    pub(super) level: LogLevel,
    pub(super) target: String,
    pub(super) message: String,
    pub(super) fields: Vec<(String, String)>,
    /// Lines that were left out before this one.
    pub(super) left_out: u64,
}
