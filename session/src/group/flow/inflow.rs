//! The receiving end of a flow: puts its segments in order, and says what is missing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::asking::Asking;
use super::assembly::{Assembly, Refused};
use super::budget::Budget;
use super::ranges::{Run, runs};
use super::record::RecordKind;
use super::recovery::{ParityPacket, Recovery};

/// The receiving end of a flow.
#[derive(Debug)]
pub(crate) struct Inflow {
    settings: Settings,
    /// The first segment that has not come; nothing is known before the sender has said where to begin.
    next: Option<u64>,
    /// One above the highest segment that is known to exist.
    known: u64,
    /// Segments that came before their turn: the one at index i is `next + i`, so the first place is empty, unless
    /// the stream waits for memory.
    early: VecDeque<Option<Bytes>>,
    /// How many of them there are.
    early_count: u64,
    /// What is left of a segment when there was no memory for the rest.
    rest: Bytes,
    assembly: Assembly,
    /// What there is to report, and how soon.
    due: Due,
    /// Segments taken since the last report.
    unreported: u64,
    /// The edge that the last report held.
    promised: u64,
    asking: Asking,
    recovery: Recovery,
    counters: InflowCounters,
}

/// How an inflow behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Segments that may be on their way at once: as many are kept that come before their turn.
    pub(crate) window: u64,
    /// Bytes in a segment, at most.
    pub(crate) segment: usize,
    /// Bytes in a message, at most.
    pub(crate) max_message: u64,
    /// How long a gap may be mere reordering.
    pub(crate) guard: Duration,
    /// Segments after which a report is due, even if nobody asks.
    pub(crate) report_every: u64,
    /// The longest time between a segment and the report that acknowledges it.
    pub(crate) report_delay: Duration,
    /// How many others receive the same, about.
    pub(crate) group: usize,
    /// Differs from one receiver to the other.
    pub(crate) seed: u64,
}

/// When a report is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Never,
    At(Instant),
    Now,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InflowCounters {
    pub(crate) segments: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_window: u64,
    /// Parities that were kept, and segments that they gave back.
    pub(crate) parities: u64,
    pub(crate) rebuilt: u64,
    /// How often the sender did not wait.
    pub(crate) skips: u64,
}

/// What the sender has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The flow's beginning is not known: nothing else in this report means anything.
    pub(crate) unknown: bool,
    /// Everything below has come.
    pub(crate) next: u64,
    /// The first segment that is not wanted yet.
    pub(crate) edge: u64,
    /// What is missing below was asked for.
    pub(crate) known: u64,
    /// Segments above `next` that have come.
    pub(crate) early: u64,
    /// What is missing and to be sent again: not all that is missing, but what was not asked for lately.
    pub(crate) missing: Vec<Run>,
}

impl Inflow {
    /// A segment that no flow ever gets to. Nothing that is added to lower ones overflows.
    const END: u64 = 1 << 62;
    /// Runs of missing segments in one report.
    const MAX_RUNS: usize = 64;

    pub(crate) fn new(settings: Settings) -> Self {
        Inflow {
            settings,
            next: None,
            known: 0,
            early: VecDeque::new(),
            early_count: 0,
            rest: Bytes::new(),
            assembly: Assembly::default(),
            due: Due::Never,
            unreported: 0,
            promised: 0,
            asking: Asking::new(
                settings.guard,
                settings.report_delay,
                settings.group,
                settings.seed,
            ),
            recovery: Recovery::default(),
            counters: InflowCounters::default(),
        }
    }

    /// The sender says how far the flow went and, if this is for this receiver alone, where it begins. A flow that has
    /// begun already begins again if that is further on: the sender does not wait for this receiver any more.
    ///
    /// # Errors
    /// [`Refused`]: the flow cannot go on.
    pub(crate) fn handle_sync(
        &mut self,
        now: Instant,
        start: Option<u64>,
        next: u64,
        budget: &mut Budget,
    ) -> Result<(), Refused> {
        if start >= Some(Self::END) {
            return Err(Refused::Malformed);
        }
        self.due = Due::Now;
        self.asking.begin_again(now, true);
        match (self.next, start) {
            (Some(next), Some(start)) if start > next => self.skip(start, budget)?,
            (Some(_), _) => {}
            (None, start) => {
                self.next = start;
                self.known = start.unwrap_or(0);
            }
        }
        if let Some(begin) = self.next {
            let known = self.known;
            self.known = known.max(next.max(begin).min(self.edge_of(begin)));
            self.asking.note_gap(now, self.known - known);
            self.note_gap(now);
        }
        Ok(())
    }

