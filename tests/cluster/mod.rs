//! Several servers as one service: what one of them has, viewers and publishers at any other get.

mod cuts;
mod keys;
mod local;
mod machines;
mod nats;
mod parts;
mod takeovers;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use self::{
    keys::{Keys, USER},
    nats::Nats,
};
use crate::{
    outputs::folder,
    rtc::{Client, Mode, clip},
    support::{Server, fixture, log::Line, wait_for},
};

/// A node of a cluster on these NATS servers.
fn node<'a>(nats: impl IntoIterator<Item = &'a Nats>, name: &str, arguments: &[&str]) -> Server {
    let servers = addresses(nats);
    let cluster = ["--cluster.nats", &servers, "--cluster.node", name];
    Server::start(&[&cluster[..], arguments].concat())
}

/// What `cluster.nats` says.
fn addresses<'a>(nats: impl IntoIterator<Item = &'a Nats>) -> String {
    let addresses: Vec<_> = nats
        .into_iter()
        .map(|nats| nats.address.to_string())
        .collect();
    addresses.join(",")
}

fn wait_for_nodes(node: &Server, count: u64) {
    wait_for(&format!("{count} nodes"), || {
        (node.metric("aerial_cluster_nodes") == count).then_some(())
    });
}

/// So many nodes that know each other.
fn nodes<const NODES: usize>(nats: &[Nats], arguments: &[&str]) -> [Server; NODES] {
    let names: [String; NODES] = std::array::from_fn(|number| format!("node-{number}"));
    let nodes = names.each_ref().map(|name| node(nats, name, arguments));
    for node in &nodes {
        wait_for_nodes(node, NODES as u64);
    }
    nodes
}

/// Waits until a viewer has received this many more pictures.
fn wait_for_pictures(viewer: &Client, more: usize) {
    let begun = viewer.seen_pictures();
    wait_for("pictures", || {
        (viewer.seen_pictures() >= begun + more).then_some(())
    });
}

#[test]
fn a_broadcast_is_watched_at_any_node_and_only_crosses_to_those_that_watch() {
    let nats = [Nats::alone("")];
    let [origin, edge, idle] = nodes(&nats, &[]);
    let _publisher = Client::live(&origin, "a", &clip::VP8);
    for node in [&edge, &idle] {
        node.wait_for_state("a", "live");
    }
    assert_eq!(origin.metric("aerial_cluster_frames_sent_total"), 0);
    let viewer = Client::watch(&edge, "a");
    wait_for_pictures(&viewer, 30);
    viewer.wait_for_sound(20);
    let video = viewer.video();
    assert_eq!(video.missing(), 0);

    // Another viewer costs the origin nothing.
    let second = Client::watch(&edge, "a");
    let (sent, begun) = (
        origin.metric("aerial_cluster_frames_sent_total"),
        Instant::now(),
    );
    wait_for_pictures(&second, 30);
    let more = origin.metric("aerial_cluster_frames_sent_total") - sent;
    let due = begun.elapsed().as_millis() * 80 / 1000;
    assert!(
        u128::from(more) < due * 3 / 2 + 20,
        "{more} frames, {due} due"
    );
    assert_eq!(idle.metric("aerial_cluster_frames_received_total"), 0);
    assert_eq!(origin.metric("aerial_cluster_frames_lost_total"), 0);

    // The whole service sees both, and each session works at each node.
    wait_for("viewers in the list", || {
        let list = idle.get("/api/broadcasts").expect(200).json();
        (list["broadcasts"][0]["viewers"] == 2).then_some(())
    });
    let details = idle.get("/api/broadcasts/a").expect(200).json();
    assert_eq!(details["state"], "live");
    idle.delete(&viewer.session).expect(200);
    edge.get(&viewer.session).expect(404);
    wait_for("goodbye", || viewer.is_closed().then_some(()));
    idle.delete(&viewer.session).expect(404);
    origin
        .patch(
            &second.session,
            &[("If-Match", "\"other\"")],
            "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n",
        )
        .expect(412);
    assert!(!second.is_closed());
}

