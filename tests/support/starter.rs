//! Programs that other programs start: a shell that sets limits, a manager, a sandbox.

use std::process::{Command, Stdio};

use super::{Server, aerial};

/// A starter that executes this program: its name and arguments follow the starter's own.
pub fn executing(mut starter: Command, program: &Command) -> Command {
    starter.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => starter.env(name, value),
            None => starter.env_remove(name),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        starter.current_dir(folder);
    }
    starter
}

impl Server {
    /// A server that this starter executes.
    pub fn executed_by(starter: Command, arguments: &[&str]) -> Self {
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
        let program = aerial(&[&fixed[..], &["--demo", "false"], arguments].concat());
        let mut command = executing(starter, &program);
        Self::attach(command.stderr(Stdio::piped()).spawn().unwrap())
    }
}
