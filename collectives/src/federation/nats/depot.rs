//! What stands between a party's node and the streams: it plays every other party towards the node, as a message server
//! does, and keeps what the node sends in the streams.
//!
//! There is no I/O here and no clock. A depot lives for one session with the server: whatever goes wrong, it is dropped
//! and a new one begins, which finds in the streams and hears from the node all that it needs. So there is one way for
//! every failure, and it is gone often enough to be right.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::Message;
use thiserror::Error;

use super::inbound::{Inbound, Outcome, Parcel};
use super::outbound::Outbound;
use super::partner::{Partner, Sign};
use super::record::{Abort, Batch, Claim, Progress, read, write};
use super::seat::Seat;
use super::subject::{Place, Subjects};
use crate::federation::core::packet::{Content, Item, Packet};
use crate::federation::core::{FlowKey, Refusal};
use crate::federation::limits::Limits;
use crate::federation::name::{JobId, PartyId};

/// How a depot is set up.
#[derive(Clone, Debug)]
pub(super) struct DepotSetup {
    pub(super) job: JobId,
    pub(super) local: PartyId,
    pub(super) peers: Vec<PartyId>,
    pub(super) limits: Limits,
    pub(super) subjects: Subjects,
    /// Drawn anew each time that the program starts.
    pub(super) incarnation: u64,
    /// Drawn anew for each session; not 0.
    pub(super) session: u64,
    /// Whether an earlier session had this party's place.
    pub(super) had_place: bool,
    /// What the server takes in one message at most, in bytes.
    pub(super) max_payload: usize,
}

/// What is asked of the server. Its answer names the ticket.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) ticket: u64,
    pub(super) ask: Ask,
}

#[derive(Debug, PartialEq)]
pub(super) enum Ask {
    /// Store this, if the last message of the subject is at this place; 0 for none.
    Publish {
        subject: String,
        after: u64,
        payload: Bytes,
    },
    /// The last message of a subject.
    Last { stream: Stream, subject: String },
    /// The first message of a subject from this place on, of the messages.
    Next { subject: String, from: u64 },
    /// Remove all messages of a subject before this place.
    Purge { subject: String, below: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Data,
    State,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) seq: u64,
    /// When it was stored, by the server's clock in milliseconds.
    pub(super) time: u64,
    pub(super) payload: Bytes,
}

#[derive(Debug)]
pub(super) enum Answer {
    /// It is stored at this place.
    Published(u64),
    /// The last message of the subject is another one. Nothing was stored.
    Overtaken,
    /// There is no room. Nothing was stored.
    Full,
    Found(Option<Stored>),
    Purged,
}

/// The session cannot go on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Broken {
    #[error("what this side knew of the streams is not so any more")]
    Outdated,
    #[error("the streams contradict each other")]
    Contradiction,
}

#[derive(Debug)]
enum Errand {
    Seat,
    OutLast(usize, u32),
    OutDone(usize, u32),
    Fence(usize, u32),
    Batch(usize, u32),
    InLast(usize, FlowKey),
    InDone(usize, FlowKey),
    Record(usize, FlowKey),
    Fetch(usize, FlowKey),
    Abort,
    Purge,
}