#[test]
fn the_operator_of_any_node_sees_and_ends_the_sessions_of_all() {
    let nats = [Nats::alone("")];
    let [origin, edge, asked] = nodes(&nats, &[]);
    let publisher = Client::live(&origin, "a", &clip::VP8);
    edge.wait_for_state("a", "live");
    let viewers = [&origin, &edge].map(|node| Client::watch(node, "a"));
    for viewer in &viewers {
        wait_for_pictures(viewer, 5);
    }
    let path = "/api/broadcasts/a/sessions";
    let list = |query: &str| {
        let path = format!("{path}{query}");
        let list = asked.get_as_operator(&path).expect(200).json();
        list["sessions"].as_array().unwrap().clone()
    };
    asked.get(path).expect(401);
    let roles = list("").into_iter().map(|session| session["role"].clone());
    assert_eq!(roles.collect::<Vec<_>>(), ["publisher", "viewer", "viewer"]);
    for session in list("?role=viewer") {
        let one = format!("{path}/{}", session["id"]);
        let same = asked.get_as_operator(&one).expect(200).json();
        assert_eq!(same["started"], session["started"]);
        asked.operate("DELETE", &one, &[], "").expect(204);
    }
    for viewer in &viewers {
        wait_for("end of a session", || viewer.is_closed().then_some(()));
    }
    assert_eq!(list("").len(), 1);
    assert!(!publisher.is_closed());
    asked
        .operate("DELETE", &format!("{path}/1"), &[], "")
        .expect(404);
}

#[test]
fn a_live_name_is_refused_everywhere_and_a_stale_one_is_free_everywhere() {
    let nats = [Nats::alone("")];
    let [first, second, third] = nodes(&nats, &[]);
    let publisher = Client::live(&first, "a", &clip::VP8);
    let viewer = Client::watch(&third, "a");
    wait_for_pictures(&viewer, 5);
    let refused = second
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(409);
    assert_eq!(refused.problem(), "name-taken");
    assert_eq!(refused.header("retry-after"), Some("2"));
    publisher.set(Mode::Silent);
    first.wait_for_state("a", "stale");
    let _next = Client::live(&second, "a", &clip::VP8);
    first.get(&publisher.session).expect(404);
    // The viewer at the third node stays, and continues with the new publisher.
    wait_for_pictures(&viewer, 20);
    assert!(!viewer.is_closed());
    third.get(&viewer.session).expect(204);
}

#[test]
fn of_fifty_publishers_at_five_nodes_one_wins() {
    let nats = [Nats::alone("")];
    let nodes: [Server; 5] = nodes(&nats, &["--timeouts.first_check=15s"]);
    let offer = fixture("obs-media-level");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let posts: Vec<_> = (0..50)
            .map(|number| {
                let (node, offer) = (&nodes[number % 5], &offer);
                scope.spawn(move || node.post_offer("/whip/race", offer).status)
            })
            .collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let won = statuses.iter().filter(|status| **status == 201).count();
    let kinds: BTreeSet<_> = statuses.iter().copied().collect();
    assert_eq!(
        (won, kinds),
        (1, BTreeSet::from([201, 409])),
        "{statuses:?}"
    );
}

#[test]
fn viewers_survive_the_death_of_the_origin_if_the_publisher_comes_back_elsewhere() {
    let nats = [Nats::alone("")];
    let [origin, other, edge] = nodes(&nats, &[]);
    let publisher = Client::live(&origin, "a", &clip::VP8);
    let viewer = Client::watch(&edge, "a");
    wait_for_pictures(&viewer, 10);
    origin.signal("KILL");
    drop(publisher);
    // Its claim is protected until its lease is over.
    wait_for_nodes(&other, 2);
    let _back = Client::live(&other, "a", &clip::VP8);
    wait_for_pictures(&viewer, 20);
    assert!(!viewer.is_closed());
    edge.get(&viewer.session).expect(204);
}

#[test]
fn an_edge_that_stands_still_disturbs_nobody_and_catches_up() {
    let nats = [Nats::alone("")];
    let [origin, slow, edge] = nodes(&nats, &[]);
    let _publisher = Client::live(&origin, "a", &clip::VP8);
    let viewers = [&slow, &edge].map(|node| Client::watch(node, "a"));
    for viewer in &viewers {
        wait_for_pictures(viewer, 10);
    }
    slow.signal("STOP");
    thread::sleep(Duration::from_secs(5));
    slow.signal("CONT");
    wait_for_pictures(&viewers[0], 20);
    assert!(!viewers[0].is_closed());
    let undisturbed = viewers[1].video();
    assert_eq!(undisturbed.missing(), 0);
    undisturbed.expect_no_glitch(5);
    assert_eq!(edge.metric("aerial_cluster_frames_lost_total"), 0);
}

#[test]
fn one_of_three_nats_servers_may_die() {
    let mut nats = Nats::three();
    let [origin, edge, _third] = nodes(&nats, &[]);
    let _publisher = Client::live(&origin, "a", &clip::VP8);
    let viewer = Client::watch(&edge, "a");
    wait_for_pictures(&viewer, 10);
    for server in &mut nats {
        server.kill();
        wait_for_pictures(&viewer, 60);
        server.again();
        wait_for_pictures(&viewer, 60);
    }
    assert_eq!(edge.metric("aerial_cluster_frames_lost_total"), 0);
    viewer.video().expect_no_glitch(5);
    // While the registry has no leader, no lease is renewed, and still no node has left.
    assert_eq!(follows(&edge), 1, "{}", edge.log());
}

