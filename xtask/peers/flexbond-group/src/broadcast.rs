//! Messages from the coordinator to all members.

use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_session::group::{BroadcastReceiver, BroadcastSender};
use peer_harness::{Result, Usage, Words, print};
use serde_json::json;

use crate::{GROUP, Side};

/// What is sent.
pub(crate) struct Load {
    size: usize,
    warmup: usize,
    measured: usize,
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

    /// Sends so many messages, and waits until every member has confirmed all of them. Like the others, this one is
    /// given what there is already: a copy for each message would be the program's.
    async fn send(&self, group: &BroadcastSender, message: &Bytes, count: usize) -> Result<()> {
        let mut last = None;
        for _ in 0..count {
            last = Some(group.send(message.clone()).await?);
        }
        if let Some(last) = last {
            last.delivered().await?;
        }
        Ok(())
    }

    async fn receive(&self, group: &BroadcastReceiver) -> Result<()> {
        let received = group.recv().await?;
        if received.body.len() == self.size {
            return Ok(());
        }
        Err(format!(
            "a message of {} bytes came instead of one of {}",
            received.body.len(),
            self.size
        )
        .into())
    }
}

/// Sends or receives, and prints the goodput: the coordinator's ends when every member has acknowledged everything.
pub(crate) async fn run(side: &Side, load: &Load) -> Result<()> {
    match side {
        Side::Coordinator(session, members) => {
            let group = session.create_broadcast(GROUP)?;
            for _ in 0..*members {
                group.accept().await?;
            }
            let message = Bytes::from(vec![0xA5_u8; load.size]);
            load.send(&group, &message, load.warmup).await?;
            let begun = Instant::now();
            load.send(&group, &message, load.measured).await?;
            load.report("coordinator", load.measured, begun.elapsed());
        }
        Side::Member(session) => {
            let group = session.join_broadcast(GROUP).await?;
            for _ in 0..load.warmup {
                load.receive(&group).await?;
            }
            // From the first of the measured messages on, which may have come long after the last of the others.
            load.receive(&group).await?;
            let begun = Instant::now();
            for _ in 1..load.measured {
                load.receive(&group).await?;
            }
            load.report("member", load.measured - 1, begun.elapsed());
        }
    }
    Ok(())
}