#[derive(Debug)]
pub(super) struct Depot {
    setup: DepotSetup,
    members: Vec<PartyId>,
    partners: Vec<Partner>,
    by_id: BTreeMap<PartyId, usize>,
    seat: Seat,
    errands: HashMap<u64, Errand>,
    requests: VecDeque<Request>,
    last_ticket: u64,
    /// What is to be tried again: which flow to which partner.
    retries: BTreeSet<(Instant, Retry)>,
    /// The server's clock in milliseconds, at least, when it was last seen.
    clock: Option<(u64, Instant)>,
    /// Up to this place, the messages for this party are here.
    cursor: u64,
    /// How many flows to this party wait for what the streams have of them.
    loading: usize,
    /// Whether this party's own place was read back: from then on the server's clock is known.
    is_clocked: bool,
    /// The node's incarnation.
    node: u64,
    aborted: Option<Abort>,
    /// The node's items that say so; the first is on its way to the stream.
    aborters: Vec<(usize, u64)>,
    /// What they say.
    abort: Option<Abort>,
    is_full: bool,
    broken: Option<Broken>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Retry {
    Out(usize, u32),
    Record(usize, FlowKey),
    Purge(usize, FlowKey),
    Abort,
}

impl Depot {
    pub(super) fn new(setup: DepotSetup, now: Instant) -> Self {
        let mut members: Vec<_> = setup.peers.iter().chain([&setup.local]).cloned().collect();
        members.sort();
        let claim = Claim {
            incarnation: setup.incarnation,
            members: members.clone(),
            is_ready: false,
            left: None,
        };
        let partner = |id: &PartyId| Partner::new(id.clone(), setup.session, &setup.limits, now);
        Depot {
            partners: setup.peers.iter().map(partner).collect(),
            by_id: setup.peers.iter().cloned().zip(0..).collect(),
            seat: Seat::new(claim, setup.had_place, &setup.limits, now),
            members,
            setup,
            errands: HashMap::new(),
            requests: VecDeque::new(),
            last_ticket: 0,
            retries: BTreeSet::new(),
            clock: None,
            cursor: 0,
            loading: 0,
            is_clocked: false,
            node: 0,
            aborted: None,
            aborters: Vec::new(),
            abort: None,
            is_full: false,
            broken: None,
        }
    }

    /// Why the session cannot go on, if so.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Whether this process has the party's place, or has had it.
    pub(super) fn had_place(&self) -> bool {
        self.setup.had_place || self.seat.is_held()
    }

    /// Whether messages for this party can be taken now.
    pub(super) fn wants_data(&self) -> bool {
        self.seat.is_held() && self.is_clocked && self.loading == 0
    }

    /// A packet of the node's.
    pub(super) fn handle_packet(&mut self, now: Instant, message: Message) {
        let Ok(Packet { header, pieces }) = Packet::decode(message) else {
            return;
        };
        let Some(index) = self.by_id.get(&header.to).copied() else {
            return;
        };
        self.node = header.mine;
        let partner = &mut self.partners[index];
        if !self.seat.is_held() {
            match (self.seat.is_taken(), self.seat.is_lost()) {
                (true, _) => partner.link.refuse(header.mine, Refusal::InUse),
                (_, true) => partner.link.refuse(header.mine, Refusal::Superseded),
                _ => {}
            }
            return;
        }
        let acceptable = partner.refusal.map_or(Ok(()), Err);
        let bytes = pieces.iter().map(Bytes::len).sum();
        let (heard, taken) = partner.link.handle(now, &header, bytes, acceptable);
        if heard.came_up {
            self.greet(now, index);
        }
        if let (Content::Items { items, .. }, Some(taken)) = (header.content, taken) {
            let mut pieces = pieces.into_iter();
            for (number, item) in items.into_iter().enumerate() {
                let own: Vec<_> = pieces.by_ref().take(item.pieces()).collect();
                if number >= taken {
                    let number = self.partners[index].link.expected();
                    self.partners[index].link.take_unconfirmed();
                    self.handle_item(now, index, number, item, own);
                }
            }
            self.partners[index].confirm([]);
        }
        self.look_around(now);
    }

    fn greet(&mut self, now: Instant, index: usize) {
        let DepotSetup { limits, local, .. } = &self.setup;
        let partner = &mut self.partners[index];
        partner.tell(now, limits, self.cursor, local);
        if let Some(Abort { by, reason }) = self.aborted.clone() {
            partner.link.push(Item::Abort { by, reason }, Vec::new());
        }
    }