/// How often a node has begun to follow an origin.
fn follows(node: &Server) -> usize {
    let lines = node.lines();
    let begins = |line: &&Line| {
        line.target == "aerial::broadcast::actor::nodes" && line.has("node", "node-0")
    };
    lines.iter().filter(begins).count()
}

#[test]
fn local_viewers_notice_nothing_while_nats_is_away_and_edges_go_on_afterwards() {
    let mut nats = [Nats::alone("")];
    let [origin, edge] = nodes(&nats, &["--timeouts.grace", "20s"]);
    let _publisher = Client::live(&origin, "a", &clip::VP8);
    let [local, remote] = [&origin, &edge].map(|node| Client::watch(node, "a"));
    wait_for_pictures(&local, 10);
    wait_for_pictures(&remote, 10);
    nats[0].kill();
    wait_for_pictures(&local, 90);
    // Whoever publishes meanwhile does so for this node, and for the others later.
    let _alone = Client::live(&edge, "b", &clip::VP8);
    nats[0].again();
    wait_for_pictures(&remote, 30);
    assert!(!remote.is_closed());
    let local = local.video();
    assert_eq!(local.missing(), 0);
    local.expect_no_glitch(5);
    origin.wait_for_state("b", "live");
    let viewer = Client::watch(&origin, "b");
    wait_for_pictures(&viewer, 10);
}

#[test]
fn a_node_with_wrong_credentials_says_so_once_and_serves_its_own_viewers() {
    let users = format!("authorization {{ users: [{{ nkey: {USER} }}] }}");
    let nats = [Nats::alone(&users)];
    let node = node(&nats, "stranger", &[]);
    let warns = |line: &Line| line.level == "WARN" && line.target == "aerial::cluster::connection";
    node.wait_for_line("refusal", warns);
    let _publisher = Client::live(&node, "a", &clip::VP8);
    let viewer = Client::watch(&node, "a");
    wait_for_pictures(&viewer, 10);
    assert_eq!(
        node.lines().iter().filter(|line| warns(line)).count(),
        1,
        "{}",
        node.log()
    );
}

#[test]
fn nodes_meet_over_tls_with_keys_and_strangers_stay_outside() {
    let keys = Keys::new();
    let nats = [Nats::alone(&keys.nats())];
    let arguments = keys.arguments();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let [origin, edge] = nodes(&nats, &arguments);
    let _publisher = Client::live(&origin, "a", &clip::VP8);
    edge.wait_for_state("a", "live");
    let viewer = Client::watch(&edge, "a");
    wait_for_pictures(&viewer, 10);

    // It trusts the server's authority, and has no key.
    let stranger = node(&nats, "stranger", &arguments[2..]);
    stranger.wait_for_line("refusal", |line| {
        line.level == "WARN" && line.target == "aerial::cluster::connection"
    });
    assert_eq!(stranger.metric("aerial_cluster_connected"), 0);
    assert_eq!(origin.metric("aerial_cluster_nodes"), 2);
}

#[test]
fn foreign_nodes_and_other_configurations_are_named_once() {
    let nats = [Nats::alone("")];
    let node_0 = node(&nats, "node-0", &[]);
    let folder = folder(
        "cluster-configured",
        &[],
        &[("aerial.toml", "[broadcasts.x]\ngrace = \"9s\"\n")],
    );
    let servers = addresses(&nats);
    let cluster = ["--cluster.nats", &servers, "--cluster.node", "other"];
    let _other = Server::configured(&folder.join("aerial.toml"), &cluster);
    let warns = |line: &Line| line.level == "WARN" && line.target == "aerial::cluster::registry";
    node_0.wait_for_line("other configuration", |line| {
        warns(line) && line.has("node", "other")
    });
    wait_for_nodes(&node_0, 2);

    let namesake = node(&nats, "node-0", &[]);
    for node in [&node_0, &namesake] {
        node.wait_for_line("namesake", |line| warns(line) && line.has("node", "node-0"));
    }
    // Both renew their leases meanwhile.
    thread::sleep(Duration::from_secs(2));
    for node in ["other", "node-0"] {
        let lines = node_0.lines();
        let about = lines
            .iter()
            .filter(|line| warns(line) && line.has("node", node));
        assert_eq!(about.count(), 1, "{}", node_0.log());
    }
}
