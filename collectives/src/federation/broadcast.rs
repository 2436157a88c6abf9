//! A channel between a root and a group.

mod operation;
mod rounds;

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::operation::Operation;
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
/// | [`broadcast_with`](BroadcastChannel::broadcast_with) | [`recv_broadcast_with`](BroadcastChannel::recv_broadcast_with) |
/// | [`scatter`](BroadcastChannel::scatter) | [`recv_scatter`](BroadcastChannel::recv_scatter) |
/// | [`scatter_with`](BroadcastChannel::scatter_with) | [`recv_scatter_with`](BroadcastChannel::recv_scatter_with) |
/// | [`gather`](BroadcastChannel::gather) | [`send_gather`](BroadcastChannel::send_gather) |
/// | [`gather_with`](BroadcastChannel::gather_with) | [`send_gather_with`](BroadcastChannel::send_gather_with) |
/// | [`allreduce`](BroadcastChannel::allreduce) | [`allreduce`](BroadcastChannel::allreduce) |
/// | [`sync`](BroadcastChannel::sync) | [`sync`](BroadcastChannel::sync) |
///
/// All call them in the same order; who does not is told ([`ChannelError::Mismatch`]) and told apart. The root sends to
/// all or to none, and receives of all or of none. A clone is the same channel.
///
/// # Values with buffers
/// The calls that end in `_with` take a value and buffers, up to 1,022 to each party, which are not copied: tensors, and
/// what they are. Who receives by them gets what has no buffers, too; who receives without them what has some gets
/// [`ChannelError::Decode`], and the message is used up. To reduce buffers, a program gathers and broadcasts.
///
/// ```
/// use bytes::Bytes;
/// use flexbond_collectives::federation::{BroadcastChannel, ChannelError};
///
/// /// The server of a training: adds up what the clinics have learned.
/// async fn server(models: &BroadcastChannel) -> Result<(), ChannelError> {
///     let mut sum = vec![0_u8; 4];
///     for (_round, weights) in models.gather_with::<u32>().await? {
///         sum.iter_mut().zip(&weights[0]).for_each(|(sum, weight)| *sum += weight);
///     }
///     models.broadcast_with(&1, vec![Bytes::from(sum)]).await
/// }
///
/// async fn clinic(models: &BroadcastChannel, weights: Bytes) -> Result<Bytes, ChannelError> {
///     models.send_gather_with(&0, vec![weights]).await?;
///     let (_round, mut sums) = models.recv_broadcast_with::<u32>().await?;
///     Ok(sums.remove(0))
/// }
/// # use flexbond_collectives::federation::{Config, Federation, MemoryNetwork, Role};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let network = MemoryNetwork::new();
/// # let join = |local: &str| {
/// #     let config = Config::new("job".parse().unwrap(), local.parse().unwrap());
/// #     let config = config.member("s".parse().unwrap(), Role::Arbiter);
/// #     let config = config.member("a".parse().unwrap(), Role::Host).member("b".parse().unwrap(), Role::Host);
/// #     Federation::join(config, network.carrier(local.parse().unwrap())).unwrap()
/// # };
/// # let parties = ["s", "a", "b"].map(join);
/// # let [s, a, b] = parties.each_ref().map(|party| party.broadcast("models", "s", ["a", "b"]).unwrap());
/// # let (a, b) = (clinic(&a, Bytes::from_static(&[1, 2, 3, 4])), clinic(&b, Bytes::from_static(&[1, 1, 1, 1])));
/// # let (s, a, b) = tokio::join!(server(&s), a, b);
/// # s?;
/// # assert_eq!((&a?[..], &b?[..]), (&[2, 3, 4, 5][..], &[2, 3, 4, 5][..]));
/// # Ok(())
/// # }
/// ```
///
/// # When a program dies and starts again
/// Each call of the root that sends, [`allreduce`](BroadcastChannel::allreduce) and [`sync`](BroadcastChannel::sync) among
/// them, is one message to each of the group. It has a number, from 0, which is the same for all of them while the channel's
/// name is used with this root and this group only.
///
/// A member that starts again says with [`resume_at`](BroadcastChannel::resume_at) which one it wants next. It knows that
/// from [`recv_broadcast_numbered`](BroadcastChannel::recv_broadcast_numbered) and its like.
///
/// A root that starts again asks [`next_offset`](BroadcastChannel::next_offset), which is the first message that not all of
/// the group have: when the root died, a message may have been on its way to some only. So it sends from there by
/// [`at`](BroadcastChannel::at), and who has a message already does not get it again.
///
/// This goes no further. What the root has gathered when it dies is used up, and has no number for it. `allreduce` and `sync`
/// are two messages in a row, and one that was broken off cannot be gone on with. Where that matters, variable channels have
/// all that it takes, [`recv_delivery`](super::VariableChannel::recv_delivery) first of all.
#[derive(Clone, Debug)]
pub struct BroadcastChannel {
    line: Line,
    root: PartyId,
    group: Vec<PartyId>,
    side: Side,
    /// The number of the message that the root sends, if it must have that one.
    at: Option<u64>,
}

