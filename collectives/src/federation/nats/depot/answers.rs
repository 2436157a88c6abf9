//! What the server answers, what is to be asked next, and what time brings.

use std::time::{Duration, Instant};

use flexbond_transport::Message;

use super::{Answer, Broken, Depot, DepotSetup, Errand, Request, Retry, Stream, parcel};
use crate::federation::core::FlowKey;
use crate::federation::core::Refusal;
use crate::federation::core::packet::{Hello, Item};
use crate::federation::nats::inbound::Outcome;
use crate::federation::nats::partner::{CREDIT, Partner};
use crate::federation::nats::record::{Batch, Progress};
use crate::federation::nats::seat::Step;

/// How long it is waited before something is tried again that the server had no room for.
const FULL: Duration = Duration::from_millis(250);

impl Depot {
    /// The server's answer to a request.
    pub(in super::super) fn handle_answer(&mut self, now: Instant, ticket: u64, answer: Answer) {
        let Some(errand) = self.errands.remove(&ticket) else {
            return;
        };
        // Signs of life are small, and may be taken where messages are not.
        if let Errand::Batch(..) | Errand::Fence(..) = errand {
            self.is_full = matches!(answer, Answer::Full);
        }
        match (errand, answer) {
            (Errand::Seat, answer) => self.handle_seat(now, answer),
            (Errand::OutLast(index, flow), Answer::Found(found)) => {
                let found = found.map(|stored| (stored.seq, Batch::read(&stored.payload)));
                let last = match found {
                    None => None,
                    Some((seq, Some((batch, _)))) => Some((seq, batch)),
                    Some((_, None)) => return self.contradict("the last message of a channel"),
                };
                if let Some(outbound) = self.partners[index].outs.get_mut(&flow) {
                    outbound.handle_last(last);
                    self.fence(index, flow);
                }
            }
            (Errand::OutDone(index, flow), Answer::Found(found)) => {
                let progress = found.and_then(|stored| Progress::read(&stored.payload));
                if let Some(outbound) = self.partners[index].outs.get_mut(&flow) {
                    outbound.handle_done(progress);
                    self.fence(index, flow);
                }
            }
            (Errand::Fence(index, flow), Answer::Published(seq)) => self.open_out(now, index, flow, seq),
            (Errand::Batch(index, flow), Answer::Published(seq)) => {
                let partner = &mut self.partners[index];
                partner.last_sent = partner.last_sent.max(seq);
                if let Some(outbound) = partner.outs.get_mut(&flow) {
                    let items = outbound.stored(seq);
                    partner.confirm(items);
                    self.pump_out(now, index, flow);
                }
            }
            (Errand::Fence(index, flow) | Errand::Batch(index, flow), Answer::Full) => {
                if let Some(outbound) = self.partners[index].outs.get_mut(&flow) {
                    outbound.refused();
                    self.retries.insert((now + FULL, Retry::Out(index, flow)));
                }
            }
            (Errand::InLast(index, key), Answer::Found(found)) => {
                let last = found.and_then(|stored| Some((stored.seq, Batch::read(&stored.payload)?.0.epoch)));
                if let Some(inbound) = self.partners[index].inns.get_mut(&key) {
                    inbound.handle_last(last);
                    self.open_in(now, index, &key);
                }
            }
            (Errand::InDone(index, key), Answer::Found(found)) => {
                let done = match found.map(|stored| (stored.seq, Progress::read(&stored.payload))) {
                    None => None,
                    Some((seq, Some(progress))) => Some((seq, progress)),
                    Some((_, None)) => return self.contradict("the record of a channel"),
                };
                if let Some(inbound) = self.partners[index].inns.get_mut(&key) {
                    inbound.handle_done(done);
                    self.open_in(now, index, &key);
                }
            }
            (Errand::Record(index, key), Answer::Published(seq)) => {
                let partner = &mut self.partners[index];
                if let Some(inbound) = partner.inns.get_mut(&key) {
                    let items = inbound.recorded(now, seq);
                    partner.confirm(items);
                    self.pump_in(now, index, &key);
                }
            }
            (Errand::Record(index, key), Answer::Full) => {
                if let Some(inbound) = self.partners[index].inns.get_mut(&key) {
                    inbound.unrecorded();
                    self.retries.insert((now + FULL, Retry::Record(index, key)));
                }
            }
            (Errand::Fetch(index, key), Answer::Found(found)) => {
                let parcel = found.as_ref().and_then(parcel);
                if let Some(inbound) = self.partners[index].inns.get_mut(&key) {
                    match inbound.fetched(parcel, &self.setup.limits) {
                        Outcome::Taken => self.pump_in(now, index, &key),
                        Outcome::Renumbered => self.broken = Some(Broken::Outdated),
                    }
                }
            }
            (Errand::Abort, Answer::Published(_) | Answer::Overtaken) => {
                for (index, number) in std::mem::take(&mut self.aborters) {
                    self.partners[index].confirm([number]);
                }
            }
            (Errand::Abort, Answer::Full) => {
                self.retries.insert((now + FULL, Retry::Abort));
            }
            (Errand::Purge, _) => {}
            // The stream is not as this session has it, or the answer is to something else.
            _ => self.broken = Some(Broken::Outdated),
        }
        self.look_around(now);
    }

