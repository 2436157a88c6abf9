//! One other party, as a node sees it: its link, and the channels to it and from it.

mod time;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use self::time::set_fuse;
use super::credit::{Credit, Starved};
use super::flows::Flows;
use super::gathering::Kept;
use super::inflow::{Arrival, Bounds, Inflow};
use super::keyed::Keyed;
use super::link::{Link, MAX_ITEMS};
use super::outflow::{Counts, Letter, Outflow, Terms};
use super::packet::{Data, FlowKey, Hello, Item, MAX_OFFSET, Refusal};
use super::room::Room;
use crate::federation::limits::Limits;
use crate::federation::name::PartyId;

/// Messages are not cut into smaller pieces than this, in bytes.
pub(crate) const MIN_PIECE: u64 = 1 << 10;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PartyId,
    pub(crate) link: Link,
    pub(crate) out: Flows<Outflow>,
    pub(crate) inn: Flows<Inflow>,
    /// Memory for large messages from it.
    pub(crate) kept: Arc<Kept>,
    /// The sender's numbers of the flows from it, in this session.
    in_ids: HashMap<u32, u32, Keyed>,
    /// Numbers of flows that have something to send, one piece each in turn.
    active: VecDeque<u32>,
    /// Those of them that wait for credit, in the order in which they came to its end.
    starved: VecDeque<u32>,
    /// Flows in which a message is wanted again. They go before all others.
    rewinding: VecDeque<u32>,
    /// Of all flows to it.
    counts: Counts,
    credit: Credit,
    room: Room,
    custody: u64,
    /// Flows that have messages with a time to live: when the first may be over, direction, number.
    fuses: BTreeSet<(Instant, Side, u32)>,
    /// When the node looks after it, or none.
    pub(crate) alarm: Option<Instant>,
    /// Whether it is in the node's list of those to which there may be something to say.
    pub(crate) is_listed: bool,
    /// What it takes: at most what this side would.
    pub(crate) bounds: Bounds,
    /// Whether this session's HELLO has come.
    has_met: bool,
    /// Whether a message server says that it is there; without one, the link says it.
    pub(crate) is_seen: bool,
    /// Since when the server says that it is not.
    pub(crate) gone: Option<Instant>,
    pub(crate) was_up: bool,
    pub(crate) is_ready: bool,
    pub(crate) is_ready_told: bool,
    pub(crate) is_abort_told: bool,
    pub(crate) is_leave_told: bool,
    pub(crate) has_left: bool,
    /// Whether it was ever there while this process was: what a server remembers of its last run says nothing of the next.
    was_there: bool,
    pub(crate) refused: Option<Refusal>,
    /// Items that were not as agreed.
    pub(crate) wrong: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Out,
    In,
}

/// Messages of one flow that have waited too long.
#[derive(Debug)]
pub(crate) enum Burnt {
    Out(FlowKey),
    In(FlowKey),
}

impl Peer {
    pub(crate) fn new(id: PartyId, link: Link, limits: &Limits, kept: &Arc<Kept>) -> Self {
        Peer {
            id,
            link,
            out: Flows::default(),
            inn: Flows::default(),
            kept: Arc::clone(kept),
            in_ids: HashMap::default(),
            active: VecDeque::new(),
            starved: VecDeque::new(),
            rewinding: VecDeque::new(),
            counts: Counts::default(),
            credit: Credit::new(u64::MAX),
            room: Room::default(),
            custody: u64::MAX,
            fuses: BTreeSet::new(),
            alarm: None,
            is_listed: false,
            bounds: bounds(limits),
            has_met: false,
            is_seen: false,
            gone: None,
            was_up: false,
            is_ready: false,
            is_ready_told: false,
            is_abort_told: false,
            is_leave_told: false,
            has_left: false,
            was_there: false,
            refused: None,
            wrong: 0,
        }
    }

    /// What it takes; the first HELLO of a session counts.
    pub(crate) fn meet(&mut self, hello: &Hello, limits: &Limits) {
        if std::mem::replace(&mut self.has_met, true) {
            return;
        }
        self.bounds = Bounds {
            messages: limits.window_messages.min(hello.window_messages).max(1),
            bytes: limits.window_bytes.min(hello.window_bytes).max(1),
            message: limits.max_message.min(hello.max_message),
        };
        self.credit = Credit::new(hello.credit);
        self.room = Room::default();
        if self.credit.is_kept() {
            // A server's window is for all flows together.
            self.bounds.bytes = limits.window_bytes;
            self.room = Room::new(hello.window_bytes);
        }
        self.custody = match self.credit.is_kept() {
            true => hello.custody,
            false => u64::MAX,
        };
        for id in 0..self.out.len() as u32 {
            let custody = self.custody;
            self.with_out(id, |flow| flow.set_custody(custody));
        }
    }

