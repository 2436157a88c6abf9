//! A half and the other side of its link: sessions as they begin and break, presence, and what parties say of themselves.

use std::time::Instant;

use super::event::RelayEvent;
use super::ledger::Mark;
use super::relay::{Relay, Way};
use super::store::{Op, Record};
use crate::federation::core::few::Few;
use crate::federation::core::packet::{Content, Header, Item, Packet, Refusal};
use crate::federation::name::PartyId;

/// The longest reason of an abort in bytes.
const MAX_REASON: usize = 1024;

impl Relay {
    /// A packet of somebody who may speak has come.
    pub(super) fn hear(&mut self, now: Instant, index: usize, way: Way, packet: Packet) {
        let Packet { header, pieces } = packet;
        let bytes = pieces.iter().map(bytes::Bytes::len).sum();
        if let Content::Refused(refusal) = header.content
            && header.yours == self.jobs[self.halves[index].job].incarnation
        {
            let (job, party) = (header.job.clone(), header.to.clone());
            self.tell(RelayEvent::Refused { job, party, refusal });
            self.pass_refusal(index, refusal);
        }
        let half = &mut self.halves[index];
        let (heard, taken) = half.link.handle(now, &header, bytes, Ok(()));
        if half.link.is_with(header.mine) {
            self.bind(now, index, way);
        }
        if heard.is_new {
            self.begin_session(index);
        }
        let half = &mut self.halves[index];
        if let Content::Hello(hello) = &header.content
            && half.link.is_with(header.mine)
        {
            half.meet(hello);
        }
        if heard.is_new && !half.is_relay {
            // Another process: what was to come again from the one before does not.
            for flow in self.halves[index].sources.values().copied().collect::<Vec<_>>() {
                self.give_up(flow);
            }
        }
        let is_alive = self.halves[index].link.is_alive(now);
        self.set_present(index, is_alive);
        self.free_streamed(index);
        if let (Content::Items { items, .. }, Some(taken)) = (header.content, taken) {
            self.handle_items(now, index, items, taken, pieces);
        }
        self.inform(index);
        self.wake(index);
    }

    /// Another server does not let a party in: it is told, as if it had asked itself.
    fn pass_refusal(&mut self, index: usize, refusal: Refusal) {
        let twin = &self.halves[self.halves[index].twin];
        let job = &self.jobs[twin.job];
        let incarnation = job.parties[twin.member].incarnation();
        if let Some((way, yours)) = twin.way.zip(incarnation) {
            let header = Header {
                job: job.id.clone(),
                from: twin.plays.clone(),
                to: twin.party.clone(),
                mine: job.incarnation,
                yours,
                ack: 0,
                content: Content::Refused(refusal),
            };
            self.reply(way, header);
        }
    }

    /// The party is reached on this way from now on.
    fn bind(&mut self, now: Instant, index: usize, way: Way) {
        let half = &mut self.halves[index];
        let job = &mut self.jobs[half.job];
        job.parties[half.member].heard(now, way);
        if half.is_party_present() && job.aborted.is_none() {
            job.touched = now;
        }
        if half.way != Some(way) {
            half.awake = None;
            if let Some(old) = half.way.replace(way) {
                self.lanes.leave(old, index);
            }
            self.lanes.join(way, index);
        }
    }

    fn begin_session(&mut self, index: usize) {
        self.set_present(index, false);
        self.sessions += 1;
        let half = &mut self.halves[index];
        let had_left = half.has_left;
        half.reset(self.sessions);
        let lent = half.lent.drain(..).map(|(_, bytes)| bytes).sum();
        self.ledger.unload(lent);
        let half = &mut self.halves[index];
        self.quota.end(&mut half.account);
        let twin = half.twin;
        let told = &mut self.halves[twin].told;
        if std::mem::take(&mut told.leave) {
            // Being seen again is the end of having left, also for who was not told of the time between.
            told.seen = None;
        }
        if had_left {
            self.keep_pair(index);
        }
        let half = &self.halves[index];
        let sources: Vec<_> = half.sources.values().copied().collect();
        let targets = half.targets.clone();
        for flow in sources {
            self.reset_source(flow);
        }
        for flow in targets {
            self.flows[flow].reset_target();
            self.flows[flow].is_listed = false;
            self.flows[flow].is_counted = false;
            if !self.flows[flow].entries.is_empty() {
                self.activate(flow);
            }
        }
    }

    /// The connection of a half is gone.
    pub(super) fn lose(&mut self, index: usize, way: Way) {
        let half = &mut self.halves[index];
        half.link.lost();
        half.awake = None;
        self.jobs[half.job].parties[half.member].lost(way);
        match way {
            Way::Party(_) => {
                half.way = None;
                self.set_present(index, false);
                self.route(index);
            }
            Way::Server(_) => self.lanes.join(way, index),
        }
        self.set_present(index, false);
        self.wake(index);
    }

