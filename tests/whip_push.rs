//! The output `whip-push.launch` publishes a broadcast to another server.

use crate::{
    outputs::{folder, server, status, wait_for_output},
    rtc::{Client, clip},
    support::{Server, wait_for},
};

#[test]
fn a_broadcast_is_pushed_to_another_server_and_again_when_that_comes_back() {
    let far = Server::start(&[]);
    let folder = folder("whip-push", &["whip-push.launch"], &[]);
    let config = format!(
        "[broadcasts.near]\noutputs = [\"whip-push.launch\"]\n\
         vars = {{ url = \"http://{}/whip/far\" }}\n",
        far.address
    );
    let server = server(&folder, &config, &[]);
    let publisher = Client::live(&server, "near", &clip::H264);
    far.wait_for_state("far", "live");
    wait_for_output(&server, "near", "whip-push", "running");
    let viewer = Client::watch(&far, "far");
    viewer.wait_for_frames(60);
    viewer.wait_for_all();
    assert_eq!(far.count("publishers"), 1);

    // It says goodbye when there is nothing left to push.
    server.delete(&publisher.session).expect(200);
    wait_for("end of the push", || {
        (far.count("publishers") == 0).then_some(())
    });
    drop(viewer);
    drop(far);
    // Without a server it is retried, and nothing else is affected.
    let _publisher = Client::live(&server, "near", &clip::H264);
    let near = Client::watch(&server, "near");
    wait_for("failure", || {
        let failed = status(&server, "near", "whip-push")?;
        failed["error"].is_string().then_some(())
    });
    near.wait_for_frames(30);
    near.wait_for_all();
}
