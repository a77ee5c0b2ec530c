//! What holds with either engine.

use std::{panic::resume_unwind, thread};

const ENGINES: [&str; 2] = ["webrtcbin", "direct"];

/// Runs a check with each engine, with both at once: it waits for media most of the time.
pub fn with_each_engine(check: impl Fn(&'static str) + Sync) {
    thread::scope(|scope| {
        let check = &check;
        let checks = ENGINES.map(|engine| (engine, scope.spawn(move || check(engine))));
        for (engine, check) in checks {
            if let Err(panic) = check.join() {
                println!("with {engine}");
                resume_unwind(panic);
            }
        }
    });
}