    fn contradict(&mut self, what: &str) {
        tracing::warn!(what, "a record of the stream cannot be read");
        self.broken = Some(Broken::Contradiction);
    }

    fn handle_seat(&mut self, now: Instant, answer: Answer) {
        match answer {
            Answer::Found(found) => {
                let was_lost = self.seat.is_lost();
                self.seat
                    .found(now, found.map(|stored| (stored.seq, stored.payload)));
                if self.seat.is_lost() && !was_lost {
                    for partner in &mut self.partners {
                        partner.link.refuse(self.node, Refusal::Superseded);
                    }
                }
            }
            Answer::Published(seq) => self.seat.written(now, seq),
            Answer::Overtaken => self.seat.overtaken(now),
            Answer::Full | Answer::Purged => self.seat.unwritten(now),
        }
    }

    /// Begins the session of a flow to another party, when all is known for it.
    fn fence(&mut self, index: usize, flow: u32) {
        let fresh = self.setup.session;
        if let Some(outbound) = self.partners[index].outs.get_mut(&flow)
            && let Some((after, payload)) = outbound.fence(fresh)
        {
            let subject = outbound.subject.clone();
            self.publish(Errand::Fence(index, flow), subject, after, payload);
        }
    }

    fn open_out(&mut self, now: Instant, index: usize, flow: u32, seq: u64) {
        let partner = &mut self.partners[index];
        partner.last_sent = partner.last_sent.max(seq);
        let Some(outbound) = partner.outs.get_mut(&flow) else {
            return;
        };
        let Some(opening) = outbound.open(seq) else {
            return self.contradict("the record of what a party has received");
        };
        let opener = outbound.opener;
        let item = Item::Opened {
            flow,
            epoch: opening.epoch,
            next: opening.next,
            held: opening.held,
        };
        partner.link.push(item, Vec::new());
        partner.confirm([opener]);
        self.pump_out(now, index, flow);
    }

    fn open_in(&mut self, now: Instant, index: usize, key: &FlowKey) {
        let partner = &mut self.partners[index];
        let Some(inbound) = partner.inns.get_mut(key) else {
            return;
        };
        if let Some((from, waiting)) = inbound.open() {
            let (flow, key) = (inbound.id, key.clone());
            let open = Item::Open {
                flow,
                key: key.clone(),
                from: Some(from),
            };
            partner.link.push(open, Vec::new());
            self.loading -= 1;
            self.take(now, index, &key, waiting);
        }
    }

