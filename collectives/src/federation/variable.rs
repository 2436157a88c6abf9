//! A channel between two parties.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{poll_immediate, try_join};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::core::few::Few;
use super::core::{FlowKey, Kind, Letter};
use super::delivery::Delivery;
use super::driver::Topic;
use super::error::{ChannelError, OpenError, Waiting};
use super::federation::{Asked, Federation};
use super::line::{Codec, Encoding, Line, code, decode, encoding, is_raw, raw, within};
use super::name::{ChannelName, NameError, PartyId, Tag};

/// Values and bytes between this party and another, by the channel's name.
///
/// Messages that are sent without a tag are received without one, in the order in which they were sent. A channel made
/// by [`tagged`](VariableChannel::tagged) sends and receives those of its tag only; messages of one tag keep their order
/// too, so a tag may be used again. All messages of a channel count towards its window
/// ([`Limits::window_messages`](super::Limits), `window_bytes`): ones of a tag that nobody receives stop it in the end.
///
/// A send is done when the federation has the message; it goes over in the background, and is kept until the other
/// program has received it. [`delivered`](VariableChannel::delivered) waits for that. Until then it is in this process, and
/// is lost when that dies; but with a message server it is the server's when it has got there, and this process may end:
/// [`Federation::close`] waits for it, [`is_handed_over`](Federation::is_handed_over) says whether it has come to that. A
/// message that is too large for a server without a store ([`RelayLimits::window_bytes`](super::RelayLimits::window_bytes))
/// is this process's until the other program has it, and so is waited for, too. Who asks for one of which all have died that
/// had it gets [`ChannelError::Lost`], once.
///
/// A clone is the same channel, and so is one that is made again with the same name.
///
/// # When a program dies and starts again
/// Each message has a number in its channel and direction, from 0. The other party remembers which of them it has, and
/// with that, each is received exactly once, if the program does two things after its start: it asks
/// [`next_offset`](VariableChannel::next_offset) which message it has to send next, and it says with
/// [`resume_at`](VariableChannel::resume_at) which one it wants next. A program that keeps what it receives keeps the
/// numbers with it, from [`recv_numbered`](VariableChannel::recv_numbered). Without that, what a program had received and
/// what was not yet told of when it died comes again.
///
/// What [`recv`](VariableChannel::recv) and its like give is acknowledged when the program has it. A program that dies
/// before it has written it down has lost it. [`recv_delivery`](VariableChannel::recv_delivery) is for programs that write
/// down first and acknowledge then.
#[derive(Clone, Debug)]
pub struct VariableChannel {
    line: Line,
    peer: usize,
    remote: PartyId,
    tag: Option<Tag>,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Its number in its channel and direction.
    pub offset: u64,
    /// What its first part is.
    pub encoding: Encoding,
    /// The value, or bytes; and the buffers that came with it.
    pub parts: Vec<Bytes>,
}

impl Received {
    /// A message as it might come.
    #[must_use]
    pub fn new(offset: u64, encoding: Encoding, parts: Vec<Bytes>) -> Self {
        Received {
            offset,
            encoding,
            parts,
        }
    }
}

impl VariableChannel {
    pub(super) fn new(
        federation: Federation,
        kind: Kind,
        name: ChannelName,
        remote: PartyId,
    ) -> Result<Self, OpenError> {
        let peer = peer_of(&federation, &remote)?;
        Ok(VariableChannel {
            line: Line::new(federation, FlowKey { kind, name }),
            peer,
            remote,
            tag: None,
        })
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.line.key.name
    }

    /// The party at the other end.
    #[must_use]
    pub fn remote(&self) -> &PartyId {
        &self.remote
    }

    /// This channel for messages with a tag.
    ///
    /// # Errors
    /// [`NameError`] for a tag that is none.
    pub fn tagged(&self, tag: impl AsRef<str>) -> Result<VariableChannel, NameError> {
        Ok(VariableChannel {
            tag: Some(Tag::new(tag)?),
            ..self.clone()
        })
    }

