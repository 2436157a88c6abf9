//! Broadcast in chunks: one rank's chunks reach everybody while it still makes more.

use bytes::Bytes;
use futures_util::future::{Either, try_join_all};

use super::Communicator;
use super::channel::Channel;
use crate::call::{Call, Operation, PREAMBLE};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::schedule::Tree;
use crate::tuning::BroadcastAlgorithm;

/// The end of a streamed broadcast at its root, made by [`Communicator::broadcast_sink`].
///
/// Dropped before [`finish`](BroadcastSink::finish), it ends the stream at the others with
/// [`CollectiveError::Abandoned`].
#[must_use = "the others wait for its chunks"]
pub struct BroadcastSink<'c, F: Fabric> {
    end: End<'c, F>,
}

/// The end of a streamed broadcast at the other ranks, made by [`Communicator::broadcast_stream`].
///
/// A rank passes chunks on to others while it takes them: one that does not ask for the next holds up those behind it.
/// Dropped before its end, the stream ends at those behind it with [`CollectiveError::Abandoned`].
#[must_use = "others may wait for what it passes on"]
pub struct BroadcastStream<'c, F: Fabric> {
    end: End<'c, F>,
    root: usize,
    has_ended: bool,
}

impl<F: Fabric> Communicator<F> {
    /// Begins a broadcast in chunks with this rank as the root. The others call
    /// [`broadcast_stream`](Communicator::broadcast_stream). It counts as one operation; others can run meanwhile.
    ///
    /// ```
    /// # use flexbond_collectives::{Communicator, CollectiveError, LocalFabric};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), CollectiveError> {
    /// let [a, b] = LocalFabric::new(2).try_into().expect("two were asked for");
    /// let (a, b) = tokio::try_join!(Communicator::new(a), Communicator::new(b))?;
    /// let root = async {
    ///     let mut sink = a.broadcast_sink()?;
    ///     sink.send(b"one ").await?;
    ///     sink.send(b"after the other").await?;
    ///     sink.finish().await
    /// };
    /// let other = async {
    ///     let mut stream = b.broadcast_stream(0)?;
    ///     let mut text = Vec::new();
    ///     while let Some(chunk) = stream.next().await? {
    ///         text.extend_from_slice(&chunk);
    ///     }
    ///     assert_eq!(text, b"one after the other");
    ///     Ok(())
    /// };
    /// tokio::try_join!(root, other)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CollectiveError::PeerFailed`] and [`CollectiveError::StaleEpoch`].
    pub fn broadcast_sink(&self) -> Result<BroadcastSink<'_, F>, CollectiveError> {
        Ok(BroadcastSink {
            end: self.stream_end(self.rank())?,
        })
    }

    /// Takes part in a broadcast in chunks from rank `root`, which calls
    /// [`broadcast_sink`](Communicator::broadcast_sink).
    ///
    /// # Errors
    /// [`CollectiveError::NoSuchRank`], also for this rank itself; [`CollectiveError::PeerFailed`] and
    /// [`CollectiveError::StaleEpoch`].
    pub fn broadcast_stream(&self, root: usize) -> Result<BroadcastStream<'_, F>, CollectiveError> {
        let end = self.stream_end(root)?;
        if root == self.rank() {
            // The others are told, as the end is dropped.
            return Err(CollectiveError::NoSuchRank {
                rank: root,
                size: self.size(),
            });
        }
        Ok(BroadcastStream {
            end,
            root,
            has_ended: false,
        })
    }

    fn stream_end(&self, root: usize) -> Result<End<'_, F>, CollectiveError> {
        // Streams are long, whatever their chunks are.
        let algorithm = if self.has_multicast() {
            self.tuning().multicast_stream.choose(self.size(), 0)
        } else {
            self.tuning().broadcast.choose(self.size(), usize::MAX)
        };
        let call = Call::new(Operation::BroadcastStream)
            .root(root)
            .algorithm(algorithm as u8);
        let channel = self.open(call)?;
        let root_rank = match channel.check_rank(root) {
            Ok(rank) => rank,
            Err(error) => return channel.finish(Err(error)),
        };
        let tree = Tree::of(channel.me(), root_rank);
        let me = channel.rank();
        let (parent, children) = match algorithm {
            BroadcastAlgorithm::Multicast if channel.has_multicast() => (root, Children::All),
            BroadcastAlgorithm::Chain => {
                let next = (me + 1) % channel.size();
                let children = if next == root { Vec::new() } else { vec![next] };
                (
                    (me + channel.size() - 1) % channel.size(),
                    Children::Some(children),
                )
            }
            _ => {
                let children = tree.children().map(|child| child.index() as usize).collect();
                let parent = tree.parent().map_or(root, |parent| parent.index() as usize);
                (parent, Children::Some(children))
            }
        };
        Ok(End {
            channel: Some(channel),
            parent,
            children,
        })
    }
}