#[derive(Clone, Debug)]
enum Side {
    /// The peers of the group, in its order.
    Root(Vec<usize>),
    /// The root.
    Group(usize),
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
            at: None,
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

    /// This channel, whose messages wait for their receiver for at most `ttl`, none for ever, instead of
    /// [`Limits::ttl`](super::Limits::ttl).
    ///
    /// When a member's value has expired, the root's [`gather`](BroadcastChannel::gather) fails once all have sent theirs,
    /// and uses up those of all: the next one has the values of the next round.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.line.ttl = ttl;
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
        self.broadcast_with(value, Vec::new()).await
    }

    /// Root: sends a value and buffers, which are not copied, to all of the group. At most 1,022 buffers.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn broadcast_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        buffers: Vec<Bytes>,
    ) -> Result<(), ChannelError> {
        let peers = self.as_root("recv_broadcast")?;
        let letter = self.letter(Operation::Broadcast, value, buffers)?;
        self.send(peers.iter().map(|peer| (*peer, letter.clone())).collect())
            .await
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
        Ok(self.recv_broadcast_numbered().await?.1)
    }

    /// Group: receives the value that the root broadcasts, with its buffers. Buffers that came in one piece are not copied.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_broadcast_with<T: DeserializeOwned>(&self) -> Result<(T, Vec<Bytes>), ChannelError> {
        let (_, value, buffers) = self.recv_broadcast_numbered_with().await?;
        Ok((value, buffers))
    }

    /// Root: sends to each of the group its own value, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn scatter<T: Serialize>(&self, values: &[T]) -> Result<(), ChannelError> {
        let letters = self.letters(values, |value| (value, Vec::new()))?;
        self.send(letters).await
    }

    /// Root: sends to each of the group its own value and buffers, which are not copied, in the group's order. At most 1,022
    /// buffers to each.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn scatter_with<T: Serialize>(&self, values: &[(T, Vec<Bytes>)]) -> Result<(), ChannelError> {
        let letters = self.letters(values, |(value, buffers)| (value, buffers.clone()))?;
        self.send(letters).await
    }

    /// Group: receives this party's value of those that the root scatters.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_scatter<T: DeserializeOwned>(&self) -> Result<T, ChannelError> {
        Ok(self.recv_scatter_numbered().await?.1)
    }

    /// Group: receives this party's value of those that the root scatters, with its buffers. Buffers that came in one piece
    /// are not copied.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_scatter_with<T: DeserializeOwned>(&self) -> Result<(T, Vec<Bytes>), ChannelError> {
        let (_, value, buffers) = self.recv_scatter_numbered_with().await?;
        Ok((value, buffers))
    }

    /// Root: receives one value of each of the group, in the group's order.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast), where the messages of all are used up or none.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn gather<T: DeserializeOwned>(&self) -> Result<Vec<T>, ChannelError> {
        let operation = Operation::Gather;
        let received = self.recv_all("send_gather").await?.into_iter();
        received
            .map(|(party, offset, letter)| self.alone(operation, party, offset, letter))
            .collect()
    }

    /// Root: receives one value with its buffers of each of the group, in the group's order. Buffers that came in one piece
    /// are not copied.
    ///
    /// # Errors
    /// As for [`gather`](BroadcastChannel::gather).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn gather_with<T: DeserializeOwned>(&self) -> Result<Vec<(T, Vec<Bytes>)>, ChannelError> {
        let operation = Operation::Gather;
        let received = self.recv_all("send_gather").await?.into_iter();
        received
            .map(|(party, offset, letter)| self.value(operation, party, offset, letter))
            .collect()
    }

    /// Group: sends a value to the root, which gathers.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send_gather<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ChannelError> {
        self.send_gather_with(value, Vec::new()).await
    }

    /// Group: sends a value and buffers, which are not copied, to the root, which gathers. At most 1,022 buffers.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send_gather_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        buffers: Vec<Bytes>,
    ) -> Result<(), ChannelError> {
        let root = self.as_group("gather")?;
        let letter = self.letter(Operation::Gather, value, buffers)?;
        self.line.put(root, letter).await
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
        match &self.side {
            Side::Root(peers) => {
                let values = self.contributions(operation).await?;
                let result = values.into_iter().fold(value, combine);
                self.answer(peers, operation, &result).await?;
                Ok(result)
            }
            Side::Group(root) => self.contribute(*root, operation, &value).await,
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
        match &self.side {
            Side::Root(peers) => {
                self.contributions::<()>(operation).await?;
                self.answer(peers, operation, &()).await
            }
            Side::Group(root) => self.contribute(*root, operation, &()).await,
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

    fn letter<T: Serialize + ?Sized>(
        &self,
        operation: Operation,
        value: &T,
        buffers: Vec<Bytes>,
    ) -> Result<Letter, ChannelError> {
        let (codec, body) = self.line.encode(value)?;
        let first = [Bytes::copy_from_slice(&[operation as u8]), body];
        Ok(Letter {
            tag: None,
            codec,
            parts: first.into_iter().chain(buffers).collect(),
        })
    }

    /// One of these for each of the group.
    fn letters<'a, V, T: Serialize + 'a>(
        &self,
        values: &'a [V],
        parts: impl Fn(&'a V) -> (&'a T, Vec<Bytes>),
    ) -> Result<Vec<(usize, Letter)>, ChannelError> {
        let peers = self.as_root("recv_scatter")?;
        if values.len() != peers.len() {
            return Err(ChannelError::Count {
                channel: self.name().clone(),
                count: values.len(),
                group: peers.len(),
            });
        }
        let letters = peers.iter().zip(values).map(|(peer, value)| {
            let (value, buffers) = parts(value);
            let letter = self.letter(Operation::Scatter, value, buffers)?;
            Ok((*peer, letter))
        });
        letters.collect()
    }

    /// Sends to all of the group, or to those who lack it.
    async fn send(&self, letters: Vec<(usize, Letter)>) -> Result<(), ChannelError> {
        match self.at {
            None => self.line.put_all(letters).await,
            Some(offset) => self.line.put_missing(offset, letters).await,
        }
    }

    /// Root: the values of all of the group, which wait for an answer.
    async fn contributions<T: DeserializeOwned>(&self, operation: Operation) -> Result<Vec<T>, ChannelError> {
        let received = self.recv_all(operation.name()).await?.into_iter();
        received
            .map(|(party, offset, letter)| self.alone(operation, party, offset, letter))
            .collect()
    }

    async fn answer<T: Serialize>(
        &self,
        peers: &[usize],
        operation: Operation,
        value: &T,
    ) -> Result<(), ChannelError> {
        let letter = self.letter(operation, value, Vec::new())?;
        self.line
            .put_all(peers.iter().map(|peer| (*peer, letter.clone())).collect())
            .await
    }

    /// Group: sends a value to the root, and receives what it answers.
    async fn contribute<T: Serialize + DeserializeOwned>(
        &self,
        root: usize,
        operation: Operation,
        value: &T,
    ) -> Result<T, ChannelError> {
        let letter = self.letter(operation, value, Vec::new())?;
        self.line.put(root, letter).await?;
        let (offset, letter) = self.line.take(root, None).await?;
        self.alone(operation, &self.root, offset, letter)
    }

    /// One message of each of the group.
    async fn recv_all(&self, instead: &'static str) -> Result<Vec<(&PartyId, u64, Letter)>, ChannelError> {
        let peers = self.as_root(instead)?;
        let letters = self.line.take_all(peers).await?;
        let received = self.group.iter().zip(letters);
        Ok(received
            .map(|(party, (offset, letter))| (party, offset, letter))
            .collect())
    }

    /// A value and its buffers.
    fn value<T: DeserializeOwned>(
        &self,
        operation: Operation,
        party: &PartyId,
        offset: u64,
        letter: Letter,
    ) -> Result<(T, Vec<Bytes>), ChannelError> {
        let theirs = Operation::of(letter.parts.first());
        if theirs != Some(operation) {
            return Err(ChannelError::Mismatch {
                channel: self.name().clone(),
                party: party.clone(),
                theirs: theirs.map_or("something else", Operation::name).to_owned(),
                ours: operation.name(),
            });
        }
        let mut parts = letter.parts.into_iter().skip(1);
        let body = parts.next().unwrap_or_default();
        let value = decode(letter.codec, &body);
        let value = value.map_err(|reason| self.line.undecodable(party, offset, reason))?;
        Ok((value, parts.collect()))
    }

    /// A value that has no buffers.
    fn alone<T: DeserializeOwned>(
        &self,
        operation: Operation,
        party: &PartyId,
        offset: u64,
        letter: Letter,
    ) -> Result<T, ChannelError> {
        let (value, buffers) = self.value(operation, party, offset, letter)?;
        let reason = match (buffers.len(), operation.with_buffers()) {
            (0, _) => return Ok(value),
            (count, Some(instead)) => format!("it has {count} buffers, see `{instead}`"),
            (count, None) => format!("it has {count} buffers, and a {} has none", operation.name()),
        };
        Err(self.line.undecodable(party, offset, reason))
    }
}
