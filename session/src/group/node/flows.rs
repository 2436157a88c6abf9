//! All that flows between this node and the others: what is for all in the session, and each broadcast group's.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Range, RangeInclusive};
use std::time::Instant;

use bytes::Bytes;
use flexbond_wire::group::{Data, FlowSync, Parity, Status};

use super::NodeSettings;
use super::peers::Peers;
use super::places::GroupEnd;
use super::traffic::Traffic;
use super::transmit::Outbox;
use crate::group::MemberId;
use crate::group::flow::{Begin, Budget, Piece, RecordKind, Refused};

/// All that flows between this node and the others, by channel. What is for all in the session is channel 0.
#[derive(Debug)]
pub(super) struct Flows {
    settings: NodeSettings,
    channels: BTreeMap<u16, Traffic>,
    /// The memory that all flows to this node share.
    budget: Budget,
    /// The channel that was last sent from: the others come first now.
    last: u16,
    /// Who sends what cannot be taken.
    unusable: Vec<(MemberId, Refused)>,
    /// Where the next group of each number begins that this node sent to before; there is none if the numbers are used
    /// up.
    begins: BTreeMap<u16, Option<Begin>>,
    /// Who went without having had some messages of groups that are over, and which.
    missed: VecDeque<(u16, MemberId, Range<u64>)>,
}

/// A message, where it was found, and who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Popped {
    pub(crate) from: MemberId,
    pub(crate) kind: RecordKind,
    pub(crate) body: Bytes,
}

impl Flows {
    /// The channel of what is for all in the session.
    pub(super) const ALL: u16 = 0;
    /// Of groups that are over, it is known of so many receivers what they missed.
    const MAX_MISSED: usize = 1024;

    pub(super) fn new(settings: &NodeSettings) -> Self {
        Flows {
            channels: BTreeMap::from([(Self::ALL, Traffic::new(Self::ALL, settings))]),
            budget: Budget::new(settings.recv_budget),
            settings: settings.clone(),
            last: Self::ALL,
            unusable: Vec::new(),
            begins: BTreeMap::new(),
            missed: VecDeque::new(),
        }
    }

    /// The session says how large segments and messages are. Nothing flows yet.
    pub(super) fn resize(&mut self, settings: &NodeSettings) {
        *self = Flows::new(settings);
    }

    /// Somebody takes part in the session.
    pub(super) fn add_member(&mut self, member: MemberId) {
        if let Some(traffic) = self.channels.get_mut(&Self::ALL) {
            traffic.add_receiver(member);
            traffic.add_source(member);
        }
        self.update_group();
    }

    /// Everybody who receives here should know how many others do.
    fn update_group(&mut self) {
        let group = self.channels.get(&Self::ALL).map_or(0, Traffic::sources);
        for traffic in self.channels.values_mut() {
            traffic.set_group(group);
        }
    }

    /// Somebody is gone from the session.
    pub(super) fn remove_member(&mut self, now: Instant, member: MemberId) {
        for traffic in self.channels.values_mut() {
            traffic.remove_receiver(now, member);
        }
        self.forget_source(member);
        self.update_group();
    }

    /// Begins a broadcast group; false if there were so many of the same number that nobody could tell it from them.
    pub(super) fn open(&mut self, channel: u16) -> bool {
        let mut traffic = Traffic::new(channel, &self.settings);
        match self.begins.get(&channel) {
            Some(None) => return false,
            Some(Some(begin)) => traffic.begin_at(*begin),
            None => {}
        }
        self.channels.entry(channel).or_insert(traffic);
        self.update_group();
        true
    }

    /// Ends a broadcast group that this node sends to; returns who has not confirmed everything, and what each must have
    /// in order to lack nothing.
    pub(super) fn give_up(&mut self, now: Instant, channel: u16) -> Vec<(MemberId, u64)> {
        let Some(traffic) = self.channels.get_mut(&channel) else {
            return Vec::new();
        };
        let lacking = traffic.give_up(now);
        self.begins.insert(channel, traffic.beyond());
        let missed = traffic.all_missed();
        self.missed
            .extend(missed.map(|(member, numbers)| (channel, member, numbers)));
        let excess = self.missed.len().saturating_sub(Self::MAX_MISSED);
        self.missed.drain(..excess);
        self.close(channel);
        lacking
    }

    /// The coordinator sends no more to a broadcast group: nothing is missing here if all segments below `end` have come.
    pub(super) fn handle_end(&mut self, channel: u16, end: u64) {
        if let Some(traffic) = self.channels.get_mut(&channel) {
            traffic.handle_end(end, &mut self.budget);
        }
    }

