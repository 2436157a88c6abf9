//! What is sent again, and to whom.

use std::time::{Duration, Instant};

use super::{Outflow, Piece, Report, Target};
use crate::group::MemberId;

/// A segment that was sent and may be needed again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When it was last sent, in which packet, and to whom.
    at: Instant,
    packet: u64,
    target: Target,
    /// Whether that was not the first time.
    is_repair: bool,
    wanted: Wanted,
}

/// Who lacks a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    No,
    By(MemberId),
    BySeveral,
}

impl Sent {
    pub(super) fn new(now: Instant, packet: u64) -> Self {
        Sent {
            at: now,
            packet,
            target: Target::All,
            is_repair: false,
            wanted: Wanted::No,
        }
    }

    /// Whether it may still be on its way to `member`, whose newest packet is `echo`.
    fn is_under_way(&self, now: Instant, member: MemberId, echo: u64, rtt: Duration) -> bool {
        if self.target != Target::All && self.target != Target::One(member) {
            return false;
        }
        is_under_way(now, (self.at, self.packet), echo, rtt)
    }
}

/// Whether what was `sent` at a time in a packet may still be on its way to a member whose newest packet is `echo`.
pub(super) fn is_under_way(now: Instant, sent: (Instant, u64), echo: u64, rtt: Duration) -> bool {
    let (at, packet) = sent;
    // Packets to one and packets to all come by different ways, so that a later one may be the earlier.
    let patience = match echo > packet {
        true => rtt / 2,
        false => rtt + rtt / 2,
    };
    now < at + patience
}

impl Outflow {
    /// Takes note of the segments that a receiver lacks, whose newest packet is `echo`.
    pub(super) fn want(&mut self, now: Instant, from: MemberId, report: &Report, echo: u64, rtt: Duration) {
        let (first, end) = (self.stream.first_segment(), self.stream.next_segment());
        let by_parity = self.uses_parity();
        for number in report.missing.iter().flat_map(|run| run.numbers_in(first..end)) {
            let sent = &self.sent[(number - first) as usize];
            let under_way = sent.is_repair && sent.is_under_way(now, from, echo, rtt);
            let cared_for = under_way || (by_parity && self.want_in_block(now, from, number, echo, rtt));
            if !cared_for {
                self.want_again(number, from);
            }
        }
    }

    /// Sends a segment again, to a member at least.
    pub(super) fn want_again(&mut self, number: u64, from: MemberId) {
        let Some(index) = number.checked_sub(self.stream.first_segment()) else {
            return;
        };
        let Some(sent) = self.sent.get_mut(index as usize) else {
            return;
        };
        match sent.wanted {
            Wanted::No => {
                sent.wanted = Wanted::By(from);
                self.repairs.push_back(number);
            }
            Wanted::By(other) if other != from => sent.wanted = Wanted::BySeveral,
            Wanted::By(_) | Wanted::BySeveral => {}
        }
    }

    pub(super) fn poll_repair(&mut self, now: Instant, packet: u64) -> Option<Piece> {
        loop {
            let number = self.repairs.pop_front()?;
            let Some(index) = number.checked_sub(self.stream.first_segment()) else {
                continue;
            };
            let wanted = self.sent.get(index as usize).map(|sent| sent.wanted);
            let target = match wanted {
                None | Some(Wanted::No) => continue,
                Some(Wanted::By(member)) => self.target_of_one(number, member),
                Some(Wanted::BySeveral) => Target::All,
            };
            self.sent[index as usize] = Sent {
                at: now,
                packet,
                target,
                is_repair: true,
                wanted: Wanted::No,
            };
            let answer = self.repairs.is_empty();
            if answer {
                self.unasked = 0;
            }
            return Some(Piece::Segment {
                number,
                target,
                answer,
                repair: true,
            });
        }
    }
}
