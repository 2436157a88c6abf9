//! An operation that has stalled: do all ranks mean the same?

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use futures_util::future::{try_join, try_join_all};

use super::channel::Channel;
use crate::call::PREAMBLE;
use crate::error::CollectiveError;
use crate::fabric::Fabric;

impl<F: Fabric> Channel<'_, F> {
    /// Does the operation's work, and looks whether all ranks mean the same when that stalls.
    pub(crate) async fn watch<T>(
        &self,
        work: impl Future<Output = Result<T, CollectiveError>>,
    ) -> Result<T, CollectiveError> {
        let mut work = pin!(work);
        let mut doubt = pin!(self.doubt());
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => doubt.as_mut().poll(cx).map(Err),
            done => done,
        })
        .await
    }

    /// Ends when the operation has stalled and another rank means another one, or has failed.
    async fn doubt(&self) -> CollectiveError {
        let (Some(number), Ok(fabric)) = (self.number, self.fabric()) else {
            return pending().await;
        };
        fabric.stalled().await;
        let tag = self.communicator.stalled_tag(number);
        let others = || (0..self.size()).filter(|rank| *rank != self.rank());
        let tell = others().map(|rank| async move {
            match fabric.send(self.peer(rank), tag, &self.preamble).await {
                Err(error) => verdict(error.into()),
                Ok(()) => Ok(()),
            }
        });
        let hear = others().map(|rank| async move {
            match fabric.recv_bytes(self.peer(rank), tag).await {
                Err(error) => verdict(error.into()),
                Ok(message) if *message == self.preamble => Ok(()),
                Ok(message) => verdict(self.wrong(rank, &message, PREAMBLE, message.len())),
            }
        });
        match try_join(try_join_all(tell), try_join_all(hear)).await {
            // All wait for something else than each other's agreement.
            Ok(_) => pending().await,
            Err(error) => error,
        }
    }
}

/// What may end an operation whose own messages have not. Who has left, above all, has nothing to say: it may have done
/// its part before; if it has not, the operation itself finds out.
fn verdict(error: CollectiveError) -> Result<(), CollectiveError> {
    match error {
        CollectiveError::Mismatch { .. } | CollectiveError::PeerFailed { .. } => Err(error),
        _ => Ok(()),
    }
}
