//! The server's side, without a worker.

use super::*;
use crate::{
    media::{Codec, Frame},
    worker::tests::crash,
};

fn task() -> (ViewersTask, WorkerViewerState, mpsc::Receiver<Event>) {
    let (events, happened) = mpsc::channel(4);
    let shared = Arc::<SharedViewers>::default();
    let entry = Entry {
        viewing: Viewing {
            events,
            signals: Arc::default(),
            on_sent: Arc::new(|_| {}),
        },
        figures: SenderFigures::default(),
        connected: false,
        closed: false,
        answered: None,
        gone: None,
        span: Span::none(),
    };
    lock(&shared.viewers).insert(7, entry);
    let state = WorkerViewerState {
        shared: Arc::clone(&shared),
        viewer: 7,
    };
    let task = ViewersTask {
        outbox: Arc::default(),
        shared,
        started: None,
        taken: 0,
        silence: Duration::from_secs(10),
        stalls: Stalls::default(),
    };
    (task, state, happened)
}

fn say(task: &mut ViewersTask, event: Event) {
    let note = ViewerNote::Event(event);
    task.note(ToServer::Viewer { viewer: 7, note }).unwrap();
    // Nobody.
    let note = ViewerNote::Event(Event::Connected);
    task.note(ToServer::Viewer { viewer: 8, note }).unwrap();
}

/// The worker goes on telling how much it has taken, as one does whose playout loops.
#[test]
fn a_worker_that_answers_and_takes_no_frames_is_found() {
    let (mut task, _state, _happened) = task();
    let frame = Arc::new(Frame {
        codec: Codec::Opus,
        keyframe: true,
        pts: Duration::ZERO,
        timestamp: 0,
        data: vec![0; 10].into(),
        ends: vec![10],
    });
    let feed = FrameFeed {
        outbox: Arc::clone(&task.outbox),
        track: 0,
        queued: Arc::clone(&task.shared.queued),
    };
    let begin = Instant::now();
    let mut verdict = |second: u64, taken: u64| {
        assert!(feed.push(&frame, false));
        task.note(ToServer::Served { taken }).unwrap();
        task.watch(begin + Duration::from_secs(second))
    };
    for second in 1..30 {
        assert_eq!(verdict(second, second), Ok(()));
    }
    for second in 30..40 {
        assert_eq!(verdict(second, 29), Ok(()));
    }
    assert!(verdict(40, 29).is_err());
}

#[tokio::test]
async fn media_flows_when_the_relay_knows_and_the_end_is_reported_once() {
    let (mut task, state, mut happened) = task();
    say(&mut task, Event::Connected);
    assert!(state.is_connected());
    assert_eq!(happened.recv().await, Some(Event::Connected));
    for _ in 0..10 {
        say(&mut task, Event::Closed(End::PeerClosed));
    }
    state.report_end(End::Vanished);
    say(&mut task, Event::KeyframeWanted);
    task.end(crash()).await;
    assert_eq!(happened.recv().await, Some(Event::Closed(End::PeerClosed)));
    assert!(happened.try_recv().is_err());

    let (task, _state, mut happened) = self::task();
    task.end(crash()).await;
    assert_eq!(happened.recv().await, Some(Event::Closed(End::Failed)));
}

#[test]
fn sent_media_is_counted_once() {
    let (mut task, state, _happened) = task();
    let sum = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&sum);
    state.entry(|entry| {
        entry.viewing.on_sent = Arc::new(move |sent| {
            counted.fetch_add(sent.packets, Relaxed);
        });
    });
    let figures = |packets| SenderFigures {
        packets,
        ..SenderFigures::default()
    };
    // The last one comes from a worker that is broken.
    for packets in [10, 30, 30, 5] {
        let note = ViewerNote::Sent(figures(packets));
        task.note(ToServer::Viewer { viewer: 7, note }).unwrap();
    }
    assert_eq!(sum.load(Relaxed), 30);
    assert_eq!(state.figures().packets, 5);
}
