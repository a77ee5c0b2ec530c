//! The `aerial` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    aerial::cli::run()
}
