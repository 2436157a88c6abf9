//! One direction of a channel, at its receiver: messages from their first piece until the program takes them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::few::Few;
use super::gathering::{Gathering, Kept};
use super::outflow::Letter;
use super::packet::{Data, LOST, MAX_OFFSET, MAX_PARTS};
use crate::federation::name::Tag;

#[derive(Debug, Default)]
pub(crate) struct Inflow {
    /// The sender's number for it, of the present session.
    pub(crate) id: Option<u32>,
    /// Which numbering it has, once a sender has opened it.
    epoch: Option<u64>,
    /// The offset of the message that comes next, or a higher one.
    next: u64,
    held: VecDeque<Held>,
    bytes: u64,
    /// Messages of numberings before, with their epochs: nobody keeps them any more but this side.
    stale: VecDeque<(u64, Held)>,
    /// How many of `held` have expired: the sender does not count them any more.
    tombs: usize,
    /// Whether a message ever had a time to live.
    is_timed: bool,
    /// When the first message may expire, or earlier.
    pub(crate) fuse: Option<Instant>,
    assembly: Option<Assembly>,
    /// Memory for large messages.
    kept: Arc<Kept>,
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
    pub(crate) duplicates: u64,
    pub(crate) expired: u64,
}

#[derive(Debug)]
struct Held {
    offset: u64,
    letter: Letter,
    size: u64,
    expires: Option<Instant>,
    /// There is no content any more, and the sender knows it.
    is_expired: bool,
    /// The program has it and has not acknowledged it: nobody else gets it meanwhile.
    is_lent: bool,
}

#[derive(Debug)]
struct Assembly {
    offset: u64,
    tag: Option<Tag>,
    codec: u8,
    expires: Option<Instant>,
    lens: Few<u64>,
    size: u64,
    at: u64,
    parts: Few<Bytes>,
    partial: Gathering,
}

/// What the program gets.
#[derive(Debug, PartialEq)]
pub(crate) struct Taken {
    pub(crate) offset: u64,
    /// Which numbering the offset is of.
    pub(crate) epoch: Option<u64>,
    /// Whether its sender has another numbering by now, and does not wait for its end.
    pub(crate) is_stale: bool,
    /// None when it has waited too long.
    pub(crate) letter: Option<Letter>,
    /// Whether it was lost instead.
    pub(crate) is_lost: bool,
}

/// What a receiver takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: u32,
    pub(crate) bytes: u64,
    pub(crate) message: u64,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A message is whole.
    Whole,
    /// The sender has given it up. It has to be settled.
    Expired,
    /// More is to come.
    Part,
    /// It was there before.
    Duplicate,
    /// The sender does not keep to what was agreed.
    Wrong,
}

impl Inflow {
    pub(crate) fn new(kept: &Arc<Kept>) -> Self {
        Inflow {
            kept: Arc::clone(kept),
            ..Inflow::default()
        }
    }

    /// A session begins: the sender sends the message again of which only a part has come.
    pub(crate) fn reset(&mut self) {
        self.id = None;
        self.assembly = None;
    }

    /// The sender opens the flow: it says which numbering it has, and the first offset that it keeps, or does not know
    /// one. If nobody does, the epoch is `new`.
    pub(crate) fn adopt(&mut self, from: Option<(u64, u64)>, new: u64, bounds: Bounds) {
        let (epoch, first) = from.unwrap_or((self.epoch.unwrap_or(new), 0));
        match self.epoch.replace(epoch) {
            // The program may have said what it has already.
            None => self.next = self.next.max(first),
            Some(old) if old == epoch => {}
            Some(old) => {
                self.next = first;
                self.assembly = None;
                self.tombs = 0;
                self.bytes = 0;
                self.stale.extend(self.held.drain(..).map(|held| (old, held)));
                self.forget_stale(bounds);
            }
        }
    }

