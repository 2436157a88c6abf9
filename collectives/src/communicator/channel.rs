//! One operation in progress at this rank: its messages, and how it ends.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join;

use super::Communicator;
use super::scratch::Scratch;
use crate::Rank;
use crate::call::{Call, NOTICE, Notice, Opening, PREAMBLE};
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::{Fabric, FabricError};
use crate::reduction::{Reduction, Side, combine_into};
use crate::tuning::Tuning;

/// Messages up to this many bytes travel behind the preamble in one message. Longer ones travel alone, straight from
/// and into the program's memory; the preamble goes ahead of the first from each rank to each other.
pub(crate) const EAGER: usize = 4 << 10;

/// A message that does not fit is read up to this length, to find out what it is.
const READABLE: usize = 1 << 20;

/// The end of one operation at one rank. When it goes away unfinished, the other ranks are told.
pub(crate) struct Channel<'c, F: Fabric> {
    pub(super) communicator: &'c Communicator<F>,
    tag: u64,
    // None for those under a tag of the program's.
    pub(super) number: Option<u32>,
    call: Call,
    pub(super) preamble: [u8; PREAMBLE],
    me: Rank,
    // Between which ranks a preamble has gone ahead of long messages.
    greeted: Mutex<Greeted>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Failed,
    Done,
}

#[derive(Default)]
struct Greeted {
    sent: Vec<u64>,
    received: Vec<u64>,
}

/// Sets a bit, and says whether it was clear.
fn insert(bits: &mut Vec<u64>, at: usize) -> bool {
    if bits.len() <= at / 64 {
        bits.resize(at / 64 + 1, 0);
    }
    let mask = 1 << (at % 64);
    let is_new = bits[at / 64] & mask == 0;
    bits[at / 64] |= mask;
    is_new
}

impl<'c, F: Fabric> Channel<'c, F> {
    pub(crate) fn new(communicator: &'c Communicator<F>, tag: u64, number: Option<u32>, call: Call) -> Self {
        Channel {
            communicator,
            tag,
            number,
            call,
            preamble: call.encode(),
            me: communicator.place(),
            greeted: Mutex::default(),
            state: State::Running,
        }
    }

    /// This rank in the communicator, for schedules.
    pub(crate) fn me(&self) -> Rank {
        self.me
    }

    /// This rank's number in the communicator.
    pub(crate) fn rank(&self) -> usize {
        self.me.index() as usize
    }

    /// How many ranks the communicator has.
    pub(crate) fn size(&self) -> usize {
        self.me.size().get() as usize
    }

    pub(crate) fn tuning(&self) -> &Tuning {
        self.communicator.tuning()
    }

    pub(crate) fn has_multicast(&self) -> bool {
        self.communicator.has_multicast()
    }

    /// Whether there is such a rank, as a root or peer.
    pub(crate) fn check_rank(&self, rank: usize) -> Result<Rank, CollectiveError> {
        let index = u32::try_from(rank).unwrap_or(u32::MAX);
        self.me
            .size()
            .rank(index)
            .map_err(|_| CollectiveError::NoSuchRank {
                rank,
                size: self.size(),
            })
    }