    /// How a broadcast group has ended, once all that has come of it was taken.
    pub(super) fn over(&self, channel: u16) -> Option<GroupEnd> {
        self.channels.get(&channel)?.over()
    }

    /// Ends a broadcast group: what was not read of it is dropped.
    pub(super) fn close(&mut self, channel: u16) {
        if channel != Self::ALL
            && let Some(mut traffic) = self.channels.remove(&channel)
        {
            traffic.clear(&mut self.budget);
        }
    }

    /// Whether there is such a channel.
    pub(super) fn has(&self, channel: u16) -> bool {
        self.channels.contains_key(&channel)
    }

    pub(super) fn add_receiver(&mut self, channel: u16, member: MemberId) {
        if let Some(traffic) = self.channels.get_mut(&channel) {
            traffic.add_receiver(member);
        }
    }

    pub(super) fn remove_receiver(&mut self, now: Instant, channel: u16, member: MemberId) {
        if let Some(traffic) = self.channels.get_mut(&channel) {
            traffic.remove_receiver(now, member);
        }
    }

    pub(super) fn add_source(&mut self, channel: u16, member: MemberId) {
        if let Some(traffic) = self.channels.get_mut(&channel) {
            traffic.add_source(member);
        }
    }

    /// Takes nothing more of `member`.
    pub(super) fn forget_source(&mut self, member: MemberId) {
        for traffic in self.channels.values_mut() {
            traffic.forget_source(member, &mut self.budget);
        }
    }

    /// Who receives what is sent on a channel.
    pub(super) fn receives(&self, channel: u16, member: MemberId) -> bool {
        self.channels
            .get(&channel)
            .is_some_and(|traffic| traffic.receives(member))
    }

    /// A segment has come; true if there is a message to be received.
    pub(super) fn handle_data(&mut self, now: Instant, from: MemberId, data: &Data<'_>) -> bool {
        let Some(traffic) = self.channels.get_mut(&data.channel) else {
            return false;
        };
        if data.point_to_point {
            return false;
        }
        let taken = traffic.handle_data(now, from, data, &mut self.budget);
        self.note_taken(from, taken)
    }

    /// Where the payloads belong that `from` sends next on a channel, as far as that is known.
    pub(super) fn room(&mut self, channel: u16, from: MemberId) -> Option<&mut [u8]> {
        self.channels.get_mut(&channel)?.room(from)
    }

    /// Whether this is the segment that `from` sends next.
    pub(super) fn is_next(&self, channel: u16, from: MemberId, number: u64) -> bool {
        let traffic = self.channels.get(&channel);
        traffic.is_some_and(|traffic| traffic.is_next(from, number))
    }

    /// The next segment has come, and `len` bytes are at the beginning of [`room`](Self::room); true if there is a
    /// message to be received.
    pub(super) fn handle_placed(
        &mut self,
        now: Instant,
        channel: u16,
        from: MemberId,
        len: usize,
        answer: bool,
    ) -> bool {
        let Some(traffic) = self.channels.get_mut(&channel) else {
            return false;
        };
        let ready = traffic.handle_placed(now, from, len, answer, &mut self.budget);
        self.note_taken(from, Ok(ready))
    }

    /// Parity over several segments has come; true if there is a message to be received.
    pub(super) fn handle_parity(&mut self, now: Instant, from: MemberId, parity: &Parity<'_>) -> bool {
        let Some(traffic) = self.channels.get_mut(&parity.channel) else {
            return false;
        };
        if parity.point_to_point {
            return false;
        }
        let taken = traffic.handle_parity(now, from, parity, &mut self.budget);
        self.note_taken(from, taken)
    }

    /// Takes note of who sends what cannot be taken, and sees to it that messages have their memory.
    fn note_taken(&mut self, from: MemberId, taken: Result<bool, Refused>) -> bool {
        self.shed_overdrawn();
        taken.unwrap_or_else(|refused| {
            self.unusable.push((from, refused));
            false
        })
    }

    /// Somebody who sends what cannot be taken, each once.
    pub(super) fn pop_unusable(&mut self) -> Option<(MemberId, Refused)> {
        self.unusable.pop()
    }