    /// What nobody has asked for since the numbering has changed more than once is not kept for ever.
    fn forget_stale(&mut self, bounds: Bounds) {
        let mut bytes: u64 = self.stale.iter().map(|(_, held)| held.size).sum();
        while (self.stale.len() > bounds.messages as usize || bytes > bounds.bytes)
            && self.stale.len() > 1
            && let Some((_, held)) = self.stale.pop_front()
        {
            bytes -= held.size;
            self.expired += u64::from(!held.is_expired);
        }
    }

    /// What the sender is told then: the epoch, the next offset, and what is held.
    pub(crate) fn progress(&self) -> (u64, u64, Vec<u64>) {
        // Those that have expired were settled, perhaps in a session that the sender does not know of.
        let held = self.held.iter().filter(|held| !held.is_expired);
        let epoch = self.epoch.unwrap_or_default();
        (epoch, self.next, held.map(|held| held.offset).collect())
    }

    /// How many messages wait for the program, and how many bytes.
    pub(crate) fn held(&self) -> (usize, u64) {
        let stale: u64 = self.stale.iter().map(|(_, held)| held.size).sum();
        (self.held.len() + self.stale.len(), self.bytes + stale)
    }

    /// The memory that was taken for a message of which only a part has come.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn room(&self) -> usize {
        self.assembly
            .as_ref()
            .map_or(0, |assembly| assembly.partial.room())
    }

    pub(crate) fn accept(
        &mut self,
        now: Instant,
        data: Data,
        pieces: &mut impl Iterator<Item = Bytes>,
        bounds: Bounds,
    ) -> Arrival {
        if data.offset < self.next {
            self.duplicates += 1;
            return Arrival::Duplicate;
        }
        let mut assembly = match (self.assembly.take(), data.at) {
            (Some(assembly), 0) if data.offset < assembly.offset => return Arrival::Wrong,
            // Also when its sender has died amid one, and a server goes on with the next of its successor.
            (_, 0) => match self.begin(now, data, bounds) {
                Some(assembly) => assembly,
                None => return Arrival::Wrong,
            },
            (Some(assembly), at) if at == assembly.at && data.offset == assembly.offset => assembly,
            _ => return Arrival::Wrong,
        };
        for piece in pieces {
            if !assembly.add(piece, &self.kept) {
                return Arrival::Wrong;
            }
        }
        if assembly.at < assembly.size {
            self.assembly = Some(assembly);
            return Arrival::Part;
        }
        assembly.fill_empty();
        self.next = assembly.offset + 1;
        self.bytes += assembly.size;
        self.received += 1;
        self.received_bytes += assembly.size;
        let is_expired = assembly.lens.is_empty();
        self.expired += u64::from(is_expired);
        self.is_timed |= assembly.expires.is_some();
        self.held.push_back(Held {
            offset: assembly.offset,
            letter: Letter {
                tag: assembly.tag,
                codec: assembly.codec,
                parts: assembly.parts,
            },
            size: assembly.size,
            expires: assembly.expires.filter(|_| !is_expired),
            is_expired,
            is_lent: false,
        });
        if is_expired {
            self.tombs += 1;
            self.bury(bounds.messages);
            return Arrival::Expired;
        }
        Arrival::Whole
    }

    /// Checks what a message will be before memory is taken for it.
    fn begin(&self, now: Instant, data: Data, bounds: Bounds) -> Option<Assembly> {
        let size = data
            .parts
            .iter()
            .try_fold(0_u64, |sum, len| sum.checked_add(*len))?;
        let is_small = self.held.len() == self.tombs
            || (self.held.len() - self.tombs < bounds.messages as usize
                && self.bytes.saturating_add(size) <= bounds.bytes);
        let has_content = !data.parts.is_empty() || data.expired;
        if size > bounds.message
            || data.parts.len() > MAX_PARTS
            || data.offset >= MAX_OFFSET
            || !is_small
            || !has_content
        {
            return None;
        }
        let lens = if data.expired { Few::new() } else { data.parts };
        Some(Assembly {
            offset: data.offset,
            tag: data.tag,
            codec: data.codec,
            expires: data
                .ttl
                .and_then(|ttl| now.checked_add(Duration::from_millis(ttl))),
            size: if data.expired { 0 } else { size },
            at: 0,
            parts: Few::new(),
            lens,
            partial: Gathering::default(),
        })
    }

    /// Whether there is a message with this tag, or one without; if so, whether it has expired.
    pub(crate) fn peek(&self, tag: Option<&Tag>) -> Option<bool> {
        let stale = self.stale.iter().map(|(_, held)| held);
        stale
            .chain(&self.held)
            .find(|held| held.is_for(tag))
            .map(|held| held.is_expired)
    }

    /// Takes the first message with this tag, or the first without one.
    pub(crate) fn take(&mut self, tag: Option<&Tag>) -> Option<Taken> {
        if let Some(index) = self.stale.iter().position(|(_, held)| held.is_for(tag)) {
            let (epoch, held) = self.stale.remove(index)?;
            return Some(held.taken(Some(epoch), true));
        }
        let index = self.held.iter().position(|held| held.is_for(tag))?;
        let held = self.remove(index)?;
        Some(held.taken(self.epoch, false))
    }

    /// As [`take`](Inflow::take), but the message stays here until it is [acknowledged](Inflow::acknowledge), unless there
    /// is only the mark of one.
    pub(crate) fn lend(&mut self, tag: Option<&Tag>) -> Option<Taken> {
        if self.peek(tag)? {
            return self.take(tag);
        }
        let stale = self
            .stale
            .iter_mut()
            .map(|(epoch, held)| (Some(*epoch), true, held));
        let held = self.held.iter_mut().map(|held| (self.epoch, false, held));
        let (epoch, is_stale, held) = stale.chain(held).find(|(.., held)| held.is_for(tag))?;
        held.is_lent = true;
        Some(Taken {
            offset: held.offset,
            epoch,
            is_stale,
            letter: Some(held.letter.clone()),
            is_lost: false,
        })
    }

    /// The program needs no more of a message that was lent to it. Whether its sender waits for its end.
    pub(crate) fn acknowledge(&mut self, epoch: Option<u64>, offset: u64) -> bool {
        let is_it = |held: &Held| held.offset == offset && held.is_lent;
        if epoch == self.epoch {
            let index = self.held.iter().position(is_it);
            return index.and_then(|index| self.remove(index)).is_some();
        }
        self.stale
            .retain(|(old, held)| Some(*old) != epoch || !is_it(held));
        false
    }

    /// Whether a message with this tag, or one without, is lent.
    pub(crate) fn has_lent(&self, tag: Option<&Tag>) -> bool {
        let mut all = self.stale.iter().map(|(_, held)| held).chain(&self.held);
        all.any(|held| held.is_lent && held.letter.tag.as_ref() == tag)
    }

    /// The program has not done with a message what it got it for: who asks next gets it. Whether it is still here.
    pub(crate) fn give_back(&mut self, epoch: Option<u64>, offset: u64) -> bool {
        let own = self.epoch;
        let stale = self.stale.iter_mut().map(|(epoch, held)| (Some(*epoch), held));
        let mut all = stale.chain(self.held.iter_mut().map(|held| (own, held)));
        let lent = all.find(|(of, held)| *of == epoch && held.offset == offset && held.is_lent);
        lent.map(|(_, held)| held.is_lent = false).is_some()
    }

    fn remove(&mut self, index: usize) -> Option<Held> {
        let held = self.held.remove(index)?;
        self.bytes -= held.size;
        self.tombs -= usize::from(held.is_expired);
        Some(held)
    }

    /// Forgets messages with lower offsets, and says which of them the sender still keeps.
    pub(crate) fn skip_to(&mut self, next: u64) -> Vec<u64> {
        let end = self.held.partition_point(|held| held.offset < next);
        let mut skipped = Vec::new();
        for held in self.held.drain(..end) {
            self.bytes -= held.size;
            self.tombs -= usize::from(held.is_expired);
            skipped.extend((!held.is_expired).then_some(held.offset));
        }
        if self
            .assembly
            .as_ref()
            .is_none_or(|assembly| assembly.offset >= next)
        {
            self.next = self.next.max(next);
        }
        skipped
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        let timed = self.held.iter().take_while(|_| self.is_timed);
        let stale = self.stale.iter().map(|(_, held)| held);
        let stale = stale.take_while(|_| self.is_timed);
        let waiting = timed.chain(stale).filter(|held| !held.is_lent);
        waiting.filter_map(|held| held.expires).min()
    }

    /// When the message expires that has come last.
    pub(crate) fn last_expires(&self) -> Option<Instant> {
        self.held.back()?.expires
    }

    /// Drops the content of what has waited too long, and says which messages these are.
    pub(crate) fn expire(&mut self, now: Instant, messages: u32) -> Vec<u64> {
        let mut expired = Vec::new();
        if !self.is_timed {
            return expired;
        }
        for held in &mut self.held {
            if held.is_over(now) {
                self.bytes -= held.give_up();
                expired.push(held.offset);
            }
        }
        for (_, held) in &mut self.stale {
            if held.is_over(now) {
                held.give_up();
                self.expired += 1;
            }
        }
        self.expired += expired.len() as u64;
        self.tombs += expired.len();
        self.bury(messages);
        expired
    }

    /// Nobody may ever ask for what has expired: of that, only the last ones are remembered.
    fn bury(&mut self, messages: u32) {
        while self.tombs > messages as usize
            && let Some(oldest) = self.held.iter().position(|held| held.is_expired)
        {
            self.held.remove(oldest);
            self.tombs -= 1;
        }
    }

    pub(crate) fn is_held(&self, offset: u64) -> bool {
        self.held
            .binary_search_by_key(&offset, |held| held.offset)
            .is_ok()
    }

    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.stale.clear();
        self.assembly = None;
        (self.bytes, self.tombs) = (0, 0);
    }
}

