//! Agree: one answer for all, also when ranks fail while they look for it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::setup::{self, Statement};
use super::{Communicator, allreduce};
use crate::call::{Call, Operation};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::reduction::And;
use crate::tuning::AllreduceAlgorithm;

/// What all have agreed on.
pub struct Agreement<F: Fabric> {
    /// Whether all said yes.
    pub value: bool,
    /// Who has failed, or left, before or while the agreement was made: ranks in the fabric, of the epoch that has ended then.
    /// Empty when nobody has.
    pub failed: Vec<usize>,
    /// When somebody has failed: the communicator of the survivors, the same that
    /// [`next_epoch`](Communicator::next_epoch) gives.
    pub next: Option<Communicator<F>>,
}

impl<F: Fabric> fmt::Debug for Agreement<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreement")
            .field("value", &self.value)
            .field("failed", &self.failed)
            .field("next", &self.next)
            .finish()
    }
}

/// What a rank knows of one agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    epoch: u64,
    tag: u64,
    flag: bool,
    decided: Option<bool>,
}

/// The agreements that a rank took part in last, over all epochs.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<VecDeque<Record>>);

/// How many agreements are remembered. A rank that is stuck in an older one than this has been left behind through as
/// many agreements, none of which can end without it.
const REMEMBERED: usize = 64;

impl Ledger {
    pub(super) fn records(&self) -> Vec<Record> {
        self.lock().iter().cloned().collect()
    }

    fn begin(&self, epoch: u64, tag: u64, flag: bool) {
        let mut records = self.lock();
        // A tag of the program's may come again.
        records.retain(|record| (record.epoch, record.tag) != (epoch, tag));
        if records.len() == REMEMBERED {
            records.pop_front();
        }
        records.push_back(Record {
            epoch,
            tag,
            flag,
            decided: None,
        });
    }

    fn decide(&self, epoch: u64, tag: u64, value: bool) {
        let mut records = self.lock();
        let found = records
            .iter_mut()
            .rev()
            .find(|record| (record.epoch, record.tag) == (epoch, tag));
        if let Some(record) = found {
            record.decided = Some(value);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Record>> {
        // Nothing in here can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Fabric> Communicator<F> {
    /// Finds out whether all ranks say yes, and tells *the same to all that survive*, also when ranks fail meanwhile:
    /// whoever gets an answer gets the same one. It also works on a communicator of which ranks have failed already.
    /// So it is the way to decide together whether a piece of work has succeeded everywhere:
    ///
    /// ```
    /// # use flexbond_collectives::{Communicator, CollectiveError, LocalFabric};
    /// # async fn work(_: &Communicator<LocalFabric>) -> Result<(), CollectiveError> { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), CollectiveError> {
    /// # let fabric = LocalFabric::new(1).remove(0);
    /// # let mut communicator = Communicator::new(fabric).await?;
    /// let done = work(&communicator).await;
    /// let agreement = communicator.agree(done.is_ok()).await?;
    /// if let Some(next) = agreement.next {
    ///     communicator = next; // Some have failed: go on without them.
    /// }
    /// assert!(agreement.value);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The answer is the AND of all flags. When ranks fail: if any survivor has got its answer already, it stands.
    /// Otherwise the answer is the AND of the survivors' flags, where a rank of this communicator that goes on to the
    /// next epoch without having called `agree` counts as no. In this case the survivors go on to the next epoch in this call, so
    /// all survivors, also those that are not in this communicator, have to call `agree` or
    /// [`next_epoch`](Communicator::next_epoch).
    ///
    /// # Errors
    /// Not [`CollectiveError::PeerFailed`]. [`CollectiveError::Mismatch`] and
    /// [`CollectiveError::Abandoned`] when the program calls differ, and errors of the fabric; then other ranks may
    /// have got an answer.
    ///
    /// # Cancel safety
    /// As for [`next_epoch`](Communicator::next_epoch): dropped, it may leave the others waiting for this rank.
    pub fn agree(&self, flag: bool) -> impl Future<Output = Result<Agreement<F>, CollectiveError>> + Send {
        let (tag, channel) = self.open_tagged(Call::new(Operation::Agree));
        async move {
            let world = &self.group.world;
            world.ledger.begin(world.epoch, tag, flag);
            let answer = async {
                let channel = channel?;
                let mut all = [u8::from(flag)];
                let algorithm = AllreduceAlgorithm::RecursiveDoubling;
                let work = allreduce::run(&channel, &mut all, &And, algorithm);
                let result = channel.watch(work).await;
                channel.finish(result.map(|()| all == [1]))
            };
            let failed = match answer.await {
                Ok(value) => {
                    world.ledger.decide(world.epoch, tag, value);
                    return Ok(Agreement {
                        value,
                        failed: Vec::new(),
                        next: None,
                    });
                }
                Err(CollectiveError::PeerFailed { failed }) => failed,
                Err(CollectiveError::PeerLeft { rank }) => vec![rank],
                // Another task of this rank has gone on already.
                Err(CollectiveError::StaleEpoch { .. }) => world.failed.get().cloned().unwrap_or_default(),
                Err(error) => return Err(error),
            };
            let (next, statements) = setup::succeed(world, self.whole_rank()).await?;
            let value = self.settle(tag, &statements);
            world.ledger.decide(world.epoch, tag, value);
            Ok(Agreement {
                value,
                failed,
                next: Some(next),
            })
        }
    }

    /// The answer that follows from what the survivors have told each other: all of them come to the same.
    fn settle(&self, tag: u64, statements: &[Statement]) -> bool {
        let epoch = self.epoch();
        let record_of = |statement: &Statement| {
            let record = statement
                .records
                .iter()
                .find(|record| (record.epoch, record.tag) == (epoch, tag));
            record.cloned()
        };
        let decided = statements
            .iter()
            .filter_map(record_of)
            .find_map(|record| record.decided);
        decided.unwrap_or_else(|| {
            statements.iter().all(|statement| match record_of(statement) {
                Some(record) => record.flag,
                None => !self.includes(statement.previous),
            })
        })
    }

    /// Whether a rank of an earlier epoch is one of this communicator.
    fn includes(&self, previous: Option<(u64, usize)>) -> bool {
        previous.is_some_and(|(epoch, rank)| {
            epoch == self.epoch()
                && match &self.group.members {
                    Some(members) => members.contains(&rank),
                    None => rank < self.size(),
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_bounded_and_keeps_the_newest() {
        let ledger = Ledger::default();
        for tag in 0..3 * REMEMBERED as u64 {
            ledger.begin(1, tag, true);
            ledger.decide(1, tag, false);
        }
        let records = ledger.records();
        assert_eq!(records.len(), REMEMBERED);
        assert!(records.iter().all(|record| record.decided == Some(false)));
        ledger.begin(1, 3 * REMEMBERED as u64 - 1, true);
        assert_eq!(ledger.records().len(), REMEMBERED);
        assert_eq!(ledger.records().last().unwrap().decided, None);
    }
}
