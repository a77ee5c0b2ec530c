//! What waits for a worker that does not read is bounded by bytes and by age, through real processes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{pipelines, signal, viewers_workers, workers};
use crate::{
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Server, wait_for},
};

/// Bytes of frames that may wait for one worker.
const BYTES_MAX: u64 = 8 << 20;
/// With the few notes that wait as well.
const WITH_NOTES: u64 = BYTES_MAX + (64 << 10);
/// Nothing older is delivered, in milliseconds.
const AGE_MAX: i64 = 500;
/// What the worker had in hand when it was stopped may still be sent, in milliseconds.
const IN_HAND: i64 = 100;
/// For how many pictures the workers stand still: more than has room, and less than makes them hang.
const STOPPED: usize = 150;
const CONFIG: &str = "[broadcasts.heavy]\nviewer_engine = \"webrtcbin\"\n\
                      outputs = [\"count.launch\"]\nstall = \"1m\"\n";
const ARGUMENTS: [&str; 2] = ["--timeouts.worker=1m", "--webrtc.publisher_engine=direct"];

/// Bytes that wait for the worker of this pipeline.
fn queued(server: &Server, pipeline: &str) -> u64 {
    server.metric(&format!(
        "aerial_pipeline_queued_bytes{{pipeline=\"{pipeline}\"}}"
    ))
}

/// The times of the sounds that a viewer has got, in milliseconds of its track.
fn sounds(viewer: &Client) -> Vec<i64> {
    let times = viewer.audio().frames.into_iter();
    times
        .map(|time| i64::try_from(time / 48).unwrap())
        .collect()
}

/// For how long a publisher has sent, in milliseconds.
fn sent(publisher: &Client) -> i64 {
    i64::try_from(publisher.pictures()).unwrap() * 1000 / i64::from(clip::FRAME_RATE)
}

fn count(server: &Server) -> Value {
    pipelines(server, "heavy").remove("count").unwrap()
}

#[test]
fn what_waits_for_a_worker_is_bounded_by_bytes_and_by_age() {
    let text = "appsrc name=video ! fakesink async=false";
    let folder = folder("workers-bounds", &[], &[("count.launch", text)]);
    let server = server(&folder, CONFIG, &ARGUMENTS);
    let publisher = Client::live(&server, "heavy", &clip::H264_SNOW);
    let viewer = Client::watch(&server, "heavy");
    viewer.wait_for_frames(20);
    let counting = wait_for("the output", || {
        (count(&server)["outputs"][0]["frames"].as_u64()? > 10).then_some(())?;
        workers(&server).remove("heavy-count")
    });
    let stopped = [counting, viewers_workers(&server, "heavy")[0]];

    // A little too much: what has been sent may still be on its way.
    let ahead = sent(&publisher) - sounds(&viewer).last().unwrap();
    signal("STOP", stopped);
    let begun = publisher.pictures();
    let mut most = BTreeMap::new();
    wait_for("a long pause", || {
        for pipeline in ["heavy-count", "viewers-heavy"] {
            let now = queued(&server, pipeline);
            let most = most.entry(pipeline).or_insert(0);
            *most = now.max(*most);
        }
        (publisher.pictures() > begun + STOPPED).then_some(())
    });
    for (pipeline, most) in most {
        let full = BYTES_MAX - BYTES_MAX / 8;
        assert!((full..=WITH_NOTES).contains(&most), "{pipeline}: {most}");
    }
    let before = *sounds(&viewer).last().unwrap();
    let resumed = sent(&publisher);
    signal("CONT", stopped);

    let first = wait_for("the first sound after the pause", || {
        let mut sounds = sounds(&viewer).into_iter();
        sounds.find(|&time| time > before + IN_HAND)
    });
    let age = resumed - (first + ahead);
    assert!(age <= AGE_MAX + 50, "{age} ms old");
    assert!(first - before > 2000, "{} ms were left out", first - before);
    // Both work again, as the same processes.
    viewer.wait_for_frames(30);
    let frames = count(&server)["outputs"][0]["frames"].as_u64();
    let last = wait_for("the output's frames", || {
        let status = count(&server);
        (status["outputs"][0]["frames"].as_u64() > frames).then_some(status)
    });
    assert_eq!(last["restarts"], 0, "{last}");
    assert!(last["inputs"][0]["dropped"].as_u64() > Some(0), "{last}");
    wait_for("empty queues", || {
        let queued = ["heavy-count", "viewers-heavy"].map(|pipeline| queued(&server, pipeline));
        (queued.into_iter().max()? < BYTES_MAX / 8).then_some(())
    });
}