impl Held {
    /// Whether who asks for this tag, or for none, gets it.
    fn is_for(&self, tag: Option<&Tag>) -> bool {
        !self.is_lent && self.letter.tag.as_ref() == tag
    }

    /// Whether it has waited too long. What the program has in its hands does not wait.
    fn is_over(&self, now: Instant) -> bool {
        !self.is_lent && self.expires.is_some_and(|at| now >= at)
    }

    fn taken(self, epoch: Option<u64>, is_stale: bool) -> Taken {
        Taken {
            offset: self.offset,
            epoch,
            is_stale,
            is_lost: self.is_expired && self.letter.codec == LOST,
            letter: (!self.is_expired).then_some(self.letter),
        }
    }

    /// Drops the content and returns its size.
    fn give_up(&mut self) -> u64 {
        self.expires = None;
        self.is_expired = true;
        self.letter.codec = 0;
        self.letter.parts.clear();
        std::mem::take(&mut self.size)
    }
}

impl Assembly {
    /// Adds the next piece, which must not reach over the end of a part.
    fn add(&mut self, piece: Bytes, kept: &Arc<Kept>) -> bool {
        self.fill_empty();
        let Some(len) = self.lens.get(self.parts.len()).map(|len| *len as usize) else {
            return false;
        };
        let is_whole = self.partial.is_empty() && piece.len() == len;
        if piece.is_empty() || piece.len() > len - self.partial.len() {
            return false;
        }
        self.at += piece.len() as u64;
        if is_whole {
            self.parts.push(piece);
            return true;
        }
        self.partial.add(&piece, len, kept);
        if self.partial.len() == len {
            self.parts.push(self.partial.take());
        }
        true
    }

    fn fill_empty(&mut self) {
        while self.partial.is_empty() && self.lens.get(self.parts.len()) == Some(&0) {
            self.parts.push(Bytes::new());
        }
    }
}
