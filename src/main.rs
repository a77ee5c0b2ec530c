//! Commands: nothing else lives here.
fn main() {}
