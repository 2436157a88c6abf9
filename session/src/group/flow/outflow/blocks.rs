//! Which blocks of segments are repaired by parity.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::repair::is_under_way;
use super::{Outflow, Piece, Target};
use crate::group::MemberId;
use crate::group::flow::parity::Parity;

/// Blocks of which receivers lack something, and parities that are to be sent.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    lacking: BTreeMap<u64, Block>,
    /// Blocks of which enough is known to repair them.
    ripe: VecDeque<u64>,
    encoded: Option<Encoded>,
}

/// A block of which receivers lack something.
#[derive(Debug, Default)]
struct Block {
    /// Who lacks what: a bit for each segment.
    lacks: Vec<(MemberId, u64)>,
    /// When the first asked, unless what they asked for was sent.
    asked_at: Option<Instant>,
    /// When parity was last sent, and in which packet.
    sent: Option<(Instant, u64)>,
    rounds: u32,
    /// Where the parities begin that were sent, and how many there were.
    base: u64,
    used: usize,
    is_ripe: bool,
}

/// Parities over a block that are being sent.
#[derive(Debug)]
struct Encoded {
    block: u64,
    base: u64,
    count: u8,
    /// Of all that there are, those not to be sent now are empty.
    parities: Vec<Vec<u8>>,
    next: usize,
    end: usize,
}

impl Blocks {
    /// Whether there is something to be sent.
    pub(super) fn has_work(&self) -> bool {
        !self.ripe.is_empty()
            || self
                .encoded
                .as_ref()
                .is_some_and(|encoded| encoded.next < encoded.end)
    }

    /// Forgets blocks of which all receivers have everything: all below segment `first`.
    pub(super) fn release(&mut self, first: u64) {
        while let Some(entry) = self.lacking.first_entry()
            && (entry.key() + 1) * Parity::BLOCK <= first
        {
            entry.remove();
        }
    }

    pub(super) fn forget(&mut self, member: MemberId) {
        for block in self.lacking.values_mut() {
            block.lacks.retain(|(other, _)| *other != member);
        }
    }
}

impl Outflow {
    /// How often a block is repaired by parity; then what is missing is sent as it is, for those who keep nothing to
    /// decode with.
    const PARITY_ROUNDS: u32 = 4;

    /// Whether there are enough receivers for parity.
    pub(super) fn uses_parity(&self) -> bool {
        self.settings
            .parity_from
            .is_some_and(|from| self.receivers.len() >= from)
    }

    /// A receiver lacks a segment; false if parity is nothing for its block.
    pub(super) fn want_in_block(
        &mut self,
        now: Instant,
        from: MemberId,
        number: u64,
        echo: u64,
        rtt: Duration,
    ) -> bool {
        let block = number / Parity::BLOCK;
        if (block + 1) * Parity::BLOCK > self.stream.next_segment() {
            return false;
        }
        let entry = self.blocks.lacking.entry(block).or_default();
        if entry.rounds == Self::PARITY_ROUNDS {
            return false;
        }
        if entry.sent.is_some_and(|sent| is_under_way(now, sent, echo, rtt)) {
            return true;
        }
        let bit = 1 << (number % Parity::BLOCK);
        match entry.lacks.iter_mut().find(|(member, _)| *member == from) {
            Some((_, lacks)) => *lacks |= bit,
            None => entry.lacks.push((from, bit)),
        }
        entry.asked_at.get_or_insert(now);
        true
    }

    /// How long others may take to ask for what one has asked for.
    fn gathering(&self) -> Duration {
        let all = self.receivers.iter().map(|receiver| receiver.rtt.smoothed());
        let slowest = all.max().unwrap_or_default();
        (slowest / 2).clamp(Duration::from_micros(100), Duration::from_millis(5))
    }

    /// Finds the blocks of which all have told what they lack, or had the time to.
    pub(super) fn ripen(&mut self, now: Instant) {
        if self.blocks.lacking.is_empty() {
            return;
        }
        let gathering = self.gathering();
        let known = self.least_known;
        for (number, block) in &mut self.blocks.lacking {
            let Some(asked_at) = block.asked_at else {
                continue;
            };
            let all_have = block.rounds == 0 && known >= (number + 1) * Parity::BLOCK;
            if !block.is_ripe && (all_have || now >= asked_at + gathering) {
                block.is_ripe = true;
                self.blocks.ripe.push_back(*number);
            }
        }
    }

