//! One other party, as a node sees it: its link, and the channels to it and from it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::inflow::{Arrival, Bounds, Inflow};
use super::link::{Link, MAX_ITEMS};
use super::outflow::Outflow;
use super::packet::{Data, FlowKey, Hello, Item, MAX_OFFSET, Refusal};
use crate::federation::limits::Limits;
use crate::federation::name::PartyId;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PartyId,
    pub(crate) link: Link,
    pub(crate) out: BTreeMap<FlowKey, Outflow>,
    /// By the numbers of the flows.
    out_keys: Vec<FlowKey>,
    pub(crate) inn: BTreeMap<FlowKey, Inflow>,
    in_keys: BTreeMap<u32, FlowKey>,
    /// Numbers of flows that have something to send, one piece each in turn.
    active: VecDeque<u32>,
    /// What it takes: at most what this side would.
    pub(crate) bounds: Bounds,
    pub(crate) was_up: bool,
    pub(crate) is_ready: bool,
    pub(crate) is_ready_told: bool,
    pub(crate) is_abort_told: bool,
    pub(crate) is_leave_told: bool,
    pub(crate) has_left: bool,
    pub(crate) refused: Option<Refusal>,
    /// Items that were not as agreed.
    pub(crate) wrong: u64,
}

impl Peer {
    pub(crate) fn new(id: PartyId, link: Link, limits: &Limits) -> Self {
        Peer {
            id,
            link,
            out: BTreeMap::new(),
            out_keys: Vec::new(),
            inn: BTreeMap::new(),
            in_keys: BTreeMap::new(),
            active: VecDeque::new(),
            bounds: bounds(limits),
            was_up: false,
            is_ready: false,
            is_ready_told: false,
            is_abort_told: false,
            is_leave_told: false,
            has_left: false,
            refused: None,
            wrong: 0,
        }
    }

    pub(crate) fn meet(&mut self, hello: &Hello, limits: &Limits) {
        self.bounds = Bounds {
            messages: limits.window_messages.min(hello.window_messages).max(1),
            bytes: limits.window_bytes.min(hello.window_bytes).max(1),
            message: limits.max_message.min(hello.max_message),
        };
    }

    /// A new session: flows are announced again, and the other side starts anew or has forgotten what was on its way.
    pub(crate) fn reset(&mut self) {
        self.out.values_mut().for_each(Outflow::reset);
        self.inn.values_mut().for_each(Inflow::reset);
        self.in_keys.clear();
        self.is_ready_told = false;
        self.is_abort_told = false;
        self.is_leave_told = false;
        self.has_left = false;
        self.refused = None;
        for id in 0..self.out_keys.len() {
            self.list(id);
        }
    }

    /// The flow, made if there may be one more.
    pub(crate) fn outflow(&mut self, key: &FlowKey, channels: u32) -> Option<&mut Outflow> {
        if !self.out.contains_key(key) {
            let id = u32::try_from(self.out_keys.len())
                .ok()
                .filter(|id| *id < channels)?;
            self.out_keys.push(key.clone());
            self.out.insert(key.clone(), Outflow::new(id));
        }
        self.out.get_mut(key)
    }

    /// There may be something to send in this flow.
    pub(crate) fn activate(&mut self, key: &FlowKey) {
        if let Some(flow) = self.out.get(key) {
            self.list(flow.id as usize);
        }
    }

    fn list(&mut self, id: usize) {
        let Some(flow) = self.out_keys.get(id).and_then(|key| self.out.get_mut(key)) else {
            return;
        };
        if !flow.is_listed {
            flow.is_listed = true;
            self.active.push_back(flow.id);
        }
    }

    /// Gives the link what it has room for.
    pub(crate) fn fill(&mut self, now: Instant, piece: u64) {
        while self.link.has_room()
            && let Some(id) = self.active.pop_front()
        {
            let key = &self.out_keys[id as usize];
            let Some(flow) = self.out.get_mut(key) else {
                continue;
            };
            if !flow.is_announced {
                flow.is_announced = true;
                let key = key.clone();
                let from = None;
                self.link.push(Item::Open { flow: id, key, from }, Vec::new());
            }
            match flow.next_piece(now, piece, self.bounds) {
                Some((data, pieces)) => {
                    self.link.push(Item::Data(data), pieces);
                    self.active.push_back(id);
                }
                // Until it is opened, there is room, or more to send.
                None => flow.is_listed = false,
            }
        }
    }

    /// `epoch` is for a flow that has no numbering.
    pub(crate) fn open(&mut self, id: u32, key: FlowKey, epoch: u64, channels: u32) -> bool {
        if !self.inn.contains_key(&key) && self.inn.len() >= channels as usize {
            return false;
        }
        // Once in a session: each opening is answered.
        if self.in_keys.contains_key(&id) {
            return false;
        }
        let flow = self.inn.entry(key.clone()).or_default();
        if flow.id.is_some() {
            return false;
        }
        flow.id = Some(id);
        let (epoch, next, held) = flow.progress(epoch);
        self.in_keys.insert(id, key);
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
        // Beside data: the openings of this side's flows, what is said once, and the last piece above the limit.
        let others = MAX_ITEMS + self.out_keys.len() + 4;
        self.link.queued().0 < others.saturating_add(self.in_keys.len().saturating_mul(of_flow))
    }

    /// Whether an answer to an opening can be right.
    pub(crate) fn may_be_opened(next: u64, held: &[u64]) -> bool {
        next < MAX_OFFSET && held.iter().all(|offset| *offset < next)
    }

    /// The other side has answered the opening of a flow. Which one, if there is such a flow.
    pub(crate) fn opened(&mut self, id: u32, next: u64, held: &[u64]) -> Option<FlowKey> {
        let key = self.out_keys.get(id as usize)?.clone();
        self.out.get_mut(&key)?.opened(next, held);
        self.list(id as usize);
        Some(key)
    }

    /// A message of a flow to the other side has its end. Which flow, if there is such a one.
    pub(crate) fn settled(&mut self, id: u32, offset: u64, expired: bool) -> Option<FlowKey> {
        let key = self.out_keys.get(id as usize)?.clone();
        self.out.get_mut(&key)?.settled(offset, expired);
        self.list(id as usize);
        Some(key)
    }

    /// A piece has come. The flow, and whether it has a message more.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        data: Data,
        pieces: Vec<Bytes>,
        bounds: Bounds,
    ) -> Option<(FlowKey, bool)> {
        let (id, offset) = (data.flow, data.offset);
        let key = self.in_keys.get(&id)?.clone();
        let flow = self.inn.get_mut(&key)?;
        match flow.accept(now, data, pieces, bounds) {
            Arrival::Whole => return Some((key, true)),
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

    /// Whether all that was sent to it has left this side.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.out.values().any(Outflow::is_unsent)
    }

    /// Whether nothing needs to be waited for when this side ends.
    pub(crate) fn is_done(&self) -> bool {
        let has_nothing = self.out.values().all(|flow| flow.waiting().0 == 0);
        self.has_left
            || (self.link.is_up() && self.is_leave_told && self.link.is_idle())
            || (!self.link.is_up() && has_nothing)
    }
}

pub(crate) fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        messages: limits.window_messages,
        bytes: limits.window_bytes,
        message: limits.max_message,
    }
}
