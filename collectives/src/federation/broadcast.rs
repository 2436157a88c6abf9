//! A channel between a root and a group.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::core::{FlowKey, Kind, Letter};
use super::error::{ChannelError, OpenError};
use super::federation::Federation;
use super::line::{Codec, Line, decode};
use super::name::{ChannelName, PartyId};
use super::variable::peer_of;

/// Values between a root and the parties of a group, which may be some of the job's.
///
/// What the root and the group call belongs together:
///
/// | root | each of the group |
/// | --- | --- |
/// | [`broadcast`](BroadcastChannel::broadcast) | [`recv_broadcast`](BroadcastChannel::recv_broadcast) |
/// | [`scatter`](BroadcastChannel::scatter) | [`recv_scatter`](BroadcastChannel::recv_scatter) |
/// | [`gather`](BroadcastChannel::gather) | [`send_gather`](BroadcastChannel::send_gather) |
/// | [`allreduce`](BroadcastChannel::allreduce) | [`allreduce`](BroadcastChannel::allreduce) |
/// | [`sync`](BroadcastChannel::sync) | [`sync`](BroadcastChannel::sync) |
///
/// All call them in the same order; who does not is told ([`ChannelError::Mismatch`]) and told apart. The root sends to
/// all or to none, and receives of all or of none. A clone is the same channel.
#[derive(Clone, Debug)]
pub struct BroadcastChannel {
    line: Line,
    root: PartyId,
    group: Vec<PartyId>,
    side: Side,
}

#[derive(Clone, Debug)]
enum Side {
    /// The peers of the group, in its order.
    Root(Vec<usize>),
    /// The root.
    Group(usize),
}

/// What a message belongs to: the first byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Broadcast = 1,
    Scatter = 2,
    Gather = 3,
    Allreduce = 4,
    Sync = 5,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Broadcast => "broadcast",
            Operation::Scatter => "scatter",
            Operation::Gather => "gather",
            Operation::Allreduce => "allreduce",
            Operation::Sync => "sync",
        }
    }

    /// What the first part of a message says.
    fn of(part: Option<&Bytes>) -> Option<Self> {
        let all = [
            Operation::Broadcast,
            Operation::Scatter,
            Operation::Gather,
            Operation::Allreduce,
            Operation::Sync,
        ];
        let [number] = part?[..] else {
            return None;
        };
        all.into_iter().find(|operation| *operation as u8 == number)
    }
}

impl BroadcastChannel {
    pub(super) fn new(
        federation: &Federation,
        name: ChannelName,
        root: PartyId,
        group: Vec<PartyId>,
    ) -> Result<Self, OpenError> {
        for (index, party) in group.iter().enumerate() {
            if *party == root || group[..index].contains(party) {
                let party = party.clone();
                return Err(OpenError::Twice { party });
            }
            if party != federation.local_id() {
                peer_of(federation, party)?;
            }
        }
        let local = federation.local_id();
        let side = if root == *local {
            let peers = group.iter().map(|party| peer_of(federation, party));
            Side::Root(peers.collect::<Result<_, _>>()?)
        } else if group.contains(local) {
            Side::Group(peer_of(federation, &root)?)
        } else {
            peer_of(federation, &root)?;
            let local = local.clone();
            return Err(OpenError::NotInGroup { local, root, group });
        };
        let kind = Kind::Broadcast;
        Ok(BroadcastChannel {
            line: Line::new(federation.clone(), FlowKey { kind, name }),
            root,
            group,
            side,
        })
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.line.key.name
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &PartyId {
        &self.root
    }

    /// The group, without the root.
    #[must_use]
    pub fn group(&self) -> &[PartyId] {
        &self.group
    }

    /// Whether this party is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        matches!(self.side, Side::Root(_))
    }

