//! The messages of one channel: one flow out, and one in from each of the others.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_wire::group::{Data, FlowSync, Gap, List, Packet, Parity, Status};

use super::NodeSettings;
use super::flows::Popped;
use super::peers::Peers;
use super::places::GroupEnd;
use super::transmit::Outbox;
use crate::group::MemberId;
use crate::group::flow::{
    Begin, Budget, Inflow, InflowSettings, Outflow, OutflowSettings, ParityPacket, Piece, RecordKind,
    Refused, Report, Run, Target,
};

/// The messages of one channel.
#[derive(Debug)]
pub(super) struct Traffic {
    channel: u16,
    inflow: InflowSettings,
    out: Outflow,
    sources: BTreeMap<MemberId, Inflow>,
    /// Those from whom nothing more comes, but something is there.
    finished: VecDeque<(MemberId, Inflow)>,
    /// Who was read last: the others come first now.
    last_read: MemberId,
    /// Questions that are due.
    asked: Vec<Piece>,
    /// How the group has ended for this node, once its coordinator has said so.
    over: Option<GroupEnd>,
}

impl Traffic {
    pub(super) fn new(channel: u16, settings: &NodeSettings) -> Self {
        Traffic {
            channel,
            inflow: inflow_settings(settings),
            out: Outflow::new(OutflowSettings {
                segment: settings.segment,
                window: settings.window_segments(),
                quorum: settings.quorum,
                skip: settings.lag(),
                // Where nothing is multicast, one packet repairs one receiver.
                parity_from: settings.parity_from.filter(|_| settings.multicast.is_some()),
            }),
            sources: BTreeMap::new(),
            finished: VecDeque::new(),
            last_read: MemberId(0),
            asked: Vec::new(),
            over: None,
        }
    }

    /// Begins where nobody takes what is sent for what an earlier group of the same number sent.
    pub(super) fn begin_at(&mut self, begin: Begin) {
        self.out.begin_at(begin);
    }

    /// Where the next group of the same number begins, if there are numbers left.
    pub(super) fn beyond(&self) -> Option<Begin> {
        self.out.beyond()
    }

    /// The group is over, for those, too, who have not confirmed everything: who they are, and what each must have in
    /// order to lack nothing ([`Outflow::give_up`]).
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<(MemberId, u64)> {
        self.out.give_up(now)
    }

    /// Who went without having had some messages, and which.
    pub(super) fn all_missed(&self) -> impl Iterator<Item = (MemberId, Range<u64>)> {
        self.out.all_missed()
    }

    /// The coordinator sends no more: nothing is missing here if all segments below `end` have come.
    pub(super) fn handle_end(&mut self, end: u64, budget: &mut Budget) {
        if self.over.is_some() {
            return;
        }
        let source = self.sources.get(&MemberId::COORDINATOR);
        let is_whole = source.is_some_and(|inflow| inflow.has_all_below(end));
        self.over = Some(if is_whole { GroupEnd::Whole } else { GroupEnd::Cut });
        // What is there, but for the memory, is still put together, even if something is missing behind it: the
        // coordinator has heard that it came.
        if source.is_some_and(|inflow| !inflow.waits_for_memory()) {
            self.forget_source(MemberId::COORDINATOR, budget);
        }
    }

    /// How the group has ended, once all that has come of it was taken.
    pub(super) fn over(&self) -> Option<GroupEnd> {
        let is_drained = |inflow: &Inflow| !inflow.waits_for_memory() && !inflow.has_ready();
        self.over
            .filter(|_| self.finished.is_empty() && self.sources.values().all(is_drained))
    }

    /// So many others are in the session.
    pub(super) fn set_group(&mut self, group: usize) {
        self.inflow.group = group;
        self.sources
            .values_mut()
            .for_each(|inflow| inflow.set_group(group));
    }

    /// From how many members something is taken.
    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn add_receiver(&mut self, member: MemberId) {
        self.out.add_receiver(member);
    }

    pub(super) fn remove_receiver(&mut self, now: Instant, member: MemberId) {
        self.out.remove_receiver(now, member);
    }

    pub(super) fn receives(&self, member: MemberId) -> bool {
        self.out.receives(member)
    }

    pub(super) fn add_source(&mut self, member: MemberId) {
        self.sources
            .entry(member)
            .or_insert_with(|| Inflow::new(self.inflow));
    }

    /// Takes nothing more of `member`. What came whole can still be received; true if there is something.
    pub(super) fn forget_source(&mut self, member: MemberId, budget: &mut Budget) -> bool {
        let Some(mut inflow) = self.sources.remove(&member) else {
            return false;
        };
        inflow.finish(budget);
        let ready = inflow.has_ready();
        if ready {
            self.finished.push_back((member, inflow));
        }
        ready
    }

