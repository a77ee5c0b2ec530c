//! Machines with a network namespace each, and one network between them that a test can cut.

use std::{
    fs,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
};

use crate::{interfaces::ip, support::wait_for};

/// The network of all machines; this program has its last address.
const NETWORK: [u8; 3] = [10, 77, 7];
const HERE: u8 = 254;

/// The address of a machine.
pub(super) const fn address(number: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, number)
}

/// A machine, for as long as it is kept.
pub(super) struct Machine {
    /// Keeps the namespace.
    keeper: Child,
    pub(super) address: Ipv4Addr,
}

/// Machines in one network. This program must be in a network namespace of its own.
pub(super) fn machines<const MACHINES: usize>() -> [Machine; MACHINES] {
    ip("link set lo up");
    ip("link add bridge type bridge");
    ip(&format!("address add {}/24 dev bridge", address(HERE)));
    ip("link set bridge up");
    std::array::from_fn(|index| Machine::new(u8::try_from(index + 1).unwrap()))
}

impl Machine {
    fn new(number: u8) -> Self {
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let keeper = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let machine = Self {
            keeper,
            address: address(number),
        };
        let pid = machine.keeper.id();
        wait_for("namespace", || {
            let namespace = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
            (namespace != own).then_some(())
        });
        ip(&format!(
            "link add cable{number} type veth peer name eth0 netns {pid}"
        ));
        ip(&format!("link set cable{number} master bridge up"));
        machine.ip(&format!("address add {}/24 dev eth0", machine.address));
        machine.ip("link set eth0 up");
        machine
    }

    /// A command that runs there.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let namespace = format!("--net=/proc/{}/ns/net", self.keeper.id());
        command.args([&namespace, program]);
        command
    }

    fn ip(&self, arguments: &str) {
        let output = self.command("ip").args(arguments.split(' ')).output();
        let output = output.unwrap();
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }

    /// Nothing gets through between the two any more, and neither is told.
    pub(super) fn cut(&self, other: &Self) {
        self.ip(&format!("route add blackhole {}", other.address));
        other.ip(&format!("route add blackhole {}", self.address));
    }

    /// The end of [`Self::cut`].
    pub(super) fn heal(&self, other: &Self) {
        self.ip(&format!("route del blackhole {}", other.address));
        other.ip(&format!("route del blackhole {}", self.address));
    }

    /// While `run` runs, this program reaches the machine no more.
    pub(super) fn while_away<T>(&self, run: impl FnOnce() -> T) -> T {
        ip(&format!("route add blackhole {}", self.address));
        let result = run();
        ip(&format!("route del blackhole {}", self.address));
        result
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
