//! The receiving side of a connection: frames go to those who wait for them, or into a bounded store. Without I/O.
//!
//! Nobody owns the connection: whoever polls reads on, for all. A frame at the head that is for another receive is left
//! to it, because only that one has the memory to read into; one that nobody waits for is put aside.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::claim::{Claim, Step, Target};
use super::header::{Header, Key};
use super::spent::Spent;
use super::stats::Counters;
use super::turns::Turns;
use super::wakes::Wakes;

/// Reads into a slice that is not empty, as [`ByteStream::poll_read_into`](flexbond_transport::ByteStream) does.
pub(super) type Read<'a> = &'a mut dyn FnMut(&mut [u8]) -> Poll<io::Result<usize>>;

#[derive(Debug)]
pub(super) struct Inbound {
    /// The present one: nothing of those before it is wanted.
    epoch: u32,
    /// What of it nobody will ask for.
    spent: Spent,
    max_message: usize,
    unexpected_limit: usize,
    /// Bytes that were read ahead: `start..end` of it.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    head: Option<Head>,
    store: HashMap<Key, VecDeque<Stored>>,
    /// There are announcements in it that nobody will ask for.
    holds_spent: bool,
    /// What the store costs, and how many messages it holds.
    stored: usize,
    stored_messages: usize,
    /// In the order in which they came.
    waiters: Vec<Waiter>,
    next_ticket: u64,
    ended: bool,
    /// Who waits to [deliver](Self::deliver).
    pub(super) senders: Turns,
    pub(super) counters: Counters,
}

/// The frame that is being read.
#[derive(Debug)]
struct Head {
    header: Header,
    /// Bytes of its body that have gone where they belong.
    got: usize,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    /// Nothing of the body was taken yet.
    Open,
    /// The claim with this ticket takes it.
    Claimed(u64),
    Store(Vec<u8>),
    Skip,
}

/// A message that has come before it was asked for.
#[derive(Debug)]
struct Stored {
    announced: Option<NonZeroU32>,
    /// Of the body, also where that does not come here.
    length: usize,
    body: Bytes,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    key: Key,
    waker: Waker,
}

impl Inbound {
    /// What is read ahead at most.
    const BUFFER: usize = 32 << 10;
    /// What is read ahead for who expects a large message: enough for its header and small ones before it.
    const AHEAD_OF_LARGE: usize = 2 << 10;
    /// A body of which more than this is missing is read where it belongs.
    const DIRECT: usize = 8 << 10;
    /// What a stored message costs besides its body.
    const OVERHEAD: usize = 64;

    pub(super) fn new(max_message: usize, unexpected_limit: usize) -> Self {
        Inbound {
            epoch: 0,
            spent: Spent::default(),
            max_message,
            unexpected_limit,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            head: None,
            store: HashMap::new(),
            holds_spent: false,
            stored: 0,
            stored_messages: 0,
            waiters: Vec::new(),
            next_ticket: 0,
            ended: false,
            senders: Turns::default(),
            counters: Counters::default(),
        }
    }

    /// Goes on with a receive. If it is not done, `waker` is woken when another receive has to hand over to it; for
    /// [`Step::Dry`] the caller sees to it that it is woken by the connection, too.
    pub(super) fn poll(
        &mut self,
        claim: &mut Claim<'_>,
        waker: &Waker,
        wakes: &mut Wakes,
        read: Read<'_>,
    ) -> Step {
        let step = self.advance(claim, wakes, read);
        match step {
            Step::Filled(_) | Step::Whole(_) | Step::Announced { .. } | Step::Truncated { .. } => {
                self.retire(claim, wakes);
            }
            Step::Dry | Step::Behind | Step::Ended => self.enlist(claim, waker),
        }
        step
    }

