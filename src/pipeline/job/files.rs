//! Notices when the file sinks of an output finish their files.

use gst::prelude::*;
use gstreamer as gst;
use tokio::sync::mpsc;

use crate::pipeline::Event;

/// The element that writes files. `splitmuxsink` has one inside.
const FILE_SINK: &str = "filesink";

/// Reports every file that is finished from now on.
pub(super) fn watch(pipeline: &gst::Pipeline, events: &mpsc::Sender<Event>) {
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        watch_sink(&element, events);
    }
    let events = events.clone();
    pipeline.connect_deep_element_added(move |_, _, element| watch_sink(element, &events));
}

/// A file is finished when its sink gets the end of the stream: everything has been written before.
fn watch_sink(element: &gst::Element, events: &mpsc::Sender<Event>) {
    let factory = element.factory();
    if factory.is_none_or(|factory| factory.name() != FILE_SINK) {
        return;
    }
    let Some(pad) = element.static_pad("sink") else {
        return;
    };
    let (sink, events) = (element.downgrade(), events.clone());
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let is_end = info
            .event()
            .is_some_and(|event| event.type_() == gst::EventType::Eos);
        if is_end
            && let Some(sink) = sink.upgrade()
            && let Some(path) = sink.property::<Option<String>>("location")
        {
            // Err: nobody listens, or more files than anybody needs.
            let _ = events.try_send(Event::FileFinished(path));
        }
        gst::PadProbeReturn::Ok
    });
}