    /// This channel, whose calls wait for at most `timeout` for each of their messages, instead of
    /// [`Limits::timeout`](super::Limits::timeout). [`Duration::MAX`] is for ever.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.line.timeout = timeout;
        self
    }

    /// This channel, whose values are written so. A receiver reads both.
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.line.codec = codec;
        self
    }

    /// Root: sends a value to all of the group.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn broadcast<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ChannelError> {
        self.send_all(Operation::Broadcast, "recv_broadcast", value).await
    }

    /// Group: receives the value that the root broadcasts.
    ///
    /// # Errors
    /// [`ChannelError`]. After [`ChannelError::Decode`], [`ChannelError::Expired`] and [`ChannelError::Mismatch`], the
    /// message is used up; after others, none was taken.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_broadcast<T: DeserializeOwned>(&self) -> Result<T, ChannelError> {
        self.recv_root(Operation::Broadcast, "broadcast").await
    }

    /// Root: sends to each of the group its own value, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn scatter<T: Serialize>(&self, values: &[T]) -> Result<(), ChannelError> {
        let peers = self.as_root("recv_scatter")?;
        if values.len() != peers.len() {
            return Err(ChannelError::Count {
                channel: self.name().clone(),
                count: values.len(),
                group: peers.len(),
            });
        }
        let letters = peers.iter().zip(values).map(|(peer, value)| {
            let letter = self.letter(Operation::Scatter, value)?;
            Ok((*peer, letter))
        });
        self.line
            .put_all(letters.collect::<Result<_, ChannelError>>()?)
            .await
    }

    /// Group: receives this party's value of those that the root scatters.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_scatter<T: DeserializeOwned>(&self) -> Result<T, ChannelError> {
        self.recv_root(Operation::Scatter, "scatter").await
    }

    /// Root: receives one value of each of the group, in the group's order.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast), where the messages of all are used up or none.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn gather<T: DeserializeOwned>(&self) -> Result<Vec<T>, ChannelError> {
        self.as_root("send_gather")?;
        self.recv_all(Operation::Gather).await
    }

    /// Group: sends a value to the root, which gathers.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send_gather<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ChannelError> {
        let root = self.as_group("gather")?;
        self.send_root(root, Operation::Gather, value).await
    }

    /// All: combines the values of the root and the group, and gives the result to all. The root alone combines: its own
    /// value first, then those of the group in its order, so the result is the same each time.
    ///
    /// # Errors
    /// [`ChannelError`]; where the other parties are then is open.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, this party may be in the middle of the operation: the channel is not to be used any
    /// more.
    pub async fn allreduce<T>(&self, value: T, combine: impl FnMut(T, T) -> T) -> Result<T, ChannelError>
    where
        T: Serialize + DeserializeOwned,
    {
        let operation = Operation::Allreduce;
        match self.side {
            Side::Root(_) => {
                let values = self.recv_all(operation).await?;
                let result = values.into_iter().fold(value, combine);
                self.send_all(operation, "allreduce", &result).await?;
                Ok(result)
            }
            Side::Group(root) => {
                self.send_root(root, operation, &value).await?;
                self.recv_root(operation, "allreduce").await
            }
        }
    }

    /// All: waits until the root and all of the group have called this.
    ///
    /// # Errors
    /// [`ChannelError`]; where the other parties are then is open.
    ///
    /// # Cancel safety
    /// As for [`allreduce`](BroadcastChannel::allreduce).
    pub async fn sync(&self) -> Result<(), ChannelError> {
        let operation = Operation::Sync;
        match self.side {
            Side::Root(_) => {
                self.recv_all::<()>(operation).await?;
                self.send_all(operation, "sync", &()).await
            }
            Side::Group(root) => {
                self.send_root(root, operation, &()).await?;
                self.recv_root(operation, "sync").await
            }
        }
    }

    fn as_root(&self, instead: &'static str) -> Result<&[usize], ChannelError> {
        match &self.side {
            Side::Root(peers) => Ok(peers),
            Side::Group(_) => Err(ChannelError::WrongSide {
                channel: self.name().clone(),
                who: "the root",
                instead,
            }),
        }
    }

    fn as_group(&self, instead: &'static str) -> Result<usize, ChannelError> {
        match &self.side {
            Side::Group(root) => Ok(*root),
            Side::Root(_) => Err(ChannelError::WrongSide {
                channel: self.name().clone(),
                who: "the group",
                instead,
            }),
        }
    }

    fn letter<T: Serialize + ?Sized>(&self, operation: Operation, value: &T) -> Result<Letter, ChannelError> {
        let (codec, body) = self.line.encode(value)?;
        Ok(Letter {
            tag: None,
            codec,
            parts: vec![Bytes::copy_from_slice(&[operation as u8]), body].into(),
        })
    }

    async fn send_all<T: Serialize + ?Sized>(
        &self,
        operation: Operation,
        instead: &'static str,
        value: &T,
    ) -> Result<(), ChannelError> {
        let peers = self.as_root(instead)?;
        let letter = self.letter(operation, value)?;
        self.line
            .put_all(peers.iter().map(|peer| (*peer, letter.clone())).collect())
            .await
    }

    async fn send_root<T: Serialize + ?Sized>(
        &self,
        root: usize,
        operation: Operation,
        value: &T,
    ) -> Result<(), ChannelError> {
        let letter = self.letter(operation, value)?;
        self.line.put(root, letter).await
    }

    async fn recv_all<T: DeserializeOwned>(&self, operation: Operation) -> Result<Vec<T>, ChannelError> {
        let peers = self.as_root(operation.name())?;
        let letters = self.line.take_all(peers).await?;
        let values = letters.into_iter().zip(&self.group);
        values
            .map(|((offset, letter), party)| self.read(operation, party, offset, &letter))
            .collect()
    }

    async fn recv_root<T: DeserializeOwned>(
        &self,
        operation: Operation,
        instead: &'static str,
    ) -> Result<T, ChannelError> {
        let root = self.as_group(instead)?;
        let (offset, letter) = self.line.take(root, None).await?;
        self.read(operation, &self.root, offset, &letter)
    }

    fn read<T: DeserializeOwned>(
        &self,
        operation: Operation,
        party: &PartyId,
        offset: u64,
        letter: &Letter,
    ) -> Result<T, ChannelError> {
        let theirs = Operation::of(letter.parts.first());
        if theirs != Some(operation) {
            return Err(ChannelError::Mismatch {
                channel: self.name().clone(),
                party: party.clone(),
                theirs: theirs.map_or("something else", Operation::name).to_owned(),
                ours: operation.name(),
            });
        }
        let body = letter.parts.get(1).map_or(&[][..], |body| body);
        decode(letter.codec, body).map_err(|reason| self.line.undecodable(party, offset, reason))
    }
}
