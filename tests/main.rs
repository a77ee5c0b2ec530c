//! The only integration test binary: black-box tests of the built server over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::print_stdout,
    reason = "tests"
)]

mod aiortc;
mod api;
mod attendees;
mod chat;
mod churn;
mod clients;
mod cluster;
mod codecs;
mod configuring;
mod conformance;
mod connections;
mod control;
mod cors;
mod documents;
mod drain;
mod events;
mod examples;
mod extensions;
mod fallback;
mod feedback;
mod full_disk;
mod hostile;
mod inputs;
mod interfaces;
mod kill;
mod limits;
mod networks;
mod offers;
mod on_demand;
mod openapi;
mod outputs;
mod pages;
mod pauses;
mod proxies;
mod pushes;
mod reconnect;
mod recordings;
mod reload;
mod renditions;
mod resources;
mod robustness;
mod rtc;
mod secrets;
mod service;
mod sessions;
mod simulcast;
mod slate;
mod soak;
mod spans;
mod start_stop;
mod structure;
mod support;
mod switched_outputs;
mod takeover;
mod threads;
mod tokens;
mod transcoding;
mod trickle;
mod webrtcbin;
mod workers;