    /// The other side of a half is heard, or not any more.
    pub(super) fn set_present(&mut self, index: usize, is_present: bool) {
        let half = &mut self.halves[index];
        if half.is_present == is_present {
            return;
        }
        half.is_present = is_present;
        let job = &mut self.jobs[half.job];
        let party = &mut job.parties[half.member];
        if is_present {
            party.present += 1;
            self.quota.resume(&mut half.account);
            self.serve_half(index);
        } else {
            party.present -= 1;
            self.quota.suspend(&mut half.account);
            // Who has left is not missed.
            if party.present == 0 && !half.has_left {
                let (job, party) = (job.id.clone(), half.party.clone());
                self.tell(RelayEvent::Lost { job, party });
            }
            self.unload_targets(index);
            for place in 0..self.halves[index].targets.len() {
                self.answer_pending(self.halves[index].targets[place], false);
            }
        }
        let twin = self.halves[index].twin;
        self.inform(twin);
        self.wake(twin);
    }

    /// The half's link may have something to do.
    pub(super) fn look_after_half(&mut self, now: Instant, index: usize) {
        let Some(half) = self.halves.get_mut(index) else {
            return;
        };
        half.armed = None;
        if half.is_present && !half.link.is_alive(now) {
            self.set_present(index, false);
        }
        if self.is_wanted(index) {
            self.halves[index].link.handle_timeout(now);
        }
        self.wake(index);
    }

    /// Tells a party what it should know of the one whose place is taken.
    pub(super) fn inform(&mut self, index: usize) {
        let half = &self.halves[index];
        let twin = &self.halves[half.twin];
        let (is_seen, is_ready) = (twin.is_party_present(), twin.is_ready);
        // Who is away hears it when it comes back: what it is told does not add up meanwhile.
        if !half.link.is_up() || !half.is_present || !half.has_room_for_answers() {
            return;
        }
        let aborted = self.jobs[half.job].aborted.clone();
        let half = &mut self.halves[index];
        if half.told.seen.replace(is_seen) != Some(is_seen) {
            half.link.push(Item::Seen { is_up: is_seen }, Vec::new());
        }
        if is_ready && !std::mem::replace(&mut half.told.ready, true) {
            half.link.push(Item::Ready, Vec::new());
        }
        if let Some((by, reason)) = aborted
            && !std::mem::replace(&mut half.told.abort, true)
        {
            half.link.push(Item::Abort { by, reason }, Vec::new());
        }
    }

    /// Takes items until there is one that cannot be taken; of these, the first `taken` were here before.
    fn handle_items(
        &mut self,
        now: Instant,
        index: usize,
        items: Vec<Item>,
        taken: usize,
        pieces: Vec<bytes::Bytes>,
    ) {
        let mut pieces = pieces.into_iter();
        for (number, item) in items.into_iter().enumerate() {
            let own: Few<_> = pieces.by_ref().take(item.pieces()).collect();
            if number < taken {
                continue;
            }
            let before = self.ledger.len();
            if let Err(wrong) = self.handle_item(now, index, item, own) {
                if let Some(what) = wrong {
                    self.note_wrong(index, what);
                }
                return;
            }
            let has_changed = self.ledger.len() > before;
            let batch = self.ledger.batch();
            let half = &mut self.halves[index];
            match half.unconfirmed.back_mut() {
                _ if has_changed => {
                    half.link.take_unconfirmed();
                    let below = half.link.expected();
                    if let Some(last) = half.unconfirmed.back_mut().filter(|last| last.0 == batch) {
                        last.1 = below;
                    } else {
                        half.unconfirmed.push_back((batch, below));
                        let session = half.session;
                        self.ledger.mark(Mark::Half { half: index, session });
                    }
                }
                // It does not count before those before it.
                Some(last) => {
                    half.link.take_unconfirmed();
                    last.1 = half.link.expected();
                }
                None => half.link.take(),
            }
        }
    }

    pub(super) fn note_wrong(&mut self, index: usize, what: &'static str) {
        let half = &mut self.halves[index];
        half.wrong += 1;
        let job = self.jobs[half.job].id.clone();
        let party = half.party.clone();
        self.tell(RelayEvent::Wrong { job, party, what });
    }

