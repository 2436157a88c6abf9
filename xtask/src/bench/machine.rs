//! What the figures depend on: the machine and how busy it was.

use std::fs;

/// Lines for the report.
pub(super) fn facts() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo").lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, name)| name.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    vec![
        format!(
            "{cores} cores, {}, Linux {}",
            cpu.as_deref().unwrap_or("unknown processor"),
            kernel.trim()
        ),
        format!("load average when it began: {}", load.join(" ")),
    ]
}
