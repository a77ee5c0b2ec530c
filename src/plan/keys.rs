//! The keys of `[broadcasts.NAME]` and `[defaults]`, each in one place.

/// Hands all keys to another macro: documentation, name, type, default and range of each. `plan`
/// makes [`Settings`](super::Settings) and [`Plan`](super::Plan) of them; `config` makes what
/// reads them and what documents them. The types say how: see [`Setting`](super::Setting).
macro_rules! keys {
    ($make:ident) => {
        $make! {
            /// Pipeline that feeds the broadcast; not in patterns and defaults.
            source: PipelineFile = "",
            /// Its source runs only while somebody watches.
            on_demand: bool = "false",
            /// Pipelines that viewers can ask for, or get if they cannot decode the source. At
            /// most 16.
            renditions: Vec<PipelineFile> = "",
            /// Pipelines that take its media out while it is live. At most 16.
            outputs: Vec<PipelineFile> = "",
            /// Values of the pipelines' variables; they add to those of less specific sections.
            vars: Vars = "",
            /// How long renditions, slates and sources on demand run on unwatched.
            grace: Duration = "10s",
            /// Whether Aerial makes what viewers cannot decode otherwise.
            transcode: bool = "true",
            /// Time between keyframes above which who joins is transcoded for.
            gop_max: Duration = "10s" from "1s" to "5m",
            /// A rendition that makes nothing, or an output that takes nothing, for so long has
            /// failed; three times as long at its start.
            stall: Duration = "10s" from "500ms" to "10m",
            /// Picture or pipeline that is shown when nobody feeds the broadcast.
            slate: Slate = "",
            /// What carries its publisher, instead of `webrtc.publisher_engine`.
            publisher_engine: Engine = "",
            /// What carries its viewers, instead of `webrtc.viewer_engine`.
            viewer_engine: Engine = "",
        }
    };
}
pub(crate) use keys;
