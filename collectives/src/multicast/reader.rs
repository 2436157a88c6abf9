//! What the group session brings, on its way to the receives that wait for it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use flexbond_session::group::{Part, Received, Session};

use super::intake::Intake;
use super::notice::Heading;

/// Reads from the session into the intake.
pub(super) struct Reader {
    epoch: u32,
    intake: Arc<Intake>,
    /// By number in the session.
    ranks: HashMap<u32, usize>,
    /// By rank: the message whose parts come, if it is wanted.
    streams: HashMap<usize, u32>,
}

impl Reader {
    pub(super) fn new(epoch: u32, intake: Arc<Intake>, ranks: HashMap<u32, usize>) -> Self {
        Reader {
            epoch,
            intake,
            ranks,
            streams: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, session: Session) {
        while let Ok(received) = session.recv().await {
            self.take(received).await;
        }
        self.intake.end_all();
    }

    async fn take(&mut self, received: Received) {
        let Received { from, body, part, .. } = received;
        let Some(&rank) = self.ranks.get(&from.number()) else {
            return;
        };
        match part {
            Part::First => {
                self.end(rank);
                let heading = Heading::decode(&body).filter(|heading| heading.epoch == self.epoch);
                if let Some(Heading { number, length, .. }) = heading
                    && self.intake.expects(rank, number, length)
                {
                    self.streams.insert(rank, number);
                }
            }
            Part::More => self.put(rank, &body).await,
            Part::Last => {
                self.put(rank, &body).await;
                self.end(rank);
            }
            Part::Cut => self.end(rank),
            // Nothing that belongs here comes in one piece.
            Part::Whole => {}
        }
    }

    async fn put(&self, rank: usize, part: &Bytes) {
        if let Some(&number) = self.streams.get(&rank) {
            poll_fn(|cx| self.intake.poll_put(cx, rank, number, part)).await;
        }
    }

    fn end(&mut self, rank: usize) {
        if let Some(number) = self.streams.remove(&rank) {
            self.intake.end(rank, number);
        }
    }
}
