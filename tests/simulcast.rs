//! Pipelines of a simulcast publisher get the best layer that arrives.

use crate::{
    outputs::{decoded, files, folder, server},
    rtc::{Client, Mode, clip, obs},
    support::{Server, wait_for},
};

/// Waits for a rendition of this width.
fn wait_for_width(server: &Server, width: u32) {
    wait_for(&format!("pictures {width} wide"), || {
        let reply = server.get("/api/broadcasts/a").json();
        let output = &reply["rendition_pipelines"][0]["outputs"][0];
        let caps = output["caps"].as_str()?;
        caps.contains(&format!("width=(int){width},")).then_some(())
    });
}

#[test]
fn pipelines_get_the_best_layer_and_go_on_without_it() {
    let folder = folder("simulcast", &["h264.launch", "record-mp4.launch"], &[]);
    let config = "[defaults]\nrenditions = [\"h264.launch\"]\noutputs = [\"record-mp4.launch\"]\n\
                  vars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &[]);
    let publisher = obs::publish_layers(&server, "a", &[&clip::H264, &clip::H264_LARGE]);
    server.wait_for_state("a", "live");
    let viewer = Client::watch(&server, "a?rendition=h264");
    viewer.wait_for_frames(20);
    wait_for_width(&server, 640);
    publisher.set(Mode::Reduced);
    wait_for_width(&server, 320);
    viewer.wait_for_frames(30);
    publisher.set(Mode::Normal);
    wait_for_width(&server, 640);
    viewer.wait_for_frames(30);
    viewer.wait_for_all();
    assert!(!viewer.is_closed());
    let details = server.get("/api/broadcasts/a").json();
    for pipelines in ["outputs", "rendition_pipelines"] {
        assert_eq!(details[pipelines][0]["restarts"], 0, "{details}");
    }
    server.delete(&publisher.session).expect(200);
    wait_for("end", || server.state("a").is_none().then_some(()));
    // FFmpeg decodes every size without an error.
    let mut recorded = files(&folder, ".mp4");
    recorded.sort();
    let pictures = recorded.iter().map(|file| decoded(file)[0].1);
    let pictures: Vec<_> = pictures.collect();
    assert!(pictures.iter().sum::<u64>() > 90, "{pictures:?}");
}
