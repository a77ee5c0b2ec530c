//! What a publisher on the direct engine may send, for [`crate::fuzz`].

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use str0m::media::Direction;
use tokio::sync::mpsc;

use super::reception::{Reception, StreamInput};
use crate::{
    ingest::{Options, Reports, assembler::fuzz::check},
    media::{Codec, FrameSink},
    peer::{
        sdp::{Offer, Role},
        session::fuzz::{
            Step,
            peer::{Adversary, port},
            steps,
        },
    },
    plan::Engine,
    worker::{PeerWorkers, WorkerLimits},
};

/// What a connected publisher may send: no bytes from its address end the session, and frames come
/// out that viewers can take. Returns how many did.
///
/// # Errors
/// If the connection cannot be made.
pub(crate) fn publisher(data: &[u8]) -> io::Result<u64> {
    let (mut now, seen) = (Instant::now(), Arc::default());
    let mut peer = Adversary::new(Direction::SendOnly)?;
    let (mut task, answer) = accept(&peer, &seen)?;
    peer.connect(&mut now, &answer, |now, sender, datagram| {
        task.step(now, Some((sender, datagram)));
        task.is_connected()
    })?;
    for step in steps(data) {
        let datagram = match step {
            Step::Rtcp(bytes) => peer.rtcp(bytes),
            Step::Rtp(bytes) => peer.rtp(&peer.named(bytes)),
            Step::Forged(bytes) => Some(peer.named(bytes)),
            Step::Time(later, _) => {
                now += later;
                None
            }
        };
        let datagram = datagram.as_deref().map(|datagram| (peer.address, datagram));
        let ended = task.step(now, datagram);
        assert!(ended.is_none(), "{ended:?}");
    }
    Ok(seen.load(Ordering::Relaxed))
}

/// The server's end of a publisher, without a runtime, and its answer.
fn accept(peer: &Adversary, seen: &Arc<AtomicU64>) -> io::Result<(Reception, String)> {
    let offer = Offer::parse(peer.offer.as_bytes(), Role::Publisher).map_err(io::Error::other)?;
    let options = Options {
        engine: Engine::Direct,
        jitter: Duration::from_millis(50),
        consent: Duration::from_hours(1),
        bitrate_max: 50_000_000,
        workers: PeerWorkers::new(WorkerLimits::new(0)),
    };
    let reports = Reports {
        events: mpsc::channel(4).0,
        keyframe_wanted: Arc::default(),
        channel: None,
    };
    let inputs = [Codec::Vp8, Codec::Opus].map(|codec| StreamInput {
        codec,
        rid: None,
        frames: counted(seen),
    });
    let (_, mut task, answer) =
        Reception::accept(&offer, &port()?, &options, inputs.to_vec(), reports)
            .map_err(io::Error::other)?;
    task.running_time = || Duration::from_secs(1);
    Ok((task, answer))
}

/// Counts frames.
fn counted(seen: &Arc<AtomicU64>) -> FrameSink {
    let seen = Arc::clone(seen);
    Arc::new(move |frame| {
        check(&frame);
        seen.fetch_add(1, Ordering::Relaxed);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_that_has_failed_is_left_alone() {
        // RFC 5246 §7.2: fatal, and still unencrypted.
        let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
        let mut peer = Adversary::new(Direction::SendOnly).unwrap();
        let (mut task, answer) = accept(&peer, &Arc::default()).unwrap();
        let mut ended = false;
        let connected = peer.connect(&mut Instant::now(), &answer, |now, sender, datagram| {
            let dtls = (20..64).contains(&datagram[0]);
            let datagram = if dtls { &alert } else { datagram };
            ended |= task.step(now, Some((sender, datagram))).is_some();
            for _ in 0..3 {
                task.step(now + Duration::from_secs(1), None);
            }
            false
        });
        assert!(connected.is_err() && ended);
    }
}
