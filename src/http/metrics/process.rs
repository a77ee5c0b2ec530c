//! Figures of the process and of the build, under the names that Prometheus' own libraries use.

use super::text::Exposition;
use crate::resources;

pub(super) fn write(text: &mut Exposition) {
    let usage = resources::usage();
    let cpu = usage.cpu.as_secs_f64();
    text.single(
        "process_cpu_seconds_total",
        "counter",
        "Processor time of all threads.",
        cpu,
    );
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory.",
            usage.memory,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory.",
            usage.address_space,
        ),
        ("process_open_fds", "Open file descriptors.", usage.files),
        (
            "process_max_fds",
            "Limit of open file descriptors.",
            usage.files_max,
        ),
        ("process_threads", "Threads.", usage.threads),
        (
            "process_max_threads",
            "Limit of threads.",
            usage.threads_max,
        ),
        (
            "process_start_time_seconds",
            "When the process started, since 1970.",
            usage.started,
        ),
    ] {
        text.single(name, "gauge", help, value);
    }
    let name = "aerial_build_info";
    text.family(name, "gauge", "The version that runs; always 1.");
    text.value(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
}
