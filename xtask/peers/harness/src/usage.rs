//! What the process has used up so far.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// CPU time, wake-ups and memory of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// How often a thread waited and was woken.
    pub wakeups: u64,
    /// Most memory that was resident, in bytes.
    pub peak: u64,
    /// Memory that is resident, in bytes.
    pub resident: u64,
}

impl Usage {
    /// As of now.
    #[must_use]
    pub fn now() -> Usage {
        let mut usage = Usage::default();
        if let Ok(resources) = getrusage(UsageWho::RUSAGE_SELF) {
            let micros =
                resources.user_time().num_microseconds() + resources.system_time().num_microseconds();
            usage.cpu = Duration::from_micros(micros.unsigned_abs());
            usage.wakeups = resources.voluntary_context_switches().unsigned_abs();
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
            Some(kibibytes * 1024)
        };
        usage.peak = bytes("VmHWM:").unwrap_or_default();
        usage.resident = bytes("VmRSS:").unwrap_or_default();
        usage
    }
}