    /// Goes on with segment `start`.
    fn skip(&mut self, start: u64, budget: &mut Budget) -> Result<(), Refused> {
        self.assembly.cut(budget);
        self.counters.skips += 1;
        self.rest = Bytes::new();
        let skipped = start - self.next.unwrap_or(start);
        for _ in 0..skipped.min(self.early.len() as u64) {
            self.early_count -= u64::from(self.early.pop_front().flatten().is_some());
        }
        self.next = Some(start);
        self.known = self.known.max(start);
        self.asking.restart();
        self.recovery.clear(budget);
        self.advance(budget)
    }

    /// The flow is over: what came whole can still be taken.
    pub(crate) fn finish(&mut self, budget: &mut Budget) {
        self.assembly.cut(budget);
        self.recovery.clear(budget);
        self.early.clear();
        self.early_count = 0;
        self.rest = Bytes::new();
        self.due = Due::Never;
    }

    /// A segment has come; `answer` if the sender wants a report at once.
    ///
    /// # Errors
    /// [`Refused`]: the flow cannot go on.
    pub(crate) fn handle_segment(
        &mut self,
        now: Instant,
        number: u64,
        payload: &[u8],
        answer: bool,
        budget: &mut Budget,
    ) -> Result<(), Refused> {
        if payload.len() > self.settings.segment {
            // It would make more of a window than its share of memory.
            self.counters.out_of_window += 1;
            return Ok(());
        }
        if answer {
            self.due = Due::Now;
            self.asking.begin_again(now, false);
        }
        let Some(next) = self.next else {
            // Ask where to begin; this one will come again.
            self.due = self.due.or(now + self.settings.report_delay);
            return Ok(());
        };
        if number >= self.edge_of(next) {
            self.counters.out_of_window += 1;
            return Ok(());
        }
        if number < next || self.is_early(number - next) {
            // The sender does not know yet that it has arrived.
            self.counters.duplicates += 1;
            self.due = self.due.or(now + self.settings.report_delay);
            return Ok(());
        }
        self.take_segment(now, next, number, payload, budget)?;
        if self.recovery.is_waiting() {
            self.rebuild(now, budget)?;
        }
        self.note_unreported(now);
        Ok(())
    }

    /// There is something to report, soon.
    fn note_unreported(&mut self, now: Instant) {
        self.due = if self.unreported >= self.settings.report_every {
            Due::Now
        } else {
            self.due.or(now + self.settings.report_delay)
        };
    }

    /// A segment has come that was missing, or not known of.
    fn note_segment(&mut self, now: Instant, number: u64) {
        self.counters.segments += 1;
        self.unreported += 1;
        if number < self.known {
            self.asking.note_filled(now, number);
        } else {
            self.asking.note_gap(now, number - self.known);
            self.known = number + 1;
        }
    }