    /// Gives back what it holds: the channel ends.
    pub(super) fn clear(&mut self, budget: &mut Budget) {
        for inflow in self.sources.values_mut() {
            inflow.clear(budget);
        }
        for (_, inflow) in &mut self.finished {
            inflow.clear(budget);
        }
        self.sources.clear();
        self.finished.clear();
    }

    pub(super) fn handle_data(
        &mut self,
        now: Instant,
        from: MemberId,
        data: &Data<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Refused> {
        let Some(inflow) = self.sources.get_mut(&from) else {
            return Ok(false);
        };
        inflow.handle_segment(now, data.seq, data.payload, data.answer, budget)?;
        Ok(inflow.has_ready())
    }

    /// Bytes of what came before its turn, of each member.
    #[cfg(test)]
    pub(super) fn early_bytes(&self) -> impl Iterator<Item = u64> {
        self.sources.values().map(Inflow::early_bytes)
    }

    /// Where the payloads belong that `from` sends next, as far as that is known.
    pub(super) fn room(&mut self, from: MemberId) -> Option<&mut [u8]> {
        self.sources.get_mut(&from)?.room()
    }

    /// Whether this is the segment that `from` sends next.
    pub(super) fn is_next(&self, from: MemberId, number: u64) -> bool {
        self.sources
            .get(&from)
            .is_some_and(|inflow| inflow.is_next(number))
    }

    /// The next segment of `from` has come, and its payload is where it belongs; true if there is a message to be
    /// received.
    pub(super) fn handle_placed(
        &mut self,
        now: Instant,
        from: MemberId,
        len: usize,
        answer: bool,
        budget: &mut Budget,
    ) -> bool {
        let Some(inflow) = self.sources.get_mut(&from) else {
            return false;
        };
        inflow.handle_placed(now, len, answer, budget);
        inflow.has_ready()
    }

    /// Lets all go on that stopped for want of memory; returns those that cannot.
    pub(super) fn resume(&mut self, now: Instant, budget: &mut Budget) -> Vec<(MemberId, Refused)> {
        let resumed = self
            .sources
            .iter_mut()
            .map(|(id, inflow)| (*id, inflow.resume(now, budget)));
        resumed
            .filter_map(|(id, result)| Some((id, result.err()?)))
            .collect()
    }

    /// # Errors
    /// [`Refused`]: what the member sends cannot be taken.
    pub(super) fn handle_sync(
        &mut self,
        now: Instant,
        from: MemberId,
        sync: &FlowSync,
        budget: &mut Budget,
    ) -> Result<bool, Refused> {
        let Some(inflow) = self.sources.get_mut(&from) else {
            return Ok(false);
        };
        inflow.handle_sync(now, sync.start, sync.next, budget)?;
        Ok(inflow.has_ready())
    }

    /// # Errors
    /// [`Refused`]: what the member sends cannot be taken.
    pub(super) fn handle_parity(
        &mut self,
        now: Instant,
        from: MemberId,
        parity: &Parity<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Refused> {
        let Some(inflow) = self.sources.get_mut(&from) else {
            return Ok(false);
        };
        let packet = ParityPacket {
            base: parity.base,
            count: parity.count,
            index: parity.index,
            payload: parity.payload,
            answer: parity.answer,
        };
        inflow.handle_parity(now, &packet, budget)?;
        Ok(inflow.has_ready())
    }

    /// Does without what it can do without: there are messages that need the memory.
    pub(super) fn shed(&mut self, budget: &mut Budget) {
        self.sources.values_mut().for_each(|inflow| inflow.shed(budget));
    }

    pub(super) fn handle_status(&mut self, now: Instant, from: MemberId, status: &Status<'_>) {
        let report = Report {
            unknown: status.unknown,
            next: status.next,
            edge: status.edge,
            known: status.known,
            early: status.early.into(),
            missing: status
                .missing
                .iter()
                .map(|gap| Run {
                    start: gap.start,
                    len: gap.len,
                })
                .collect(),
        };
        let echo = (status.echo, Duration::from_micros(status.echo_delay.into()));
        self.out.handle_report(now, from, &report, echo);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.out.handle_timeout(now, &mut self.asked);
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let work = (self.out.has_work() || !self.asked.is_empty()).then_some(now);
        let reports = self
            .sources
            .values()
            .filter_map(|inflow| inflow.poll_timeout(now));
        reports.chain(work).chain(self.out.poll_timeout()).min()
    }

    pub(super) fn push(&mut self, kind: RecordKind, body: Bytes) -> u64 {
        self.out.push(kind, body)
    }

    /// Takes the next message, from one after the other.
    pub(super) fn pop(
        &mut self,
        now: Instant,
        budget: &mut Budget,
    ) -> Result<Option<Popped>, (MemberId, Refused)> {
        if let Some((from, inflow)) = self.finished.front_mut() {
            let from = *from;
            let record = inflow.pop(now, budget).map_err(|refused| (from, refused))?;
            if !inflow.has_ready() {
                self.finished.pop_front();
            }
            return Ok(record.map(|(kind, body)| Popped { from, kind, body }));
        }
        let last = self.last_read;
        let ready = |(id, inflow): (&MemberId, &Inflow)| inflow.has_ready().then_some(*id);
        let next = self
            .sources
            .iter()
            .filter(|(id, _)| **id > last)
            .find_map(ready)
            .or_else(|| self.sources.iter().find_map(ready));
        let Some(id) = next else {
            return Ok(None);
        };
        self.last_read = id;
        let Some(inflow) = self.sources.get_mut(&id) else {
            return Ok(None);
        };
        let record = inflow.pop(now, budget).map_err(|refused| (id, refused))?;
        Ok(record.map(|(kind, body)| Popped { from: id, kind, body }))
    }

    pub(super) fn settled(&self) -> u64 {
        self.out.settled()
    }

    pub(super) fn held(&self) -> u64 {
        self.out.held()
    }

    pub(super) fn undelivered(&self) -> u64 {
        self.out.undelivered()
    }

    pub(super) fn missed(&self, numbers: RangeInclusive<u64>) -> Vec<MemberId> {
        self.out.missed(numbers).collect()
    }

    pub(super) fn unsettled_bytes(&self) -> u64 {
        self.out.bytes()
    }

    /// Somebody wants to send more, and there is no room for it.
    pub(super) fn note_refused(&mut self) {
        self.out.note_refused();
    }

    pub(super) fn note_full(&mut self, now: Instant) {
        self.out.note_full(now);
    }

    pub(super) fn forgive(&mut self) {
        self.out.forgive();
    }

    pub(super) fn blockers(&self, now: Instant, limit: Duration) -> impl Iterator<Item = MemberId> {
        self.out.blockers(now, limit)
    }

    /// All reports are due.
    pub(super) fn report_now(&mut self) {
        self.sources.values_mut().for_each(Inflow::report_now);
    }

    /// Queues the reports that are due.
    pub(super) fn report(&mut self, now: Instant, peers: &Peers, outbox: &mut Outbox) {
        for (&source, inflow) in &mut self.sources {
            let Some(to) = peers.address(source) else {
                continue;
            };
            let Some(report) = inflow.poll_report(now) else {
                continue;
            };
            let (echo, at) = peers.newest(source).unwrap_or((0, now));
            let missing: Vec<_> = report
                .missing
                .iter()
                .map(|run| Gap {
                    start: run.start,
                    len: run.len,
                })
                .collect();
            let delay = now.saturating_duration_since(at).as_micros();
            let status = Status {
                channel: self.channel,
                point_to_point: false,
                unknown: report.unknown,
                source: source.0,
                next: report.next,
                edge: report.edge,
                known: report.known,
                early: u32::try_from(report.early).unwrap_or(u32::MAX),
                echo,
                echo_delay: u32::try_from(delay).unwrap_or(u32::MAX),
                local_drops: 0,
                missing: List::new(&missing),
            };
            outbox.push(to, Target::One(source), &Packet::Status(status));
        }
    }

    /// What is to be sent next.
    pub(super) fn poll_piece(&mut self, now: Instant, number: u64) -> Option<Piece> {
        if self.asked.is_empty() {
            return self.out.poll_piece(now, number);
        }
        self.asked.pop()
    }

    /// The payload of parity `index` of the block that begins at `base`.
    pub(super) fn parity(&self, base: u64, index: u8) -> Option<&[u8]> {
        self.out.parity(base, index)
    }

    /// The payload of segment `number`: where it lies, or else copied into `room`.
    pub(super) fn payload<'a>(&'a mut self, number: u64, room: &'a mut [u8]) -> Option<&'a [u8]> {
        self.out.payload(number, room)
    }
}

fn inflow_settings(settings: &NodeSettings) -> InflowSettings {
    InflowSettings {
        window: settings.window_segments(),
        segment: settings.segment,
        max_message: settings.max_message,
        guard: Duration::from_millis(1),
        report_every: (settings.window_segments() / 8).max(4),
        report_delay: Duration::from_millis(2),
        group: 0,
        seed: settings.seed,
    }
}
