//! Nothing that a publisher sends keeps a thread busy.

use std::{fs, thread, time::Duration};

use aerial::for_tests::packets;

use super::{
    CONFIG,
    encode::PAY_H264_APART,
    shape::{Stream, h264, usual},
};
use crate::{
    outputs::{folder, server},
    rtc::{Client, raw::Script},
    support::{Server, wait_for},
    workers::all_workers,
};

/// Linux counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// How long the server is watched after everything has arrived.
const WATCHED: Duration = Duration::from_secs(2);
/// The processor time that is much less than that of one busy thread, on a busy machine too.
const IDLE_MAX: Duration = Duration::from_millis(600);

/// The processor time of the server and its workers.
fn processor_time(server: &Server) -> Duration {
    let workers = all_workers(server).into_iter().map(|(_, pid)| pid);
    let ticks = workers.chain([server.pid()]).filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name: the state first, time in user mode and in the kernel.
        let fields = stat.rsplit_once(')')?.1.split_whitespace();
        let times: Vec<u32> = fields
            .skip(11)
            .take(2)
            .map(|field| field.parse().unwrap())
            .collect();
        Some(times.iter().sum::<u32>())
    });
    TICK * ticks.sum::<u32>()
}

#[test]
fn whatever_has_arrived_leaves_no_thread_busy() {
    let server = server(&folder("inputs-idle", &[], &[]), CONFIG, &[]);
    let mut marked = usual("", PAY_H264_APART);
    packets::mark_parameter_sets(&mut marked);
    let mut of_before = marked.clone();
    packets::date_parameter_sets_back(&mut of_before);
    let mut alone = marked.clone();
    alone.retain(|packet| matches!(packet.payload[0] & 0x1f, 7 | 8));
    let shapes = [("marked", marked), ("before", of_before), ("alone", alone)];
    let mut publishers = Vec::new();
    for (name, packets) in shapes {
        let shape = h264(name, Stream::VIDEO.send(packets));
        for engine in ["direct", "webrtcbin"] {
            let broadcast = format!("{engine}-{name}");
            let script = Script::new(shape.packets.clone());
            publishers.push(Client::publish_script(
                &server,
                &broadcast,
                &shape.offer,
                script,
            ));
        }
    }
    for publisher in &publishers {
        wait_for("everything sent", || publisher.is_done().then_some(()));
    }
    thread::sleep(super::TAIL);
    let before = processor_time(&server);
    thread::sleep(WATCHED);
    let used = processor_time(&server).saturating_sub(before);
    assert!(publishers.iter().all(|publisher| !publisher.is_closed()));
    println!("{used:?} of processor time in {WATCHED:?}");
    assert!(used < IDLE_MAX, "{used:?}");
}
