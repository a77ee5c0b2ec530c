//! From offer to close: real clients' offers, goodbyes, and nothing left behind.

use super::*;
use crate::testing;

/// The peer learns that the publisher's session is over, and the server that the peer has gone.
#[tokio::test]
async fn goodbyes_are_said_and_heard() {
    let mut first = call(OPUS).await;
    let limit = Duration::from_secs(10);
    assert_eq!(next(&mut first.events, limit).await, Event::Connected);
    first.audio.more_than(5).await;
    let client = first.client.webrtcbin();
    let sender = transceivers(&client)[0].sender().unwrap();
    let transport = sender.property::<gst_webrtc::WebRTCDTLSTransport>("transport");
    let state = || transport.state();
    assert_eq!(state(), gst_webrtc::WebRTCDTLSTransportState::Connected);
    let begin = Instant::now();
    first.publisher.close().await;
    while state() != gst_webrtc::WebRTCDTLSTransportState::Closed {
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", state());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop((client, sender, transport));
    first.client.running.stop().await;

    let mut second = call(OPUS).await;
    assert_eq!(next(&mut second.events, limit).await, Event::Connected);
    second.audio.more_than(5).await;
    assert_eq!(
        next(&mut second.events, limit).await,
        Event::Track(Kind::Audio, Codec::Opus)
    );
    for encoder in element::of_factory(&second.client.webrtcbin().downcast().unwrap(), "dtlsenc") {
        for pad in encoder.sink_pads() {
            pad.send_event(gst::event::Eos::new());
        }
    }
    let event = next(&mut second.events, Duration::from_secs(2)).await;
    assert_eq!(event, Event::Closed(End::PeerClosed));
    close(second).await;
}

/// Offers of real clients: webrtcbin answers each, and the answer has what the client needs.
#[tokio::test]
async fn offers_of_real_clients_are_answered() {
    pipeline::init().unwrap();
    // The first session would wait for the certificate.
    tokio::task::spawn_blocking(element::prepare).await.unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut answered = 0;
    let port = port();
    let address = port.candidates()[0];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sdp") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read(&path).unwrap();
        let Ok(offer) = sdp::Offer::parse(&text, sdp::Role::Publisher) else {
            continue;
        };
        let none: FrameSink = Arc::new(|_| {});
        let sinks = TrackSinks::new(none.clone(), none);
        let begin = Instant::now();
        let (sender, _events) = mpsc::channel(16);
        let options = options();
        let (publisher, answer) =
            WebrtcbinPublisher::accept(&offer, &options, &port, sinks, sender)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{name}: {:?}",
            begin.elapsed()
        );
        assert_eq!(
            answer.matches("a=recvonly").count(),
            offer.media.len(),
            "{name}: {answer}"
        );
        let candidate = format!(" {} {} typ host", address.ip(), address.port());
        let mut candidates = answer
            .lines()
            .filter(|line| line.starts_with("a=candidate"));
        assert!(
            candidates.all(|line| line.ends_with(&candidate)),
            "{name}: {answer}"
        );
        assert!(answer.contains(&candidate), "{name}: {answer}");
        publisher.close().await;
        answered += 1;
    }
    assert!(answered >= 9, "{answered}");
}

#[test]
fn sessions_leave_nothing_behind() {
    testing::run_alone("ingest::webrtcbin::tests::life::sessions_leave_nothing_behind_alone");
}

#[test]
#[ignore = "run by sessions_leave_nothing_behind"]
fn sessions_leave_nothing_behind_alone() {
    testing::block_on(many_sessions());
}

async fn many_sessions() {
    let (_client, offer) = Client::offer(OPUS).await;
    let offer = sdp::Offer::parse(offer.as_bytes(), sdp::Role::Publisher).unwrap();
    let mut counts = Vec::new();
    let port = port();
    for (unanswered, connected) in [(3, 3), (90, 10)] {
        for round in 0..unanswered {
            let none: FrameSink = Arc::new(|_| {});
            let sinks = TrackSinks::new(none.clone(), none);
            let (sender, _events) = mpsc::channel(16);
            let options = options();
            let accepting = WebrtcbinPublisher::accept(&offer, &options, &port, sinks, sender);
            let accepted = accepting.await.unwrap();
            if round % 10 == 0 {
                drop(accepted);
            } else {
                accepted.0.close().await;
            }
        }
        for _ in 0..connected {
            let call = call(OPUS).await;
            call.audio.more_than(3).await;
            close(call).await;
        }
        counts.push(testing::count_threads_and_files().await);
    }
    assert!(
        counts[1].0 <= counts[0].0 && counts[1].1 <= counts[0].1,
        "{counts:?}"
    );
}
