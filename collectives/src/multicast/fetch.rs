//! The receive of a message that comes by multicast.

use std::future::poll_fn;

use flexbond_session::mesh::MeshError;
use futures_util::future::{Either, select};

use super::intake::{Announced, Stage, Taken};
use super::lane::Lane;
use super::notice::{Subject, tag, word};

/// The receive of a message. Dropped before its end, the message waits for the next one.
struct Fetch<'a> {
    lane: &'a Lane,
    announced: Announced,
    /// As long as the message.
    into: &'a mut [u8],
    /// Bytes of it that are there.
    got: usize,
    is_done: bool,
}

/// What the stream has brought.
enum Outcome {
    Filled,
    Lost,
    Void,
}

/// Receives a message into the front of `into`, which is long enough; false if its sender has given it up, and the next
/// message has its turn.
///
/// # Errors
/// What ended the epoch, or that its sender has left.
pub(super) async fn fetch(lane: &Lane, announced: Announced, into: &mut [u8]) -> Result<bool, MeshError> {
    let mut fetch = Fetch {
        lane,
        announced,
        into: &mut into[..announced.length],
        got: 0,
        is_done: false,
    };
    let result = fetch.run().await;
    fetch.is_done = true;
    lane.settle(announced.from, announced.number);
    if result.is_err() {
        lane.intake.forget(announced.from, announced.number);
    }
    result
}

impl Fetch<'_> {
    async fn run(&mut self) -> Result<bool, MeshError> {
        let Announced { from, number, .. } = self.announced;
        if self.announced.stage == Stage::New {
            // Before its sender can begin.
            self.lane.intake.expect(&self.announced);
            self.lane.tell(from, Subject::Ready, number, word::YES);
            self.announced.stage = Stage::Asked;
        }
        if self.announced.stage == Stage::Asked {
            self.lane.intake.expect(&self.announced);
            match self.fill().await? {
                Outcome::Filled => {
                    self.lane.tell(from, Subject::Done, number, word::YES);
                    return Ok(true);
                }
                Outcome::Void => {
                    self.lane.intake.forget(from, number);
                    return Ok(false);
                }
                Outcome::Lost => {
                    self.lane.intake.forget(from, number);
                    self.lane.tell(from, Subject::Done, number, word::NO);
                    self.announced.stage = Stage::Lost;
                    self.got = 0;
                }
            }
        }
        loop {
            let receiving = self
                .lane
                .mesh
                .recv(from, tag(Subject::Instead, number), self.into);
            let length = match self.lane.within(receiving).await {
                // It was given up before that, and what else was sent still comes.
                Err(MeshError::PeerLeft { .. }) => return Ok(false),
                result => result?,
            };
            if length == self.into.len() {
                return Ok(true);
            }
            // Not that the stream has stopped, which is known here.
            if self.into[..length] == [word::VOID] {
                return Ok(false);
            }
        }
    }

    /// Takes the message from the stream, unless its sender says that it does not come that way.
    async fn fill(&mut self) -> Result<Outcome, MeshError> {
        let Announced { from, number, .. } = self.announced;
        let (into, got, intake) = (&mut *self.into, &mut self.got, &self.lane.intake);
        let filled = std::pin::pin!(async {
            loop {
                match poll_fn(|cx| intake.poll_take(cx, from, number)).await {
                    Taken::Parts(parts) => {
                        for part in parts {
                            // No more is taken in than was announced.
                            into[*got..*got + part.len()].copy_from_slice(&part);
                            *got += part.len();
                        }
                    }
                    Taken::All => return Outcome::Filled,
                    Taken::Lost => return Outcome::Lost,
                }
            }
        });
        let heard = std::pin::pin!(self.lane.hear(from, Subject::Instead, number));
        match select(filled, heard).await {
            Either::Left((outcome, _)) => Ok(outcome),
            Either::Right((Ok(word::VOID) | Err(MeshError::PeerLeft { .. }), _)) => Ok(Outcome::Void),
            Either::Right((Ok(_), _)) => Ok(Outcome::Lost),
            Either::Right((Err(error), _)) => Err(error),
        }
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.lane.intake.put_back(self.announced, &self.into[..self.got]);
        }
    }
}
