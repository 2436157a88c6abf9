//! The sending end of a flow: what waits, what is on its way, and who lacks what.

mod awaited;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::inflow::Report;
use super::pace::Pace;
use super::receiver::{Place, Receiver};
use super::record::RecordKind;
use super::stream::Stream;
use crate::group::MemberId;

/// The sending end of a flow.
#[derive(Debug)]
pub(crate) struct Outflow {
    settings: Settings,
    stream: Stream,
    receivers: Vec<Receiver>,
    /// Beside each segment that the stream keeps.
    sent: VecDeque<Sent>,
    /// Segments to be sent again.
    repairs: VecDeque<u64>,
    /// Packets that asked for a report, and when they were sent.
    probes: VecDeque<(u64, Instant)>,
    /// Segments since one last asked for a report.
    unasked: u64,
    pace: Pace,
    /// Below which segment new ones may be sent now.
    limit: u64,
    next_number: u64,
    /// Receivers that went without having had everything.
    missed: VecDeque<Missed>,
    /// When silence means loss.
    timeout: Option<Instant>,
    silences: u32,
    counters: OutflowCounters,
}

/// How an outflow behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes in a segment, at most.
    pub(crate) segment: usize,
    /// Segments that may be on their way at once.
    pub(crate) window: u64,
    /// How many receivers must have a segment before the window moves on; all, if `None`.
    pub(crate) quorum: Option<usize>,
    /// Whether receivers that are not waited for skip what they have not got, once they lag by two windows.
    pub(crate) skip: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutflowCounters {
    pub(crate) segments: u64,
    pub(crate) repairs: u64,
    pub(crate) syncs: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    repaired: bool,
    wanted: Wanted,
}

/// Who lacks a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    No,
    By(MemberId),
    BySeveral,
}

/// Messages that a receiver did not get.
#[derive(Clone, Copy, Debug)]
struct Missed {
    member: MemberId,
    first: u64,
    /// One above the last.
    end: u64,
}

/// Whom a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All receivers.
    All,
    /// One of them.
    One(MemberId),
}

/// What is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A segment, whose bytes [`Outflow::payload`] gives.
    Segment {
        number: u64,
        target: Target,
        /// A report is wanted at once.
        answer: bool,
        repair: bool,
    },
    /// How far the flow went; with `start`, where it begins for this one receiver.
    Sync {
        target: Target,
        start: Option<u64>,
        next: u64,
    },
}

impl Outflow {
    const MAX_MISSED: usize = 1024;
    const MAX_PROBES: usize = 64;
    const LONGEST_SILENCE: Duration = Duration::from_millis(500);

    pub(crate) fn new(settings: Settings) -> Self {
        Outflow {
            stream: Stream::new(settings.segment),
            settings,
            receivers: Vec::new(),
            sent: VecDeque::new(),
            repairs: VecDeque::new(),
            probes: VecDeque::new(),
            unasked: 0,
            pace: Pace::new(),
            limit: u64::MAX,
            next_number: 0,
            missed: VecDeque::new(),
            timeout: None,
            silences: 0,
            counters: OutflowCounters::default(),
        }
    }

