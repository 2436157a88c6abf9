//! Another party as the depot plays it towards the node: the link, the flows, and what is known of its life.

use std::collections::BTreeMap;
use std::time::Instant;

use super::inbound::Inbound;
use super::outbound::Outbound;
use super::record::Claim;
use crate::federation::core::link::Link;
use crate::federation::core::packet::Item;
use crate::federation::core::{FlowKey, Refusal};
use crate::federation::limits::Limits;
use crate::federation::name::PartyId;

/// How much the node may send ahead of what the stream has, in the packets' `cost`.
pub(super) const CREDIT: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Partner {
    pub(super) id: PartyId,
    pub(super) incarnation: u64,
    pub(super) link: Link,
    /// The node's flows, by its numbers.
    pub(super) outs: BTreeMap<u32, Outbound>,
    pub(super) out_ids: BTreeMap<FlowKey, u32>,
    pub(super) inns: BTreeMap<FlowKey, Inbound>,
    /// By the numbers of the flows to the node.
    pub(super) in_keys: Vec<FlowKey>,
    /// Items of the node that are not stored yet, by their numbers, and what each has cost.
    pub(super) pending: BTreeMap<u64, u64>,
    /// The node's last word, and what it says with it.
    pub(super) farewell: Option<u64>,
    pub(super) sign: Option<Sign>,
    told: Told,
    pub(super) refusal: Option<Refusal>,
    /// The place of the last message to it.
    pub(super) last_sent: u64,
    pub(super) credit: Credit,
}

/// What the node may send: [`CREDIT`] more than is stored, and one message if it is larger. So a program is told why it
/// waits when the stream has no room.
#[derive(Debug)]
pub(super) struct Credit {
    /// What is stored.
    stored: u64,
    /// What is on its way to the stream.
    spent: u64,
    /// What the node was told.
    total: u64,
    wanted: u64,
}

/// The last that was heard of a party.
#[derive(Clone, Debug)]
pub(super) struct Sign {
    pub(super) claim: Claim,
    pub(super) heard: Instant,
}

/// What the node was told in this session.
#[derive(Debug, Default)]
struct Told {
    is_up: Option<bool>,
    is_ready: bool,
    has_left: bool,
}

impl Credit {
    pub(super) fn want(&mut self, total: u64) {
        self.wanted = self.wanted.max(total);
    }

    /// What the node is to be told, if it may send more.
    fn grant(&mut self) -> Option<u64> {
        let usual = self.stored.saturating_add(CREDIT);
        // A large message has its turn when all before it is stored.
        let total = match self.spent {
            0 => usual.max(self.wanted),
            _ => usual,
        };
        let is_asked = self.wanted > self.total && total > self.total;
        let is_more = is_asked || total >= self.total.saturating_add(CREDIT / 2);
        is_more.then(|| {
            self.total = total;
            total
        })
    }
}

impl Partner {
    /// `incarnation` is of this session.
    pub(super) fn new(id: PartyId, incarnation: u64, limits: &Limits, now: Instant) -> Self {
        Partner {
            id,
            incarnation,
            link: Link::new(incarnation, limits, now),
            outs: BTreeMap::new(),
            out_ids: BTreeMap::new(),
            inns: BTreeMap::new(),
            in_keys: Vec::new(),
            pending: BTreeMap::new(),
            farewell: None,
            sign: None,
            told: Told::default(),
            refusal: None,
            last_sent: 0,
            credit: Credit {
                stored: 0,
                spent: 0,
                total: CREDIT,
                wanted: 0,
            },
        }
    }

    /// An item has come with content, which is to be stored.
    pub(super) fn spend(&mut self, item: u64, cost: u64) {
        self.pending.insert(item, cost);
        self.credit.spent += cost;
    }

    /// Tells the node what more it may send.
    pub(super) fn grant(&mut self) {
        if self.link.is_up()
            && let Some(total) = self.credit.grant()
        {
            self.link.push(Item::Credit { total }, Vec::new());
        }
    }

    /// The item need not be kept by the node any longer.
    pub(super) fn confirm(&mut self, items: impl IntoIterator<Item = u64>) {
        for item in items {
            let cost = self.pending.remove(&item).unwrap_or(0);
            self.credit.spent -= cost;
            self.credit.stored += cost;
        }
        let below = self.pending.keys().next().copied();
        self.link.confirm(below.unwrap_or_else(|| self.link.expected()));
    }

    /// Whether the node has said its last word to this party, and all before it is stored.
    pub(super) fn has_said_all(&self) -> bool {
        self.farewell
            .is_some_and(|farewell| self.pending.range(..farewell).next().is_none())
    }

    /// Tells the node what it does not know of the other party's life. `cursor` is up to where this party has read.
    pub(super) fn tell(&mut self, now: Instant, limits: &Limits, cursor: u64, local: &PartyId) {
        if !self.link.is_up() {
            return;
        }
        let sign = self.sign.as_ref();
        let is_up =
            sign.is_some_and(|sign| sign.claim.left.is_none() && now < sign.heard + limits.dead_after);
        if self.told.is_up != Some(is_up) {
            self.told.is_up = Some(is_up);
            self.link.push(Item::Seen { is_up }, Vec::new());
            if is_up {
                self.told.has_left = false;
            }
        }
        let Some(Sign { claim, .. }) = sign else {
            return;
        };
        if claim.is_ready && !self.told.is_ready {
            self.told.is_ready = true;
            self.link.push(Item::Ready, Vec::new());
        }
        // What it has sent comes first.
        if let Some(left) = &claim.left
            && !self.told.has_left
            && self.inns.values().all(Inbound::is_passed_on)
        {
            let last = left.iter().find(|(party, _)| party == local);
            if last.is_none_or(|(_, last)| *last <= cursor) {
                self.told.has_left = true;
                self.link.push(Item::Leave, Vec::new());
            }
        }
    }

    /// When it is held for dead, if nothing is heard of it.
    pub(super) fn dies_at(&self, limits: &Limits) -> Option<Instant> {
        let sign = self.sign.as_ref()?;
        (self.told.is_up == Some(true)).then(|| sign.heard + limits.dead_after)
    }
}
