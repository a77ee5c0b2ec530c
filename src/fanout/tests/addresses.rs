//! Which of the server's addresses datagrams leave from.

use super::*;

/// A viewer that reaches the server at `at`, while the kernel would answer from another address.
async fn is_served_from_where_it_asks(listen: &str, at: &str) {
    let fanout = fanout_at(listen, Timeouts::default());
    let (video, audio) = (fanout.rendition(Kind::Video), fanout.rendition(Kind::Audio));
    let mut feeder = JoinSet::new();
    feed(&mut feeder, &video, &audio, 30);
    let tracks = OfferedTracks {
        video: Some((Codec::H264, &video)),
        audio: Some((Codec::Opus, &audio)),
        layers: &[],
    };
    let (offering, offer) = Client::offer();
    let number = fanout.port().candidates()[0].port();
    // A connected socket receives from this address only.
    offering.socket.connect((at, number)).unwrap();
    let (events, _received) = mpsc::channel(16);
    let (_viewer, answer) = fanout.watch_on_direct(&offer, tracks, events).unwrap();
    let mut client = Client::answered(offering, answer.replace("127.0.0.1", at));
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > 30 && c.audio.len() > 5));
    assert!(client.video.len() > 30 && client.audio.len() > 5);
    fanout.stop().await;
    tokio::task::block_in_place(|| client.run(|_| false));
    assert!(!client.peer.rtc.is_alive(), "the goodbye arrives too");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_and_media_are_sent_from_where_the_checks_arrived() {
    is_served_from_where_it_asks("0.0.0.0:0", "127.0.0.5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_socket_does_so_for_ipv4_peers_too() {
    is_served_from_where_it_asks("[::]:0", "127.0.0.5").await;
}
