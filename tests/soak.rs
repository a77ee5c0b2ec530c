//! A crowd that comes, goes, loses, roams, floods and attacks, beside a broadcast that must not notice it.
//!
//! `make soak` runs it for half an hour with 300 viewers against the release build.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    churn::{Held, leave},
    hostile::{spoofed, strangers},
    networks::{Path, Relay},
    rtc::{Client, Mode, clip, wait_for_frames_of_all},
    support::{PATIENCE, Server, aerial, damage::Random, fixture, wait_for},
};

/// Viewers that must get every frame.
const BYSTANDERS: usize = 20;
/// One in this many guests publishes a broadcast of its own instead of watching.
const PUBLISHERS: usize = 60;
