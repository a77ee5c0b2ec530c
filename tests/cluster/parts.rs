//! What a broadcast has besides its tracks, at several nodes: its title, renditions, outputs, slate.

use super::{addresses, nats::Nats, wait_for_nodes, wait_for_pictures};
use crate::{
    outputs::{folder, server, wait_for_output},
    rtc::{Client, clip},
    slate::draw,
    support::{Server, wait_for},
};

/// Nodes that differ in what they say about `a`, and in nothing else.
fn configured<const NODES: usize>(
    name: &str,
    nats: &[Nats],
    config: &str,
    titles: [&str; NODES],
) -> [Server; NODES] {
    let servers = addresses(nats);
    let nodes = std::array::from_fn(|number| {
        let node = format!("{name}-{number}");
        let files = ["h264-ladder.launch", "record-mkv.launch"];
        let folder = folder(&format!("cluster-{node}"), &files, &[]);
        draw(&folder.join("pause.png"));
        let title = titles[number];
        let config = format!("[broadcasts.a]\n{title}\n{config}");
        let cluster = ["--cluster.nats", &servers, "--cluster.node", &node];
        server(&folder, &config, &cluster)
    });
    for node in &nodes {
        wait_for_nodes(node, NODES as u64);
    }
    nodes
}

#[test]
fn the_origin_alone_makes_renditions_and_outputs_and_says_what_the_broadcast_is_about() {
    let nats = [Nats::alone("")];
    let config = "renditions = [\"h264-ladder.launch\"]\noutputs = [\"record-mkv.launch\"]\n\
                  [recordings]\ndirectory = \"FOLDER\"\n";
    let [origin, edge, asked] = configured("made", &nats, config, ["title = \"Canal 9\"", "", ""]);
    let _publisher = Client::live(&origin, "a", &clip::H264);
    edge.wait_for_state("a", "live");
    wait_for_output(&origin, "a", "record-mkv", "running");
    let viewers = [&edge, &edge, &origin].map(|node| Client::watch(node, "a?rendition=240p"));
    let source = Client::watch(&edge, "a");
    for viewer in viewers.iter().chain([&source]) {
        wait_for_pictures(viewer, 20);
    }
    // Those that were not asked for did not cross, and were made once.
    for (node, renditions, outputs) in [(&origin, 1, 1), (&edge, 0, 0), (&asked, 0, 0)] {
        assert_eq!(node.pipeline_starts("renditions"), renditions);
        assert_eq!(node.pipeline_starts("output"), outputs);
    }
    for node in [&origin, &edge, &asked] {
        let details = node.get("/api/broadcasts/a").expect(200).json();
        assert_eq!(details["title"], "Canal 9", "{details}");
        let list = node.get("/api/broadcasts").expect(200).json();
        assert_eq!(list["broadcasts"][0]["title"], "Canal 9", "{list}");
        let page = node.get("/watch/a").expect(200);
        assert!(page.text().contains("Canal 9"), "{}", page.text());
    }
}

#[test]
fn each_node_shows_its_slate_until_the_publisher_is_back_at_any() {
    let nats = [Nats::alone("")];
    let config = "slate = \"pause.png\"\ngrace = \"500ms\"\n";
    let nodes = configured("slate", &nats, config, ["", ""]);
    let [first, second] = &nodes;
    let publisher = Client::live(first, "a", &clip::H264);
    second.wait_for_state("a", "live");
    let viewers = nodes.each_ref().map(|node| Client::watch(node, "a"));
    for viewer in &viewers {
        wait_for_pictures(viewer, 10);
    }
    first.delete(&publisher.session).expect(200);
    for (node, viewer) in nodes.iter().zip(&viewers) {
        node.wait_for_state("a", "slate");
        wait_for_pictures(viewer, 10);
    }
    let _back = Client::live(second, "a", &clip::H264);
    wait_for("end of the slate", || {
        let states = nodes.each_ref().map(|node| node.state("a"));
        let live = |state: &Option<String>| state.as_deref() == Some("live");
        states.iter().all(live).then_some(())
    });
    for viewer in &viewers {
        wait_for_pictures(viewer, 20);
        assert!(!viewer.is_closed());
    }
}
