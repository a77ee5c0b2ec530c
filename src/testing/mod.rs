//! Tools that measure and test the server: a WebRTC client, and helpers for unit tests.

#[cfg(test)]
mod h264;
pub mod packets;
pub(crate) mod peer;
#[cfg(test)]
mod unit;

#[cfg(test)]
pub(crate) use h264::H264Packets;
#[cfg(test)]
pub(crate) use packets::RtpPacket;
#[cfg(test)]
pub(crate) use unit::{
    add_to_loopback, block_on, count_threads_and_files, ip, run_alone, run_in_namespace,
    slow_loopback_down,
};