    /// Adds a message or a part of one; returns its number.
    pub(crate) fn push(&mut self, kind: RecordKind, body: Bytes) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.stream.push(number, kind, body);
        if self.is_unheard() {
            self.discard();
        }
        number
    }

    /// Whether there is nobody to send to.
    fn is_unheard(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Drops what nobody is there to receive.
    fn discard(&mut self) {
        while self.stream.cut(None).is_some() {}
        self.stream.release(self.stream.next_segment());
        self.sent.clear();
        self.repairs.clear();
        self.timeout = None;
    }

    /// Adds a receiver: it gets every message that begins from now on.
    pub(crate) fn add_receiver(&mut self, id: MemberId) {
        if self.receives(id) {
            return;
        }
        let place = self.new_place();
        self.receivers.push(Receiver::new(id, place));
        self.update_limit();
    }

    pub(crate) fn receives(&self, id: MemberId) -> bool {
        self.receivers.iter().any(|receiver| receiver.id == id)
    }

    /// Removes a receiver, and remembers which messages it did not get.
    pub(crate) fn remove_receiver(&mut self, now: Instant, id: MemberId) {
        let Some(index) = self.receivers.iter().position(|receiver| receiver.id == id) else {
            return;
        };
        let receiver = self.receivers.swap_remove(index);
        if let Some(next) = receiver.place.next() {
            self.note_missed(id, next, self.next_number);
        }
        if self.is_unheard() {
            self.discard();
        } else {
            self.release(now);
        }
    }

    /// Everything below was delivered, or given up because the receiver is gone.
    pub(crate) fn settled(&self) -> u64 {
        self.stream.oldest().unwrap_or(self.next_number)
    }

    /// Who went without having had message `number`.
    pub(crate) fn missed(&self, number: u64) -> impl Iterator<Item = MemberId> {
        self.missed
            .iter()
            .filter(move |missed| (missed.first..missed.end).contains(&number))
            .map(|missed| missed.member)
    }

    /// Bytes of messages that are kept, sent or not.
    pub(crate) fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    /// A receiver reports; `echo` is the newest packet that it had seen, and how long ago.
    pub(crate) fn handle_report(
        &mut self,
        now: Instant,
        from: MemberId,
        report: &Report,
        echo: (u64, Duration),
    ) {
        let end = self.stream.next_segment();
        let Some(receiver) = self.receivers.iter_mut().find(|receiver| receiver.id == from) else {
            return;
        };
        if report.unknown {
            if let Place::Start { announced, .. } = &mut receiver.place {
                *announced = false;
            }
            return;
        }
        if let Some((_, at)) = self.probes.iter().find(|(number, _)| *number == echo.0) {
            receiver
                .rtt
                .add(now.saturating_duration_since(*at).saturating_sub(echo.1));
        }
        let (before, edge) = match receiver.place {
            Place::After(_) => return,
            Place::Start { segment, .. } => (segment, 0),
            Place::At { next, edge } => (next, edge),
        };
        if report.next < before || report.next > end {
            // An old one that came late, or one about something that was never sent.
            return;
        }
        receiver.place = Place::At {
            next: report.next,
            edge: edge.max(report.edge),
        };
        let rtt = receiver.rtt.smoothed();
        if report.next > before {
            self.silences = 0;
            receiver.blocks_since = None;
        }
        self.want(now, from, report, rtt);
        self.release(now);
        self.rearm(now);
    }

    /// Takes note of the segments that a receiver lacks.
    fn want(&mut self, now: Instant, from: MemberId, report: &Report, rtt: Duration) {
        let (first, end) = (self.stream.first_segment(), self.stream.next_segment());
        for number in report.missing.iter().flat_map(|run| run.numbers()) {
            if !(first..end).contains(&number) {
                continue;
            }
            let sent = &mut self.sent[(number - first) as usize];
            if sent.repaired && now < sent.at + rtt {
                // It may not have seen the repair yet.
                continue;
            }
            match sent.wanted {
                Wanted::No => {
                    sent.wanted = Wanted::By(from);
                    self.repairs.push_back(number);
                }
                Wanted::By(other) if other != from => sent.wanted = Wanted::BySeveral,
                Wanted::By(_) | Wanted::BySeveral => {}
            }
        }
    }

    /// Forgets what all receivers have.
    fn release(&mut self, now: Instant) {
        let end = self.stream.next_segment();
        let base = self
            .receivers
            .iter()
            .filter_map(|receiver| receiver.place.next())
            .min()
            .unwrap_or(end);
        let before = self.stream.first_segment();
        if base > before {
            self.stream.release(base);
            self.sent.drain(..((base - before) as usize).min(self.sent.len()));
        }
        let held = self.held();
        let rtt = self
            .receivers
            .iter()
            .filter_map(|receiver| receiver.rtt.least())
            .max();
        self.pace.handle_progress(now, held, end, rtt);
        self.update_limit();
    }

    /// What is to be sent next. `number` is the packet that will carry it.
    pub(crate) fn poll_piece(&mut self, now: Instant, number: u64) -> Option<Piece> {
        if let Some(piece) = self.poll_start() {
            self.counters.syncs += 1;
            self.rearm(now);
            return Some(piece);
        }
        if let Some(piece) = self.poll_repair(now, number) {
            self.counters.repairs += 1;
            return Some(piece);
        }
        let piece = self.poll_new(now, number);
        self.counters.segments += u64::from(piece.is_some());
        piece
    }

    /// Tells a new receiver where to begin.
    fn poll_start(&mut self) -> Option<Piece> {
        let next = self.stream.next_segment();
        self.receivers.iter_mut().find_map(|receiver| {
            let Place::Start { segment, announced } = &mut receiver.place else {
                return None;
            };
            let start = Some(*segment);
            (!std::mem::replace(announced, true)).then_some(Piece::Sync {
                target: Target::One(receiver.id),
                start,
                next,
            })
        })
    }

    fn poll_repair(&mut self, now: Instant, packet: u64) -> Option<Piece> {
        loop {
            let number = self.repairs.pop_front()?;
            let Some(index) = number.checked_sub(self.stream.first_segment()) else {
                continue;
            };
            let Some(sent) = self.sent.get_mut(index as usize) else {
                continue;
            };
            let target = match std::mem::replace(&mut sent.wanted, Wanted::No) {
                Wanted::No => continue,
                Wanted::By(member) => Target::One(member),
                Wanted::BySeveral => Target::All,
            };
            sent.at = now;
            sent.repaired = true;
            let answer = self.repairs.is_empty();
            if answer {
                self.probe(now, packet);
            }
            return Some(Piece::Segment {
                number,
                target,
                answer,
                repair: true,
            });
        }
    }

    fn poll_new(&mut self, now: Instant, packet: u64) -> Option<Piece> {
        if !self.stream.has_uncut() {
            return None;
        }
        if self.stream.next_segment() >= self.limit && !self.skip_laggards(now) {
            self.pace.note_limited();
            self.note_blocked(now);
            return None;
        }
        let boundary = self
            .receivers
            .iter()
            .filter_map(|receiver| match receiver.place {
                Place::After(position) => Some(position),
                _ => None,
            })
            .min();
        let number = self.stream.cut(boundary)?;
        self.sent.push_back(Sent {
            at: now,
            repaired: false,
            wanted: Wanted::No,
        });
        self.begin_late(number + 1);
        self.unasked += 1;
        let last = !self.stream.has_uncut() || number + 1 >= self.limit;
        let answer = last || self.unasked >= (self.pace.window() / 4).max(16);
        if answer {
            self.probe(now, packet);
        }
        if self.timeout.is_none() {
            self.rearm(now);
        }
        Some(Piece::Segment {
            number,
            target: Target::All,
            answer,
            repair: false,
        })
    }

    /// Where a receiver begins that begins now.
    fn new_place(&self) -> Place {
        match self.stream.boundary() {
            Some(end) => Place::After(end),
            None => Place::Start {
                segment: self.stream.next_segment(),
                announced: false,
            },
        }
    }

    /// Takes note that a receiver does not get what it lacks from segment `next` on, below message `end`.
    fn note_missed(&mut self, member: MemberId, next: u64, end: u64) {
        if let Some(first) = self.stream.oldest_from(next)
            && first < end
        {
            if self.missed.len() == Self::MAX_MISSED {
                self.missed.pop_front();
            }
            self.missed.push_back(Missed { member, first, end });
        }
    }

    /// Lets those begin with segment `next` who waited for the end of a record that was just cut.
    fn begin_late(&mut self, next: u64) {
        let position = self.stream.position();
        let mut late = false;
        for receiver in &mut self.receivers {
            if receiver.place == Place::After(position) {
                receiver.place = Place::Start {
                    segment: next,
                    announced: false,
                };
                late = true;
            }
        }
        if late {
            self.update_limit();
        }
    }

    fn probe(&mut self, now: Instant, packet: u64) {
        self.unasked = 0;
        if self.probes.len() == Self::MAX_PROBES {
            self.probes.pop_front();
        }
        self.probes.push_back((packet, now));
    }

    /// Segment `number`: where it lies, or else copied into `room`, which is as large as a whole one.
    pub(crate) fn payload<'a>(&'a mut self, number: u64, room: &'a mut [u8]) -> Option<&'a [u8]> {
        if let Some(place) = self.stream.place(number) {
            return Some(self.stream.at(place));
        }
        let len = self.stream.copy(number, room)?;
        Some(&room[..len])
    }

    /// Waits for news again, if there is something on its way.
    fn rearm(&mut self, now: Instant) {
        let next = self.stream.next_segment();
        let slowest = self
            .receivers
            .iter()
            .filter(|receiver| match receiver.place {
                Place::After(_) => false,
                Place::Start { .. } => true,
                Place::At { next: at, .. } => at < next,
            })
            .map(|receiver| receiver.rtt.timeout())
            .max();
        self.timeout = slowest.map(|timeout| {
            let timeout = timeout * 2_u32.pow(self.silences.min(8));
            now + timeout.min(Self::LONGEST_SILENCE)
        });
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// Nothing was heard for too long: asks those who lack something.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ask: &mut Vec<Piece>) {
        if self.timeout.is_none_or(|timeout| timeout > now) {
            return;
        }
        self.silences += 1;
        let next = self.stream.next_segment();
        for receiver in &self.receivers {
            let start = match receiver.place {
                Place::After(_) => continue,
                Place::Start { segment, .. } => Some(segment),
                Place::At { next: at, .. } if at < next => None,
                Place::At { .. } => continue,
            };
            self.counters.syncs += 1;
            ask.push(Piece::Sync {
                target: Target::One(receiver.id),
                start,
                next,
            });
        }
        self.rearm(now);
    }

    /// Whether there is something that [`poll_piece`](Self::poll_piece) would give.
    pub(crate) fn has_work(&self) -> bool {
        !self.repairs.is_empty()
            || (self.stream.has_uncut() && self.stream.next_segment() < self.limit)
            || self
                .receivers
                .iter()
                .any(|receiver| matches!(receiver.place, Place::Start { announced: false, .. }))
    }

    #[cfg(test)]
    pub(crate) fn counters(&self) -> OutflowCounters {
        self.counters
    }
}