    /// A sender says how far it went; true if there is a message to be received.
    pub(super) fn handle_sync(&mut self, now: Instant, from: MemberId, sync: &FlowSync) -> bool {
        let Some(traffic) = self.channels.get_mut(&sync.channel) else {
            return false;
        };
        if sync.point_to_point {
            return false;
        }
        let taken = traffic.handle_sync(now, from, sync, &mut self.budget);
        self.note_taken(from, taken)
    }

    pub(super) fn handle_status(&mut self, now: Instant, from: MemberId, me: MemberId, status: &Status<'_>) {
        if let Some(traffic) = self.channels.get_mut(&status.channel)
            && !status.point_to_point
            && MemberId(status.source) == me
        {
            traffic.handle_status(now, from, status);
        }
    }

    /// True if there may be messages to be received.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        for traffic in self.channels.values_mut() {
            traffic.handle_timeout(now);
        }
        self.resume(now)
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let resumption = self.budget.may_resume().then_some(now);
        self.channels
            .values()
            .filter_map(|traffic| traffic.poll_timeout(now))
            .chain(resumption)
            .min()
    }

    /// Queues a message on a channel; returns its number, if there is such a channel.
    pub(super) fn push(&mut self, channel: u16, kind: RecordKind, body: Bytes) -> Option<u64> {
        Some(self.channels.get_mut(&channel)?.push(kind, body))
    }

    /// Takes the next message of a channel, from one member after the other. The memory that this frees may let others
    /// go on: `true` with it then.
    pub(super) fn pop(&mut self, now: Instant, channel: u16) -> (Option<Popped>, bool) {
        let popped = match self.channels.get_mut(&channel) {
            Some(traffic) => traffic.pop(now, &mut self.budget),
            None => Ok(None),
        };
        let popped = popped.unwrap_or_else(|unusable| {
            self.unusable.push(unusable);
            None
        });
        (popped, self.resume(now))
    }

    /// Lets all go on that waited for memory, if some was given back: by who has read, or with what came of somebody who
    /// is gone. True then.
    fn resume(&mut self, now: Instant) -> bool {
        let resumes = self.budget.take_resumption();
        if resumes {
            for traffic in self.channels.values_mut() {
                self.unusable.extend(traffic.resume(now, &mut self.budget));
            }
            self.shed_overdrawn();
        }
        resumes
    }

    /// Gives up what came before its turn if messages lack its memory.
    fn shed_overdrawn(&mut self) {
        if self.budget.is_overdrawn() {
            for traffic in self.channels.values_mut() {
                traffic.shed(&mut self.budget);
            }
        }
    }

    /// Everything below was delivered to all who were there and still are.
    pub(super) fn settled(&self, channel: u16) -> u64 {
        self.channels.get(&channel).map_or(u64::MAX, Traffic::settled)
    }

    /// How far those have come on a channel that are waited for.
    pub(super) fn held(&self, channel: u16) -> u64 {
        self.channels.get(&channel).map_or(0, Traffic::held)
    }

    /// Messages of a channel that were not delivered to all yet.
    pub(super) fn undelivered(&self, channel: u16) -> u64 {
        self.channels.get(&channel).map_or(0, Traffic::undelivered)
    }

    /// Whether all that was sent was delivered.
    pub(super) fn is_settled(&self) -> bool {
        self.channels
            .values()
            .all(|traffic| traffic.unsettled_bytes() == 0)
    }

    /// What was settled on all channels together: it changes whenever one of them does.
    pub(super) fn progress(&self) -> u64 {
        self.channels
            .values()
            .fold(0, |sum, traffic| sum.wrapping_add(traffic.settled()))
    }

    /// Who went without having had all of these messages of a channel.
    pub(super) fn missed(&self, channel: u16, numbers: RangeInclusive<u64>) -> Vec<MemberId> {
        let now = self.channels.get(&channel);
        let mut members = now.map_or_else(Vec::new, |traffic| traffic.missed(numbers.clone()));
        let before = self.missed.iter().filter(|(of, _, missed)| {
            *of == channel && missed.start <= *numbers.end() && *numbers.start() < missed.end
        });
        members.extend(before.map(|(_, member, _)| *member));
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Bytes of messages that this node keeps for others, on a channel.
    pub(super) fn unsettled_bytes(&self, channel: u16) -> u64 {
        self.channels.get(&channel).map_or(0, Traffic::unsettled_bytes)
    }

    /// Somebody wants to send more on a channel, and there is no room for it.
    pub(super) fn note_refused(&mut self, channel: u16) {
        if let Some(traffic) = self.channels.get_mut(&channel) {
            traffic.note_refused();
        }
    }

    /// Takes note of who keeps channels full, so that nothing more can be sent.
    pub(super) fn note_full(&mut self, now: Instant) {
        let most = self.settings.send_budget;
        for traffic in self.channels.values_mut() {
            // Less than a message is missing, but how much that is nobody knows.
            if traffic.unsettled_bytes() >= most / 2 {
                traffic.note_full(now);
            }
        }
    }

    /// Forgets since when anybody has kept a channel from moving.
    pub(super) fn forgive(&mut self) {
        self.channels.values_mut().for_each(Traffic::forgive);
    }

    /// Who has kept a channel from moving for at least `limit`.
    pub(super) fn blockers(&self, now: Instant, limit: std::time::Duration) -> Vec<MemberId> {
        self.channels
            .values()
            .flat_map(|traffic| traffic.blockers(now, limit))
            .collect()
    }

    /// As if there had been as many groups of a number as there can be but one.
    #[cfg(test)]
    pub(super) fn skip_numbers(&mut self, channel: u16) {
        if let Some(Some(begin)) = self.begins.get_mut(&channel) {
            begin.segment = (1 << 61) - (1 << 32);
        }
    }

    /// The memory that is taken, of what there is; and what each channel keeps for others.
    #[cfg(test)]
    pub(super) fn memory(&self) -> (u64, u64, Vec<u64>) {
        let kept = self.channels.values().map(Traffic::unsettled_bytes);
        (self.budget.used(), self.budget.limit(), kept.collect())
    }

    /// Bytes of what came before its turn, of each member on each channel.
    #[cfg(test)]
    pub(super) fn early_bytes(&self) -> impl Iterator<Item = u64> {
        self.channels.values().flat_map(Traffic::early_bytes)
    }

    /// Queues all reports, due or not: this node goes, and cannot be asked any more.
    pub(super) fn report_all(&mut self, now: Instant, peers: &Peers, outbox: &mut Outbox) {
        self.channels.values_mut().for_each(Traffic::report_now);
        self.report(now, peers, outbox);
    }

    /// Queues what there is to report of a channel, more than once: nobody can ask for it again.
    pub(super) fn report_last(&mut self, now: Instant, channel: u16, peers: &Peers, outbox: &mut Outbox) {
        const COPIES: usize = 3;
        if let Some(traffic) = self.channels.get_mut(&channel) {
            for _ in 0..COPIES {
                traffic.report_now();
                traffic.report(now, peers, outbox);
            }
        }
    }

    /// Queues the reports that are due.
    pub(super) fn report(&mut self, now: Instant, peers: &Peers, outbox: &mut Outbox) {
        for traffic in self.channels.values_mut() {
            traffic.report(now, peers, outbox);
        }
    }

    /// What is to be sent next, from one channel after the other.
    pub(super) fn poll_piece(&mut self, now: Instant, number: u64) -> Option<(u16, Piece)> {
        if self.channels.len() == 1 {
            // The usual case, once for each segment.
            let (channel, traffic) = self.channels.iter_mut().next()?;
            return Some((*channel, traffic.poll_piece(now, number)?));
        }
        let last = self.last;
        let after = self
            .channels
            .range_mut(last..)
            .map(|(channel, traffic)| (*channel, traffic));
        let found = after
            .filter_map(|(channel, traffic)| Some((channel, traffic.poll_piece(now, number)?)))
            .next();
        let found = found.or_else(|| {
            self.channels
                .range_mut(..last)
                .find_map(|(channel, traffic)| Some((*channel, traffic.poll_piece(now, number)?)))
        })?;
        self.last = found.0;
        Some(found)
    }

    /// What is to be sent next on the same channel.
    pub(super) fn poll_more(&mut self, channel: u16, now: Instant, number: u64) -> Option<Piece> {
        self.channels.get_mut(&channel)?.poll_piece(now, number)
    }

    /// Lets the other channels have their turn: a batch of this one is full.
    pub(super) fn end_turn(&mut self) {
        self.last = self.last.wrapping_add(1);
    }

    /// The payload of parity of a block.
    pub(super) fn parity(&self, channel: u16, base: u64, index: u8) -> Option<&[u8]> {
        self.channels.get(&channel)?.parity(base, index)
    }

    /// The payload of a segment: where it lies, or else copied into `room`.
    pub(super) fn payload<'a>(
        &'a mut self,
        channel: u16,
        number: u64,
        room: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        self.channels.get_mut(&channel)?.payload(number, room)
    }
}
