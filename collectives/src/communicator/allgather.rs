//! Allgather: everybody gets everybody's elements.

use super::Communicator;
use super::exchange::{self, Layout};
use super::layout::{byte_ranges, expect_len};
use crate::call::{Call, Operation};
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;

impl<F: Fabric> Communicator<F> {
    /// Collects all ranks' elements at every rank, in the order of ranks. `all` is size × `mine.len()` elements.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn allgather<'a, T: Element>(
        &'a self,
        mine: &'a [T],
        all: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let bytes = size_of_val(mine).saturating_mul(self.size());
        let algorithm = self.tuning().allgather.choose(self.size(), bytes);
        let call = Call::new(Operation::Allgather)
            .elements::<T>(mine.len())
            .algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                expect_len("all", all.len(), mine.len().saturating_mul(channel.size()))?;
                let layout = Layout::Even(size_of_val(mine));
                let all = bytes_of_mut(all);
                all[layout.range(channel.rank())].copy_from_slice(bytes_of(mine));
                exchange::allgather(&channel, all, layout, algorithm).await
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }

    /// Collects all ranks' elements at every rank, where each may give another number. `counts`, the same at all ranks,
    /// says how many, and `all` has room for exactly these, in the order of ranks.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn allgatherv<'a, T: Element>(
        &'a self,
        mine: &'a [T],
        counts: &'a [usize],
        all: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let algorithm = self.tuning().allgather.choose(self.size(), size_of_val(all));
        let call = Call::new(Operation::Allgatherv)
            .elements::<T>(all.len())
            .algorithm(algorithm as u8)
            .checksum(counts);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                let ranges = byte_ranges::<T>(counts, channel.size(), all.len())?;
                expect_len("mine", mine.len(), counts[channel.rank()])?;
                let all = bytes_of_mut(all);
                all[ranges[channel.rank()].clone()].copy_from_slice(bytes_of(mine));
                exchange::allgather(&channel, all, Layout::Uneven(&ranges), algorithm).await
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }
}
