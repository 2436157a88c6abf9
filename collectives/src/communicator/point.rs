//! Point to point: messages between two ranks under tags of the program's.

use bytes::Bytes;
use futures_util::future::try_join;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tag::Kind;
use super::{Communicator, value};
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::{Fabric, FabricError};

/// Point-to-point messages carry no preamble: they go straight from and into the program's memory, and a mismatch of
/// types that have the same size is not seen. Between two ranks, those of one tag arrive in the order in which they were sent.
/// A rank cannot send to itself.
impl<F: Fabric> Communicator<F> {
    /// Sends elements to rank `to`. Done when `data` may be used again; the other rank may not have it yet.
    ///
    /// # Errors
    /// [`CollectiveError::NoSuchRank`], also for this rank itself; errors of the fabric.
    ///
    /// # Cancel safety
    /// Dropped, the message may or may not arrive; it never arrives in part.
    pub async fn send<T: Element>(&self, to: usize, tag: u32, data: &[T]) -> Result<(), CollectiveError> {
        let (peer, tag) = self.point(to, tag)?;
        self.noted(self.fabric().send(peer, tag, bytes_of(data)).await)
    }

    /// Receives elements from rank `from` into the front of `data`, and returns how many.
    ///
    /// # Errors
    /// [`CollectiveError::Length`] when they do not fit, and the message waits for a receive with more room; also when
    /// they are no whole number of elements, and the message is used up. [`CollectiveError::NoSuchRank`]; errors of the
    /// fabric.
    ///
    /// # Cancel safety
    /// As the fabric's receive: nothing is lost, though `data` may have been written to.
    pub async fn recv<T: Element>(
        &self,
        from: usize,
        tag: u32,
        data: &mut [T],
    ) -> Result<usize, CollectiveError> {
        let (peer, tag) = self.point(from, tag)?;
        let expected = size_of_val(data);
        let length = |found| CollectiveError::Length {
            rank: from,
            expected,
            found,
        };
        match self.fabric().recv(peer, tag, bytes_of_mut(data)).await {
            Err(FabricError::Truncated { len, .. }) => Err(length(len)),
            Ok(len) if !len.is_multiple_of(size_of::<T>()) => Err(length(len)),
            result => Ok(self.noted(result)? / size_of::<T>()),
        }
    }

    /// Sends `give` to a rank and receives into `take` from the same one, at the same time; returns how many elements
    /// came.
    ///
    /// # Errors
    /// As for [`send`](Communicator::send) and [`recv`](Communicator::recv).
    ///
    /// # Cancel safety
    /// As for [`send`](Communicator::send) and [`recv`](Communicator::recv).
    pub async fn swap<T: Element>(
        &self,
        with: usize,
        tag: u32,
        give: &[T],
        take: &mut [T],
    ) -> Result<usize, CollectiveError> {
        let ((), count) = try_join(self.send(with, tag, give), self.recv(with, tag, take)).await?;
        Ok(count)
    }

    /// Receives a message of any length that the fabric permits, as bytes.
    ///
    /// # Errors
    /// [`CollectiveError::NoSuchRank`]; errors of the fabric.
    ///
    /// # Cancel safety
    /// As the fabric's receive: nothing is lost.
    pub async fn recv_bytes(&self, from: usize, tag: u32) -> Result<Bytes, CollectiveError> {
        let (peer, tag) = self.point(from, tag)?;
        self.noted(self.fabric().recv_bytes(peer, tag).await)
    }

    /// Sends a value to rank `to`.
    ///
    /// # Errors
    /// [`CollectiveError::Encode`] and [`CollectiveError::ValueTooLong`]: nothing was sent. As for
    /// [`send`](Communicator::send).
    ///
    /// # Cancel safety
    /// As for [`send`](Communicator::send).
    pub async fn send_value<V: Serialize + Sync>(
        &self,
        to: usize,
        tag: u32,
        value: &V,
    ) -> Result<(), CollectiveError> {
        let encoded = value::encode(value, self.tuning().max_value)?;
        self.send(to, tag, &encoded).await
    }

    /// Receives a value from rank `from`.
    ///
    /// # Errors
    /// [`CollectiveError::Decode`] when the message is no such value: it is used up then. As for
    /// [`recv_bytes`](Communicator::recv_bytes).
    ///
    /// # Cancel safety
    /// As for [`recv_bytes`](Communicator::recv_bytes).
    pub async fn recv_value<V: DeserializeOwned>(&self, from: usize, tag: u32) -> Result<V, CollectiveError> {
        let message = self.recv_bytes(from, tag).await?;
        value::decode(from, &message)
    }

    /// Sends a value to a rank and receives one from the same, at the same time.
    ///
    /// # Errors
    /// As for [`send_value`](Communicator::send_value) and [`recv_value`](Communicator::recv_value).
    ///
    /// # Cancel safety
    /// As for [`send_value`](Communicator::send_value) and [`recv_value`](Communicator::recv_value).
    pub async fn swap_value<V: Serialize + DeserializeOwned + Send + Sync>(
        &self,
        with: usize,
        tag: u32,
        value: &V,
    ) -> Result<V, CollectiveError> {
        let ((), theirs) = try_join(self.send_value(with, tag, value), self.recv_value(with, tag)).await?;
        Ok(theirs)
    }

    /// The other rank's number in the fabric, and the whole tag.
    fn point(&self, peer: usize, tag: u32) -> Result<(usize, u64), CollectiveError> {
        self.check()?;
        if peer >= self.size() || peer == self.rank() {
            return Err(CollectiveError::NoSuchRank {
                rank: peer,
                size: self.size(),
            });
        }
        let tag = self.group.context.tag(Kind::Point, tag);
        Ok((self.peer(peer), tag))
    }

    fn noted<T>(&self, result: Result<T, FabricError>) -> Result<T, CollectiveError> {
        result.map_err(|error| self.note(error.into()))
    }
}