    fn handle_item(&mut self, now: Instant, index: usize, number: u64, item: Item, pieces: Vec<Bytes>) {
        let DepotSetup { subjects, local, .. } = &self.setup;
        let partner = &mut self.partners[index];
        match item {
            Item::Open { flow, key, from } if !partner.outs.contains_key(&flow) => {
                let subject = subjects.data(local, &partner.id, &key);
                let done = subjects.done(local, &partner.id, &key);
                partner.pending.insert(number, 0);
                partner.out_ids.insert(key, flow);
                let outbound = Outbound::new(subject.clone(), number, from);
                partner.outs.insert(flow, outbound);
                self.ask_last(Errand::OutLast(index, flow), Stream::Data, subject);
                self.ask_last(Errand::OutDone(index, flow), Stream::State, done);
            }
            Item::Data(data) => {
                let flow = data.flow;
                let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
                partner.spend(number, data.cost(bytes));
                if let Some(outbound) = partner.outs.get_mut(&flow) {
                    outbound.push(now, data, pieces, number, self.setup.max_payload);
                    self.pump_out(now, index, flow);
                }
            }
            Item::Opened { flow, next, held, .. } => {
                if let Some(key) = partner.in_keys.get(flow as usize).cloned()
                    && let Some(inbound) = partner.inns.get_mut(&key)
                {
                    inbound.opened(next, &held);
                    self.pump_in(now, index, &key);
                }
            }
            Item::Settled {
                flow,
                offset,
                expired,
            } => {
                if let Some(key) = partner.in_keys.get(flow as usize).cloned()
                    && let Some(inbound) = partner.inns.get_mut(&key)
                {
                    partner.pending.insert(number, 0);
                    inbound.handle_settled(offset, expired, number);
                    self.pump_in(now, index, &key);
                }
            }
            Item::Ready => self.seat.say_ready(now),
            Item::Abort { by, reason } => {
                partner.pending.insert(number, 0);
                self.aborters.push((index, number));
                if self.aborters.len() == 1 {
                    self.abort = Some(Abort { by, reason });
                    self.store_abort();
                }
            }
            Item::Want { total } => partner.credit.want(total),
            Item::Leave => {
                partner.pending.insert(number, 0);
                partner.farewell = Some(number);
            }
            // What only servers say, and what was opened before.
            _ => {}
        }
    }

    fn ask(&mut self, errand: Errand, ask: Ask) {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.errands.insert(ticket, errand);
        self.requests.push_back(Request { ticket, ask });
    }

    fn ask_last(&mut self, errand: Errand, stream: Stream, subject: String) {
        self.ask(errand, Ask::Last { stream, subject });
    }

    fn publish(&mut self, errand: Errand, subject: String, after: u64, payload: Vec<u8>) {
        let payload = payload.into();
        self.ask(
            errand,
            Ask::Publish {
                subject,
                after,
                payload,
            },
        );
    }

    fn store_abort(&mut self) {
        if let Some(abort) = &self.abort {
            let record = write(abort);
            // The first one counts.
            self.publish(Errand::Abort, self.setup.subjects.abort(), 0, record);
        }
    }

    /// Stores what is next of a flow.
    fn pump_out(&mut self, now: Instant, index: usize, flow: u32) {
        let Some(outbound) = self.partners[index].outs.get_mut(&flow) else {
            return;
        };
        let subject = outbound.subject.clone();
        if let Some((after, payload)) = outbound.poll_batch(now, self.setup.max_payload) {
            self.publish(Errand::Batch(index, flow), subject, after, payload);
        }
    }

    /// Passes on what is next of a flow, and writes down how far it is.
    fn pump_in(&mut self, now: Instant, index: usize, key: &FlowKey) {
        let server = self.server_clock(now);
        let partner = &mut self.partners[index];
        let Some(inbound) = partner.inns.get_mut(key) else {
            return;
        };
        while let Some(items) = inbound.poll_whole(server) {
            for (item, pieces) in items {
                partner.link.push(item, pieces);
            }
        }
        let record = inbound.poll_record().map(|record| (inbound.done.clone(), record));
        let fetch = inbound.poll_fetch(&self.setup.limits);
        let purge = inbound.poll_purge(now);
        let subject = inbound.subject.clone();
        if let Some(at) = inbound.purge_at() {
            self.retries.insert((at, Retry::Purge(index, key.clone())));
        }
        if let Some((done, (after, payload))) = record {
            self.publish(Errand::Record(index, key.clone()), done, after, payload);
        }
        if let Some(below) = purge {
            let subject = subject.clone();
            self.ask(Errand::Purge, Ask::Purge { subject, below });
        }
        if let Some(from) = fetch {
            self.ask(Errand::Fetch(index, key.clone()), Ask::Next { subject, from });
        }
    }