    fn advance(&mut self, claim: &mut Claim<'_>, wakes: &mut Wakes, read: Read<'_>) -> Step {
        loop {
            if !claim.is_reading
                && self.stored_messages > 0
                && self.is_first(claim)
                && let Some(step) = self.take_stored(claim)
            {
                return step;
            }
            let Some(head) = &self.head else {
                if let Some(step) = self.next_head(claim, wakes, read) {
                    return step;
                }
                continue;
            };
            let (header, is_open) = (head.header, matches!(head.sink, Sink::Open));
            if is_open {
                if header.key.epoch < claim.key.epoch.max(self.epoch) {
                    self.send_head(Sink::Skip);
                } else if header.key == claim.key && self.is_first(claim) {
                    let room = claim.room();
                    if header.length > room {
                        let length = header.length;
                        return Step::Truncated { length, room };
                    }
                    self.take_head(claim);
                } else if let Some(waiter) = self.waiters.iter().find(|waiter| waiter.key == header.key) {
                    wakes.push(waiter.waker.clone());
                    return Step::Behind;
                } else if self.is_unwanted(&header) {
                    self.send_head(Sink::Skip);
                } else if self.fits(header.following()) {
                    self.stored += header.following() + Self::OVERHEAD;
                    self.send_head(Sink::Store(vec![0; header.following()]));
                } else {
                    self.counters.stalls += 1;
                    return Step::Behind;
                }
                continue;
            }
            if matches!(head.sink, Sink::Claimed(ticket) if Some(ticket) != claim.ticket) {
                return Step::Behind;
            }
            match self.transfer(claim, read) {
                Poll::Pending => return Step::Dry,
                Poll::Ready(Err(_)) => {
                    self.end(wakes);
                    return Step::Ended;
                }
                Poll::Ready(Ok(())) => {
                    if let Some(step) = self.complete(claim, wakes) {
                        return step;
                    }
                }
            }
        }
    }

    /// Says where the frame at the head goes.
    fn send_head(&mut self, sink: Sink) {
        if let Some(head) = &mut self.head {
            head.sink = sink;
        }
    }

    /// Whether no other receive has waited for the same for longer.
    fn is_first(&self, claim: &Claim<'_>) -> bool {
        let first = self.waiters.iter().find(|waiter| waiter.key == claim.key);
        first.is_none_or(|waiter| Some(waiter.ticket) == claim.ticket)
    }

    /// Whether a message may be put aside.
    fn fits(&self, length: usize) -> bool {
        let cost = length.saturating_add(Self::OVERHEAD);
        self.stored.saturating_add(cost) <= self.unexpected_limit
    }

    fn take_stored(&mut self, claim: &mut Claim<'_>) -> Option<Step> {
        let messages = self.store.get_mut(&claim.key)?;
        let length = messages.front()?.length;
        let room = claim.room();
        if length > room {
            return Some(Step::Truncated { length, room });
        }
        let Stored { announced, body, .. } = messages.pop_front()?;
        if messages.is_empty() {
            self.store.remove(&claim.key);
        }
        self.stored -= body.len() + Self::OVERHEAD;
        self.stored_messages -= 1;
        if let Some(number) = announced {
            return Some(Step::Announced { number, length });
        }
        self.count(length);
        Some(match &mut claim.target {
            Target::Slice(slice) => {
                slice[..length].copy_from_slice(&body);
                Step::Filled(length)
            }
            Target::Own(_) => Step::Whole(body),
        })
    }

    fn count(&mut self, length: usize) {
        self.counters.messages += 1;
        self.counters.bytes += length as u64;
    }