    /// This channel, whose calls wait for at most `timeout` instead of [`Limits::timeout`](super::Limits::timeout).
    /// [`Duration::MAX`] is for ever.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.line.timeout = timeout;
        self
    }

    /// This channel, whose messages wait for their receiver for at most `ttl`, none for ever, instead of
    /// [`Limits::ttl`](super::Limits::ttl).
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

    /// Sends a value. Waits while the other program has not received as many messages as the window takes.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ChannelError> {
        self.send_with(value, Vec::new()).await
    }

    /// Sends a value and buffers, which are not copied. At most 1,023 buffers.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        buffers: Vec<Bytes>,
    ) -> Result<(), ChannelError> {
        let (codec, body) = self.line.encode(value)?;
        let parts = match buffers.is_empty() {
            true => Few::One(body),
            false => [body].into_iter().chain(buffers).collect(),
        };
        self.put(Letter {
            tag: self.tag.clone(),
            codec,
            parts,
        })
        .await
    }

    /// Sends bytes, which are not copied.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send_bytes(&self, bytes: impl Into<Bytes>) -> Result<(), ChannelError> {
        self.put(raw(self.tag.clone(), bytes.into())).await
    }

    /// Sends a message as it is: `parts` are the value, written in that encoding already, or bytes, and buffers. At most
    /// 1,024 parts; without any, the value is empty.
    ///
    /// # Errors
    /// [`ChannelError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send_any(&self, encoding: Encoding, mut parts: Vec<Bytes>) -> Result<(), ChannelError> {
        if parts.is_empty() {
            parts.push(Bytes::new());
        }
        self.put(Letter {
            tag: self.tag.clone(),
            codec: code(encoding),
            parts: parts.into(),
        })
        .await
    }

    /// Receives the next value.
    ///
    /// When the other party leaves the job while this one is there, and has sent no more, this ends at once with
    /// [`ChannelError::Left`], also by a message server, where that party may come back. Who expects that receives again.
    ///
    /// # Errors
    /// [`ChannelError`]. After [`ChannelError::Decode`] and [`ChannelError::Expired`], the message is used up; after
    /// others, none was taken.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv<T: DeserializeOwned>(&self) -> Result<T, ChannelError> {
        Ok(self.recv_numbered().await?.1)
    }

    /// Receives the next value, and its number in this channel and direction.
    ///
    /// # Errors
    /// As for [`recv`](VariableChannel::recv).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_numbered<T: DeserializeOwned>(&self) -> Result<(u64, T), ChannelError> {
        let (offset, letter) = self.letter().await?;
        Ok((offset, self.alone(offset, letter)?))
    }

    /// Receives the next value with its buffers. Buffers that came in one piece are not copied.
    ///
    /// # Errors
    /// As for [`recv`](VariableChannel::recv).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_with<T: DeserializeOwned>(&self) -> Result<(T, Vec<Bytes>), ChannelError> {
        let (offset, letter) = self.letter().await?;
        self.value(offset, letter)
    }

    /// Receives the next message, which is bytes. They are not copied if they came in one piece.
    ///
    /// # Errors
    /// As for [`recv`](VariableChannel::recv).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_bytes(&self) -> Result<Bytes, ChannelError> {
        let (offset, mut letter) = self.letter().await?;
        match letter.parts.pop() {
            Some(bytes) if is_raw(&letter) && letter.parts.is_empty() => Ok(bytes),
            _ => Err(self.wrong(offset, "it is a value, see `recv` and `recv_with`")),
        }
    }

    /// Receives the next message as it came, whatever was sent.
    ///
    /// # Errors
    /// As for [`recv`](VariableChannel::recv).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_any(&self) -> Result<Received, ChannelError> {
        let (offset, letter) = self.letter().await?;
        Ok(as_it_came(offset, letter))
    }

    /// Receives the next value, which is kept for this program until it [acknowledges](Delivery::ack) it.
    ///
    /// # Errors
    /// As for [`recv`](VariableChannel::recv).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_delivery<T: DeserializeOwned>(&self) -> Result<Delivery<T>, ChannelError> {
        let (receipt, letter) = self.line.lend(self.peer, self.tag.as_ref()).await?;
        match self.alone(receipt.offset(), letter) {
            Ok(value) => Ok(Delivery::new(value, receipt)),
            Err(error) => {
                // It would come again and again.
                receipt.ack();
                Err(error)
            }
        }
    }

    /// Receives the next message as it came, whatever was sent. It is kept for this program until it
    /// [acknowledges](Delivery::ack) it.
    ///
    /// # Errors
    /// As for [`recv`](VariableChannel::recv).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_any_delivery(&self) -> Result<Delivery<Received>, ChannelError> {
        let (receipt, letter) = self.line.lend(self.peer, self.tag.as_ref()).await?;
        let received = as_it_came(receipt.offset(), letter);
        Ok(Delivery::new(received, receipt))
    }

    /// Sends a value and receives one, at the same time.
    ///
    /// # Errors
    /// As for [`send`](VariableChannel::send) and [`recv`](VariableChannel::recv). When it fails, the value may have been
    /// sent all the same.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken; the value may have been sent.
    pub async fn swap<T, R>(&self, value: &T) -> Result<R, ChannelError>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let mut sending = pin!(self.send(value));
        match poll_immediate(&mut sending).await {
            Some(sent) => sent?,
            // Taken last: a value that has come stays there when sending fails.
            None => try_join(sending, self.arrival()).await.map(drop)?,
        }
        self.recv().await
    }

    /// Waits until the other program has received all that this one has sent on this channel, with whatever tag.
    ///
    /// # Errors
    /// [`ChannelError::Timeout`], and when the job is over; messages stay on their way.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn delivered(&self) -> Result<(), ChannelError> {
        let delivery = self.line.federation.wait(|state| {
            self.line.check(state, self.peer)?;
            let flow = state.node.peers()[self.peer].out.get(&self.line.key);
            Ok(match flow.is_none_or(|flow| flow.waiting().0 == 0) {
                true => Asked::Answer(()),
                false => Asked::Wait(self.out()),
            })
        });
        self.in_time(delivery, Waiting::Delivery).await
    }

    /// The number of the message that is sent next. Waits for the other party, which knows what earlier starts of this
    /// program have sent.
    ///
    /// # Errors
    /// [`ChannelError::Timeout`], and when the job is over.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn next_offset(&self) -> Result<u64, ChannelError> {
        let position = self.line.positions(&[self.peer]).await?;
        Ok(position[0])
    }

    /// Says that this program has all messages with numbers below `offset` already: they do not come (again).
    ///
    /// # Errors
    /// [`ChannelError::TooManyChannels`].
    pub fn resume_at(&self, offset: u64) -> Result<(), ChannelError> {
        self.line.resume_at(self.peer, offset)
    }

    /// Waits until there is something to receive.
    async fn arrival(&self) -> Result<(), ChannelError> {
        let arrival = self.line.federation.wait(|state| {
            let tag = self.tag.as_ref();
            if state.node.peek(self.peer, &self.line.key, tag).is_some()
                || state.node.peers()[self.peer].has_gone()
            {
                return Ok(Asked::Answer(()));
            }
            self.line.check(state, self.peer)?;
            Ok(Asked::Wait(Topic::In(self.peer, self.line.key.clone())))
        });
        let what = self.tag.clone().map_or(Waiting::Message, Waiting::Tagged);
        self.in_time(arrival, what).await
    }

    async fn in_time<R>(
        &self,
        waiting: impl Future<Output = Result<R, ChannelError>>,
        what: Waiting,
    ) -> Result<R, ChannelError> {
        match within(self.line.timeout, waiting).await {
            Some(result) => result,
            None => Err(self.line.too_late(Some(self.peer), what)),
        }
    }

    fn out(&self) -> Topic {
        Topic::Out(self.peer, self.line.key.clone())
    }

    async fn put(&self, letter: Letter) -> Result<(), ChannelError> {
        self.line.put(self.peer, letter).await
    }

    async fn letter(&self) -> Result<(u64, Letter), ChannelError> {
        self.line.take(self.peer, self.tag.as_ref()).await
    }

    /// A value and its buffers.
    fn value<T: DeserializeOwned>(
        &self,
        offset: u64,
        letter: Letter,
    ) -> Result<(T, Vec<Bytes>), ChannelError> {
        let mut parts = letter.parts.into_iter();
        let body = parts.next().unwrap_or_default();
        let value = decode(letter.codec, &body).map_err(|reason| self.wrong(offset, reason))?;
        Ok((value, parts.collect()))
    }

    /// A value that has no buffers.
    fn alone<T: DeserializeOwned>(&self, offset: u64, letter: Letter) -> Result<T, ChannelError> {
        let (value, buffers) = self.value(offset, letter)?;
        match buffers.len() {
            0 => Ok(value),
            count => Err(self.wrong(offset, format!("it has {count} buffers, see `recv_with`"))),
        }
    }

    fn wrong(&self, offset: u64, reason: impl Into<String>) -> ChannelError {
        self.line.undecodable(&self.remote, offset, reason)
    }
}

fn as_it_came(offset: u64, letter: Letter) -> Received {
    Received {
        offset,
        encoding: encoding(&letter),
        parts: letter.parts.into_vec(),
    }
}

/// The number of another party of the job.
pub(super) fn peer_of(federation: &Federation, party: &PartyId) -> Result<usize, OpenError> {
    if party == federation.local_id() {
        let party = party.clone();
        return Err(OpenError::Oneself { party });
    }
    let peer = federation.shared().lock().node.peer_index(party);
    peer.ok_or_else(|| OpenError::NotAMember {
        party: party.clone(),
        members: federation
            .members()
            .iter()
            .map(|member| member.id.clone())
            .collect(),
    })
}
