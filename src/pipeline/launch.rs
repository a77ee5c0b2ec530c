//! A gst-launch description becomes a pipeline that does not run yet.

use gst::prelude::*;
use gstreamer as gst;

use super::{Error, elements};

/// Parses a description. Blocks: call it on the blocking pool.
///
/// # Errors
/// Names the first missing element with its package, or says what GStreamer does not understand.
pub(crate) fn parse(name: &str, description: &str) -> Result<gst::Pipeline, Error> {
    let mut context = gst::ParseContext::new();
    let flags = gst::ParseFlags::FATAL_ERRORS;
    let element = gst::parse::launch_full(description, Some(&mut context), flags);
    let element = element.map_err(|error| match context.missing_elements().first() {
        Some(element) => elements::missing(element),
        None => Error::Text(format!("{name}: {error}")),
    })?;
    let pipeline = match element.downcast::<gst::Pipeline>() {
        Ok(pipeline) => pipeline,
        Err(element) => {
            let pipeline = gst::Pipeline::new();
            let added = pipeline.add(&element);
            added.map_err(|error| Error::Text(format!("{name}: {error}")))?;
            pipeline
        }
    };
    pipeline.set_property("name", name);
    bound_quantizers(&pipeline);
    Ok(pipeline)
}

/// `av1enc` (GStreamer 1.22) allows no quantizer but zero unless it is told otherwise. With a
/// constant bit rate libaom then aborts the whole process. 63 is libaom's own default.
fn bound_quantizers(pipeline: &gst::Pipeline) {
    for encoder in elements::of_factory(pipeline, "av1enc") {
        if encoder.property::<u32>("max-quantizer") == 0 {
            encoder.set_property("max-quantizer", 63_u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_av1_encoder_aborts_the_process() {
        crate::pipeline::init().unwrap();
        let text = "videotestsrc ! tee name=t ! av1enc name=a end-usage=cbr ! appsink \
                    t. ! av1enc name=b max-quantizer=40 ! appsink";
        let pipeline = parse("test", text).unwrap();
        let quantizer = |name| pipeline.by_name(name).unwrap().property("max-quantizer");
        let (unset, set): (u32, u32) = (quantizer("a"), quantizer("b"));
        assert_eq!((unset, set), (63, 40));
    }
}
