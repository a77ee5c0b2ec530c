//! `gstreamer-clients DESCRIPTION` is gst-launch with whipclientsink and whepclientsrc linked in.
//!
//! The sender must be named `publishing`. The output of the element named `watched` is decoded and
//! counted: each line of this program's output gives the numbers of `video` and `audio` buffers so
//! far. The program ends when its standard input does.

#![expect(
    clippy::disallowed_methods,
    reason = "a program without a runtime, which may block"
)]

use std::{
    env,
    error::Error,
    io::{self, Read},
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use gst::{glib, prelude::*};
use gstreamer as gst;

/// How often the counts are printed.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Counts {
    video: AtomicU64,
    audio: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    gst::init()?;
    gstrswebrtc::plugin_register_static()?;
    let description = env::args().nth(1).ok_or("what to launch?")?;
    let element = gst::parse::launch(&description)?;
    // A description of a single element yields that element without a bin.
    let pipeline = element.downcast::<gst::Pipeline>().or_else(|element| {
        let pipeline = gst::Pipeline::new();
        pipeline.add(&element).map(|()| pipeline)
    })?;
    for client in ["publishing", "watched"] {
        if let Some(client) = pipeline.by_name(client) {
            let signaller = client.property::<glib::Object>("signaller");
            signaller.connect("webrtcbin-ready", false, |values| {
                match values.get(2).map(glib::Value::get::<gst::Element>) {
                    Some(Ok(webrtcbin)) => stay_here(&webrtcbin),
                    _ => fail("no webrtcbin"),
                }
                None
            });
        }
    }
    let counts = Arc::<Counts>::default();
    if let Some(watched) = pipeline.by_name("watched") {
        let (pipeline, counts) = (pipeline.downgrade(), Arc::clone(&counts));
        watched.connect_pad_added(move |_, pad| {
            let decoded = pipeline
                .upgrade()
                .map(|pipeline| decode(&pipeline, pad, &counts));
            if let Some(Err(error)) = decoded {
                fail(&error.to_string());
            }
        });
    }
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("no bus")?;
    thread::spawn(move || {
        for message in bus.iter_timed(gst::ClockTime::NONE) {
            if let gst::MessageView::Error(error) = message.view() {
                fail(&format!("{}: {:?}", error.error(), error.debug()));
            }
        }
    });
    thread::spawn(move || {
        loop {
            let count = |count: &AtomicU64| count.load(Relaxed);
            println!(
                "video {} audio {}",
                count(&counts.video),
                count(&counts.audio)
            );
            thread::sleep(EVERY);
        }
    });
    io::stdin().read_to_end(&mut Vec::new())?;
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

fn fail(why: &str) {
    eprintln!("{why}");
    exit(1);
}

/// The tests use only the loopback address, which ICE leaves out by default.
fn stay_here(webrtcbin: &gst::Element) {
    let ice = webrtcbin.property::<glib::Object>("ice-agent");
    ice.property::<glib::Object>("agent")
        .set_property("upnp", false);
    if !ice.emit_by_name::<bool>("add-local-ip-address", &[&"127.0.0.1"]) {
        fail("no loopback address");
    }
}

/// Links a decoder and a counter behind a pad.
fn decode(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    counts: &Arc<Counts>,
) -> Result<(), Box<dyn Error>> {
    let decoder = gst::ElementFactory::make("decodebin").build()?;
    let (weak, counts) = (pipeline.downgrade(), Arc::clone(counts));
    decoder.connect_pad_added(move |_, pad| {
        let counted = weak
            .upgrade()
            .map(|pipeline| count(&pipeline, pad, &counts));
        if let Some(Err(error)) = counted {
            fail(&error.to_string());
        }
    });
    add(pipeline, &decoder)?;
    pad.link(&decoder.static_pad("sink").ok_or("no pad")?)?;
    Ok(())
}

fn count(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    counts: &Arc<Counts>,
) -> Result<(), Box<dyn Error>> {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .build()?;
    add(pipeline, &sink)?;
    let caps = pad.current_caps().ok_or("no caps")?;
    let video = caps
        .structure(0)
        .is_some_and(|caps| caps.name().starts_with("video/"));
    let counts = Arc::clone(counts);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let count = if video { &counts.video } else { &counts.audio };
        count.fetch_add(1, Relaxed);
        gst::PadProbeReturn::Ok
    });
    pad.link(&sink.static_pad("sink").ok_or("no pad")?)?;
    Ok(())
}

fn add(pipeline: &gst::Pipeline, element: &gst::Element) -> Result<(), glib::BoolError> {
    pipeline.add(element)?;
    element.sync_state_with_parent()
}
