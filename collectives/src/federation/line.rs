//! What channels of all kinds do: put messages into flows and take them out, all of a group's or none.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::core::few::Few;
use super::core::{FlowKey, Kind, Letter, MAX_PARTS, Node, Peer, Rejected, Tag, Taken};
use super::delivery::Receipt;
use super::driver::{State, Topic, now};
use super::error::{ChannelError, Presence, Waiting};
use super::federation::{Asked, Federation, check, presence};
use super::name::PartyId;

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Postcard: compact, between programs in Rust that have the same type.
    #[default]
    Postcard,
    /// JSON: readable by all.
    Json,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// Bytes without further meaning.
    Bytes,
    /// A value.
    Value(Codec),
    /// A value in a codec that is not known here.
    Unknown(u8),
}

/// The bytes of a value, nearly always, or of the beginning of a larger one.
const GUESS: usize = 64;
/// Bytes without further meaning.
const RAW: u8 = 0;
const POSTCARD: u8 = 1;
const JSON: u8 = 2;

/// One channel's way to its other parties. Peers are numbered as in the node.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) federation: Federation,
    pub(super) key: FlowKey,
    pub(super) timeout: Duration,
    pub(super) ttl: Option<Duration>,
    pub(super) codec: Codec,
}

impl Line {
    pub(super) fn new(federation: Federation, key: FlowKey) -> Self {
        let limits = federation.config().bounds();
        Line {
            timeout: limits.timeout,
            ttl: limits.ttl,
            codec: Codec::default(),
            key,
            federation,
        }
    }

    /// Sends one message.
    pub(super) async fn put(&self, peer: usize, letter: Letter) -> Result<(), ChannelError> {
        self.check_parts(&letter)?;
        let mut letter = Some(letter);
        let sending = self.federation.wait(|state| {
            self.check(state, peer)?;
            let Some(taken) = letter.take() else {
                return Ok(Asked::Answer(()));
            };
            match state.node.send(now(), peer, &self.key, taken, self.ttl) {
                Ok(()) => Ok(Asked::Answer(())),
                Err(Rejected::Full(full)) => {
                    letter = Some(full);
                    Ok(Asked::Wait(Topic::Out(peer, self.key.clone())))
                }
                Err(rejected) => Err(self.rejected(state, peer, &rejected)),
            }
        });
        match within(self.timeout, sending).await {
            Some(result) => result,
            None => Err(self.too_late(Some(peer), Waiting::Room)),
        }
    }

    /// Sends one message to each of these, or none at all.
    pub(super) async fn put_all(&self, letters: Vec<(usize, Letter)>) -> Result<(), ChannelError> {
        letters
            .iter()
            .try_for_each(|(_, letter)| self.check_parts(letter))?;
        let mut letters = Some(letters);
        let mut slowest = letters.iter().flatten().map(|(peer, _)| *peer).next();
        let sending = self.federation.wait(|state| {
            for (peer, letter) in letters.iter().flatten() {
                self.check(state, *peer)?;
                let has_room = state.node.has_room(*peer, &self.key, letter.size());
                if !has_room.map_err(|rejected| self.rejected(state, *peer, &rejected))? {
                    slowest = Some(*peer);
                    return Ok(Asked::Wait(Topic::Out(*peer, self.key.clone())));
                }
            }
            for (peer, letter) in letters.take().into_iter().flatten() {
                let sent = state.node.send(now(), peer, &self.key, letter, self.ttl);
                sent.map_err(|rejected| self.rejected(state, peer, &rejected))?;
            }
            Ok(Asked::Answer(()))
        });
        match within(self.timeout, sending).await {
            Some(result) => result,
            None => Err(self.too_late(slowest, Waiting::Room)),
        }
    }