/// One rank's place in the stream. The channel is gone when the stream has ended or failed.
struct End<'c, F: Fabric> {
    channel: Option<Channel<'c, F>>,
    parent: usize,
    children: Children,
}

enum Children {
    /// The root's, where it multicasts; nobody else passes on.
    All,
    Some(Vec<usize>),
}

impl<'c, F: Fabric> End<'c, F> {
    /// The channel for one step. If the step is dropped half-way, so is the channel, and the others are told.
    fn take(&mut self) -> Result<Channel<'c, F>, CollectiveError> {
        // Who goes on after an error, or after a dropped step, gets this.
        self.channel.take().ok_or(CollectiveError::Closed)
    }

    async fn pass_on(&self, channel: &Channel<'_, F>, message: &[u8]) -> Result<(), CollectiveError> {
        match &self.children {
            Children::All => channel.multicast_message(message).await,
            Children::Some(children) => {
                let sends = match children.as_slice() {
                    [child] => Either::Left(channel.send_message(*child, message)),
                    children => Either::Right(async {
                        let sends = children.iter().map(|child| channel.send_message(*child, message));
                        try_join_all(sends).await.map(drop)
                    }),
                };
                sends.await
            }
        }
    }
}

impl<F: Fabric> BroadcastSink<'_, F> {
    /// Sends a chunk to all others. Done when `chunk` may be used again. An empty chunk is not sent.
    ///
    /// # Errors
    /// [`CollectiveError::ValueTooLong`] above [`Tuning::max_value`](crate::Tuning::max_value): nothing was sent, and
    /// the stream goes on. After any other error the stream has ended.
    ///
    /// # Cancel safety
    /// Dropped half-way, it ends the stream as if the sink were dropped; after that it gives
    /// [`CollectiveError::Closed`].
    pub async fn send(&mut self, chunk: &[u8]) -> Result<(), CollectiveError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let channel = self.end.take()?;
        let limit = channel.tuning().max_value;
        if chunk.len() > limit {
            self.end.channel = Some(channel);
            return Err(CollectiveError::ValueTooLong {
                len: chunk.len() as u64,
                limit,
            });
        }
        let message = channel.message(chunk);
        match self.end.pass_on(&channel, &message).await {
            Ok(()) => {
                self.end.channel = Some(channel);
                Ok(())
            }
            Err(error) => channel.finish(Err(error)),
        }
    }

    /// Ends the stream at all ranks.
    ///
    /// # Errors
    /// [`CollectiveError`]; the others may not see the end then, but an error.
    ///
    /// # Cancel safety
    /// Dropped half-way, it ends the stream as if the sink were dropped.
    pub async fn finish(mut self) -> Result<(), CollectiveError> {
        let channel = self.end.take()?;
        // A preamble alone is the end.
        let message = channel.message(&[]);
        let result = self.end.pass_on(&channel, &message).await;
        channel.finish(result)
    }
}

impl<F: Fabric> BroadcastStream<'_, F> {
    /// The next chunk, as the root has sent it; `None` after the last.
    ///
    /// # Errors
    /// [`CollectiveError`]; the stream has ended then, and this gives [`CollectiveError::Closed`] from there on.
    ///
    /// # Cancel safety
    /// Dropped half-way, it ends the stream as if the stream were dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CollectiveError> {
        if self.has_ended {
            return Ok(None);
        }
        let channel = self.end.take()?;
        let result = async {
            let mut message = channel.recv_message(self.end.parent).await?;
            if matches!(self.end.children, Children::Some(_)) {
                self.end.pass_on(&channel, &message).await?;
            }
            Ok(message.split_off(PREAMBLE))
        };
        match result.await {
            Ok(chunk) if chunk.is_empty() => {
                self.has_ended = true;
                channel.finish(Ok(None))
            }
            Ok(chunk) => {
                self.end.channel = Some(channel);
                Ok(Some(chunk))
            }
            Err(error) => channel.finish(Err(error)),
        }
    }

    /// Whose chunks they are.
    #[must_use]
    pub fn root(&self) -> usize {
        self.root
    }
}
