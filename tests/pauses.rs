//! Pauses of the process, as of a suspended or migrating machine: nobody is given up for one.

use std::{thread, time::Duration};

use crate::{
    outputs::{folder, server},
    rtc::{Client, clip},
};

/// Twice what anybody may be silent for.
const PAUSE: Duration = Duration::from_secs(4);
const TIMEOUTS: &[&str] = &[
    "--timeouts.consent=2s",
    "--timeouts.stale=1s",
    "--timeouts.ended=2s",
];

#[test]
fn sessions_and_sources_survive_a_pause() {
    let folder = folder("pauses", &["demo.launch"], &[]);
    let config = "[broadcasts.card]\nsource = \"demo.launch\"\n\
        [broadcasts.direct]\npublisher_engine = \"direct\"\nviewer_engine = \"direct\"\n\
        [broadcasts.bin]\npublisher_engine = \"webrtcbin\"\nviewer_engine = \"webrtcbin\"\n";
    let server = server(&folder, config, TIMEOUTS);
    server.wait_for_state("card", "live");
    let _publishers = ["direct", "bin"].map(|name| Client::live(&server, name, &clip::H264));
    let viewers = ["direct", "bin", "card"].map(|name| Client::watch(&server, name));
    for viewer in &viewers {
        viewer.wait_for_frames(30);
    }

    server.signal("STOP");
    thread::sleep(PAUSE);
    server.signal("CONT");

    for viewer in &viewers {
        // What was sent during the pause, and more.
        viewer.wait_for_frames(60);
        assert!(!viewer.is_closed());
    }
    for why in ["vanished", "no_media", "connect_timeout", "failed"] {
        assert_eq!(server.ended(why), 0, "{why}");
    }
    assert_eq!(server.metric("aerial_source_restarts_total"), 0);
    assert_eq!(server.count("sessions"), 5);
}