    /// Sends message `offset` to each of these whose next one it is, or to none at all. Who has it already is left out.
    pub(super) async fn put_missing(
        &self,
        offset: u64,
        letters: Vec<(usize, Letter)>,
    ) -> Result<(), ChannelError> {
        letters
            .iter()
            .try_for_each(|(_, letter)| self.check_parts(letter))?;
        let mut letters = Some(letters);
        let mut slowest = (
            letters.iter().flatten().map(|(peer, _)| *peer).next(),
            Waiting::Room,
        );
        let sending = self.federation.wait(|state| {
            let (mut lacking, mut awaited) = (Vec::new(), None);
            // All are asked before the first one is waited for.
            for (peer, letter) in letters.iter().flatten() {
                let what = match self.position(state, *peer)? {
                    None => Waiting::Position,
                    Some(next) if next < offset => return Err(self.gap(state, *peer, offset, next)),
                    Some(next) if next > offset => continue,
                    Some(_) => match state.node.has_room(*peer, &self.key, letter.size()) {
                        Ok(true) => {
                            lacking.push(*peer);
                            continue;
                        }
                        Ok(false) => Waiting::Room,
                        Err(rejected) => return Err(self.rejected(state, *peer, &rejected)),
                    },
                };
                awaited = awaited.or(Some((*peer, what)));
            }
            if let Some((peer, what)) = awaited {
                slowest = (Some(peer), what);
                return Ok(Asked::Wait(Topic::Out(peer, self.key.clone())));
            }
            let all = letters.take().into_iter().flatten();
            for (peer, letter) in all.filter(|(peer, _)| lacking.contains(peer)) {
                let sent = state.node.send(now(), peer, &self.key, letter, self.ttl);
                sent.map_err(|rejected| self.rejected(state, peer, &rejected))?;
            }
            Ok(Asked::Answer(()))
        });
        match within(self.timeout, sending).await {
            Some(result) => result,
            None => Err(self.too_late(slowest.0, slowest.1)),
        }
    }

    fn gap(&self, state: &State, peer: usize, offset: u64, next: u64) -> ChannelError {
        ChannelError::Gap {
            channel: self.key.name.clone(),
            party: self.party(state, peer),
            offset,
            next,
        }
    }

    /// The numbers of the messages that are sent next to these, when all are known.
    pub(super) async fn positions(&self, peers: &[usize]) -> Result<Vec<u64>, ChannelError> {
        let mut slowest = None;
        let asking = self.federation.wait(|state| {
            let mut all = Vec::with_capacity(peers.len());
            let mut unknown = None;
            // All are asked before the first one is waited for.
            for peer in peers.iter().copied() {
                match self.position(state, peer)? {
                    Some(next) => all.push(next),
                    None => unknown = unknown.or(Some(peer)),
                }
            }
            Ok(match unknown {
                None => Asked::Answer(all),
                Some(peer) => {
                    slowest = Some(peer);
                    Asked::Wait(Topic::Out(peer, self.key.clone()))
                }
            })
        });
        match within(self.timeout, asking).await {
            Some(result) => result,
            None => Err(self.too_late(slowest, Waiting::Position)),
        }
    }

    /// The number of the message that is sent next, if it is known.
    fn position(&self, state: &mut State, peer: usize) -> Result<Option<u64>, ChannelError> {
        self.check(state, peer)?;
        let position = state.node.open(peer, &self.key);
        position.map_err(|rejected| self.rejected(state, peer, &rejected))
    }

    /// The program has all messages with numbers below `offset` already.
    pub(super) fn resume_at(&self, peer: usize, offset: u64) -> Result<(), ChannelError> {
        self.federation.shared().with(|state| {
            let resumed = state.node.resume(peer, &self.key, offset);
            resumed.map_err(|rejected| self.rejected(state, peer, &rejected))
        })
    }

    fn check_parts(&self, letter: &Letter) -> Result<(), ChannelError> {
        // Beside the value, a broadcast channel's message names its operation.
        let others = match self.key.kind {
            Kind::Broadcast => 2,
            Kind::Variable => 1,
        };
        match letter.parts.len() {
            ..=MAX_PARTS => Ok(()),
            count => Err(ChannelError::TooManyBuffers {
                channel: self.key.name.clone(),
                count: count - others,
                limit: MAX_PARTS - others,
            }),
        }
    }

    /// Receives one message.
    pub(super) async fn take(&self, peer: usize, tag: Option<&Tag>) -> Result<(u64, Letter), ChannelError> {
        let (taken, letter) = self.receive(peer, tag, Node::take).await?;
        Ok((taken.offset, letter))
    }

