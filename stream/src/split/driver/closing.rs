//! How a split ends: what waits is sent, and what is left is counted.

use std::time::Duration;

use flexbond_transport::Message;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::{Split, SplitError, take_queue, take_received};
use crate::split::output::Left;
use crate::split::{OutputMode, OutputStats, Undelivered};

/// An output that there was at the end.
#[derive(Debug)]
pub(super) struct Closed {
    /// With all that was for it, before it is known what was left.
    pub(super) stats: OutputStats,
    /// Says what was left; `None` once it has.
    leaving: Option<JoinHandle<Left>>,
}

impl Split {
    /// Takes no more from the source, sends what waits, for as long as each output's linger says, and returns how many
    /// messages were not sent, over all outputs that there ever were. Outputs that listen go on accepting receivers
    /// meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future drops what waits in here; what the sockets have taken is still sent in the background.
    pub async fn close(mut self) -> u64 {
        self.finish().await.messages
    }

    /// As [`close`](Self::close), and says how many messages each output was left with. All that can be asked afterwards is
    /// what became of the messages: [`stats`](Self::stats) has it, without those that were left.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing. Calling it again goes on; linger counts from the first call.
    pub async fn finish(&mut self) -> Undelivered {
        let begin = match self.closing {
            Some(begin) => begin,
            None => {
                take_received(&self.source, self.config.source.queue_size, &mut self.received);
                *self.closing.insert(Instant::now())
            }
        };
        // At once: what it still took would go nowhere.
        self.source.link().close_within(Some(Duration::ZERO)).await;
        if !self.outputs.is_empty() {
            let linger = match *self.hurry.borrow() {
                true => None,
                false => self.outputs.iter().map(|output| output.config.linger_ms).max(),
            };
            let deadline = linger.map_or_else(Instant::now, |linger| begin + Duration::from_millis(linger));
            // Ends when all of it has its place, or was refused.
            let placed = async { while !matches!(self.run().await, SplitError::Receive(_)) {} };
            let _ = timeout_at(deadline, placed).await;
            self.close_outputs(begin);
        }
        for closed in &mut self.closed {
            if let Some(leaving) = &mut closed.leaving {
                // It does not panic, and nobody aborts it.
                let left = leaving.await.unwrap_or_default();
                closed.leaving = None;
                closed.settle(&left);
                self.undelivered += left.messages();
            }
        }
        while let Some(leaving) = self.leaving.last_mut() {
            self.undelivered += leaving.await.unwrap_or_default().messages();
            self.leaving.pop();
        }
        let outputs = self.closed.iter().map(|closed| &closed.stats);
        Undelivered {
            messages: self.undelivered,
            outputs: outputs
                .map(|stats| (stats.address.clone(), stats.undelivered))
                .collect(),
        }
    }

    /// As [`finish`](Self::finish), or what is left of that, without any waiting: what the system does not take now is
    /// left.
    ///
    /// # Cancel safety
    /// As that of [`finish`](Self::finish).
    pub async fn finish_now(&mut self) -> Undelivered {
        self.hurry.send_replace(true);
        self.finish().await
    }

    /// Lets all outputs go, with all that waits for them.
    fn close_outputs(&mut self, begin: Instant) {
        // No output was found for these.
        self.undelivered += self.received.len() as u64;
        self.received.clear();
        let stats: Vec<_> = self.outputs.iter().map(|output| self.stats_of(output)).collect();
        let mut queues = self.splitter.replace([]);
        for (output, mut stats) in std::mem::take(&mut self.outputs).into_iter().zip(stats) {
            let queue = take_queue(&mut queues, output.id);
            stats.outlet.messages += queue.len() as u64;
            stats.outlet.bytes += queue
                .iter()
                .map(|message| Message::size(message) as u64)
                .sum::<u64>();
            stats.outlet.queued = 0;
            let (_, leaving) = output.leave(queue, begin, false, self.hurry.subscribe());
            self.closed.push(Closed {
                stats,
                leaving: Some(leaving),
            });
        }
    }
}

impl Closed {
    /// Takes what was left out of what was for it.
    fn settle(&mut self, left: &Left) {
        let stats = &mut self.stats;
        stats.undelivered = left.messages();
        let peers = stats.socket.peers;
        let dropped = stats.socket.dropped;
        stats.socket = left.socket;
        stats.socket.peers = peers;
        // At the end of linger the socket drops what it is left with.
        stats.socket.dropped = left.socket.dropped.saturating_sub(left.in_socket).max(dropped);
        let unsent = match stats.mode {
            OutputMode::Push => left.messages(),
            // Somebody else may have got what one receiver did not.
            OutputMode::Pub => left.unsent,
        };
        let outlet = &mut stats.outlet;
        let sent = outlet.messages.saturating_sub(unsent);
        // Of what a socket is left with it says the number only.
        let share = sent as f64 / outlet.messages.max(1) as f64;
        outlet.bytes = (outlet.bytes as f64 * share).round() as u64;
        outlet.messages = sent;
    }
}
