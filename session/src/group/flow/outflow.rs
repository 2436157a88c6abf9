//! The sending end of a flow: what waits, what is on its way, and who lacks what.

mod awaited;
mod blocks;
mod ends;
mod repair;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::inflow::Report;
use super::pace::Pace;
use super::receiver::{Place, Receiver};
use super::record::RecordKind;
use super::rtt::Departures;
use super::stream::Stream;
use crate::group::MemberId;
use blocks::Blocks;
pub(crate) use ends::Begin;
use repair::Sent;

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
    blocks: Blocks,
    /// Below which segment every receiver has asked for what it lacks.
    least_known: u64,
    departures: Departures,
    /// Segments since one last asked for a report.
    unasked: u64,
    pace: Pace,
    /// Below which segment new ones may be sent now.
    limit: u64,
    next_number: u64,
    /// Whether somebody wanted to send more than may be kept, and waits for room.
    full: bool,
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
    /// By how many segments receivers that are not waited for lag before they skip what they have not got; they never do,
    /// if `None`.
    pub(crate) skip: Option<u64>,
    /// From how many receivers on what several lack is repaired by parity; never, if `None`.
    pub(crate) parity_from: Option<usize>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutflowCounters {
    pub(crate) segments: u64,
    pub(crate) repairs: u64,
    pub(crate) parities: u64,
    pub(crate) syncs: u64,
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
    /// Parity over `count` segments, whose bytes [`Outflow::parity`] gives. It is for all.
    Parity {
        base: u64,
        count: u8,
        index: u8,
        /// A report is wanted at once.
        answer: bool,
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
    const LONGEST_SILENCE: Duration = Duration::from_millis(500);
    /// How long one of the first questions waits for its answer.
    const QUICK_SILENCE: Duration = Duration::from_millis(20);
    const QUICK_QUESTIONS: u32 = 12;

    pub(crate) fn new(settings: Settings) -> Self {
        Outflow {
            stream: Stream::new(settings.segment),
            settings,
            receivers: Vec::new(),
            sent: VecDeque::new(),
            repairs: VecDeque::new(),
            blocks: Blocks::default(),
            least_known: 0,
            departures: Departures::default(),
            unasked: 0,
            pace: Pace::new(),
            limit: u64::MAX,
            next_number: 0,
            full: false,
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
        self.full = false;
        if self.is_unheard() {
            self.discard();
        }
        number
    }

    /// Somebody wants to send more, and there is no room for it.
    pub(crate) fn note_refused(&mut self) {
        self.full = self.settings.skip.is_some();
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
        self.blocks = Blocks::default();
        self.timeout = None;
    }

    /// Adds a receiver: it gets every message that begins from now on.
    pub(crate) fn add_receiver(&mut self, id: MemberId) {
        if self.receives(id) {
            return;
        }
        let mut receiver = Receiver::new(id, self.new_place());
        if self.settings.skip.is_some() {
            // It is ahead of those who have been there, but who is the quickest has to show.
            receiver.skipped_to = Some(self.stream.next_segment());
        }
        self.receivers.push(receiver);
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
        self.blocks.forget(id);
        let first = self.first_lacking(receiver.place);
        self.note_missed(id, first, self.next_number);
        if self.is_unheard() {
            self.discard();
        } else {
            self.pass_over();
            self.release(now);
        }
    }

    /// Goes on to where somebody begins, if nobody is there for what comes before.
    fn pass_over(&mut self) {
        while let Some(boundary) = self.first_beginning()
            && self
                .receivers
                .iter()
                .all(|receiver| receiver.place.next().is_none())
            && let Some(number) = self.stream.cut(Some(boundary))
        {
            self.sent.clear();
            self.repairs.clear();
            self.stream.release(number + 1);
            self.begin_late(number + 1);
        }
    }

    /// Where in the stream the first of those begins who wait for the end of a record.
    fn first_beginning(&self) -> Option<u64> {
        let waiting = self.receivers.iter().filter_map(|receiver| match receiver.place {
            Place::After(position) => Some(position),
            _ => None,
        });
        waiting.min()
    }

    /// Everything below was delivered, or given up because the receiver is gone.
    pub(crate) fn settled(&self) -> u64 {
        self.stream.oldest().unwrap_or(self.next_number)
    }

    /// How many records wait to be delivered, sent or not.
    pub(crate) fn undelivered(&self) -> u64 {
        self.next_number - self.settled()
    }

    /// Who went without having had all of these messages.
    pub(crate) fn missed(&self, numbers: RangeInclusive<u64>) -> impl Iterator<Item = MemberId> {
        self.missed
            .iter()
            .filter(move |missed| missed.first <= *numbers.end() && *numbers.start() < missed.end)
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
        if let Some(at) = self.departures.of(echo.0) {
            receiver
                .rtt
                .add(now.saturating_duration_since(at).saturating_sub(echo.1));
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
        receiver.known = report.known.clamp(report.next, end);
        receiver.early = report.early.min(end - report.next);
        let rtt = receiver.rtt.smoothed();
        if report.next > before {
            self.silences = 0;
            receiver.blocks_since = None;
        }
        if self.uses_parity() {
            let known = |receiver: &Receiver| match receiver.place {
                Place::After(_) => None,
                Place::Start { .. } => Some(0),
                Place::At { .. } => Some(receiver.known),
            };
            self.least_known = self.receivers.iter().filter_map(known).min().unwrap_or(end);
        }
        self.want(now, from, report, echo.0, rtt);
        self.ripen(now);
        self.release(now);
        self.rearm(now);
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
            self.blocks.release(base);
        }
        let delivered = self.delivered();
        let rtt = self
            .receivers
            .iter()
            .filter_map(|receiver| receiver.rtt.least())
            .max();
        self.pace.handle_progress(now, delivered, end, rtt);
        self.update_limit();
    }

    /// What is to be sent next. `number` is the packet that will carry it.
    pub(crate) fn poll_piece(&mut self, now: Instant, number: u64) -> Option<Piece> {
        let piece = if let Some(piece) = self.poll_start() {
            self.counters.syncs += 1;
            self.rearm(now);
            piece
        } else if let Some(piece) = self.poll_repair(now, number) {
            self.counters.repairs += 1;
            piece
        } else if let Some(piece) = self.poll_parity(now, number) {
            self.counters.parities += 1;
            piece
        } else if let Some(piece) = self.poll_repair(now, number) {
            // What parity is not worth while for.
            self.counters.repairs += 1;
            piece
        } else {
            let piece = self.poll_new(now, number)?;
            self.counters.segments += 1;
            piece
        };
        self.departures.note(now, number);
        Some(piece)
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

    fn poll_new(&mut self, now: Instant, packet: u64) -> Option<Piece> {
        if !self.stream.has_uncut() {
            if self.full {
                self.full = !self.skip_laggards(now);
            }
            return None;
        }
        let is_blocked = self.stream.next_segment() >= self.limit;
        if is_blocked && !self.goes_past_stuck() && !self.skip_laggards(now) {
            self.pace.note_limited();
            self.note_blocked(now);
            if self.timeout.is_none() {
                self.rearm(now);
            }
            return None;
        }
        let number = self.stream.cut(self.first_beginning())?;
        self.sent.push_back(Sent::new(now, packet));
        self.begin_late(number + 1);
        self.unasked += 1;
        let last = !self.stream.has_uncut() || number + 1 >= self.limit;
        let answer = last || self.unasked >= (self.pace.window() / 4).max(16);
        if answer {
            self.unasked = 0;
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

    /// Takes note that a receiver does not get the messages from `first` on, below `end`.
    fn note_missed(&mut self, member: MemberId, first: Option<u64>, end: u64) {
        if let Some(first) = first
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
                receiver.skipped_to = receiver.skipped_to.map(|_| next);
                late = true;
            }
        }
        if late {
            self.update_limit();
        }
    }

    /// Segment `number`: where it lies, or else copied into `room`, which is as large as a whole one.
    pub(crate) fn payload<'a>(&'a mut self, number: u64, room: &'a mut [u8]) -> Option<&'a [u8]> {
        if let Some(place) = self.stream.place(number) {
            return Some(self.stream.at(place));
        }
        let len = self.stream.copy(number, room)?;
        Some(&room[..len])
    }

    /// Whether a receiver is to be asked how far it is, when nothing is heard of it: it lacks something of what was
    /// sent; or it takes no more of what is to be sent, and what it said since may have been lost.
    fn is_asked(&self, receiver: &Receiver) -> bool {
        let next = self.stream.next_segment();
        match receiver.place {
            Place::After(_) => false,
            Place::Start { .. } => true,
            Place::At { next: at, edge } => at < next || (edge <= next && self.stream.has_uncut()),
        }
    }

    /// Waits for news again, if there are some to wait for.
    fn rearm(&mut self, now: Instant) {
        let slowest = self
            .receivers
            .iter()
            .filter(|receiver| self.is_asked(receiver))
            .map(|receiver| receiver.rtt.timeout())
            .max();
        self.timeout = slowest.map(|timeout| {
            // Questions and answers are lost, too: only who does not answer many is asked less and less.
            let quick = timeout.max(Self::QUICK_SILENCE);
            let doubled = timeout * 2_u32.pow(self.silences.min(8));
            let longest = match self.silences.checked_sub(Self::QUICK_QUESTIONS) {
                None => quick,
                Some(more) => quick * 2_u32.pow(more.min(8)),
            };
            now + doubled.min(longest).min(Self::LONGEST_SILENCE)
        });
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout.into_iter().chain(self.ripens_at()).min()
    }

    /// Nothing was heard for too long: asks those of whom something is to be heard.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ask: &mut Vec<Piece>) {
        self.ripen(now);
        if self.timeout.is_none_or(|timeout| timeout > now) {
            return;
        }
        self.silences += 1;
        let next = self.stream.next_segment();
        let before = ask.len();
        let asked = self.receivers.iter().filter(|receiver| self.is_asked(receiver));
        ask.extend(asked.map(|receiver| Piece::Sync {
            target: Target::One(receiver.id),
            start: match receiver.place {
                Place::Start { segment, .. } => Some(segment),
                Place::After(_) | Place::At { .. } => None,
            },
            next,
        }));
        self.counters.syncs += (ask.len() - before) as u64;
        self.rearm(now);
    }

    /// Whether there is something that [`poll_piece`](Self::poll_piece) would give.
    pub(crate) fn has_work(&self) -> bool {
        !self.repairs.is_empty()
            || self.blocks.has_work()
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