    /// Receives one message, which is kept until it is acknowledged.
    pub(super) async fn lend(
        &self,
        peer: usize,
        tag: Option<&Tag>,
    ) -> Result<(Receipt, Letter), ChannelError> {
        let (taken, letter) = self.receive(peer, tag, Node::lend).await?;
        let receipt = Receipt::new(self.clone(), peer, taken.epoch, taken.offset);
        Ok((receipt, letter))
    }

    /// Receives one message by `how`.
    async fn receive(
        &self,
        peer: usize,
        tag: Option<&Tag>,
        how: impl Fn(&mut Node, usize, &FlowKey, Option<&Tag>) -> Option<Taken>,
    ) -> Result<(Taken, Letter), ChannelError> {
        let receiving = self
            .federation
            .wait(|state| match how(&mut state.node, peer, &self.key, tag) {
                Some(taken) => self.content(state, peer, taken).map(Asked::Answer),
                None => self.await_one(state, peer, tag),
            });
        match within(self.timeout, receiving).await {
            Some(result) => result,
            None => Err(self.nothing_came(Some(peer), tag)),
        }
    }

    /// Receives one message of each of these, or none at all. In their order. Where one has waited too long, those of the
    /// others are used up with it: what comes next from each is of one round.
    pub(super) async fn take_all(&self, peers: &[usize]) -> Result<Vec<(u64, Letter)>, ChannelError> {
        let mut slowest = peers.first().copied();
        let receiving = self.federation.wait(|state| {
            for peer in peers.iter().copied() {
                if state.node.peek(peer, &self.key, None).is_none() {
                    slowest = Some(peer);
                    return self.await_one(state, peer, None);
                }
            }
            let take = |peer: &usize| Some((*peer, state.node.take(*peer, &self.key, None)?));
            let taken: Vec<_> = peers.iter().filter_map(take).collect();
            let letters = taken.into_iter().map(|(peer, taken)| {
                let (taken, letter) = self.content(state, peer, taken)?;
                Ok((taken.offset, letter))
            });
            Ok(Asked::Answer(letters.collect::<Result<_, ChannelError>>()?))
        });
        match within(self.timeout, receiving).await {
            Some(result) => result,
            None => Err(self.nothing_came(slowest, None)),
        }
    }

    /// There is no message: waits for one, if there may be one.
    fn await_one<R>(&self, state: &State, peer: usize, tag: Option<&Tag>) -> Result<Asked<R>, ChannelError> {
        self.check(state, peer)?;
        // What others hold may be given back.
        if state.node.peers()[peer].has_gone() && !state.node.is_lent(peer, &self.key, tag) {
            let (channel, party) = (self.key.name.clone(), self.party(state, peer));
            return Err(ChannelError::Left { channel, party });
        }
        Ok(Asked::Wait(Topic::In(peer, self.key.clone())))
    }

    fn nothing_came(&self, peer: Option<usize>, tag: Option<&Tag>) -> ChannelError {
        let what = tag.cloned().map_or(Waiting::Message, Waiting::Tagged);
        self.too_late(peer, what)
    }

    /// A message and its content, unless it has waited too long.
    fn content(&self, state: &State, peer: usize, mut taken: Taken) -> Result<(Taken, Letter), ChannelError> {
        match taken.letter.take() {
            Some(letter) => Ok((taken, letter)),
            None if taken.is_lost => Err(ChannelError::Lost {
                channel: self.key.name.clone(),
                party: self.party(state, peer),
                offset: taken.offset,
            }),
            None => Err(ChannelError::Expired {
                channel: self.key.name.clone(),
                party: self.party(state, peer),
                offset: taken.offset,
            }),
        }
    }

    pub(super) fn check(&self, state: &State, peer: usize) -> Result<(), ChannelError> {
        match check(state, peer)? {
            None => Ok(()),
            Some(reason) => Err(ChannelError::Refused {
                channel: self.key.name.clone(),
                party: self.party(state, peer),
                reason,
            }),
        }
    }