    /// Where the payload of the next segment belongs, and of those that follow it, as far as that is known: then none
    /// is missing.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        let waits = self.early_count > 0 || !self.rest.is_empty() || self.recovery.is_waiting();
        if self.next.is_none() || waits || self.assembly.is_waiting() {
            return None;
        }
        Some(self.assembly.room()).filter(|room| !room.is_empty())
    }

    /// Whether this is the segment that comes next.
    pub(crate) fn is_next(&self, number: u64) -> bool {
        self.next == Some(number)
    }

    /// The next segment has come, and its payload is at the beginning of [`room`](Self::room), `len` bytes.
    pub(crate) fn handle_placed(&mut self, now: Instant, len: usize, answer: bool, budget: &mut Budget) {
        let Some(number) = self.next else {
            return;
        };
        if answer {
            self.due = Due::Now;
            self.asking.begin_again(now, false);
        }
        self.note_segment(now, number);
        if let Some(payload) = self.assembly.room().get(..len) {
            self.recovery.note_passed(payload, budget);
        }
        self.assembly.take_placed(len, budget);
        self.next = Some(number + 1);
        self.early.pop_front();
        self.asking.note_arrival();
        self.note_gap(now);
        self.note_unreported(now);
    }

    /// Parity over several segments has come.
    ///
    /// # Errors
    /// [`Refused`]: the flow cannot go on.
    pub(crate) fn handle_parity(
        &mut self,
        now: Instant,
        parity: &ParityPacket<'_>,
        budget: &mut Budget,
    ) -> Result<(), Refused> {
        let (Some(next), Some(end)) = (self.next, parity.base.checked_add(parity.count.into())) else {
            return Ok(());
        };
        if end > self.edge_of(next) {
            self.counters.out_of_window += 1;
            return Ok(());
        }
        if parity.answer {
            self.due = Due::Now;
            self.asking.begin_again(now, false);
        }
        if end <= next || !self.recovery.add(next, parity, budget) {
            return Ok(());
        }
        self.counters.parities += 1;
        if end > self.known {
            self.asking.note_gap(now, end - self.known);
            self.known = end;
        }
        self.rebuild(now, budget)
    }

    /// Takes what parity gives back.
    fn rebuild(&mut self, now: Instant, budget: &mut Budget) -> Result<(), Refused> {
        let Some(next) = self.next else {
            return Ok(());
        };
        let Inflow { recovery, early, .. } = self;
        let early = |number: u64| early.get((number - next) as usize)?.as_ref();
        for (number, payload) in recovery.rebuild(next, early, budget) {
            let Some(next) = self.next else {
                continue;
            };
            if number >= next && !self.is_early(number - next) && payload.len() <= self.settings.segment {
                self.counters.rebuilt += 1;
                self.take_segment(now, next, number, &payload, budget)?;
            }
        }
        Ok(())
    }

    /// Takes a segment that is missing.
    fn take_segment(
        &mut self,
        now: Instant,
        next: u64,
        number: u64,
        payload: &[u8],
        budget: &mut Budget,
    ) -> Result<(), Refused> {
        self.note_segment(now, number);
        if number == next && self.rest.is_empty() && self.early.front().is_none_or(Option::is_none) {
            let mut bytes = payload;
            self.assembly
                .push(&mut bytes, budget, self.settings.max_message)?;
            if !bytes.is_empty() {
                self.rest = Bytes::copy_from_slice(bytes);
            }
            self.recovery.note_passed(payload, budget);
            self.next = Some(next + 1);
            if !self.early.is_empty() {
                self.early.pop_front();
                self.advance(budget)?;
            }
        } else {
            let index = (number - next) as usize;
            if self.early.len() <= index {
                self.early.resize(index + 1, None);
            }
            self.early[index] = Some(Bytes::copy_from_slice(payload));
            self.early_count += 1;
        }
        self.asking.note_arrival();
        self.note_gap(now);
        Ok(())
    }

    /// Takes from what came early all whose turn it is, as far as there is memory.
    fn advance(&mut self, budget: &mut Budget) -> Result<(), Refused> {
        loop {
            if !self.rest.is_empty() {
                let mut bytes = &self.rest[..];
                self.assembly
                    .push(&mut bytes, budget, self.settings.max_message)?;
                let taken = self.rest.len() - bytes.len();
                self.rest = self.rest.slice(taken..);
                if !self.rest.is_empty() {
                    return Ok(());
                }
            }
            let Some(Some(segment)) = self.early.front() else {
                return Ok(());
            };
            self.rest = segment.clone();
            self.recovery.note_passed(segment, budget);
            self.early.pop_front();
            self.early_count -= 1;
            self.next = self.next.map(|next| next + 1);
        }
    }

    fn is_early(&self, index: u64) -> bool {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.early.get(index).is_some_and(Option::is_some)
    }

    /// The first segment that is not taken. Never below what was promised.
    fn edge_of(&self, next: u64) -> u64 {
        self.promised.max(next + self.settings.window)
    }

    /// Asks for what is missing, in time.
    fn note_gap(&mut self, now: Instant) {
        let Some(next) = self.next else {
            return;
        };
        if self.known.saturating_sub(next) <= self.early_count {
            self.asking.note_whole(self.known);
        } else if let Some(at) = self.asking.due() {
            self.due = self.due.or(at.max(now));
        }
    }

    /// Takes the next whole record.
    ///
    /// # Errors
    /// [`Refused`]: the flow cannot go on.
    pub(crate) fn pop(
        &mut self,
        now: Instant,
        budget: &mut Budget,
    ) -> Result<Option<(RecordKind, Bytes)>, Refused> {
        let record = self.assembly.pop(budget);
        if record.is_some() {
            self.resume(now, budget)?;
        }
        Ok(record)
    }

    /// Goes on where it stopped for want of memory: there may be some now.
    ///
    /// # Errors
    /// [`Refused`]: the flow cannot go on.
    pub(crate) fn resume(&mut self, now: Instant, budget: &mut Budget) -> Result<(), Refused> {
        if !self.rest.is_empty() || self.assembly.is_waiting() {
            // An empty message may wait for its room alone, when all bytes were taken.
            self.assembly
                .push(&mut &[][..], budget, self.settings.max_message)?;
            self.advance(budget)?;
            self.note_gap(now);
            // The window that was closed may be open again.
            self.due = Due::Now;
        }
        Ok(())
    }

    /// Whether all segments below `end` have come.
    pub(crate) fn has_all_below(&self, end: u64) -> bool {
        self.next.unwrap_or(0) >= end
    }

    /// Whether something has come in its turn, but waits for memory.
    pub(crate) fn waits_for_memory(&self) -> bool {
        !self.rest.is_empty() || self.assembly.is_waiting()
    }

    /// Whether [`pop`](Self::pop) has something.
    pub(crate) fn has_ready(&self) -> bool {
        self.assembly.has_ready()
    }

    /// Reports at once, as this end will not be there any more to be asked.
    pub(crate) fn report_now(&mut self) {
        if self.next.is_some() {
            self.due = Due::Now;
        }
    }

    /// When [`poll_report`](Self::poll_report) will have something.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        match self.due {
            Due::Never => None,
            Due::At(at) => Some(at),
            Due::Now => Some(now),
        }
    }

    /// A report, if it is time for one.
    pub(crate) fn poll_report(&mut self, now: Instant) -> Option<Report> {
        match self.due {
            Due::Never => return None,
            Due::At(at) if at > now => return None,
            Due::At(_) | Due::Now => {}
        }
        self.due = Due::Never;
        self.unreported = 0;
        let Some(next) = self.next else {
            return Some(Report {
                unknown: true,
                next: 0,
                edge: 0,
                known: 0,
                early: 0,
                missing: Vec::new(),
            });
        };
        // A stream that waits for memory takes nothing more.
        let edge = match self.rest.is_empty() {
            true => next + self.settings.window,
            false => next,
        };
        self.promised = self.promised.max(edge);
        let asks = self.asking.due().is_some_and(|at| at <= now);
        let start = match asks {
            true => self.asking.start(now, next),
            false => self.known,
        };
        let covered = self.recovery.covered(next, |number| self.is_early(number - next));
        let is_wanted = |number: u64| {
            !self.is_early(number - next) && !covered.iter().any(|range| range.contains(&number))
        };
        let missing = runs(
            (start..self.known).filter(|number| is_wanted(*number)),
            Self::MAX_RUNS,
        );
        let end = match missing.last() {
            Some(run) if missing.len() == Self::MAX_RUNS => run.start + u64::from(run.len),
            _ => self.known,
        };
        let unasked = (end..self.known).filter(|number| is_wanted(*number)).count();
        if asks {
            self.asking.note_asked(now, end, unasked as u64);
        }
        self.note_gap(now);
        Some(Report {
            unknown: false,
            next,
            edge: self.promised,
            known: self.asking.told(self.known).max(next),
            early: self.early_count,
            missing,
        })
    }

    /// So many others receive the same, about.
    pub(crate) fn set_group(&mut self, group: usize) {
        self.asking.set_group(group);
    }

    /// Does without what it can do without: there are messages that need the memory.
    pub(crate) fn shed(&mut self, budget: &mut Budget) {
        self.recovery.clear(budget);
    }

    /// Bytes of what came before its turn, or waits for memory.
    #[cfg(test)]
    pub(crate) fn early_bytes(&self) -> u64 {
        let early = self.early.iter().flatten().map(Bytes::len).sum::<usize>();
        (early + self.rest.len()) as u64
    }

    #[cfg(test)]
    pub(crate) fn counters(&self) -> InflowCounters {
        self.counters
    }

    /// Gives all memory back.
    pub(crate) fn clear(&mut self, budget: &mut Budget) {
        self.assembly.clear(budget);
        self.recovery.clear(budget);
        self.early.clear();
        self.early_count = 0;
        self.rest = Bytes::new();
    }
}

impl Due {
    /// Due at `at`, or earlier if it was so before.
    fn or(self, at: Instant) -> Self {
        match self {
            Due::Now => Due::Now,
            Due::At(before) => Due::At(before.min(at)),
            Due::Never => Due::At(at),
        }
    }
}
