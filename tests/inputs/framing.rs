//! Where senders put markers, timestamps and parameter sets.

use aerial::for_tests::packets;

use super::{
    check,
    encode::PAY_H264_APART,
    shape::{Stream, h264, plain, usual},
};

const SLICES: &str = "option-string=sliced-threads=0:slices=3";

#[test]
fn frames_are_found_however_they_are_marked() {
    let apart = || usual("", PAY_H264_APART);
    let sliced = || usual(SLICES, PAY_H264_APART);
    let video = |packets| Stream::VIDEO.send(packets);

    let mut marked_sets = apart();
    packets::mark_parameter_sets(&mut marked_sets);
    let mut of_before = marked_sets.clone();
    packets::date_parameter_sets_back(&mut of_before);
    let mut unmarked = sliced();
    for packet in &mut unmarked {
        packet.marker = false;
    }
    let mut marked_slices = sliced();
    packets::mark_slices(&mut marked_slices);
    check(
        "framing",
        &[
            plain().watched(),
            h264("sliced", video(sliced())).watched(),
            h264("marked-sets", video(marked_sets)),
            h264("sets-of-before", video(of_before)),
            h264("unmarked", video(unmarked)),
            h264("marked-slices", video(marked_slices)),
        ],
    );
}
