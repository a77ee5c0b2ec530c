//! A source: a pipeline that produces a broadcast's media.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{Error, Event, Job, PipelineRole, TrackSinks, Variables, job::JobSetup};
#[cfg(test)]
use crate::media::Kind;

/// A running source pipeline. Dropping it stops it in the background.
#[derive(Debug)]
pub struct Source {
    job: Job,
}

impl Source {
    /// Starts a source from the text of a pipeline file. The variable `name` is the broadcast's
    /// name; others have their defaults. Each appsink's frames go to the sink of its track, at
    /// the pace of the pipeline. After [`Event::Failed`] or [`Event::Ended`] nothing follows, and the
    /// source must be stopped.
    ///
    /// # Errors
    /// The text is not a source, an element is missing, or an element does not start.
    pub async fn start(
        name: &str,
        description: &str,
        sinks: TrackSinks,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let variables = Variables::of_broadcast(name);
        Self::with_variables(name, description, variables, sinks, events).await
    }

    /// As [`Source::start`], with values for the text's variables.
    ///
    /// # Errors
    /// As [`Source::start`].
    pub async fn with_variables(
        name: &str,
        description: &str,
        variables: Variables,
        sinks: TrackSinks,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let PipelineRole::Source { tracks } = PipelineRole::of(&variables.expand(description)?)?
        else {
            return Err(Error::Text(format!(
                "{name}: not a source: it has an appsrc, and sources only have appsinks"
            )));
        };
        let mut setup = JobSetup::new(format!("source-{name}"), description);
        setup.variables = variables;
        setup.stall = Duration::MAX; // the broadcast watches the frames itself
        setup.outlets = tracks
            .into_iter()
            .map(|kind| (kind.name().to_owned(), sinks.outlet(kind)))
            .collect();
        let job = Job::start(setup, events).await?;
        Ok(Self { job })
    }

    /// Requests a keyframe from the video encoder. Does nothing if the pipeline has none that
    /// accepts requests.
    #[cfg(test)]
    pub(super) fn request_keyframe(&self) {
        self.job.force_keyframe(Kind::Video.name());
    }

    /// Stops the pipeline and frees what it holds, within a time limit.
    pub async fn stop(self) {
        self.job.stop().await;
    }
}
