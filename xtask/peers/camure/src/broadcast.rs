//! Messages from the coordinator to all members.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use peer_harness::{Result, Usage, Words, print};
use serde_json::json;

use crate::{GROUP, Side};

/// How long the coordinator waits for members to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is sent.
pub(crate) struct Load {
    size: usize,
    warmup: usize,
    measured: usize,
    linger: Duration,
}

impl Load {
    /// # Errors
    /// When a number cannot be read, or messages are empty.
    pub(crate) fn read(words: &mut Words) -> Result<Self> {
        let size = words.get("size", 1 << 20)?;
        if size == 0 {
            return Err("messages are not empty".into());
        }
        let total: usize = words.get("total", 32 << 20)?;
        Ok(Load {
            size,
            warmup: (words.get("warmup", 4 << 20)? / size).max(1),
            // The first one only starts the clock of a member.
            measured: (total / size).max(2),
            linger: Duration::from_millis(words.get("linger_ms", 200)?),
        })
    }

    fn report(&self, role: &str, messages: usize, elapsed: Duration) {
        let bytes = messages * self.size;
        print(&json!({
            "case": "broadcast",
            "role": role,
            "size": self.size,
            "messages": messages,
            "seconds": elapsed.as_secs_f64(),
            "mb_per_second": bytes as f64 / 1e6 / elapsed.as_secs_f64(),
            "peak_bytes": Usage::now().peak,
        }));
    }
}

/// Sends or receives, and prints the goodput: the coordinator's ends when every member has acknowledged everything.
pub(crate) fn run(side: &Side, load: &Load) -> Result<()> {
    match side {
        Side::Coordinator(session, members) => {
            let mut group = session.create_broadcast_group(Some(GROUP))?;
            for _ in 0..*members {
                group.accept()?;
            }
            let message = vec![0xA5_u8; load.size];
            for _ in 0..load.warmup {
                group.write_message().write_all(&message)?;
            }
            group.wait()?;
            let begun = Instant::now();
            for _ in 0..load.measured {
                group.write_message().write_all(&message)?;
            }
            group.wait()?;
            load.report("coordinator", load.measured, begun.elapsed());
            // An end of the session throws away what members have acknowledged but not read yet.
            let deadline = Instant::now() + PATIENCE;
            while group.has_members() && Instant::now() < deadline {
                // With nothing to process it says so, and what else goes wrong now changes no figure.
                let _ = group.try_process();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Side::Member(session) => {
            let mut group = session.join_broadcast_group(GROUP)?;
            let mut message = vec![0; load.size];
            let mut receive = || -> Result<()> {
                let received = group.recv()?;
                received.read().read_exact(&mut message)?;
                Ok(())
            };
            for _ in 0..load.warmup {
                receive()?;
            }
            // From the first of the measured messages on, which may have come long after the last of the others.
            receive()?;
            let begun = Instant::now();
            for _ in 1..load.measured {
                receive()?;
            }
            load.report("member", load.measured - 1, begun.elapsed());
            // The coordinator may still miss an acknowledgement, and ask for it.
            std::thread::sleep(load.linger);
        }
    }
    Ok(())
}
