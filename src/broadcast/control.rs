//! What operators may do with a broadcast's running pipelines.
//!
//! The actor only hands out a pipeline's handle; the caller does the work.

use serde::Serialize;

use super::{
    Broadcasts, Error, PipelineFigures, actor::ActorRequest, health::Health, status::PipelineKind,
};
use crate::{
    pipeline::{
        self,
        job::{JobFigures, Property},
    },
    plan::{Name, PlannedOutput},
    worker::{self, WorkerControl, WorkerUsage},
};

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// In Graphviz's language.
    Dot,
    /// As a picture, by Graphviz.
    Svg,
}

/// The properties of a pipeline that its file declares adjustable.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PropertyList {
    /// With their present values.
    pub properties: Vec<Property>,
}

/// An output that the configuration or the operator has given a broadcast.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct OutputStatus {
    /// The pipeline file's name, without `.launch`.
    pub name: String,
    /// Whether the configuration starts it.
    pub configured: bool,
    /// Whether it runs whenever the broadcast is live.
    pub running: bool,
    /// Its health.
    #[serde(flatten)]
    pub health: Health,
    /// Why it last failed, if it is not running.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl OutputStatus {
    /// Of an output that nobody wants.
    pub fn stopped(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            configured: false,
            running: false,
            health: Health::default(),
            error: None,
        }
    }
}

/// A pipeline that runs.
struct Running {
    control: WorkerControl,
    figures: JobFigures,
}

impl Broadcasts {
    /// The pipelines of a broadcast.
    ///
    /// # Errors
    /// If there is no such broadcast.
    pub async fn pipelines_of(&self, name: &Name) -> Result<Vec<PipelineFigures>, Error> {
        self.ask_existing(name, |reply| ActorRequest::Pipelines { reply })
            .await
    }

    /// The outputs of a broadcast, which need not be on air.
    ///
    /// # Errors
    /// If the broadcast does not answer.
    pub async fn outputs_of(&self, name: &Name) -> Result<Vec<OutputStatus>, Error> {
        let planned = self.shared.options.now().plans.outputs_of(name);
        let pipelines = match self.pipelines_of(name).await {
            Ok(pipelines) => pipelines,
            Err(Error::Missing(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let status = |output: PlannedOutput| {
            let mut pipelines = pipelines.iter();
            let running = pipelines
                .find(|found| found.kind == PipelineKind::Output && found.file == output.file);
            let health = running
                .map(|found| found.health.clone())
                .unwrap_or_default();
            let name = output.file.strip_suffix(".launch");
            OutputStatus {
                name: name.unwrap_or(&output.file).to_owned(),
                configured: output.configured,
                running: output.runs,
                error: health.error.clone(),
                health,
            }
        };
        Ok(planned.into_iter().map(status).collect())
    }

    /// Has the encoders of a pipeline make a keyframe; for an output, whoever feeds the
    /// broadcast. At most one is made every 500 ms; more requests become one.
    ///
    /// # Errors
    /// If there is no such pipeline, or it does not run.
    pub async fn force_keyframe(&self, name: &Name, pipeline: &str) -> Result<(), Error> {
        self.ask_existing(name, |reply| ActorRequest::Keyframe {
            pipeline: pipeline.to_owned(),
            reply,
        })
        .await
    }

    /// The properties of a pipeline that its file declares adjustable.
    ///
    /// # Errors
    /// If there is no such pipeline, or it does not run.
    pub async fn properties(&self, name: &Name, pipeline: &str) -> Result<PropertyList, Error> {
        let running = self.running(name, pipeline).await?;
        Ok(PropertyList {
            properties: running.control.properties().await?,
        })
    }

    /// Sets these properties: all or none. A restart resets them to what the file says.
    ///
    /// # Errors
    /// Also if one is not declared adjustable, or a value does not fit its type or range.
    pub async fn adjust(
        &self,
        name: &Name,
        pipeline: &str,
        changes: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let running = self.running(name, pipeline).await?;
        running
            .control
            .adjust(changes.clone())
            .await
            .map_err(|error| match error {
                pipeline::Error::Text(why) => Error::Unfit(why),
                error => error.into(),
            })?;
        let span = tracing::error_span!("broadcast", %name);
        let span = tracing::error_span!(parent: &span, "pipeline", name = pipeline);
        for (property, value) in changes {
            tracing::info!(parent: &span, property, value, "property set");
        }
        Ok(())
    }

    /// A running pipeline's graph, with its figures. May hold secrets: the values of properties.
    ///
    /// # Errors
    /// If there is no such pipeline, it does not run, or Graphviz is missing.
    pub async fn graph(
        &self,
        name: &Name,
        pipeline: &str,
        drawing: Drawing,
    ) -> Result<String, Error> {
        let Running { control, figures } = self.running(name, pipeline).await?;
        let drawn = match drawing {
            Drawing::Dot => control.dot(&figures).await,
            Drawing::Svg => control.svg(&figures).await,
        };
        drawn.map_err(|error| match error {
            pipeline::Error::MissingProgram { .. } => Error::Lacking(error.to_string()),
            error => error.into(),
        })
    }

    /// Pipelines whose processes have been killed and do not end.
    pub fn hanging_pipelines() -> usize {
        worker::hanging()
    }

    /// The resources that the processes of pipelines use.
    pub fn pipeline_usage() -> Vec<WorkerUsage> {
        worker::usage()
    }

    async fn running(&self, name: &Name, pipeline: &str) -> Result<Running, Error> {
        let mut pipelines = self.pipelines_of(name).await?.into_iter();
        let found = pipelines.find(|found| found.name == pipeline);
        let found = found.ok_or(Error::Missing("pipeline"))?;
        let control = found
            .control
            .ok_or_else(|| Error::Idle(pipeline.to_owned()))?;
        Ok(Running {
            control,
            figures: found.figures,
        })
    }
}
