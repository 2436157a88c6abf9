//! What a process holds, as the system tells it.

use std::fs;

use anyhow::{Context, Result};

/// Clock ticks a second that Linux tells programs, on every machine.
const TICKS: f64 = 100.0;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Resident memory in MiB.
    pub(super) resident: f64,
    /// Open file descriptors.
    pub(super) descriptors: usize,
    /// Seconds of a processor used so far.
    pub(super) processor: f64,
}

impl Usage {
    /// # Errors
    /// When the process is gone, or the system is no Linux.
    pub(super) fn of(pid: u32) -> Result<Usage> {
        let gone = || format!("process {pid} tells nothing of itself; it may have ended");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(gone)?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(gone)?;
        Ok(Usage {
            resident: resident(&status).with_context(gone)?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
                .with_context(gone)?
                .count(),
            processor: processor(&stat).with_context(gone)?,
        })
    }
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// User and system time; the name before them may hold anything, closing brackets too.
fn processor(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_texts_are_read() {
        let status = "Name:\tflexbond\nVmPeak:\t  9000 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(resident(status), Some(2.0));
        assert_eq!(resident("Name:\tzombie\n"), None);
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 999";
        assert_eq!(processor(stat), Some(2.0));
        assert_eq!(processor("42 (cut"), None);
    }

    #[test]
    fn this_process_holds_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident > 0.0 && usage.descriptors >= 3, "{usage:?}");
    }
}
