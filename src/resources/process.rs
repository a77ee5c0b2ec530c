//! What a process uses.

use std::{fs, io};

use serde::{Deserialize, Serialize};

/// The kernel's figures of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessFigures {
    /// CPU time so far, in milliseconds.
    pub cpu_ms: u64,
    /// Memory in bytes: its own, and its share of what it has in common with others (PSS).
    pub memory_bytes: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessFigures {
    /// The resources that a process uses, according to the kernel, or has used, if it has not been collected
    /// yet. Reading them takes up to some milliseconds.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        parse(&stat, &memory).ok_or_else(|| io::Error::other("unknown format"))
    }
}

fn parse(stat: &str, memory: &str) -> Option<ProcessFigures> {
    // The name in parentheses may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // Of 100 per second, whatever the kernel uses itself: its own, and of children that it has collected.
    let ticks = [11, 12, 13, 14]
        .into_iter()
        .map(number)
        .sum::<Option<u64>>()?;
    let of = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(ProcessFigures {
        cpu_ms: ticks.saturating_mul(10),
        memory_bytes: of("Pss:").unwrap_or(0).saturating_mul(1024),
        threads: number(17)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        let stat = "4242 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 3 2 15 16 5 18 19 20";
        let memory = "5583-7ffd ---p 00 00:00 0 [rollup]\nRss:  9000 kB\nPss:  5120 kB\n";
        let expected = ProcessFigures {
            cpu_ms: 2050,
            memory_bytes: 5 << 20,
            threads: 5,
        };
        assert_eq!(parse(stat, memory), Some(expected));
        assert_eq!(parse("no", memory), None);
        let own = ProcessFigures::of(std::process::id()).unwrap();
        assert!(own.threads > 0 && own.memory_bytes > 0);
    }
}
