//! A client's media arrives: every codec, on time, in sync, and again if it was lost.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

/// How long a receiver waits for a missing packet, where it matters: far longer than a busy machine
/// delays packets.
const JITTER_LONG: Duration = Duration::from_secs(4);

#[tokio::test]
async fn h264_high_and_opus_arrive() {
    let mut call = call(&format!("{H264}{OPUS}")).await;
    let limit = PATIENCE;
    assert_eq!(next(&mut call.events, limit).await, Event::Connected);
    let mut tracks = [
        next(&mut call.events, limit).await,
        next(&mut call.events, limit).await,
    ];
    tracks.sort_by_key(|event| *event != Event::Track(Kind::Video, Codec::H264));
    assert_eq!(tracks[0], Event::Track(Kind::Video, Codec::H264));
    assert_eq!(tracks[1], Event::Track(Kind::Audio, Codec::Opus));
    call.video.more_than(60).await;
    call.audio.more_than(100).await;
    // The worker tells five times a second, if it gets to it.
    let begin = Instant::now();
    let stats = loop {
        let stats = call.publisher.statistics();
        if stats.packets > 160 || begin.elapsed() > PATIENCE {
            break stats;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(
        stats.packets > 160 && stats.bytes > 50_000 && stats.lost == 0,
        "{stats:?}"
    );
    call.video.more_than(call.video.count()).await;
    let last_packet = call.publisher.statistics().last_packet;
    assert!(last_packet > stats.last_packet, "{last_packet:?}");
    {
        let video = call.video.0.lock().unwrap();
        let keyframe = video.iter().find(|(_, frame)| frame.keyframe).unwrap();
        let sps = keyframe.1.data.windows(2).any(|bytes| bytes == [0x67, 100]);
        assert!(sps, "high profile, whatever the offer says");
        let audio = call.audio.0.lock().unwrap();
        let steps = audio
            .windows(2)
            .map(|w| w[1].1.timestamp - w[0].1.timestamp);
        assert!(steps.clone().all(|step| step >= 960));
        // Counted, not measured: other steps correct the times of packets that came late at first.
        let counted = steps.filter(|&step| step == 960).count();
        assert!(counted * 2 > audio.len(), "{counted} of {}", audio.len());
    }
    close(call).await;
}

const VP8: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=30/1
    ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=300 ! rtpvp8pay picture-id-mode=15-bit
    ! application/x-rtp,media=video,encoding-name=VP8,payload=97,clock-rate=90000 ! w. ";
const VP9: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1
    ! vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=300
    ! rtpvp9pay picture-id-mode=15-bit
    ! application/x-rtp,media=video,encoding-name=VP9,payload=98,clock-rate=90000 ! w. ";
/// This encoder (av1enc 1.22) takes no requests: if its first keyframe is lost, the next one must be near.
const AV1: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1
    ! av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0 keyframe-max-dist=15
    ! av1parse ! rtpav1pay
    ! application/x-rtp,media=video,encoding-name=AV1,payload=99,clock-rate=90000 ! w. ";
const H265: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1
    ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=300 option-string=bframes=0
    ! h265parse config-interval=-1 ! rtph265pay aggregate-mode=zero-latency
    ! application/x-rtp,media=video,encoding-name=H265,payload=100,clock-rate=90000 ! w. ";

/// Frames arrive, and a keyframe request brings a keyframe although the next is far away.
#[tokio::test]
async fn every_video_codec_arrives_and_takes_keyframe_requests() {
    let streams = [
        (Codec::Vp8, VP8),
        (Codec::Vp9, VP9),
        (Codec::Av1, AV1),
        (Codec::H265, H265),
        (Codec::H264, H264),
    ];
    for (codec, stream) in streams {
        let mut call = call(stream).await;
        let limit = PATIENCE;
        assert_eq!(
            next(&mut call.events, limit).await,
            Event::Connected,
            "{codec}"
        );
        assert_eq!(
            next(&mut call.events, limit).await,
            Event::Track(Kind::Video, codec)
        );
        call.video.more_than(20).await;
        let before = call.video.count();
        if codec == Codec::Av1 {
            close(call).await;
            continue;
        }
        call.publisher.request_keyframe();
        let asked = Instant::now();
        let keyframe = || {
            let frames = call.video.0.lock().unwrap();
            frames[before..].iter().any(|(_, frame)| frame.keyframe)
        };
        while !keyframe() {
            // By itself, the encoder makes one in 10 to 20 s.
            assert!(
                asked.elapsed() < Duration::from_secs(8),
                "{codec}: no keyframe"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        close(call).await;
    }
}

/// Drops every 20th RTP packet on its way to the client's socket.
fn lose_packets(client: &Client) -> Arc<AtomicUsize> {
    let dropped = Arc::new(AtomicUsize::new(0));
    let sent = AtomicUsize::new(0);
    let drops = dropped.clone();
    let lose = move |packet: &gst::BufferRef| {
        let mut head = [0; 2];
        packet.copy_to_slice(0, &mut head).unwrap();
        let is_rtp = (128..192).contains(&head[0]) && !(192..224).contains(&head[1]);
        let lose = is_rtp && sent.fetch_add(1, Relaxed) % 20 == 19;
        drops.fetch_add(usize::from(lose), Relaxed);
        lose
    };
    let bin = client.webrtcbin().downcast::<gst::Bin>().unwrap();
    let sink = element::of_factory(&bin, "nicesink").next().unwrap();
    let both = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    sink.static_pad("sink")
        .unwrap()
        .add_probe(both, move |_, info| match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) if lose(packet) => gst::PadProbeReturn::Handled,
            Some(gst::PadProbeData::BufferList(list)) => {
                let kept = list.iter_owned().filter(|packet| !lose(packet)).collect();
                *list = kept;
                gst::PadProbeReturn::Ok
            }
            _ => gst::PadProbeReturn::Ok,
        });
    dropped
}

#[tokio::test]
async fn lost_packets_are_asked_for_again() {
    let call = call_waiting(&format!("{H264}{OPUS}"), JITTER_LONG).await;
    call.video.more_than(10).await;
    let dropped = lose_packets(&call.client);
    call.video.more_than(190).await;
    let (dropped, stats) = (dropped.load(Relaxed), call.publisher.statistics());
    assert!(dropped > 15, "{dropped} dropped");
    assert!(
        stats.lost * 5 <= dropped as u64,
        "{dropped} dropped, {stats:?}"
    );
    close(call).await;
}

/// Only what follows a gap waits in the jitter buffer.
#[tokio::test]
async fn packets_in_order_are_not_delayed() {
    let mut call = call_waiting(&format!("{H264}{OPUS}"), JITTER_LONG).await;
    assert_eq!(next(&mut call.events, PATIENCE).await, Event::Connected);
    let connected = pipeline::clock::running_time();
    call.video.more_than(60).await;
    call.audio.more_than(100).await;
    let held_up = JITTER_LONG / 2;
    let limit = i64::try_from(held_up.as_millis()).unwrap();
    for seen in [&call.video, &call.audio] {
        let first = seen.0.lock().unwrap()[0].0.saturating_sub(connected);
        assert!(first < held_up, "{first:?}");
        let delay = seen.delay_ms();
        assert!((-limit..limit).contains(&delay), "{delay} ms");
    }
    close(call).await;
}

/// Video that is sent half a second late has the `pts` of the audio that was captured with it.
#[tokio::test]
async fn sender_reports_bring_tracks_in_sync() {
    let late = H264.replace(
        "! rtph264pay",
        "! queue min-threshold-time=500000000 ! rtph264pay",
    );
    let call = call(&format!("{late}{OPUS}")).await;
    call.video.more_than(30).await;
    call.audio.more_than(50).await;
    let begin = Instant::now();
    let in_sync = 300..700;
    let shifted = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let shifted = call.video.delay_ms() - call.audio.delay_ms();
        if in_sync.contains(&shifted) || begin.elapsed() > PATIENCE {
            break shifted;
        }
    };
    assert!(in_sync.contains(&shifted), "{shifted} ms");
    close(call).await;
}
