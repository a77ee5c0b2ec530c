//! Turns a gst-launch description into a pipeline that does not run yet.

use gst::prelude::*;
use gstreamer as gst;

use super::{Error, elements, guards, redact};

/// Parses a description. Blocks: call it on the blocking pool.
///
/// # Errors
/// The first missing element with its package, or what GStreamer does not understand.
pub(crate) fn parse(name: &str, description: &str) -> Result<gst::Pipeline, Error> {
    let mut context = gst::ParseContext::new();
    let flags = gst::ParseFlags::FATAL_ERRORS;
    let element = gst::parse::launch_full(description, Some(&mut context), flags);
    let element = element.map_err(|error| match context.missing_elements().first() {
        Some(element) => elements::missing(element),
        None => Error::Text(redact(&format!("{name}: {error}"))),
    })?;
    let pipeline = match element.downcast::<gst::Pipeline>() {
        Ok(pipeline) => pipeline,
        Err(element) => {
            let pipeline = gst::Pipeline::new();
            pipeline
                .add(&element)
                .map_err(|error| Error::Text(format!("{name}: {error}")))?;
            pipeline
        }
    };
    pipeline.set_property("name", name);
    guards::set_up(pipeline.upcast_ref());
    Ok(pipeline)
}