    /// When the next block is ripe.
    pub(super) fn ripens_at(&self) -> Option<Instant> {
        let waiting = self.blocks.lacking.values().filter(|block| !block.is_ripe);
        let first = waiting.filter_map(|block| block.asked_at).min()?;
        Some(first + self.gathering())
    }

    /// Parity that is to be sent now.
    pub(super) fn poll_parity(&mut self, now: Instant, packet: u64) -> Option<Piece> {
        loop {
            if let Some(encoded) = &mut self.blocks.encoded
                && encoded.next < encoded.end
            {
                let index = encoded.next;
                encoded.next += 1;
                if let Some(block) = self.blocks.lacking.get_mut(&encoded.block) {
                    block.sent = Some((now, packet));
                }
                return Some(Piece::Parity {
                    base: encoded.base,
                    count: encoded.count,
                    index: index as u8,
                    answer: encoded.next == encoded.end,
                });
            }
            let number = self.blocks.ripe.pop_front()?;
            self.repair_block(number);
        }
    }

    /// The bytes of parity `index` of the block that begins at `base`.
    pub(crate) fn parity(&self, base: u64, index: u8) -> Option<&[u8]> {
        let encoded = self.blocks.encoded.as_ref()?;
        let parity = encoded.parities.get(usize::from(index))?;
        (encoded.base == base && !parity.is_empty()).then_some(parity)
    }

    /// Repairs a block as it costs least: with parity, or with what is missing.
    fn repair_block(&mut self, number: u64) {
        let first = number * Parity::BLOCK;
        let base = first.max(self.stream.first_segment());
        let Some(block) = self.blocks.lacking.get_mut(&number) else {
            return;
        };
        block.is_ripe = false;
        block.asked_at = None;
        let kept = u64::MAX.checked_shl((base - first) as u32).unwrap_or(0);
        let mut lacks = std::mem::take(&mut block.lacks);
        lacks.iter_mut().for_each(|(_, bits)| *bits &= kept);
        let any = lacks.iter().fold(0, |any, (_, bits)| any | bits);
        let most = lacks.iter().map(|(_, bits)| bits.count_ones()).max().unwrap_or(0);
        if block.base != base {
            (block.base, block.used) = (base, 0);
        }
        let (begin, end) = (block.used, block.used + most as usize);
        // Who has not asked yet may lack something else: parity serves them, too, and they need not ask.
        let others = self.least_known < first + Parity::BLOCK;
        if (others || most < any.count_ones()) && most > 0 && end <= Parity::MOST {
            block.used = end;
            block.rounds += 1;
            if self.encode_block(number, base, begin, end) {
                return;
            }
        }
        for (member, bits) in lacks {
            let missing = (0..Parity::BLOCK).filter(|place| bits & (1 << place) != 0);
            missing.for_each(|place| self.want_again(first + place, member));
        }
    }

    /// Makes parities over a block, of which those from `begin` to `end` are to be sent.
    fn encode_block(&mut self, number: u64, base: u64, begin: usize, end: usize) -> bool {
        let numbers = base..(number + 1) * Parity::BLOCK;
        let mut segments = Vec::with_capacity(Parity::BLOCK as usize);
        for number in numbers {
            let mut segment = vec![0; self.settings.segment];
            let Some(len) = self.stream.copy(number, &mut segment) else {
                return false;
            };
            segment.truncate(len);
            segments.push(segment);
        }
        let Some(mut parities) = (segments.len() > 1).then(|| Parity::encode(&segments)).flatten() else {
            return false;
        };
        for (index, parity) in parities.iter_mut().enumerate() {
            if !(begin..end).contains(&index) {
                *parity = Vec::new();
            }
        }
        self.blocks.encoded = Some(Encoded {
            block: number,
            base,
            count: segments.len() as u8,
            parities,
            next: begin,
            end,
        });
        true
    }

    /// To whom goes what only one has asked for: all, if there are many and others may not know yet that they lack it.
    pub(super) fn target_of_one(&self, number: u64, member: MemberId) -> Target {
        match self.uses_parity() && self.least_known <= number {
            true => Target::All,
            false => Target::One(member),
        }
    }
}
