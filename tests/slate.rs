//! The slate: what viewers see, on their existing session, while there is no publisher.

use std::path::Path;

use crate::{
    outputs::{folder, server},
    rtc::{
        Client,
        clip::{self, Clip},
    },
    support::{Server, run_to_end, wait_for},
};

const GRACE: &[&str] = &["--timeouts.grace=500ms"];

/// Writes a picture.
pub(crate) fn draw(path: &Path) {
    run_to_end(&format!(
        "videotestsrc num-buffers=1 pattern=ball ! video/x-raw,width=300,height=200 ! pngenc \
         ! filesink location={}",
        path.display()
    ));
}

fn pictures(viewer: &Client) -> usize {
    viewer.video().frames.len()
}

fn wait_for_pictures(viewers: &[&Client], more: usize) {
    let before: Vec<_> = viewers.iter().map(|viewer| pictures(viewer)).collect();
    for (viewer, before) in viewers.iter().zip(before) {
        wait_for("pictures", || {
            (pictures(viewer) >= before + more).then_some(())
        });
    }
}

/// Twice: the publisher leaves, the slate comes, a viewer joins, the publisher returns.
fn comes_and_goes(server: &Server, clip: &'static Clip) {
    let publisher = Client::live(server, "a", clip);
    let viewer = Client::watch_only(server, "a", clip);
    viewer.wait_for_frames(20);
    assert_eq!(
        server.pipeline_starts("renditions"),
        0,
        "not before it is needed"
    );
    for round in 1..=2 {
        let publisher = if round == 1 {
            &publisher
        } else {
            &Client::live(server, "a", clip)
        };
        if round == 2 {
            // Both tracks again, on the same session.
            viewer.wait_for_frames(30);
        }
        server.delete(&publisher.session).expect(200);
        server.wait_for_state("a", "slate");
        wait_for_pictures(&[&viewer], 20);
        let joined = Client::watch_only(server, "a", clip);
        wait_for_pictures(&[&viewer, &joined], 10);
        let again = Client::live(server, "a", clip);
        for viewer in [&viewer, &joined] {
            viewer.wait_for_frames(45);
            viewer.wait_for_all();
            assert!(!viewer.is_closed() && !viewer.heard_goodbye());
            server.get(&viewer.session).expect(204);
        }
        assert_eq!(server.state("a").as_deref(), Some("live"));
        wait_for("end of the slate's pipelines", || {
            let reply = server.get("/api/broadcasts/a").json();
            reply.get("renditions").is_none().then_some(())
        });
        server.delete(&again.session).expect(200);
    }
}

#[test]
fn a_picture_is_shown_to_viewers_of_h264() {
    let folder = folder("slate-h264", &[], &[]);
    draw(&folder.join("pause.png"));
    let server = server(&folder, "[defaults]\nslate = \"pause.png\"\n", GRACE);
    comes_and_goes(&server, &clip::H264);
}

#[test]
fn a_picture_is_shown_to_viewers_of_vp8() {
    let folder = folder("slate-vp8", &[], &[]);
    draw(&folder.join("pause.png"));
    let config = "[defaults]\nslate = \"pause.png\"\nviewer_engine = \"webrtcbin\"\n";
    let server = server(&folder, config, GRACE);
    comes_and_goes(&server, &clip::VP8);
}

#[test]
fn a_pipeline_is_shown_with_its_sound() {
    let folder = folder("slate-demo", &["demo.launch"], &[]);
    let config = "[broadcasts.\"*\"]\nslate = \"demo.launch\"\ngrace = \"500ms\"\n";
    let server = server(&folder, config, GRACE);
    let publisher = Client::live(&server, "a", &clip::VP8);
    let lonely = Client::live(&server, "lonely", &clip::VP8);
    let viewer = Client::watch_only(&server, "a", &clip::VP8);
    viewer.wait_for_frames(20);
    for publisher in [&publisher, &lonely] {
        server.delete(&publisher.session).expect(200);
    }
    server.wait_for_state("a", "slate");
    viewer.wait_for_frames(30);
    viewer.wait_for_all();
    // Without viewers there is no slate.
    wait_for("end", || {
        let state = server.state("lonely");
        assert_ne!(state.as_deref(), Some("slate"));
        state.is_none().then_some(())
    });
    // When its last viewer leaves, the slate ends, and so does the broadcast.
    server.delete(&viewer.session).expect(200);
    wait_for("end", || {
        (server.get("/api/broadcasts/a").status == 404).then_some(())
    });
    assert_eq!(server.count("sessions"), 0);
}

#[test]
fn a_broadcast_with_a_name_can_be_watched_before_anybody_publishes() {
    let folder = folder("slate-before", &[], &[]);
    draw(&folder.join("soon.jpg.png"));
    let config = "[broadcasts.show]\nslate = \"soon.jpg.png\"\n\
                  [broadcasts.\"other-*\"]\nslate = \"soon.jpg.png\"\n";
    let server = server(&folder, config, GRACE);
    assert_eq!(server.get("/api/broadcasts/show").status, 404);
    let viewer = Client::watch(&server, "show");
    wait_for_pictures(&[&viewer], 20);
    let offer = crate::support::fixture("chrome-whep-av");
    server.post_offer("/whep/other-a", &offer).expect(409);
    let publisher = Client::live(&server, "show", &clip::VP8);
    viewer.wait_for_frames(45);
    viewer.wait_for_all();
    server.delete(&publisher.session).expect(200);
    server.wait_for_state("show", "slate");
    wait_for_pictures(&[&viewer], 20);
    assert!(!viewer.is_closed() && !viewer.heard_goodbye());
}