    /// Reads the next header; a step if it is not there.
    fn next_head(&mut self, claim: &Claim<'_>, wakes: &mut Wakes, read: Read<'_>) -> Option<Step> {
        if let Some(bytes) = self.buffer[self.start..self.end].first_chunk() {
            match Header::decode(bytes, self.max_message) {
                Ok(header) => {
                    self.start += Header::LEN;
                    self.head = Some(Head {
                        header,
                        got: 0,
                        sink: Sink::Open,
                    });
                    return None;
                }
                Err(_) => {
                    self.counters.malformed += 1;
                    self.start = self.end;
                    self.end(wakes);
                }
            }
        }
        if self.ended {
            return Some(Step::Ended);
        }
        let wanted = match claim.room() {
            usize::MAX => Self::BUFFER,
            room if room > Self::BUFFER => Self::AHEAD_OF_LARGE,
            _ => Self::BUFFER,
        };
        match self.fill(wanted, read) {
            Poll::Pending => Some(Step::Dry),
            Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(_)) => {
                self.end(wakes);
                Some(Step::Ended)
            }
        }
    }

    /// Reads ahead, so that the buffer holds `wanted` bytes at most; an error is the end.
    fn fill(&mut self, wanted: usize, read: Read<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        if self.buffer.is_empty() {
            self.buffer.resize(Self::BUFFER, 0);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let wanted = wanted.max(self.end + 1).min(self.buffer.len());
        let count = std::task::ready!(read(&mut self.buffer[self.end..wanted]))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.end += count;
        Poll::Ready(Ok(()))
    }

    /// The frame at the head is this claim's from now on.
    fn take_head(&mut self, claim: &mut Claim<'_>) {
        let ticket = self.ticket(claim);
        self.waiters.retain(|waiter| waiter.ticket != ticket);
        if let Some(head) = &mut self.head {
            head.sink = Sink::Claimed(ticket);
            claim.is_reading = true;
            if let Target::Own(memory) = &mut claim.target {
                *memory = vec![0; head.header.following()];
            }
        }
    }

    fn ticket(&mut self, claim: &mut Claim<'_>) -> u64 {
        *claim.ticket.get_or_insert_with(|| {
            self.next_ticket += 1;
            self.next_ticket
        })
    }

    /// Moves what there is of the body; ready once it is complete.
    fn transfer(&mut self, claim: &mut Claim<'_>, read: Read<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(head) = &mut self.head else {
                return Poll::Ready(Ok(()));
            };
            let length = head.header.following();
            let missing = length - head.got;
            if missing == 0 {
                return Poll::Ready(Ok(()));
            }
            let ahead = missing.min(self.end - self.start);
            let target = match &mut head.sink {
                Sink::Open | Sink::Skip => None,
                Sink::Store(memory) => Some(&mut memory[head.got..]),
                Sink::Claimed(_) => match &mut claim.target {
                    Target::Slice(slice) => Some(&mut slice[head.got..length]),
                    Target::Own(memory) => Some(&mut memory[head.got..]),
                },
            };
            if ahead > 0 {
                if let Some(target) = target {
                    target[..ahead].copy_from_slice(&self.buffer[self.start..self.start + ahead]);
                }
                self.start += ahead;
                head.got += ahead;
                continue;
            }
            match target {
                Some(target) if missing > Self::DIRECT => {
                    if self.ended {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    match std::task::ready!(read(target))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                        count => head.got += count,
                    }
                }
                _ => std::task::ready!(self.fill(Self::BUFFER, read))?,
            }
        }
    }

    /// The frame at the head has been read.
    fn complete(&mut self, claim: &mut Claim<'_>, wakes: &mut Wakes) -> Option<Step> {
        let Head { header, sink, .. } = self.head.take()?;
        match sink {
            Sink::Open | Sink::Skip => None,
            Sink::Store(memory) => {
                self.put_aside(header, memory.into(), wakes);
                None
            }
            Sink::Claimed(_) => {
                claim.is_reading = false;
                let length = header.length;
                if let Some(number) = header.announced {
                    return Some(Step::Announced { number, length });
                }
                self.count(length);
                Some(match &mut claim.target {
                    Target::Slice(_) => Step::Filled(length),
                    Target::Own(memory) => Step::Whole(std::mem::take(memory).into()),
                })
            }
        }
    }

    /// A message whose cost is counted already.
    fn put_aside(&mut self, header: Header, body: Bytes, wakes: &mut Wakes) {
        let Header {
            key,
            announced,
            length,
        } = header;
        self.counters.unexpected += 1;
        self.stored_messages += 1;
        self.holds_spent |= announced.is_some() && self.spent.contains(key);
        self.store.entry(key).or_default().push_back(Stored {
            announced,
            length,
            body,
        });
        if let Some(waiter) = self.waiters.iter().find(|waiter| waiter.key == key) {
            wakes.push(waiter.waker.clone());
        }
    }

    /// Stores a message of this very rank, if there is room or somebody waits for it.
    pub(super) fn deliver(&mut self, header: Header, body: &[u8], wakes: &mut Wakes) -> bool {
        let key = header.key;
        let is_awaited =
            self.waiters.iter().any(|waiter| waiter.key == key) && !self.store.contains_key(&key);
        if !is_awaited && self.is_unwanted(&header) {
            return true;
        }
        if !is_awaited && self.stored_messages > 0 && !self.fits(body.len()) {
            return false;
        }
        self.stored += body.len() + Self::OVERHEAD;
        self.put_aside(header, Bytes::copy_from_slice(body), wakes);
        true
    }

    fn end(&mut self, wakes: &mut Wakes) {
        if !std::mem::replace(&mut self.ended, true) {
            self.wake_all(wakes);
        }
    }

    fn wake_all(&self, wakes: &mut Wakes) {
        self.waiters
            .iter()
            .for_each(|waiter| wakes.push(waiter.waker.clone()));
    }

    /// Remembers who waits. Who is in the middle of a frame needs no one to wake it but the connection.
    pub(super) fn enlist(&mut self, claim: &mut Claim<'_>, waker: &Waker) {
        if claim.is_reading {
            return;
        }
        let ticket = self.ticket(claim);
        match self.waiters.iter_mut().find(|waiter| waiter.ticket == ticket) {
            Some(waiter) => waiter.waker.clone_from(waker),
            None => self.waiters.push(Waiter {
                ticket,
                key: claim.key,
                waker: waker.clone(),
            }),
        }
    }

    /// Whether a receive waits.
    pub(super) fn is_awaited(&self) -> bool {
        let mut heads = self.head.iter();
        !self.waiters.is_empty() || heads.any(|head| matches!(head.sink, Sink::Claimed(_)))
    }

    /// A receive has its result: somebody else reads on.
    fn retire(&mut self, claim: &mut Claim<'_>, wakes: &mut Wakes) {
        if let Some(ticket) = claim.ticket.take() {
            self.waiters.retain(|waiter| waiter.ticket != ticket);
        }
        if let Some(next) = self.waiters.first() {
            wakes.push(next.waker.clone());
        }
    }

    /// A receive is given up. What it had of a message is kept, and the rest follows it: nothing is lost.
    pub(super) fn cancel(&mut self, claim: &mut Claim<'_>, wakes: &mut Wakes) {
        let Some(ticket) = claim.ticket.take() else {
            return;
        };
        self.waiters.retain(|waiter| waiter.ticket != ticket);
        if std::mem::take(&mut claim.is_reading)
            && let Some(head) = &mut self.head
        {
            let length = head.header.following();
            let memory = match &mut claim.target {
                Target::Slice(slice) => {
                    let mut memory = vec![0; length];
                    memory[..head.got].copy_from_slice(&slice[..head.got]);
                    memory
                }
                Target::Own(memory) => std::mem::take(memory),
            };
            // Even above the limit: this much was asked for.
            head.sink = Sink::Store(memory);
            self.stored += length + Self::OVERHEAD;
            self.forsake_head();
        }
        self.wake_all(wakes);
    }

    /// Forgets what belongs to earlier epochs. The rest of a frame that is being put aside is skipped; a receive that
    /// reads one is [cancelled](Self::cancel) by who has it.
    pub(super) fn begin_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.holds_spent = false;
        self.store.retain(|key, _| key.epoch >= epoch);
        self.forsake_head();
        self.recount();
    }

    /// Whether a message that nobody waits for is not to be kept. An announcement is: its sender waits for an answer.
    fn is_unwanted(&self, header: &Header) -> bool {
        header.key.epoch < self.epoch || (header.announced.is_none() && self.spent.contains(header.key))
    }

    /// Skips what is left of a frame that was to be put aside, if it is unwanted by now.
    fn forsake_head(&mut self) {
        if let Some(Head {
            header,
            sink: Sink::Store(memory),
            ..
        }) = &self.head
            && self.is_unwanted(header)
        {
            self.stored -= memory.len() + Self::OVERHEAD;
            self.send_head(Sink::Skip);
        }
    }

    /// Forgets what has come of an epoch with one of these tags, and what comes later, unless somebody waits for it; says
    /// which announcements were among the former. There is room for others then.
    pub(super) fn discard(
        &mut self,
        epoch: u32,
        tags: &RangeInclusive<u64>,
        wakes: &mut Wakes,
    ) -> Vec<NonZeroU32> {
        self.spent.add(epoch, tags);
        let before = self.store.len();
        let announced = self.forget(|key| key.epoch == epoch && tags.contains(&key.tag));
        let is_at_head = self
            .head
            .as_ref()
            .is_some_and(|head| self.is_unwanted(&head.header));
        if self.store.len() < before || is_at_head {
            self.forsake_head();
            self.recount();
            self.wake_all(wakes);
        }
        announced
    }

    /// Forgets the announcements that have come since their tags were thrown away, and says which these are.
    pub(super) fn sweep(&mut self) -> Vec<NonZeroU32> {
        if !std::mem::take(&mut self.holds_spent) {
            return Vec::new();
        }
        let spent = std::mem::take(&mut self.spent);
        let announced = self.forget(|key| spent.contains(key));
        self.spent = spent;
        self.recount();
        announced
    }

    /// Forgets stored messages, and says which announcements were among them.
    fn forget(&mut self, is_unwanted: impl Fn(Key) -> bool) -> Vec<NonZeroU32> {
        let unwanted = self.store.extract_if(|key, _| is_unwanted(*key));
        unwanted
            .flat_map(|(_, messages)| messages)
            .filter_map(|message| message.announced)
            .collect()
    }

    /// Whether there is something to [sweep](Self::sweep).
    pub(super) fn holds_spent(&self) -> bool {
        self.holds_spent
    }

    fn recount(&mut self) {
        self.stored_messages = self.store.values().map(VecDeque::len).sum();
        let messages = self.store.values().flatten();
        let bodies: usize = messages.map(|message| message.body.len()).sum();
        self.stored = bodies + self.stored_messages * Self::OVERHEAD;
        if let Some(Head {
            sink: Sink::Store(memory),
            ..
        }) = &self.head
        {
            self.stored += memory.len() + Self::OVERHEAD;
        }
    }

    /// Bytes that wait without being asked for, and what they cost besides.
    pub(super) fn stored(&self) -> usize {
        self.stored
    }
}

#[cfg(test)]
mod tests;