    /// Whether a message server stands between: the link says that the server lives.
    pub(crate) fn is_relayed(&self) -> bool {
        self.credit.is_kept()
    }

    /// Whether messages wait because the server has no room for them.
    pub(crate) fn is_short(&self) -> bool {
        self.credit.is_short()
    }

    /// Whether it has left, after it was there together with this process: it sends no more in this run.
    pub(crate) fn has_gone(&self) -> bool {
        self.has_left && (self.was_there || !self.is_relayed())
    }

    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.link.is_alive(now) && (self.is_seen || !self.is_relayed())
    }

    /// A new session: flows are announced again, and the other side starts anew or has forgotten what was on its way.
    pub(crate) fn reset(&mut self) {
        self.in_ids.clear();
        self.inn.iter_mut().for_each(Inflow::reset);
        self.feed();
        self.rewinding.clear();
        self.has_met = false;
        self.is_seen = false;
        self.is_ready_told = false;
        self.is_abort_told = false;
        self.is_leave_told = false;
        self.has_left = false;
        self.refused = None;
        for id in 0..self.out.len() as u32 {
            self.with_out(id, Outflow::reset);
            self.list(id);
            self.light_out(id);
        }
    }

    /// The flow's number; it is made if there may be one more.
    pub(crate) fn outflow(&mut self, key: &FlowKey, channels: u32) -> Option<u32> {
        let custody = self.custody;
        self.out.make(key, channels, |id| Outflow::new(id, custody))
    }

    /// Keeps a message for the other side.
    pub(crate) fn push(&mut self, id: u32, letter: Letter, expires: Option<Instant>) {
        self.with_out(id, |flow| flow.push(letter, expires));
        if let (Some(at), Some((_, flow))) = (expires, self.out.at(id)) {
            set_fuse(&mut self.fuses, &mut flow.fuse, at, Side::Out, id);
        }
        self.list(id);
    }

    /// Changes a flow, and keeps count of what all flows have.
    fn with_out<R>(&mut self, id: u32, change: impl FnOnce(&mut Outflow) -> R) -> Option<R> {
        let (_, flow) = self.out.at(id)?;
        let before = flow.counts();
        let result = change(flow);
        let (after, counts) = (flow.counts(), &mut self.counts);
        counts.kept = counts.kept + after.kept - before.kept;
        counts.unsent = counts.unsent + after.unsent - before.unsent;
        counts.heavy = counts.heavy + after.heavy - before.heavy;
        counts.parked = counts.parked + after.parked - before.parked;
        Some(result)
    }

    /// There may be something to send in this flow.
    pub(crate) fn list(&mut self, id: u32) {
        if let Some((_, flow)) = self.out.at(id)
            && !std::mem::replace(&mut flow.is_listed, true)
        {
            self.active.push_back(id);
        }
    }

    /// Gives the link what it has room for.
    pub(crate) fn fill(&mut self, now: Instant, piece: u64) {
        // A server that cannot keep a message as large as that cannot keep such a piece either.
        let piece = piece.min(self.custody.max(MIN_PIECE));
        while self.link.has_room() {
            let again = self.again();
            if !self.credit.is_short() {
                self.feed();
            }
            let Some(id) = again.or_else(|| self.active.pop_front()) else {
                return;
            };
            self.announce(id);
            let terms = self.terms(id, piece);
            let cost = self.with_out(id, |flow| flow.prepare(now, &terms)).flatten();
            let starved = match cost {
                Some(cost) => self.credit.spend(id, cost).err(),
                None => None,
            };
            if let Some(Starved::Ask(total)) = starved {
                self.link.push(Item::Want { total }, Vec::new());
            }
            match (cost, starved, again) {
                (Some(cost), None, _) => {
                    self.give_link(now, id, piece, cost);
                    if again.is_none() {
                        self.active.push_back(id);
                    }
                }
                (_, Some(_), None) => self.starved.push_back(id),
                (_, Some(_), Some(_)) => return,
                // Until it is opened, there is room, the other side is there, or more to send.
                (None, None, None) => {
                    self.credit.release(id);
                    if let Some((_, flow)) = self.out.at(id) {
                        flow.is_listed = false;
                        if flow.is_crowded {
                            self.room.wait(id);
                        }
                    }
                }
                // The other side has gone again.
                (None, None, Some(_)) => drop(self.rewinding.pop_front()),
            }
        }
    }

    /// On what terms a flow may send its next piece.
    fn terms(&mut self, id: u32, piece: u64) -> Terms {
        let own = self.out.at(id).map_or(0, |(_, flow)| flow.counts().parked);
        Terms {
            piece,
            bounds: self.bounds,
            part: self.room.part(self.counts.parked - own),
            is_present: self.is_seen,
        }
    }

    /// Gives the link the next piece of a flow.
    fn give_link(&mut self, now: Instant, id: u32, piece: u64, paid: u64) {
        let next = self.with_out(id, |flow| flow.next_piece(now, piece, paid));
        if let Some((data, pieces)) = next.flatten() {
            self.link.push(Item::Data(data), pieces);
        }
    }

    /// The flow that goes before all others, if there is one.
    fn again(&mut self) -> Option<u32> {
        while let Some(id) = self.rewinding.front().copied() {
            if self.is_rewound(id) {
                self.credit.give_way(id);
                return Some(id);
            }
            self.rewinding.pop_front();
        }
        None
    }

    fn is_rewound(&mut self, id: u32) -> bool {
        self.out.at(id).is_some_and(|(_, flow)| flow.is_rewound())
    }

    /// A message of a flow is wanted again, if the other side is there.
    fn hasten(&mut self, id: u32) {
        if self.is_rewound(id) && !self.rewinding.contains(&id) {
            self.rewinding.push_back(id);
        }
    }

    /// Tells the other side of a flow, once in a session.
    fn announce(&mut self, id: u32) {
        if let Some((key, flow)) = self.out.at(id)
            && !std::mem::replace(&mut flow.is_announced, true)
        {
            let open = Item::Open {
                flow: id,
                key: key.clone(),
                from: flow.origin(),
            };
            self.link.push(open, Vec::new());
        }
    }

    /// There may be credit for those that have waited for it, in their order.
    fn feed(&mut self) {
        while let Some(id) = self.starved.pop_back() {
            self.active.push_front(id);
        }
    }

    /// Whether an opening can be taken.
    pub(crate) fn open(
        &mut self,
        id: u32,
        key: &FlowKey,
        from: Option<(u64, u64)>,
        epoch: u64,
        limits: &Limits,
    ) -> bool {
        // Once in a session: each opening is answered.
        if self.in_ids.contains_key(&id) || from.is_some_and(|(_, first)| first > MAX_OFFSET) {
            return false;
        }
        let kept = &self.kept;
        let Some(number) = self.inn.make(key, limits.channels, |_| Inflow::new(kept)) else {
            let limit = limits.channels;
            self.link.push(Item::Declined { flow: id, limit }, Vec::new());
            return true;
        };
        let Some((_, flow)) = self.inn.at(number) else {
            return false;
        };
        if flow.id.is_some() {
            return false;
        }
        flow.id = Some(id);
        flow.adopt(from, epoch, bounds(limits));
        let (epoch, next, held) = flow.progress();
        self.in_ids.insert(id, number);
        let opened = Item::Opened {
            flow: id,
            epoch,
            next,
            held,
        };
        self.link.push(opened, Vec::new());
        true
    }

    /// Whether more that is to be answered may come. To who keeps to the windows no more answers are ever on their way: of
    /// each flow the one to its opening, the ends of as many messages as it keeps, and those of what was held here from
    /// its last start.
    pub(crate) fn has_room_for_answers(&self, limits: &Limits) -> bool {
        let of_flow = 1 + 2 * limits.window_messages as usize;
        // Beside data: the openings of this side's flows and what they want, what is said once, and the last piece above
        // the limit.
        let others = MAX_ITEMS + 2 * self.out.len() + 4;
        self.link.queued().0 < others.saturating_add(self.in_ids.len().saturating_mul(of_flow))
    }

    /// The other side has answered the opening of a flow. Which one, if that can be right.
    pub(crate) fn opened(&mut self, id: u32, epoch: u64, next: u64, held: &[u64]) -> Option<FlowKey> {
        if next > MAX_OFFSET || held.iter().any(|offset| *offset >= next) {
            return None;
        }
        if !self.with_out(id, |flow| flow.opened(epoch, next, held))? {
            return None;
        }
        self.list(id);
        self.key_of(id)
    }

    /// The other side opens no more flows. Which one, if that can be right.
    pub(crate) fn declined(&mut self, id: u32, limit: u32) -> Option<FlowKey> {
        self.with_out(id, |flow| flow.decline(limit))?.then_some(())?;
        self.key_of(id)
    }

    /// A message of a flow to the other side has its end. Which flow, if there is such a one.
    pub(crate) fn settled(&mut self, id: u32, offset: u64, expired: bool) -> Option<FlowKey> {
        let parked = self.counts.parked;
        let refund = self.with_out(id, |flow| flow.settled(offset, expired))?;
        self.refund(id, refund.unwrap_or(0));
        self.list(id);
        let left = self.counts.parked;
        for crowded in self.room.free(parked - left, left) {
            self.list(crowded);
        }
        self.key_of(id)
    }

    /// A flow does not need this credit any more, and perhaps none.
    fn refund(&mut self, id: u32, cost: u64) {
        self.credit.refund(cost);
        if cost > 0 || self.credit.is_claimed_by(id) {
            self.feed();
        }
    }

    /// A message of a flow to the other side is wanted again. Whether there is such a flow, and a server to say so.
    pub(crate) fn rewind(&mut self, id: u32, offset: u64) -> bool {
        if !self.is_relayed() {
            return false;
        }
        let Some(refund) = self.with_out(id, |flow| flow.rewind(offset)) else {
            return false;
        };
        self.refund(id, refund.unwrap_or(0));
        self.list(id);
        self.hasten(id);
        true
    }

    /// More may be sent. Whether there is a server to say so.
    pub(crate) fn grant(&mut self, total: u64) -> bool {
        if self.credit.grant(total) {
            self.feed();
        }
        self.is_relayed()
    }

    /// The server says whether the party is there. Whether there is a server to say so.
    pub(crate) fn see(&mut self, now: Instant, is_up: bool) -> bool {
        if !self.is_relayed() {
            return false;
        }
        if self.is_seen && !is_up {
            self.gone = Some(now);
        }
        self.is_seen = is_up;
        self.was_there |= is_up;
        // What waits for credit may be for its eyes only.
        self.feed();
        if is_up {
            self.has_left = false;
            // Messages that go only to a party that is there.
            for id in 0..self.out.len() as u32 {
                self.list(id);
                self.hasten(id);
            }
        }
        true
    }

    fn key_of(&mut self, id: u32) -> Option<FlowKey> {
        self.out.at(id).map(|(key, _)| key.clone())
    }

    /// A piece has come. The flow, and whether it has a message more.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        data: Data,
        pieces: &mut impl Iterator<Item = Bytes>,
        bounds: Bounds,
    ) -> Option<(FlowKey, bool)> {
        let (id, offset) = (data.flow, data.offset);
        let number = *self.in_ids.get(&id)?;
        let (key, flow) = self.inn.at(number)?;
        let key = key.clone();
        match flow.accept(now, data, pieces, bounds) {
            Arrival::Whole => {
                self.light_in(number);
                return Some((key, true));
            }
            Arrival::Part => {}
            Arrival::Duplicate if flow.is_held(offset) => {}
            Arrival::Duplicate => self.settle(id, offset, false),
            Arrival::Expired => {
                self.settle(id, offset, true);
                return Some((key, true));
            }
            Arrival::Wrong => return None,
        }
        Some((key, false))
    }

    /// Tells the other side that it need not keep a message any longer.
    pub(crate) fn settle(&mut self, flow: u32, offset: u64, expired: bool) {
        let item = Item::Settled {
            flow,
            offset,
            expired,
        };
        self.link.push(item, Vec::new());
    }

    /// Nothing more is sent or received.
    pub(crate) fn clear(&mut self) {
        for id in 0..self.out.len() as u32 {
            self.with_out(id, Outflow::clear);
        }
        self.inn.iter_mut().for_each(Inflow::clear);
    }

    /// Whether all that was sent to it has left this side, or what is too large to be left with a server has its end.
    pub(crate) fn is_flushed(&self) -> bool {
        self.counts.unsent == 0 && self.counts.heavy == 0
    }

    /// Whether a message was dropped because the other side takes none so large.
    pub(crate) fn has_dropped(&self) -> bool {
        self.out.iter().any(|(_, flow)| flow.too_large > 0)
    }

    /// Whether nothing needs to be waited for when this side ends.
    pub(crate) fn is_done(&self) -> bool {
        // A server takes what is for a party that has left.
        (self.has_left && !self.is_relayed())
            || (self.link.is_up() && self.is_leave_told && self.link.is_idle())
            || (!self.link.is_up() && self.counts.kept == 0)
    }

    /// Whether all that was sent to it has its end, and nothing is on its way to it without which others wait in vain, or
    /// get something twice.
    pub(crate) fn is_settled(&self) -> bool {
        let is_needed = |item: &Item| matches!(item, Item::Ready | Item::Settled { .. } | Item::Abort { .. });
        self.counts.kept == 0 && !self.link.holds(is_needed)
    }

    /// Whether all that was sent to it has come over: to the other program, or into the custody of its server.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.link.is_up() && !self.link.is_lost() && self.is_flushed() && self.link.is_idle()
    }

    /// Whether all that could be waited for when this side ends is that the other one, to which the way is broken, hears
    /// of it.
    pub(crate) fn is_farewell(&self) -> bool {
        self.link.is_lost() && self.is_settled()
    }
}

pub(crate) fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        messages: limits.window_messages,
        bytes: limits.window_bytes,
        message: limits.max_message,
    }
}
