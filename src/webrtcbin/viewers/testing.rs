//! webrtcbin's output, without webrtcbin, for the playout's tests.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    time::Instant,
};

use gst::prelude::*;
use gstreamer as gst;

use super::{
    numbering::{NumberedStream, Numbering},
    outlet::ViewerOutlet,
    pads,
    retransmission::RetransmissionGuard,
    setup::OnFeedback,
    viewer::{Numbers, OutletSink},
};
use crate::{
    media::Kind,
    pipeline,
    playout::{
        Arrival, Playout, RenditionCaches, ViewerCounters,
        testing::{Taken, TestEngine},
    },
};

pub(crate) struct OutletEngine {
    outlet: ViewerOutlet,
    _sinks: Vec<gst::Pad>,
    packets: mpsc::Receiver<(Kind, Vec<u8>)>,
    counters: ViewerCounters,
    numberings: HashMap<u64, Numbering>,
}

impl OutletEngine {
    fn enter(&mut self, rendition: u64) {
        self.numberings
            .entry(rendition)
            .or_insert_with(|| Numbering::new(rendition));
    }
}

impl TestEngine for OutletEngine {
    type Stream = NumberedStream;

    fn new() -> Self {
        pipeline::init().unwrap();
        let (sender, packets) = mpsc::channel();
        let (mut sinks, mut sources) = (Vec::new(), Vec::new());
        for kind in [Kind::Video, Kind::Audio] {
            let sender = sender.clone();
            let sink = gst::Pad::builder(gst::PadDirection::Sink)
                .name(kind.name())
                .chain_list_function(move |_, _, list| {
                    for buffer in list.iter() {
                        let bytes = buffer.map_readable().unwrap().to_vec();
                        sender.send((kind, bytes)).unwrap();
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build();
            sink.set_active(true).unwrap();
            let caps = gst::Caps::new_empty_simple("application/x-rtp");
            let on_feedback: OnFeedback = Arc::new(|_| {});
            sources.push((kind, pads::source(&sink, &caps, &on_feedback).unwrap()));
            sinks.push(sink);
        }
        let outlet = ViewerOutlet::new(sources, Arc::new(RetransmissionGuard::new()));
        outlet.set_open(true);
        Self {
            outlet,
            _sinks: sinks,
            packets,
            counters: ViewerCounters::default(),
            numberings: HashMap::new(),
        }
    }

    fn stream(&self, kind: Kind, rendition: u64) -> NumberedStream {
        NumberedStream::without_offset(rendition, kind)
    }

    fn frame(
        &mut self,
        playout: &mut Playout<NumberedStream>,
        arrival: &Arrival<'_>,
        now: Instant,
    ) {
        self.enter(arrival.rendition);
        let numbering = self.numberings.get_mut(&arrival.rendition).unwrap();
        numbering.begin();
        let mut sink = OutletSink {
            outlet: &self.outlet,
            counters: &self.counters,
            numbers: Numbers::Live(numbering),
        };
        playout.frame(&mut sink, arrival, now);
        numbering.end(arrival.frame.ends.len());
    }

    fn tick(
        &mut self,
        playout: &mut Playout<NumberedStream>,
        renditions: &RenditionCaches,
        now: Instant,
    ) {
        let mut sink = OutletSink {
            outlet: &self.outlet,
            counters: &self.counters,
            numbers: Numbers::Cached(&self.numberings),
        };
        playout.tick(&mut sink, renditions, now);
    }

    fn taken(&mut self) -> Vec<Taken> {
        self.packets
            .try_iter()
            .map(|(kind, bytes)| Taken::read(&bytes, |_| kind))
            .collect()
    }
}
