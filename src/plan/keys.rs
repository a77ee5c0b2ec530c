//! The keys of `[broadcasts.NAME]` and `[defaults]`, each in one place.

/// Hands all keys to another macro: documentation, name, type, default and range of each. `plan`
/// makes [`Settings`](super::Settings) and [`Plan`](super::Plan) of them; `config` makes what
/// reads them and what documents them. The types say how: see [`Setting`](super::Setting).
macro_rules! keys {
    ($make:ident) => {
        $make! {
            /// Pipeline that feeds the broadcast. Not allowed under patterns and in `[defaults]`.
            source: PipelineFile = "",
            /// Whether the source runs only while someone is watching.
            on_demand: bool = "false",
            /// Pipelines whose renditions viewers can request, or get if they cannot decode the
            /// source. At most 16.
            renditions: Vec<PipelineFile> = "",
            /// Pipelines that take the media elsewhere while the broadcast is live. At most 16.
            outputs: Vec<PipelineFile> = "",
            /// Values of the pipelines' variables, merged with those of less specific sections.
            vars: Vars = "",
            /// How long renditions, slates and sources on demand keep running unwatched.
            grace: Duration = "10s",
            /// Whether Aerial transcodes for viewers that could not decode anything otherwise.
            transcode: bool = "true",
            /// Whether `transcode` includes AV1 and H.265, whose encoders need several times the CPU.
            transcode_heavy: bool = "false",
            /// Longest time between keyframes; beyond it, new viewers get a transcode.
            gop_max: Duration = "10s" from "1s" to "5m",
            /// A rendition or slate that produces nothing, or an output that accepts nothing, for this
            /// long has failed; at startup, three times as long.
            stall: Duration = "10s" from "500ms" to "10m",
            /// Picture or pipeline to show while nobody feeds the broadcast.
            slate: SlateFile = "",
            /// Title on the pages, instead of the name.
            title: PageText = "",
            /// Description for its page, search engines and messengers.
            description: PageText = "",
            /// Words that the search of the list finds it by. At most 8.
            tags: Vec<PageText> = "",
            /// Whether its viewers and publisher may chat and react.
            chat: bool = "false",
            /// Shortest time between two messages of one viewer in the chat.
            chat_slow: Duration = "0s" from "0s" to "10m",
            /// Whether data for programs may be sent to its viewers, and from them to its publisher.
            data: bool = "false",
            /// The engine for its publisher, instead of `webrtc.publisher_engine`.
            publisher_engine: Engine = "",
            /// The engine for its viewers, instead of `webrtc.viewer_engine`.
            viewer_engine: Engine = "",
        }
    };
}
pub(crate) use keys;