    /// Sees to what follows from what has happened.
    pub(super) fn look_around(&mut self, now: Instant) {
        let DepotSetup { limits, local, .. } = &self.setup;
        for partner in &mut self.partners {
            partner.tell(now, limits, self.cursor, local);
            if !self.is_full {
                partner.grant();
            }
        }
        // Its node leaves when it has said so to all that let it take part.
        let mut others = self.partners.iter().filter(|partner| partner.refusal.is_none());
        let is_leaving = self.partners.iter().any(|partner| partner.farewell.is_some());
        if !is_leaving || !others.all(Partner::has_said_all) {
            return;
        }
        let last = self.partners.iter().filter(|partner| partner.last_sent > 0);
        let last = last
            .map(|partner| (partner.id.clone(), partner.last_sent))
            .collect();
        self.seat.say_left(now, last);
        if self.seat.is_told() {
            for partner in &mut self.partners {
                let farewell = partner.farewell;
                partner.confirm(farewell);
            }
        }
    }

    /// The server's clock in milliseconds; it may be later there.
    pub(super) fn server_clock(&self, now: Instant) -> u64 {
        self.clock.map_or(0, |(time, since)| {
            let passed = now.saturating_duration_since(since).as_millis();
            time.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
        })
    }

    /// What the server is to be asked next.
    pub(in super::super) fn poll_request(&mut self, now: Instant) -> Option<Request> {
        if let Some(step) = self.seat.poll(now) {
            let subject = self.setup.subjects.party(&self.setup.local);
            match step {
                Step::Look => self.ask_last(Errand::Seat, Stream::State, subject),
                Step::Write { after, record } => self.publish(Errand::Seat, subject, after, record),
            }
        }
        self.requests.pop_front()
    }

    /// The next packet for the node.
    pub(in super::super) fn poll_transmit(&mut self, now: Instant) -> Option<Message> {
        let DepotSetup {
            job, local, limits, ..
        } = &self.setup;
        for partner in &mut self.partners {
            let hello = || Hello {
                members: self.members.clone(),
                window_messages: limits.window_messages,
                // No channel takes anything from another.
                window_bytes: u64::MAX,
                max_message: limits.max_message,
                credit: CREDIT,
                custody: u64::MAX,
            };
            if let Some(said) = partner.link.poll_transmit(now, hello) {
                return Some(said.write(job, &partner.id, local, partner.incarnation));
            }
        }
        None
    }

    /// When [`handle_timeout`](Depot::handle_timeout) has to be called next.
    pub(in super::super) fn poll_timeout(&self) -> Option<Instant> {
        let retry = self.retries.first().map(|(at, _)| *at);
        let partners = self.partners.iter().filter(|_| self.seat.is_held());
        partners
            .flat_map(|partner| {
                let dies = partner.dies_at(&self.setup.limits);
                partner.link.poll_timeout().into_iter().chain(dies)
            })
            .chain(retry)
            .chain(self.seat.due())
            .min()
    }

    pub(in super::super) fn handle_timeout(&mut self, now: Instant) {
        if self.seat.is_held() {
            for partner in &mut self.partners {
                partner.link.handle_timeout(now);
            }
        }
        while let Some(first) = self.retries.first().filter(|(at, _)| now >= *at).cloned() {
            self.retries.remove(&first);
            match first.1 {
                Retry::Out(index, flow) => self.retry_out(now, index, flow),
                Retry::Record(index, key) | Retry::Purge(index, key) => self.pump_in(now, index, &key),
                Retry::Abort => self.store_abort(),
            }
        }
        self.look_around(now);
    }

    fn retry_out(&mut self, now: Instant, index: usize, flow: u32) {
        let Some(outbound) = self.partners[index].outs.get_mut(&flow) else {
            return;
        };
        match outbound.fence_again() {
            Some((after, payload)) => {
                let subject = outbound.subject.clone();
                self.publish(Errand::Fence(index, flow), subject, after, payload);
            }
            None => self.pump_out(now, index, flow),
        }
    }
}