    pub(super) fn rejected(&self, state: &State, peer: usize, rejected: &Rejected) -> ChannelError {
        let channel = self.key.name.clone();
        match *rejected {
            Rejected::TooLarge { size, limit } => ChannelError::TooLarge { channel, size, limit },
            Rejected::TooManyChannels { limit } => ChannelError::TooManyChannels {
                channel,
                party: self.party(state, peer),
                limit,
            },
            // Both were looked at under the same lock.
            Rejected::Full(_) | Rejected::Over(_) => match self.check(state, peer) {
                Err(error) => error,
                Ok(()) => self.late(state, peer, Waiting::Room),
            },
        }
    }

    /// The error for what took longer than the timeout.
    pub(super) fn too_late(&self, peer: Option<usize>, what: Waiting) -> ChannelError {
        let state = self.federation.shared().lock();
        self.late(&state, peer.unwrap_or(0), what)
    }

    fn late(&self, state: &State, peer: usize, what: Waiting) -> ChannelError {
        let known = state.node.peers().get(peer);
        let what = match what {
            Waiting::Room | Waiting::Delivery if known.is_some_and(Peer::is_short) => Waiting::ServerRoom,
            what => what,
        };
        ChannelError::Timeout {
            channel: self.key.name.clone(),
            what,
            party: known.map_or_else(|| self.federation.local_id().clone(), |peer| peer.id.clone()),
            after: self.timeout,
            presence: known.map_or(Presence::Present, |_| presence(state, peer, now())),
        }
    }

    fn party(&self, state: &State, peer: usize) -> PartyId {
        state.node.peers()[peer].id.clone()
    }

    pub(super) fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> Result<(u8, bytes::Bytes), ChannelError> {
        let encoded = match self.codec {
            Codec::Postcard => postcard::to_extend(value, Vec::with_capacity(GUESS))
                .map(|body| (POSTCARD, body))
                .map_err(|error| error.to_string()),
            Codec::Json => serde_json::to_vec(value)
                .map(|body| (JSON, body))
                .map_err(|error| error.to_string()),
        };
        match encoded {
            Ok((codec, body)) => Ok((codec, body.into())),
            Err(reason) => Err(ChannelError::Encode {
                channel: self.key.name.clone(),
                reason,
            }),
        }
    }

    pub(super) fn undecodable(
        &self,
        party: &PartyId,
        offset: u64,
        reason: impl Into<String>,
    ) -> ChannelError {
        ChannelError::Decode {
            channel: self.key.name.clone(),
            party: party.clone(),
            offset,
            reason: reason.into(),
        }
    }
}

/// What comes of `work`, or none if that takes longer. What is ready at once needs no clock.
pub(super) async fn within<T>(timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut limit = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        if limit.is_none() {
            limit.set(Some(tokio::time::sleep(timeout)));
        }
        match limit.as_mut().as_pin_mut() {
            Some(limit) => limit.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Reads a value, whatever codec it is in.
pub(super) fn decode<T: DeserializeOwned>(codec: u8, body: &[u8]) -> Result<T, String> {
    match codec {
        POSTCARD => match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(format!("{} bytes are left over behind the value", rest.len())),
            Err(error) => Err(error.to_string()),
        },
        JSON => serde_json::from_slice(body).map_err(|error| error.to_string()),
        RAW => Err("it is bytes, see `recv_bytes`".to_owned()),
        other => Err(format!("its codec {other} is not known here")),
    }
}

/// A message of bytes.
pub(super) fn raw(tag: Option<Tag>, bytes: bytes::Bytes) -> Letter {
    Letter {
        tag,
        codec: RAW,
        parts: Few::One(bytes),
    }
}

pub(super) fn code(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Bytes => RAW,
        Encoding::Value(Codec::Postcard) => POSTCARD,
        Encoding::Value(Codec::Json) => JSON,
        Encoding::Unknown(other) => other,
    }
}

pub(super) fn encoding(letter: &Letter) -> Encoding {
    match letter.codec {
        RAW => Encoding::Bytes,
        POSTCARD => Encoding::Value(Codec::Postcard),
        JSON => Encoding::Value(Codec::Json),
        other => Encoding::Unknown(other),
    }
}

pub(super) fn is_raw(letter: &Letter) -> bool {
    letter.codec == RAW
}

#[cfg(test)]
mod tests;
