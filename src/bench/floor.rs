//! The floor: what the same packets cost when they are only encrypted and sent.
//!
//! Same sizes, same rhythm, same number of destinations, the project's own encryption and
//! segmented sends; no sessions, no RTCP, no viewers coming and going. One process sends, another
//! one receives exactly as the viewers do, because on the loopback interface the sender pays for
//! putting a packet into the receiver's socket.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{clip::Clip, helper::HelperControls, peer::loopback_socket, process::Usage};
use crate::{
    fanout::Batch,
    media::rtp::RtpHeader,
    peer::{
        srtp::{MasterKey, PacketId, Profile, Sender},
        udp::{AddressPair, Options, Port, Sent},
    },
};

/// Not measured: caches and clock frequency settle.
const WARM_UP: Duration = Duration::from_secs(1);
/// Key and salt of both directions for `AEAD_AES_128_GCM`.
const KEYING_MATERIAL_BYTES: usize = 2 * (16 + 12);
/// Of every destination's only stream.
const SSRC: u32 = 1;

/// What to send to whom.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FloorJob {
    frames: Vec<FrameSizes>,
    length: Duration,
    ports: Vec<u16>,
    measure: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
struct FrameSizes {
    at: Duration,
    payload_bytes: Vec<usize>,
}

impl FloorJob {
    /// The clip's packets to these ports of the loopback address.
    pub(super) fn new(clip: &Clip, ports: Vec<u16>, measure: Duration) -> Self {
        let frames = clip.frames.iter().map(|frame| FrameSizes {
            at: frame.at,
            payload_bytes: frame.payloads.iter().map(|payload| payload.len()).collect(),
        });
        Self {
            frames: frames.collect(),
            length: clip.length,
            ports,
            measure,
        }
    }
}

/// What sending cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct FloorReport {
    /// Packets sent during the measurement.
    pub(super) packets: u64,
    /// CPU time of the sending process meanwhile, in microseconds.
    pub(super) cpu_us: f64,
    /// Packets sent in total.
    pub(super) packets_in_all: u64,
}

/// Sends in real time and reports.
///
/// # Errors
///
/// If the kernel refuses to send.
pub(super) async fn run(job: FloorJob, controls: HelperControls) -> Result<()> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let port = Port::bind(&Options {
        loopback: true,
        ..Options::at(listen)
    })?;
    let mut destinations = job
        .ports
        .iter()
        .map(|to| FloorDestination::new(SocketAddr::from((Ipv4Addr::LOCALHOST, *to))))
        .collect::<Result<Vec<_>>>()?;
    let begin = Instant::now();
    let (mut packets_in_all, mut measured) = (0, None);
    for round in 0.. {
        for frame in &job.frames {
            sleep_until(begin + job.length * round + frame.at).await;
            let elapsed = begin.elapsed();
            if elapsed > WARM_UP && measured.is_none() {
                measured = Some((packets_in_all, Usage::of(std::process::id())?.cpu));
            }
            if let Some((packets, cpu)) = measured
                && elapsed > WARM_UP + job.measure
            {
                let cpu = Usage::of(std::process::id())?.cpu.saturating_sub(cpu);
                return controls.say(&FloorReport {
                    packets: packets_in_all - packets,
                    cpu_us: cpu.as_secs_f64() * 1e6,
                    packets_in_all,
                });
            }
            for destination in &mut destinations {
                destination.send(&port, &frame.payload_bytes)?;
                packets_in_all += frame.payload_bytes.len() as u64;
            }
        }
    }
    Ok(())
}

struct FloorDestination {
    ends: AddressPair,
    keys: Sender,
    index: u64,
    batch: Batch,
}

impl FloorDestination {
    fn new(address: SocketAddr) -> Result<Self> {
        let master = MasterKey::from_dtls(&[7; KEYING_MATERIAL_BYTES], Profile::Aes128Gcm, true)?;
        Ok(Self {
            ends: address.into(),
            keys: Sender::new(&master)?,
            index: 0,
            batch: Batch::default(),
        })
    }

    /// Encrypts a frame's packets and sends them in as few pieces as segmentation allows.
    fn send(&mut self, port: &Port, payloads: &[usize]) -> Result<()> {
        for payload in payloads {
            let start = self.batch.begin();
            let [.., high, low] = self.index.to_be_bytes();
            let header = RtpHeader {
                marker: false,
                payload_type: 96,
                sequence: u16::from_be_bytes([high, low]),
                timestamp: 0,
                ssrc: SSRC,
            };
            let bytes = &mut self.batch.bytes;
            let length = header.write(bytes, &[]);
            bytes.resize(start + length + payload, 0);
            let id = PacketId {
                ssrc: SSRC,
                index: self.index,
            };
            self.keys.protect_rtp(bytes, start, length, id)?;
            self.batch.end();
            self.index += 1;
        }
        let to_socket =
            |data: &[u8], segment| port.send(&mut self.ends, data, segment) == Sent::Taken;
        let sent = self.batch.flush(port.segments_max(), to_socket);
        sent.then_some(()).context("the kernel refused to send")
    }
}

/// How many sockets to open.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SinksJob {
    /// One for each destination.
    pub(super) count: usize,
}

/// Opens sockets, reports their ports, counts what arrives until told to stop, reports how many.
///
/// # Errors
///
/// If the controlling process is gone.
pub(super) async fn sinks(job: SinksJob, mut controls: HelperControls) -> Result<()> {
    let mut tasks = JoinSet::new();
    let mut ports = Vec::new();
    let packets = Arc::new(AtomicU64::new(0));
    for _ in 0..job.count {
        let socket = loopback_socket()?;
        ports.push(socket.local_addr()?.port());
        let packets = Arc::clone(&packets);
        tasks.spawn(async move {
            let mut buffer = [0; 2048];
            while socket.readable().await.is_ok() {
                while socket.try_recv(&mut buffer).is_ok() {
                    packets.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    controls.say(&ports)?;
    controls.expect("stop").await?;
    controls.say(&packets.load(Ordering::Relaxed))?;
    tasks.shutdown().await;
    Ok(())
}
