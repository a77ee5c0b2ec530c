//! Viewers of pipelines that fail or stall fall back, without affecting others.

use std::{io::Read, time::Instant};

use crate::{
    outputs::{folder, server},
    renditions::status,
    rtc::{Client, clip},
    support::{Server, engines::with_each_engine, wait_for},
};

/// Encoded H264 whose encoder gets `faulty` in front.
fn rendition(name: &str, faulty: &str) -> String {
    format!(
        "appsrc name=video ! decodebin ! {faulty} ! videoconvert\n\
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15\n\
         ! video/x-h264,profile=constrained-baseline ! appsink name=video_{name}\n"
    )
}

fn viewers(server: &Server, rendition: &str) -> u64 {
    let viewers = status(server, "a", rendition)["viewers"].as_u64();
    viewers.unwrap()
}

#[test]
fn viewers_of_a_failing_rendition_see_the_source_until_it_runs_again() {
    with_each_engine(|engine| {
        let bad = rendition("bad", "identity error-after=60");
        let folder = folder(&format!("fall-{engine}"), &[], &[("bad.launch", &bad)]);
        let config =
            format!("[defaults]\nrenditions = [\"bad.launch\"]\nviewer_engine = \"{engine}\"\n");
        let server = server(&folder, &config, &[]);
        let publisher = Client::live(&server, "a", &clip::H264);
        let other = Client::watch(&server, "a");
        other.wait_for_frames(10);
        let asked = Client::watch(&server, "a?rendition=bad");
        wait_for_way(&server, "bad", "source");
        let seen = asked.video().frames.len();
        // It comes back, because the viewer requested it.
        wait_for_way(&server, "source", "bad");
        assert_ne!(status(&server, "a", "bad")["restarts"], 0);
        wait_for("frames on the way", || {
            (asked.video().frames.len() > seen + 60).then_some(())
        });
        asked.wait_for_all();
        other.wait_for_frames(10);
        other.wait_for_all();
        other.video().expect_no_glitch(5);
        for client in [&publisher, &other, &asked] {
            assert!(!client.is_closed() && !client.heard_goodbye());
        }
    });
}

/// Waits until viewers have switched from one rendition to another.
fn wait_for_way(server: &Server, from: &str, to: &str) {
    server.wait_for_line(&format!("way from {from} to {to}"), |line| {
        line.has("from", from) && line.has("to", to)
    });
}

/// Makes sixty frames and nothing more.
const STALLS: &str = "appsrc name=video ! fakesink async=false\n\
    videotestsrc num-buffers=60 is-live=true ! video/x-raw,width=320,height=180,framerate=30/1\n\
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15\n\
    ! video/x-h264,profile=constrained-baseline ! appsink name=video_slow\n";

#[test]
fn viewers_of_a_stalled_rendition_fall_back_and_stay_where_they_are() {
    let good = rendition("good", "identity");
    let files = [("slow.launch", STALLS), ("good.launch", &good)];
    let folder = folder("stalled", &[], &files);
    let config = "[defaults]\nrenditions = [\"slow.launch\", \"good.launch\"]\n\
                  stall = \"1s\"\n";
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "a", &clip::VP8);
    let other = Client::watch(&server, "a");
    other.wait_for_frames(10);
    // It cannot decode the source, so it gets the first rendition that it can decode.
    let viewer = Client::watch_only(&server, "a", &clip::H264);
    assert_eq!(viewers(&server, "slow"), 1);
    wait_for("the other rendition", || {
        (viewers(&server, "good") == 1).then_some(())
    });
    viewer.wait_for_frames(30);
    wait_for("restart of the stalled one", || {
        (status(&server, "a", "slow")["restarts"].as_u64()? >= 1).then_some(())
    });
    viewer.wait_for_frames(60);
    viewer.wait_for_all();
    assert_eq!((viewers(&server, "slow"), viewers(&server, "good")), (0, 1));
    other.wait_for_frames(10);
    other.wait_for_all();
    other.video().expect_no_glitch(5);
    assert!(!viewer.is_closed() && !other.is_closed());
}

/// Pictures as fast as the machine can make them.
const FLOODS: &str = "appsrc name=video ! fakesink async=false\n\
    videotestsrc ! video/x-raw,width=64,height=64,framerate=30/1\n\
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15\n\
    ! video/x-h264,profile=constrained-baseline ! appsink name=video_wild\n";

#[test]
fn a_rendition_that_floods_fails_and_disturbs_nobody() {
    let folder = folder("floods", &[], &[("wild.launch", FLOODS)]);
    let config = "[defaults]\nrenditions = [\"wild.launch\"]\n";
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let other = Client::watch(&server, "a");
    other.wait_for_frames(10);
    let asked = Client::watch(&server, "a?rendition=wild");
    wait_for("failure", || {
        let shown = status(&server, "a", "wild");
        (shown["state"] == "failed").then_some(())
    });
    wait_for_way(&server, "wild", "source");
    other.wait_for_frames(10);
    other.wait_for_all();
    other.video().expect_no_glitch(5);
    assert!(!asked.is_closed() && !other.is_closed());
}

#[test]
fn an_output_that_takes_nothing_is_started_again_and_disturbs_nobody() {
    let fifo = "appsrc name=video max-bytes=200000 ! h264parse ! matroskamux streamable=true\n\
                ! filesink location=\"${directory}/fifo\" buffer-mode=unbuffered";
    let files = [("fifo.launch", fifo)];
    let folder = folder("fifo", &["record-mkv.launch"], &files);
    let path = folder.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    // Open for reading and writing, so that neither side waits for the other. Nothing reads yet.
    let both = std::fs::File::options().read(true).write(true).open(&path);
    let mut both = both.unwrap();
    let config = "[defaults]\noutputs = [\"fifo.launch\", \"record-mkv.launch\"]\n\
                  stall = \"1s\"\nvars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &["--timeouts.drain=1s"]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(10);
    let output = |name: &str| {
        let reply = server.get("/api/broadcasts/a").json();
        let outputs = reply["outputs"].as_array().unwrap().clone();
        outputs
            .into_iter()
            .find(|output| output["name"] == name)
            .unwrap()
    };
    wait_for("failure", || {
        (output("fifo")["state"] == "failed").then_some(())
    });
    assert_eq!(output("record-mkv")["state"], "running");
    // Once there is a reader, it is restarted.
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while both.read(&mut bytes).is_ok_and(|length| length > 0) {}
    });
    let begun = Instant::now();
    wait_for("restart", || {
        let fifo = output("fifo");
        (fifo["restarts"].as_u64()? >= 1 && fifo["state"] == "running").then_some(())
    });
    println!("restarted {:?} after it was read", begun.elapsed());
    viewer.wait_for_frames(20);
    viewer.wait_for_all();
    viewer.video().expect_no_glitch(5);
    let good = output("record-mkv");
    assert_eq!(good["restarts"], 0, "{good}");
    assert_eq!(good["inputs"][0]["dropped"], 0, "{good}");
    assert!(!viewer.is_closed() && !publisher.is_closed());
}
