//! Transport streams with more than picture and sound, as broadcasters, drones and live services send
//! them.

use std::{fs, time::Duration};

use super::{
    super::Event,
    assert_paced,
    peers::{Folder, ffmpeg, finish, free_port, opened, spawn},
    run, running_time,
    sources::{BOTH, frames},
};

/// Bytes of a packet of a transport stream.
const PACKET: usize = 188;
/// Of its header. Stuffing may follow, then a pointer to the section.
const HEADER: usize = 4;
/// What the multiplexer writes for KLV: private data, registered under that name.
const PRIVATE: u8 = 0x06;
const KLV: &[u8] = b"\x05\x04KLVA";
/// Types of streams, and descriptors that name them: timed ID3 (Timed Metadata for HTTP Live Streaming,
/// §2.3), and teletext and subtitles of DVB (ETSI EN 300 468 §6.2.43 and §6.2.41).
const OTHERS: [(u8, &[u8]); 3] = [
    (0x15, b"\x26\x0d\xff\xffID3 \xffID3 \x00\x0f"),
    (PRIVATE, b"\x56\x05eng\x09\x00"),
    (PRIVATE, b"\x59\x08eng\x10\x00\x01\x00\x01"),
];

/// The checksum of sections (ISO/IEC 13818-1 annex A).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// The section in a packet.
fn section(packet: &[u8]) -> &[u8] {
    let is_stuffed = packet[3] & 0x20 != 0;
    let stuffing = if is_stuffed {
        1 + usize::from(packet[HEADER])
    } else {
        0
    };
    let pointed = &packet[HEADER + stuffing..];
    let section = &pointed[1 + usize::from(pointed[0])..];
    let length = usize::from(section[1] & 0xf) << 8 | usize::from(section[2]);
    &section[..length + 3]
}

fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

/// Makes all streams of KLV but the first in a program's table the others. Returns how many tables
/// there were.
fn announce_others(stream: &mut [u8]) -> usize {
    let mut program = None;
    let mut tables = 0;
    for packet in stream.chunks_exact_mut(PACKET) {
        let begins = packet[1] & 0x40 != 0;
        if begins && pid(packet) == 0 {
            // Behind eight bytes of header: the number of the first program, and where its table is.
            let list = section(packet);
            program = Some(u16::from(list[10] & 0x1f) << 8 | u16::from(list[11]));
        } else if begins && program == Some(pid(packet)) {
            let table = section(packet);
            let table = with_others(&table[..table.len() - 4]);
            packet[3] &= 0xdf;
            packet[HEADER] = 0;
            packet[HEADER + 1..].fill(0xff);
            packet[HEADER + 1..][..table.len()].copy_from_slice(&table);
            tables += 1;
        }
    }
    tables
}

/// The same for one table, without its checksum; the result has one.
fn with_others(table: &[u8]) -> Vec<u8> {
    let mut table = table.to_vec();
    let mut from = 0;
    let mut next = || {
        let found = table[from..]
            .windows(KLV.len())
            .position(|bytes| bytes == KLV);
        from += found.unwrap() + 1;
        from - 1
    };
    let (_, places) = (next(), [next(), next(), next()]);
    for (at, (stream_type, descriptor)) in places.into_iter().zip(OTHERS).rev() {
        // In front of the descriptor: type, place (two bytes), length (two bytes).
        assert_eq!(table[at - 5], PRIVATE);
        table[at - 5] = stream_type;
        table[at - 1] = descriptor.len().try_into().unwrap();
        table.splice(at..at + KLV.len(), descriptor.iter().copied());
    }
    table[2] = (table.len() + 4 - 3).try_into().unwrap();
    table.extend(checksum(&table).to_be_bytes());
    table
}

/// KLV, timed ID3, teletext and DVB subtitles are announced before the picture and the sound, and sent
/// all the time: none is mistaken for sound, and none holds the others up.
#[tokio::test]
async fn srt_with_metadata_and_subtitles_has_its_sound() {
    let folder = Folder::new();
    let file = folder.file("all.ts");
    let data = "fakesrc num-buffers=250 sizetype=fixed sizemax=40 filltype=random format=time
          datarate=1000 ! meta/x-klv,parsed=true ! queue ! mux. "
        .repeat(1 + OTHERS.len());
    let text = format!(
        "mpegtsmux name=mux ! filesink location={file} {data}
         videotestsrc num-buffers=250 ! video/x-raw,width=320,height=180,framerate=25/1
           ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! h264parse ! queue ! mux.
         audiotestsrc num-buffers=470 ! audio/x-raw,rate=48000,channels=2 ! audioconvert
           ! avenc_aac ! aacparse ! queue ! mux."
    );
    let writing = spawn(
        "gst-launch-1.0",
        &text.split_whitespace().collect::<Vec<_>>(),
    );
    finish(writing).await;
    let mut stream = fs::read(&file).unwrap();
    let tables = announce_others(&mut stream);
    assert!(tables > 5, "{tables}");
    fs::write(&file, stream).unwrap();
    // FFmpeg reads the table as it is meant.
    let listed = finish(spawn(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "csv=p=0",
            &file,
        ],
    ))
    .await;
    // Those of the program, and then all there are.
    let listed: Vec<_> = listed.split_whitespace().collect();
    assert_eq!(
        listed[..listed.len() / 2],
        [
            "klv",
            "timed_id3",
            "dvb_teletext",
            "dvb_subtitle",
            "h264",
            "aac"
        ]
    );
    // Sent as it is: FFmpeg would write a table of its own.
    let port = free_port();
    let url = format!("srt://127.0.0.1:{port}");
    let text = format!(
        "filesrc location={file} ! tsparse set-timestamps=true ! srtsink sync=true uri={url}?mode=listener"
    );
    let _peer = spawn(
        "gst-launch-1.0",
        &text.split_whitespace().collect::<Vec<_>>(),
    );
    opened(port).await;
    frames("srt", &[("url", &url)], BOTH, 40).await;
}

/// Its decoder makes no picture of the first one alone.
#[tokio::test]
async fn mpeg_2_of_a_file_plays_at_its_own_pace() {
    let folder = Folder::new();
    let file = folder.file("old.ts");
    ffmpeg(&format!(
        "-f lavfi -i testsrc=size=160x96:rate=25 -t 2 -c:v mpeg2video -g 25 -bf 2 {file}"
    ))
    .await;
    let text = format!("filesrc location={file} ! tsdemux ! mpegvideoparse ! appsink name=video");
    let begun = running_time();
    let (video, _, events) = run(&text, usize::MAX).await;
    assert!(events.contains(&Event::Ended), "{events:?}");
    let video = video.lock().unwrap();
    // A busy machine leaves some out.
    assert!(video.len() > 25, "{}", video.len());
    assert_paced(&video, begun, Duration::from_millis(1600));
}
