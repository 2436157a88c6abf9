//! The signals that end a launch.

use std::fs;
use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

/// Listens for the signals that end a launch.
pub(super) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    quit: unix::Signal,
    /// Not where whoever started this program has had it ignored, as `nohup` does.
    hang_up: Option<unix::Signal>,
}

/// A signal that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// Which.
    pub(super) signal: Signal,
    /// What the processes are to be sent for it. They are no part of the terminal's process group, so that the kernel
    /// tells them nothing; that it is gone, or that somebody wants out, is for them a reason to end as any other.
    pub(super) passed_on: Signal,
}

impl Signals {
    /// From now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hang_up: match is_ignored(Signal::HUP) {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Arrived {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        let (signal, passed_on) = tokio::select! {
            _ = self.interrupt.recv() => (Signal::INT, Signal::INT),
            _ = self.terminate.recv() => (Signal::TERM, Signal::TERM),
            _ = self.quit.recv() => (Signal::QUIT, Signal::TERM),
            _ = hang_up => (Signal::HUP, Signal::TERM),
        };
        Arrived { signal, passed_on }
    }
}

/// Whether this process ignores a signal. Where the system does not tell, it does not.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known() {
        // Rust programs ignore this one from their start.
        assert!(is_ignored(Signal::PIPE));
        assert!(!is_ignored(Signal::SEGV));
    }
}
