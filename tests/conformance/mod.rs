//! The requirements of standards and existing clients, row by row, and the table of all rows.
//!
//! A comment above a test lists the rows it stands for: `Row W-25.`, `Rows W-25 to W-30, E-09.`

mod answers;
mod auth;
mod links;
mod media;
mod offers;
mod sdp;
mod table;
pub mod tls;

use crate::support::{Server, engines::with_each_engine};

/// A server with this engine for publishers.
fn server(engine: &str, arguments: &[&str]) -> Server {
    let engine = ["--webrtc.publisher_engine", engine];
    Server::start(&[&engine, arguments].concat())
}

/// Runs a check on a server with each engine for publishers.
fn on_both_engines(check: impl Fn(&Server, &str) + Sync) {
    with_each_engine(|engine| check(&server(engine, &[]), engine));
}
