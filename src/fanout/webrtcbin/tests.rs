//! Viewers on webrtcbin against a real peer (str0m as a browser would be) over loopback.

use std::time::Duration;

use str0m::rtp::RtpPacket;
use tokio::sync::mpsc;

use super::{
    super::tests::{Client, Stage, feed, has_no_gap},
    ConnectionOptions, ViewerWorkers, WebrtcbinHandle,
};
use crate::{
    peer::{End, Event},
    testing,
    worker::{PeerWorkers, WorkerLimits},
};

fn options() -> ConnectionOptions {
    ConnectionOptions {
        connect: Duration::from_secs(5),
        consent: Duration::from_secs(5),
        workers: ViewerWorkers::new(PeerWorkers::new(WorkerLimits::new(1 << 32)), "a"),
    }
}

async fn watch(
    stage: &Stage,
    options: ConnectionOptions,
) -> (Client, WebrtcbinHandle, mpsc::Receiver<Event>) {
    let (offering, offer) = Client::offer();
    let (events, received) = mpsc::channel(16);
    let watching = stage
        .fanout
        .watch_on_webrtcbin(&offer, stage.tracks(), &options, events);
    let (viewer, answer) = watching.await.unwrap();
    (Client::answered(offering, answer), viewer, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joining_viewer_starts_at_the_cached_keyframe_and_sees_one_stream() {
    let stage = Stage::new(1_000_000);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (mut client, viewer, mut events) = watch(&stage, options()).await;
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > 120 && c.audio.len() > 30));
    assert_eq!(events.recv().await, Some(Event::Connected));
    assert!(client.video.len() > 120, "{}", client.video.len());
    assert!(has_no_gap(&client.sequence_numbers()));
    let first = client.video.iter().min_by_key(|packet| *packet.seq_no);
    let joined_before = client.video[119].payload[0].wrapping_sub(first.unwrap().payload[0]);
    assert_eq!(joined_before, 39, "it began with the one keyframe there is");
    let timestamps: Vec<u32> = client.video.iter().map(|p| p.header.timestamp).collect();
    let mut steps = timestamps.windows(2).map(|two| two[1].wrapping_sub(two[0]));
    assert!(steps.all(|step| step < 1 << 31), "timestamps never go back");
    let is_reported = |packets: &[RtpPacket]| {
        let mut newest = packets.iter().rev();
        newest.any(|packet| packet.last_sender_info.is_some())
    };
    let reported = |c: &Client| is_reported(&c.video) && is_reported(&c.audio);
    tokio::task::block_in_place(|| client.run(reported));
    assert!(reported(&client), "sender reports");
    viewer.close().await;
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_come_again() {
    let stage = Stage::new(30);
    let (mut client, viewer, _events) = watch(&stage, options()).await;
    client.lose = |sequence| sequence % 10 == 3;
    let complete = |c: &Client| c.video.len() > 200 && has_no_gap(&c.sequence_numbers());
    tokio::task::block_in_place(|| client.run(complete));
    assert!(client.lost.len() > 10, "some were lost");
    assert!(complete(&client), "all came again");
    while viewer.statistics().retransmitted <= 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    viewer.close().await;
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_publisher_goes_on_in_the_same_stream() {
    let mut stage = Stage::new(30);
    let (mut client, viewer, _events) = watch(&stage, options()).await;
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > 60));
    stage.feeder.shutdown().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = client.video.len();
    feed(&mut stage.feeder, &stage.video, &stage.audio, 30);
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > before + 60));
    assert!(client.video.len() > before + 60, "it goes on");
    assert!(has_no_gap(&client.sequence_numbers()));
    viewer.close().await;
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goodbyes_are_said_and_heard() {
    let stage = Stage::new(30);
    let (mut client, viewer, mut events) = watch(&stage, options()).await;
    tokio::task::block_in_place(|| client.run(|c| !c.video.is_empty()));
    assert_eq!(events.recv().await, Some(Event::Connected));
    viewer.close().await;
    tokio::task::block_in_place(|| client.run(|_| false));
    assert!(
        !client.peer.rtc.is_alive(),
        "close_notify ends the peer at once"
    );

    let (mut client, viewer, mut events) = watch(&stage, options()).await;
    tokio::task::block_in_place(|| client.run(|c| !c.video.is_empty()));
    client.peer.rtc.close().unwrap();
    tokio::task::block_in_place(|| client.run(|_| false));
    assert_eq!(events.recv().await, Some(Event::Connected));
    assert_eq!(events.recv().await, Some(Event::Closed(End::PeerClosed)));
    viewer.close().await;
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keyframe_requests_are_heard_and_answered_from_the_cache() {
    let stage = Stage::new(1_000_000);
    // A fresh keyframe would answer by itself.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let (mut client, viewer, mut events) = watch(&stage, options()).await;
    tokio::task::block_in_place(|| client.run(|c| c.video.len() > 225 && c.audio.len() > 45));
    assert_eq!(events.recv().await, Some(Event::Connected));
    let keyframe = client.video.iter().min_by_key(|packet| *packet.seq_no);
    let number = keyframe.unwrap().payload[0];
    let keyframes = move |c: &Client| c.video.iter().filter(|p| p.payload[0] == number).count();
    assert_eq!(keyframes(&client), 3);
    client.request_keyframe();
    tokio::task::block_in_place(|| client.run(|c| keyframes(c) > 5));
    assert_eq!(events.recv().await, Some(Event::KeyframeWanted));
    // No new one is made: the viewer gets the cached one again.
    assert_eq!(keyframes(&client), 6);
    assert!(has_no_gap(&client.sequence_numbers()));
    viewer.close().await;
    stage.fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_peers_are_given_up() {
    let stage = Stage::new(30);
    let short = ConnectionOptions {
        connect: Duration::from_secs(1),
        consent: Duration::from_secs(3),
        ..options()
    };
    let (_never_runs, viewer, mut events) = watch(&stage, short.clone()).await;
    assert_eq!(
        events.recv().await,
        Some(Event::Closed(End::ConnectTimeout))
    );
    viewer.close().await;
    let patient = ConnectionOptions {
        connect: Duration::from_secs(10),
        ..short
    };
    let (mut vanishes, viewer, mut events) = watch(&stage, patient).await;
    tokio::task::block_in_place(|| vanishes.run(|c| !c.video.is_empty()));
    assert_eq!(events.recv().await, Some(Event::Connected));
    assert_eq!(events.recv().await, Some(Event::Closed(End::Vanished)));
    viewer.close().await;
    stage.fanout.stop().await;
}

#[test]
fn sessions_leave_nothing_behind() {
    testing::run_alone("fanout::webrtcbin::tests::sessions_leave_nothing_behind_alone");
}

#[test]
#[ignore = "run by sessions_leave_nothing_behind"]
fn sessions_leave_nothing_behind_alone() {
    testing::block_on(many_sessions());
}

async fn many_sessions() {
    let stage = Stage::new(30);
    let options = options();
    let mut counts = Vec::new();
    for (unanswered, connected) in [(3, 3), (40, 10)] {
        for round in 0..unanswered {
            let (client, viewer, _events) = watch(&stage, options.clone()).await;
            drop(client);
            // Some sessions are dropped without a close.
            if round % 10 > 0 {
                viewer.close().await;
            }
        }
        for _ in 0..connected {
            let (mut client, viewer, _events) = watch(&stage, options.clone()).await;
            tokio::task::block_in_place(|| client.run(|c| c.video.len() > 30));
            assert!(client.video.len() > 30);
            viewer.close().await;
        }
        counts.push(testing::count_threads_and_files().await);
    }
    assert!(
        counts[1].0 <= counts[0].0 && counts[1].1 <= counts[0].1,
        "{counts:?}"
    );
    stage.fanout.stop().await;
}