    /// A message of the streams that this party follows.
    pub(super) fn handle_stored(&mut self, now: Instant, stored: &Stored) {
        if self.clock.is_none() || stored.time > self.server_clock(now) {
            self.clock = Some((stored.time, now));
        }
        match self.setup.subjects.place(&stored.subject) {
            Some(Place::Data { from, key }) => {
                self.cursor = self.cursor.max(stored.seq);
                if let Some(index) = self.by_id.get(&from).copied() {
                    self.handle_data(now, index, &key, stored);
                }
            }
            Some(Place::Done { to, key }) => {
                if let Some(index) = self.by_id.get(&to).copied()
                    && let Some(progress) = Progress::read(&stored.payload)
                {
                    self.handle_progress(index, &key, progress);
                }
            }
            Some(Place::Party(id)) if id == self.setup.local => self.is_clocked = true,
            Some(Place::Party(id)) => {
                if let Some(index) = self.by_id.get(&id).copied()
                    && let Some((claim, _)) = read::<Claim>(&stored.payload)
                {
                    self.handle_claim(now, index, claim, stored.time);
                }
            }
            Some(Place::Abort) => {
                if let Some((abort, _)) = read::<Abort>(&stored.payload) {
                    self.handle_abort(abort);
                }
            }
            None => {}
        }
        self.look_around(now);
    }

    fn handle_data(&mut self, now: Instant, index: usize, key: &FlowKey, stored: &Stored) {
        let Some(parcel) = parcel(stored) else {
            tracing::warn!(subject = stored.subject, "a message of the stream cannot be read");
            return;
        };
        let DepotSetup {
            subjects,
            local,
            limits,
            ..
        } = &self.setup;
        let partner = &mut self.partners[index];
        if !partner.inns.contains_key(key) {
            if partner.inns.len() >= limits.channels as usize {
                tracing::warn!(subject = stored.subject, "there are too many channels");
                return;
            }
            let subject = subjects.data(&partner.id, local, key);
            let done = subjects.done(&partner.id, local, key);
            let id = u32::try_from(partner.in_keys.len()).expect("there are at most `channels`");
            partner.in_keys.push(key.clone());
            let inbound = Inbound::new(id, subject.clone(), done.clone());
            partner.inns.insert(key.clone(), inbound);
            self.loading += 1;
            self.ask_last(Errand::InLast(index, key.clone()), Stream::Data, subject);
            self.ask_last(Errand::InDone(index, key.clone()), Stream::State, done);
        }
        self.take(now, index, key, vec![parcel]);
    }

    fn take(&mut self, now: Instant, index: usize, key: &FlowKey, parcels: Vec<Parcel>) {
        let Some(inbound) = self.partners[index].inns.get_mut(key) else {
            return;
        };
        for parcel in parcels {
            if inbound.handle(parcel, &self.setup.limits) == Outcome::Renumbered {
                self.broken = Some(Broken::Outdated);
                return;
            }
        }
        self.pump_in(now, index, key);
    }

    fn handle_progress(&mut self, index: usize, key: &FlowKey, progress: Progress) {
        let partner = &mut self.partners[index];
        let Some(flow) = partner.out_ids.get(key).copied() else {
            return;
        };
        let Some(outbound) = partner.outs.get_mut(&flow) else {
            return;
        };
        for (offset, expired) in outbound.settled(progress) {
            let item = Item::Settled {
                flow,
                offset,
                expired,
            };
            partner.link.push(item, Vec::new());
        }
    }

    fn handle_claim(&mut self, now: Instant, index: usize, claim: Claim, time: u64) {
        let age = Duration::from_millis(self.server_clock(now).saturating_sub(time));
        let partner = &mut self.partners[index];
        let is_ours = claim.members == self.members;
        if !is_ours && partner.refusal.is_none() && claim.left.is_none() {
            partner.refusal = Some(Refusal::OtherMembers);
            partner.link.refuse(self.node, Refusal::OtherMembers);
        }
        if is_ours {
            partner.refusal = None;
        }
        partner.sign = Some(Sign {
            claim,
            heard: now.checked_sub(age).unwrap_or(now),
        });
    }

    fn handle_abort(&mut self, abort: Abort) {
        if self.aborted.is_some() {
            return;
        }
        for partner in self.partners.iter_mut().filter(|partner| partner.link.is_up()) {
            let Abort { by, reason } = abort.clone();
            partner.link.push(Item::Abort { by, reason }, Vec::new());
        }
        self.aborted = Some(abort);
    }
}

fn parcel(stored: &Stored) -> Option<Parcel> {
    let (batch, contents) = Batch::read(&stored.payload)?;
    Some(Parcel {
        seq: stored.seq,
        time: stored.time,
        batch,
        contents,
    })
}
