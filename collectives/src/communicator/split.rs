//! Split: communicators of some of the ranks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::exchange::{self, Layout};
use super::tag::Context;
use super::{Communicator, Group, Numbering};
use crate::call::{Call, Operation};
use crate::element::{bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::tuning::AllgatherAlgorithm;

impl<F: Fabric> Communicator<F> {
    /// Divides the ranks: those with the same `color` are together in a new communicator, in the order of their `key`s,
    /// and of their ranks here where keys are equal. With no color a rank gets no communicator. All ranks call this.
    ///
    /// The new communicators are independent of this one and of each other, and can be used at the same time. They
    /// end with the same epoch.
    ///
    /// # Errors
    /// [`CollectiveError::TooMany`] when communicators are used up for this epoch; other [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn split(
        &self,
        color: Option<u32>,
        key: i32,
    ) -> impl Future<Output = Result<Option<Self>, CollectiveError>> + Send {
        let channel = self.open(Call::new(Operation::Split));
        // One is used up even if another rank's will be taken: no two are the same so.
        let proposal = self.group.world.communicators.fetch_add(1, Ordering::Relaxed);
        async move {
            let channel = channel?;
            let size = self.size();
            let mine = [
                color.map_or(u64::MAX, u64::from),
                // Signed order as an unsigned one.
                u64::from(key.cast_unsigned() ^ 1 << 31),
                u64::from(proposal),
            ];
            let mut all = vec![[0_u64; 3]; size];
            all[self.rank()] = mine;
            let layout = Layout::Even(size_of_val(&mine));
            debug_assert_eq!(bytes_of(&mine).len(), layout.range(0).len());
            let algorithm = AllgatherAlgorithm::Bruck;
            let work = exchange::allgather(&channel, bytes_of_mut(&mut all), layout, algorithm);
            let result = channel.watch(work).await;
            let result = result.and_then(|()| self.with_those_like(&all));
            channel.finish(result)
        }
    }

    /// A communicator of the same ranks whose operations do not mix with this one's.
    ///
    /// # Errors
    /// As for [`split`](Communicator::split).
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn duplicate(&self) -> impl Future<Output = Result<Self, CollectiveError>> + Send {
        let split = self.split(Some(0), 0);
        async move {
            split.await?.ok_or(CollectiveError::TooMany {
                what: "the number of communicators",
            })
        }
    }

    /// The communicator of those whose color is this rank's.
    fn with_those_like(&self, all: &[[u64; 3]]) -> Result<Option<Self>, CollectiveError> {
        let [color, _, _] = all[self.rank()];
        if u32::try_from(color).is_err() {
            return Ok(None);
        }
        let mut members: Vec<usize> = (0..all.len()).filter(|rank| all[*rank][0] == color).collect();
        members.sort_by_key(|rank| (all[*rank][1], *rank));
        let place = members.iter().position(|rank| *rank == self.rank());
        let (Some(place), Some(first)) = (place, members.first()) else {
            return Ok(None);
        };
        let proposal = u32::try_from(all[*first][2]).unwrap_or(u32::MAX);
        let context = Context::new(self.peer(*first), proposal)?;
        let members: Vec<usize> = members.into_iter().map(|rank| self.peer(rank)).collect();
        let world = Arc::clone(&self.group.world);
        let group = Group::new(world, (place, members.len()), context, Some(members))?;
        Ok(Some(Communicator {
            group: Arc::new(group),
            numbering: Numbering::Sequence,
        }))
    }
}
