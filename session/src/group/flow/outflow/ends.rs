//! The two ends of a flow: where it begins, and who lacks something when it is over.

use std::ops::Range;
use std::time::Instant;

use super::Outflow;
use crate::group::MemberId;
use crate::group::flow::receiver::Place;

/// Where a flow begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Number of its first segment.
    pub(crate) segment: u64,
    /// Number of its first record.
    pub(crate) number: u64,
}

impl Begin {
    /// How far one flow begins from where the one before it ended, at least: more segments than a window ever holds. A
    /// multiple of the segments in a block.
    const APART: u64 = 1 << 32;
    /// No flow begins here, or later: segments are still to be numbered.
    const LAST: u64 = 1 << 61;
}

impl Outflow {
    /// Begins where another flow ended that nobody may take this for.
    pub(crate) fn begin_at(&mut self, begin: Begin) {
        self.stream.begin_at(begin.segment);
        self.next_number = begin.number;
    }

    /// Where a flow begins that nobody can take for this one: further on than any receiver of this one will ever take
    /// something. `None` once all numbers are used up.
    pub(crate) fn beyond(&self) -> Option<Begin> {
        let segment = (self.stream.next_segment() / Begin::APART + 2) * Begin::APART;
        (segment < Begin::LAST).then_some(Begin {
            segment,
            number: self.next_number,
        })
    }

    /// Gives up on those who have not confirmed everything, the newest record, which says that this is the end, with the
    /// rest. Returns who they are, and below which segment each must have everything in order to miss nothing but that
    /// record: 0 if nothing else was sent to it, all ones if nobody can have everything.
    pub(crate) fn give_up(&mut self, now: Instant) -> Vec<(MemberId, u64)> {
        let end = self.stream.first_of_newest().unwrap_or(u64::MAX);
        let newest = self.next_number.saturating_sub(1);
        let lacking = self.receivers.iter().filter_map(|receiver| {
            let first = self.first_lacking(receiver.place)?;
            Some((receiver.id, if first < newest { end } else { 0 }))
        });
        let lacking: Vec<_> = lacking.collect();
        for (member, _) in &lacking {
            self.remove_receiver(now, *member);
        }
        lacking
    }

    /// The first record of which a receiver there lacks something.
    pub(super) fn first_lacking(&self, place: Place) -> Option<u64> {
        match place {
            Place::After(position) => self.stream.first_after(position),
            Place::Start { segment: next, .. } | Place::At { next, .. } => self.stream.oldest_from(next),
        }
    }

    /// Who went without having had some messages, and which those are: the first, and one above the last.
    pub(crate) fn all_missed(&self) -> impl Iterator<Item = (MemberId, Range<u64>)> {
        self.missed
            .iter()
            .map(|missed| (missed.member, missed.first..missed.end))
    }
}