    /// A buffer of `len` bytes.
    pub(crate) fn scratch(&self, len: usize) -> Scratch<'c> {
        self.communicator.pool().take(len)
    }

    /// A message of up to [`EAGER`] bytes with its preamble, to be filled in and sent, or to be received.
    pub(crate) fn frame(&self, len: usize) -> Frame<'c> {
        // There is always room to receive a notice instead.
        let mut scratch = self.scratch((PREAMBLE + len).max(NOTICE));
        scratch.bytes_mut()[..PREAMBLE].copy_from_slice(&self.preamble);
        Frame { scratch, len }
    }

    pub(super) fn peer(&self, rank: usize) -> usize {
        self.communicator.peer(rank)
    }

    pub(super) fn fabric(&self) -> Result<&'c F, CollectiveError> {
        self.communicator.present()
    }

    pub(crate) async fn send_frame(&self, to: usize, frame: &Frame<'_>) -> Result<(), CollectiveError> {
        let message = &frame.scratch.bytes()[..PREAMBLE + frame.len];
        Ok(self.fabric()?.send(self.peer(to), self.tag, message).await?)
    }

    /// Receives a message of exactly the frame's length.
    pub(crate) async fn recv_frame(&self, from: usize, frame: &mut Frame<'_>) -> Result<(), CollectiveError> {
        let expected = PREAMBLE + frame.len;
        let buffer = &mut frame.scratch.bytes_mut()[..expected.max(NOTICE)];
        match self.fabric()?.recv(self.peer(from), self.tag, buffer).await {
            Ok(found) if found == expected && buffer[..PREAMBLE] == self.preamble => Ok(()),
            Ok(found) => Err(self.wrong(from, &buffer[..found], expected, found)),
            Err(FabricError::Truncated { len, .. }) => Err(self.too_long(from, expected, len).await),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends `body`, whatever its length.
    pub(crate) async fn send(&self, to: usize, body: &[u8]) -> Result<(), CollectiveError> {
        if body.len() <= EAGER {
            let mut frame = self.frame(body.len());
            frame.bytes_mut().copy_from_slice(body);
            return self.send_frame(to, &frame).await;
        }
        let (fabric, peer) = (self.fabric()?, self.peer(to));
        if insert(&mut self.greeted().sent, to) {
            fabric.send(peer, self.tag, &self.preamble).await?;
        }
        Ok(fabric.send(peer, self.tag, body).await?)
    }

    /// Receives a message that fills `into` exactly.
    pub(crate) async fn recv(&self, from: usize, into: &mut [u8]) -> Result<(), CollectiveError> {
        if into.len() <= EAGER {
            let mut frame = self.frame(into.len());
            self.recv_frame(from, &mut frame).await?;
            into.copy_from_slice(frame.bytes());
            return Ok(());
        }
        if insert(&mut self.greeted().received, from) {
            self.recv_frame(from, &mut self.frame(0)).await?;
        }
        self.recv_bare(from, into).await
    }

    /// Receives a long message. A notice, which is shorter, may come instead.
    async fn recv_bare(&self, from: usize, into: &mut [u8]) -> Result<(), CollectiveError> {
        let expected = into.len();
        match self.fabric()?.recv(self.peer(from), self.tag, into).await {
            Ok(found) if found == expected => Ok(()),
            Ok(found) => Err(self.wrong(from, &into[..found], expected, found)),
            Err(FabricError::Truncated { len, .. }) => Err(self.too_long(from, expected, len).await),
            Err(error) => Err(error.into()),
        }
    }

    /// What a message that does not fit means: it may say in its beginning what it is.
    async fn too_long(&self, from: usize, expected: usize, len: usize) -> CollectiveError {
        if len > READABLE {
            return self.wrong(from, &[], expected, len);
        }
        let received = async { Ok(self.fabric()?.recv_bytes(self.peer(from), self.tag).await?) };
        match received.await {
            Ok(message) => self.wrong(from, &message, expected, len),
            Err(error) => error,
        }
    }

    /// Sends to one rank and receives from one, at the same time.
    pub(crate) async fn exchange(
        &self,
        to: usize,
        body: &[u8],
        from: usize,
        into: &mut [u8],
    ) -> Result<(), CollectiveError> {
        try_join(self.send(to, body), self.recv(from, into)).await?;
        Ok(())
    }

    /// Sends elements in segments, for [`recv_reduce`](Self::recv_reduce) or [`recv_segments`](Self::recv_segments).
    pub(crate) async fn send_segments<T: Element>(
        &self,
        to: usize,
        elements: &[T],
    ) -> Result<(), CollectiveError> {
        for segment in elements.chunks(self.tuning().segment_of(size_of::<T>())) {
            self.send(to, bytes_of(segment)).await?;
        }
        Ok(())
    }

    /// Receives elements in segments.
    pub(crate) async fn recv_segments<T: Element>(
        &self,
        from: usize,
        elements: &mut [T],
    ) -> Result<(), CollectiveError> {
        for segment in elements.chunks_mut(self.tuning().segment_of(size_of::<T>())) {
            self.recv(from, bytes_of_mut(segment)).await?;
        }
        Ok(())
    }

    /// Receives elements in segments and combines each into `own` while the next is on its way.
    pub(crate) async fn recv_reduce<T: Element, R: Reduction<T>>(
        &self,
        from: usize,
        own: &mut [T],
        reduction: &R,
        side: Side,
    ) -> Result<(), CollectiveError> {
        let longest = own.len().min(self.tuning().segment_of(size_of::<T>()));
        if longest * size_of::<T>() <= EAGER {
            for segment in own.chunks_mut(longest.max(1)) {
                let mut frame = self.frame(size_of_val(segment));
                self.recv_frame(from, &mut frame).await?;
                combine_into(reduction, segment, frame.elements(), side);
            }
            return Ok(());
        }
        let mut scratch = self.scratch(longest * size_of::<T>());
        for segment in own.chunks_mut(longest) {
            let incoming = &mut scratch.elements_mut::<T>()[..segment.len()];
            self.recv(from, bytes_of_mut(incoming)).await?;
            combine_into(reduction, segment, incoming, side);
        }
        Ok(())
    }

    /// Sends to all others at once. The others call [`recv_multicast`](Self::recv_multicast).
    pub(crate) async fn multicast(&self, body: &[u8]) -> Result<(), CollectiveError> {
        let fabric = self.fabric()?;
        if body.len() <= EAGER {
            let mut frame = self.frame(body.len());
            frame.bytes_mut().copy_from_slice(body);
            let message = &frame.scratch.bytes()[..PREAMBLE + body.len()];
            return Ok(fabric.multicast(self.tag, message).await?);
        }
        fabric.multicast(self.tag, &self.preamble).await?;
        Ok(fabric.multicast(self.tag, body).await?)
    }

    pub(crate) async fn recv_multicast(&self, from: usize, into: &mut [u8]) -> Result<(), CollectiveError> {
        if into.len() <= EAGER {
            return self.recv(from, into).await;
        }
        self.recv_frame(from, &mut self.frame(0)).await?;
        self.recv_bare(from, into).await
    }

    /// A message of any length with its preamble, for [`send_message`](Self::send_message).
    pub(crate) fn message(&self, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(PREAMBLE + body.len());
        message.extend_from_slice(&self.preamble);
        message.extend_from_slice(body);
        message
    }

    /// Sends a message with its preamble whose length the receiver does not know.
    pub(crate) async fn send_message(&self, to: usize, message: &[u8]) -> Result<(), CollectiveError> {
        Ok(self.fabric()?.send(self.peer(to), self.tag, message).await?)
    }

    pub(crate) async fn multicast_message(&self, message: &[u8]) -> Result<(), CollectiveError> {
        Ok(self.fabric()?.multicast(self.tag, message).await?)
    }

    /// Receives a message whose length is not known, its preamble included.
    pub(crate) async fn recv_message(&self, from: usize) -> Result<Bytes, CollectiveError> {
        let message = self.fabric()?.recv_bytes(self.peer(from), self.tag).await?;
        if message.starts_with(&self.preamble) {
            Ok(message)
        } else {
            Err(self.wrong(from, &message, PREAMBLE, message.len()))
        }
    }

    /// What a message that is not the expected one means.
    pub(super) fn wrong(
        &self,
        from: usize,
        message: &[u8],
        expected: usize,
        found: usize,
    ) -> CollectiveError {
        let mismatch = |rank: usize, there: Call| CollectiveError::Mismatch {
            rank,
            here: Box::new(self.call),
            there: Box::new(there),
        };
        match Opening::decode(message) {
            Some(Opening::Part(there) | Opening::Notice(there, _)) if there != self.call => {
                mismatch(from, there)
            }
            Some(Opening::Notice(_, notice)) if self.knows(&notice) => match notice {
                Notice::Mismatch { rank, call } => mismatch(rank as usize, call),
                Notice::Abandoned { rank } => CollectiveError::Abandoned { rank: rank as usize },
                Notice::Left { rank } => CollectiveError::PeerLeft { rank: rank as usize },
            },
            opening => {
                // Lengths are told as the program knows them.
                let own = if opening.is_some() { PREAMBLE } else { 0 };
                CollectiveError::Length {
                    rank: from,
                    expected: expected.saturating_sub(own),
                    found: found.saturating_sub(own),
                }
            }
        }
    }

    /// Whether there is the rank that a notice is about. Who has left is told by its rank in the fabric.
    fn knows(&self, notice: &Notice) -> bool {
        match *notice {
            Notice::Mismatch { rank, .. } | Notice::Abandoned { rank } => (rank as usize) < self.size(),
            Notice::Left { rank } => (rank as usize) < self.communicator.group.world.size,
        }
    }

    /// Ends the operation with its result at this rank, and tells the others of an error that they may not see.
    pub(crate) fn finish<T>(mut self, result: Result<T, CollectiveError>) -> Result<T, CollectiveError> {
        let error = match result {
            Ok(value) => {
                self.state = State::Done;
                return Ok(value);
            }
            Err(error) => self.communicator.note(error),
        };
        self.state = State::Failed;
        match &error {
            // The fabric tells everybody.
            CollectiveError::PeerFailed { .. }
            | CollectiveError::StaleEpoch { .. }
            | CollectiveError::Closed => {}
            CollectiveError::Mismatch { rank, there, .. } => self.post(Notice::Mismatch {
                rank: narrow(*rank),
                call: **there,
            }),
            CollectiveError::Abandoned { rank } => self.post(Notice::Abandoned { rank: narrow(*rank) }),
            CollectiveError::PeerLeft { rank } => self.post(Notice::Left { rank: narrow(*rank) }),
            _ => self.post(Notice::Abandoned {
                rank: self.me.index(),
            }),
        }
        Err(error)
    }

    fn post(&self, notice: Notice) {
        let notice = self.call.encode_notice(notice);
        for rank in (0..self.size()).filter(|rank| *rank != self.rank()) {
            self.communicator
                .fabric()
                .post(self.peer(rank), self.tag, &notice);
        }
    }

    fn greeted(&self) -> std::sync::MutexGuard<'_, Greeted> {
        // Nothing that is done under the lock can panic half-way.
        self.greeted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ranks come from schedules, which count in 32 bits.
fn narrow(rank: usize) -> u32 {
    u32::try_from(rank).unwrap_or(u32::MAX)
}

impl<F: Fabric> Drop for Channel<'_, F> {
    fn drop(&mut self) {
        if self.state == State::Running && self.communicator.is_current() {
            self.post(Notice::Abandoned {
                rank: self.me.index(),
            });
        }
        self.communicator
            .close(self.tag, self.number, self.state != State::Done);
    }
}

/// A short message and its preamble.
pub(crate) struct Frame<'p> {
    scratch: Scratch<'p>,
    len: usize,
}

impl Frame<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.scratch.bytes()[PREAMBLE..PREAMBLE + self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.scratch.bytes_mut()[PREAMBLE..PREAMBLE + self.len]
    }

    // The preamble's length keeps what follows it aligned.
    pub(crate) fn elements<T: Element>(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes())
    }

    pub(crate) fn elements_mut<T: Element>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.bytes_mut())
    }
}
