//! What a receiver keeps so that parity can give it what it lacks.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::budget::Budget;
use super::parity::Parity;

/// Parity over a block, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParityPacket<'a> {
    /// The first segment of the block.
    pub(crate) base: u64,
    /// How many there are.
    pub(crate) count: u8,
    pub(crate) index: u8,
    pub(crate) payload: &'a [u8],
    /// A report is wanted at once.
    pub(crate) answer: bool,
}

/// What a receiver keeps so that parity can give it what it lacks: parities over blocks that are not whole yet, and
/// the last segments that were passed on.
///
/// Nothing is kept before the first parity has come, nor for long after the last. The memory is that part of the
/// receive budget which messages leave; where they need it, all is dropped, and what is missing is sent again as it is.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The segments before the next one, oldest first.
    passed: VecDeque<Bytes>,
    /// Segments that were passed on since a parity last came; nothing is kept if there are too many, or was none.
    idle: Option<u64>,
    sets: Vec<Set>,
    /// What of the budget is used.
    held: u64,
}

/// Parities over the same segments.
#[derive(Debug)]
struct Set {
    base: u64,
    end: u64,
    len: usize,
    parities: Vec<(usize, Bytes)>,
}

impl Recovery {
    /// Blocks with parities that may wait for more.
    const MAX_SETS: usize = 64;
    /// Segments after which no more parity is expected.
    const LONGEST_IDLE: u64 = 1 << 14;
    /// What a kept piece costs beside its bytes.
    const PIECE: u64 = 64;

    fn keep(&mut self, bytes: &[u8], budget: &mut Budget) -> Option<Bytes> {
        let cost = bytes.len() as u64 + Self::PIECE;
        if !budget.take_spare(cost) {
            return None;
        }
        self.held += cost;
        Some(Bytes::copy_from_slice(bytes))
    }

    fn drop_piece(&mut self, bytes: &Bytes, budget: &mut Budget) {
        let cost = bytes.len() as u64 + Self::PIECE;
        self.held -= cost;
        budget.give_back_spare(cost);
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, budget: &mut Budget) {
        budget.give_back_spare(std::mem::take(&mut self.held));
        self.passed.clear();
        self.sets.clear();
        self.idle = None;
    }

    /// The next segment is passed on.
    pub(super) fn note_passed(&mut self, segment: &[u8], budget: &mut Budget) {
        let Some(idle) = &mut self.idle else {
            return;
        };
        *idle += 1;
        if *idle > Self::LONGEST_IDLE {
            return self.clear(budget);
        }
        if self.passed.len() as u64 >= Parity::BLOCK - 1
            && let Some(oldest) = self.passed.pop_front()
        {
            self.drop_piece(&oldest, budget);
        }
        match self.keep(segment, budget) {
            Some(kept) => self.passed.push_back(kept),
            None => self.clear(budget),
        }
    }

    /// Parity has come for a block in which something at or above `next` is missing; true if it is of use.
    pub(super) fn add(&mut self, next: u64, packet: &ParityPacket<'_>, budget: &mut Budget) -> bool {
        self.idle = Some(0);
        let (base, end) = (packet.base, packet.base + u64::from(packet.count));
        let len = packet.payload.len();
        let index = usize::from(packet.index);
        if base + (self.passed.len() as u64) < next || !is_sound(packet) {
            return false;
        }
        let known = |set: &Set| (set.base, set.end) == (base, end);
        let place = self.sets.iter().position(known);
        let fits = match place {
            Some(place) => {
                let set = &self.sets[place];
                set.len == len && set.parities.iter().all(|(other, _)| *other != index)
            }
            None => self.sets.len() < Self::MAX_SETS,
        };
        let Some(parity) = fits.then(|| self.keep(packet.payload, budget)).flatten() else {
            return false;
        };
        match place {
            Some(place) => self.sets[place].parities.push((index, parity)),
            None => self.sets.push(Set {
                base,
                end,
                len,
                parities: vec![(index, parity)],
            }),
        }
        true
    }

    /// Whether parities wait for something.
    pub(super) fn is_waiting(&self) -> bool {
        !self.sets.is_empty()
    }

    /// Segments that are missing but need not be sent again, because as many parities are here.
    pub(super) fn covered(&self, next: u64, is_early: impl Fn(u64) -> bool) -> Vec<Range<u64>> {
        let covered = self.sets.iter().filter_map(|set| {
            let missing = (set.base.max(next)..set.end)
                .rev()
                .filter(|number| !is_early(*number));
            let first = missing.take(set.parities.len()).last()?;
            Some(first..set.end)
        });
        covered.collect()
    }

    /// Segments that parity gives back, now that everything below `next` has come and what `early` knows.
    pub(super) fn rebuild<'a>(
        &mut self,
        next: u64,
        early: impl Fn(u64) -> Option<&'a Bytes>,
        budget: &mut Budget,
    ) -> Vec<(u64, Vec<u8>)> {
        let mut rebuilt = Vec::new();
        let mut index = 0;
        while let Some(set) = self.sets.get(index) {
            let is_missing = |number: &u64| early(*number).is_none();
            let missing = (set.base.max(next)..set.end).filter(is_missing).count();
            let is_whole = missing == 0;
            let oldest = next - (self.passed.len() as u64).min(next);
            let is_lost = set.base < oldest;
            if !is_whole && !is_lost && missing > set.parities.len() {
                index += 1;
                continue;
            }
            let set = self.sets.swap_remove(index);
            if !is_whole && !is_lost && budget.has_spare(Parity::work(set.len)) {
                rebuilt.extend(self.decode(&set, next, oldest, missing, &early));
            }
            for (_, parity) in &set.parities {
                self.drop_piece(parity, budget);
            }
        }
        rebuilt
    }

    fn decode<'a>(
        &self,
        set: &Set,
        next: u64,
        oldest: u64,
        missing: usize,
        early: impl Fn(u64) -> Option<&'a Bytes>,
    ) -> Vec<(u64, Vec<u8>)> {
        let passed = (set.base..next.min(set.end)).map(|number| {
            let kept = &self.passed[(number - oldest) as usize];
            ((number - set.base) as usize, &kept[..])
        });
        let later = (set.base.max(next)..set.end)
            .filter_map(|number| Some(((number - set.base) as usize, &early(number)?[..])));
        let parities = set.parities[..missing]
            .iter()
            .map(|(index, parity)| (*index, &parity[..]));
        let count = (set.end - set.base) as usize;
        let decoded = Parity::decode(count, passed.chain(later), parities, set.len);
        let decoded = decoded.unwrap_or_default().into_iter();
        decoded
            .map(|(place, segment)| (set.base + place as u64, segment))
            .collect()
    }
}

/// Whether the session makes such parity.
fn is_sound(packet: &ParityPacket<'_>) -> bool {
    let len = packet.payload.len();
    (2..=Parity::BLOCK).contains(&u64::from(packet.count))
        && usize::from(packet.index) < Parity::MOST
        && len >= Parity::SHORTEST
        && len.is_multiple_of(2)
}
