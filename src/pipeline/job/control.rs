//! What operators may do with a running job: see its graph, and change adjustable properties.

use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;

use super::{
    adjust::{Adjustable, Property},
    figures::JobFigures,
    graph,
};
use crate::pipeline::{Error, running};

/// A handle to a running job. Keeps nothing alive; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    pub(super) pipeline: glib::WeakRef<gst::Pipeline>,
    pub(super) adjustables: Arc<[Adjustable]>,
}

impl Control {
    /// The properties that the file declares adjustable, with their current values.
    ///
    /// # Errors
    /// If the pipeline is gone or lacks a declared property.
    pub async fn properties(&self) -> Result<Vec<Property>, Error> {
        let (pipeline, adjustables) = (self.pipeline()?, Arc::clone(&self.adjustables));
        let read = move || {
            adjustables
                .iter()
                .map(|adjustable| adjustable.read(&pipeline))
                .collect()
        };
        running::blocking("reading properties", running::STATE_TIMEOUT, read).await?
    }

    /// Sets properties that the file declares adjustable, by `element.property`: either all of them or
    /// none.
    ///
    /// # Errors
    /// [`Error::Text`] if one is not declared, or a value does not fit its type or range.
    pub async fn adjust(&self, changes: Vec<(String, String)>) -> Result<(), Error> {
        let (pipeline, adjustables) = (self.pipeline()?, Arc::clone(&self.adjustables));
        let set = move || {
            let check = |(name, value): &(String, String)| {
                let declared = adjustables
                    .iter()
                    .find(|adjustable| adjustable.name() == *name);
                let declared = declared.ok_or_else(|| {
                    Error::Text(format!("{name} is not declared adjustable by the file"))
                })?;
                Ok((declared, declared.check(&pipeline, value)?))
            };
            let checked: Vec<_> = changes.iter().map(check).collect::<Result<_, Error>>()?;
            for (declared, (element, value)) in checked {
                element.set_property_from_value(&declared.property, &value);
            }
            Ok(())
        };
        running::blocking("setting a property", running::STATE_TIMEOUT, set).await?
    }

    /// The pipeline's graph with these figures, in Graphviz's language.
    ///
    /// # Errors
    /// If drawing takes too long.
    pub async fn dot(&self, figures: &JobFigures) -> Result<String, Error> {
        let (pipeline, figures) = (self.pipeline()?, figures.clone());
        let draw = move || graph::dot(&pipeline, &figures);
        running::blocking("drawing a graph", running::STATE_TIMEOUT, draw).await?
    }

    fn pipeline(&self) -> Result<gst::Pipeline, Error> {
        let pipeline = self.pipeline.upgrade();
        pipeline.ok_or_else(|| Error::Failed("the pipeline is gone".to_owned()))
    }
}