    /// Whether the item was taken; if not, what is wrong with it, unless it is only too much at present.
    fn handle_item(
        &mut self,
        now: Instant,
        index: usize,
        item: Item,
        pieces: Few<bytes::Bytes>,
    ) -> Result<(), Option<&'static str>> {
        let is_over = self.jobs[self.halves[index].job].aborted.is_some();
        match item {
            // Nobody will ever receive anything, and there are no channels.
            Item::Open { .. }
            | Item::Opened { .. }
            | Item::Declined { .. }
            | Item::Data(_)
            | Item::Settled { .. }
            | Item::Want { .. }
            | Item::Rewind { .. }
                if is_over => {}
            Item::Open { .. } | Item::Data(_) | Item::Want { .. }
                if !self.halves[index].has_room_for_answers() =>
            {
                return Err(None);
            }
            Item::Open { flow, key, from } => self.open(index, flow, key, from)?,
            Item::Data(data) => self.take_data(now, index, data, pieces)?,
            Item::Want { total } => self.want(index, total),
            Item::Opened {
                flow,
                epoch,
                next,
                held,
            } => self.opened(index, flow, epoch, next, held)?,
            Item::Declined { flow, limit } => self.declined(index, flow, limit)?,
            Item::Settled {
                flow,
                offset,
                expired,
            } => self.settled(index, flow, offset, expired)?,
            Item::Ready => {
                if !std::mem::replace(&mut self.halves[index].is_ready, true) {
                    self.keep_pair(index);
                    self.inform_twin(index);
                }
            }
            Item::Leave => self.leave(index),
            Item::Abort { by, reason } => self.abort(now, index, by, reason),
            Item::Credit { total } => self.credited(index, total),
            Item::Seen { is_up } => self.seen(index, is_up),
            Item::Rewind { flow, offset } => self.rewind(index, flow, offset),
        }
        Ok(())
    }

    fn inform_twin(&mut self, index: usize) {
        let twin = self.halves[index].twin;
        self.inform(twin);
        self.wake(twin);
    }

    fn leave(&mut self, index: usize) {
        let half = &mut self.halves[index];
        half.link.hurry();
        if !std::mem::replace(&mut half.has_left, true) {
            let job = &mut self.jobs[half.job];
            // It leaves each of the others.
            if !std::mem::replace(&mut job.parties[half.member].has_left, true) {
                let (job, party) = (job.id.clone(), half.party.clone());
                self.tell(RelayEvent::Left { job, party });
            }
            self.keep_pair(index);
            let twin = self.halves[index].twin;
            self.wake(twin);
        }
    }

    fn seen(&mut self, index: usize, is_up: bool) {
        let half = &mut self.halves[index];
        if !half.is_relay || std::mem::replace(&mut half.is_seen, is_up) == is_up {
            return;
        }
        if is_up {
            self.jobs[half.job].parties[half.member].has_left = false;
            // Messages that go only to a party that is there.
            for place in 0..self.halves[index].targets.len() {
                let flow = self.halves[index].targets[place];
                if self.flows[flow].is_counted {
                    self.activate(flow);
                }
            }
        }
        self.inform_twin(index);
    }

    /// What a party has said is kept, unless nobody will ask for it.
    fn keep_pair(&mut self, index: usize) {
        let half = &self.halves[index];
        let job = &self.jobs[half.job];
        if job.aborted.is_some() {
            return;
        }
        self.ledger.add(|| {
            Op::Keep(Record::Pair {
                job: job.id.clone(),
                from: half.party.clone(),
                to: half.plays.clone(),
                ready: half.is_ready,
                left: half.has_left,
            })
        });
    }

    fn abort(&mut self, now: Instant, index: usize, by: PartyId, mut reason: String) {
        let half = &mut self.halves[index];
        half.link.hurry();
        let party = half.party.clone();
        let number = half.job;
        let job = &mut self.jobs[number];
        if job.aborted.is_some() {
            return;
        }
        // Who hears of another's abort may be the first to tell of it.
        let by = if job.member(&by).is_some() { by } else { party };
        if let Some(end) = (0..=MAX_REASON).rev().find(|end| reason.is_char_boundary(*end)) {
            reason.truncate(end);
        }
        job.aborted = Some((by.clone(), reason.clone()));
        job.touched = now;
        let (id, members) = (job.id.clone(), job.members.clone());
        self.tell(RelayEvent::Aborted {
            job: id.clone(),
            by: by.clone(),
            reason: reason.clone(),
        });
        self.clear_job(number);
        self.ledger.add(|| Op::JobGone { job: id.clone() });
        self.ledger.add(|| {
            Op::Keep(Record::Job {
                job: id,
                members,
                aborted: Some((by, reason)),
            })
        });
        let halves: Vec<_> = self.jobs[number].halves.values().copied().collect();
        for half in halves {
            self.inform(half);
            self.wake(half);
        }
        self.look_soon(now, number);
    }
}
