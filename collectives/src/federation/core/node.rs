//! A party of a job, without I/O, clock or randomness: what it has sent and not handed over, what has come and was not
//! received, and what it knows of the others.
//!
//! Here is what its program does; what comes from others and goes to them is in [`exchange`].

mod exchange;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::gathering::Kept;
use super::link::Link;
use super::outflow::{Letter, Outflow};
use super::packet::{FlowKey, Item, Refusal};
use super::peer::Peer;
use crate::federation::limits::Limits;
use crate::federation::name::{JobId, PartyId};

/// The longest reason of an abort in bytes.
const MAX_REASON: usize = 1024;

/// How a node is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) job: JobId,
    pub(crate) local: PartyId,
    /// All others.
    pub(crate) peers: Vec<PartyId>,
    pub(crate) limits: Limits,
    /// Drawn anew each time that the program starts; not 0.
    pub(crate) incarnation: u64,
    /// The longest content of a packet in bytes.
    pub(crate) piece: u64,
}

#[derive(Debug)]
pub(crate) struct Node {
    setup: Setup,
    /// All parties, sorted.
    members: Vec<PartyId>,
    peers: Vec<Peer>,
    by_id: BTreeMap<PartyId, usize>,
    aborted: Option<(PartyId, String)>,
    superseded: bool,
    is_leaving: bool,
    is_ready: bool,
    /// How many peers were never seen, and how many do not see all others.
    unseen: usize,
    unready: usize,
    /// Peers to which there may be something to say.
    busy: VecDeque<usize>,
    /// When to look after which peer.
    alarms: BTreeSet<(Instant, usize)>,
    /// Memory for large messages.
    kept: Arc<Kept>,
    events: VecDeque<Event>,
    /// Packets that are not for this party, from nobody in the job, or that cannot be read.
    pub(crate) foreign: u64,
}

/// What has happened. Peers are numbered as in [`Setup::peers`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The flow from a peer has a message, or the tomb of one, more.
    Arrived { peer: usize, key: FlowKey },
    /// The flow to a peer may have more room, or has got its offsets.
    Moved { peer: usize, key: FlowKey },
    /// A peer is up, gone, or refuses this party.
    Peer { peer: usize },
    /// All parties see all parties.
    Ready,
    /// The job is over for this party: aborted, or superseded.
    Over,
}

/// Why nothing can be done any more, or not with this peer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Barrier {
    #[error("{by} has aborted the job: {reason}")]
    Aborted { by: PartyId, reason: String },
    #[error("superseded")]
    Superseded,
    #[error("refused")]
    Refused(Refusal),
    #[error("closed")]
    Closed,
}

/// Why a message was not taken. It comes back.
#[derive(Debug, PartialEq)]
pub(crate) enum Rejected {
    /// The flow has no room at present.
    Full(Letter),
    TooLarge {
        size: u64,
        limit: u64,
    },
    TooManyChannels {
        limit: u32,
    },
    Over(Barrier),
}

impl Node {
    pub(crate) fn new(setup: Setup, now: Instant) -> Self {
        let kept = Arc::default();
        let peers: Vec<_> = setup
            .peers
            .iter()
            .map(|id| {
                Peer::new(
                    id.clone(),
                    Link::new(setup.incarnation, &setup.limits, now),
                    &setup.limits,
                    &kept,
                )
            })
            .collect();
        let mut members: Vec<_> = setup.peers.iter().chain([&setup.local]).cloned().collect();
        members.sort();
        let by_id = setup.peers.iter().cloned().zip(0..).collect();
        let count = peers.len();
        let mut node = Node {
            setup,
            members,
            peers,
            by_id,
            aborted: None,
            superseded: false,
            is_leaving: false,
            is_ready: false,
            unseen: count,
            unready: count,
            busy: VecDeque::new(),
            alarms: BTreeSet::new(),
            kept,
            events: VecDeque::new(),
            foreign: 0,
        };
        node.check_ready();
        (0..count).for_each(|index| node.touch(index));
        node
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.setup.limits
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(crate) fn peer_index(&self, id: &PartyId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Whether all parties have seen all parties.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// What keeps this party from doing anything, or anything with `peer`.
    pub(crate) fn check(&self, peer: Option<usize>) -> Result<(), Barrier> {
        if let Some((by, reason)) = &self.aborted {
            let (by, reason) = (by.clone(), reason.clone());
            return Err(Barrier::Aborted { by, reason });
        }
        if self.superseded {
            return Err(Barrier::Superseded);
        }
        if self.is_leaving {
            return Err(Barrier::Closed);
        }
        match peer.and_then(|peer| self.peers[peer].refused) {
            Some(refusal) if refusal.is_final() => Err(Barrier::Refused(refusal)),
            _ => Ok(()),
        }
    }

    /// Takes a message that is kept until the program at the other side has received it, or `ttl` is over.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        peer: usize,
        key: &FlowKey,
        letter: Letter,
        ttl: Option<Duration>,
    ) -> Result<(), Rejected> {
        let Some(id) = self.admit(peer, key, letter.size())? else {
            return Err(Rejected::Full(letter));
        };
        let expires = ttl.and_then(|ttl| now.checked_add(ttl));
        self.peers[peer].push(id, letter, expires);
        self.touch(peer);
        Ok(())
    }

    /// Whether a message of this size would be taken now. Makes the flow.
    pub(crate) fn has_room(&mut self, peer: usize, key: &FlowKey, size: u64) -> Result<bool, Rejected> {
        Ok(self.admit(peer, key, size)?.is_some())
    }

    /// The number of the flow, if it has room for a message of this size.
    fn admit(&mut self, peer: usize, key: &FlowKey, size: u64) -> Result<Option<u32>, Rejected> {
        self.check(Some(peer)).map_err(Rejected::Over)?;
        let (peer, limit) = (&mut self.peers[peer], self.setup.limits.channels);
        let bounds = peer.bounds;
        if size > bounds.message {
            let limit = bounds.message;
            return Err(Rejected::TooLarge { size, limit });
        }
        let id = peer.outflow(key, limit);
        let Some((id, (_, flow))) = id.and_then(|id| Some((id, peer.out.at(id)?))) else {
            return Err(Rejected::TooManyChannels { limit });
        };
        if let Some(limit) = flow.declined {
            return Err(Rejected::TooManyChannels { limit });
        }
        Ok(flow.has_room(size, bounds.messages, bounds.bytes).then_some(id))
    }

    /// Whether [`take`](Node::take) would give something; if so, whether it has expired.
    pub(crate) fn peek(&self, peer: usize, key: &FlowKey, tag: Option<&super::Tag>) -> Option<bool> {
        self.peers[peer].inn.get(key)?.peek(tag)
    }

    /// Takes the next message with this tag, or the next without one, if it has come.
    pub(crate) fn take(
        &mut self,
        peer: usize,
        key: &FlowKey,
        tag: Option<&super::Tag>,
    ) -> Option<super::Taken> {
        let flow = self.inflow(peer, key)?;
        let taken = flow.take(tag)?;
        let id = flow.id;
        // Without a number, this session has not opened the flow; then it is told with the answer to the opening.
        if let (Some(id), Some(_), false) = (id, &taken.letter, taken.is_stale) {
            self.peers[peer].settle(id, taken.offset, false);
            self.touch(peer);
        }
        Some(taken)
    }

    /// As [`take`](Node::take), but its sender is told when the program [acknowledges](Node::acknowledge) the message.
    pub(crate) fn lend(
        &mut self,
        peer: usize,
        key: &FlowKey,
        tag: Option<&super::Tag>,
    ) -> Option<super::Taken> {
        self.inflow(peer, key)?.lend(tag)
    }

    /// What comes from a party on a channel, if there is such a one.
    fn inflow(&mut self, peer: usize, key: &FlowKey) -> Option<&mut super::Inflow> {
        let known = &mut self.peers[peer].inn;
        let number = known.number(key)?;
        Some(known.at(number)?.1)
    }

    /// The program needs no more of a message that was lent to it.
    pub(crate) fn acknowledge(&mut self, peer: usize, key: &FlowKey, (epoch, offset): (Option<u64>, u64)) {
        let Some(flow) = self.inflow(peer, key) else {
            return;
        };
        let id = flow.id;
        if flow.acknowledge(epoch, offset)
            && let Some(id) = id
        {
            self.peers[peer].settle(id, offset, false);
            self.touch(peer);
        }
        if self.peers[peer].has_left {
            // Whoever waits for what might be given back waits for nothing now.
            let key = key.clone();
            self.events.push_back(Event::Arrived { peer, key });
        }
    }

    /// Whether a message with this tag, or one without, is lent to the program.
    pub(crate) fn is_lent(&self, peer: usize, key: &FlowKey, tag: Option<&super::Tag>) -> bool {
        let flow = self.peers[peer].inn.get(key);
        flow.is_some_and(|flow| flow.has_lent(tag))
    }

    /// The program has no use for a message that was lent to it: who asks next gets it.
    pub(crate) fn give_back(
        &mut self,
        now: Instant,
        peer: usize,
        key: &FlowKey,
        (epoch, offset): (Option<u64>, u64),
    ) {
        if self.peers[peer].give_back(now, key, epoch, offset) {
            let key = key.clone();
            self.events.push_back(Event::Arrived { peer, key });
            self.touch(peer);
        }
    }

    /// Begins to find out which message of a flow is the next; [`Event::Moved`] says when it is known.
    pub(crate) fn open(&mut self, peer: usize, key: &FlowKey) -> Result<Option<u64>, Rejected> {
        self.check(Some(peer)).map_err(Rejected::Over)?;
        let limit = self.setup.limits.channels;
        let known = &mut self.peers[peer];
        let id = known.outflow(key, limit);
        let id = id.ok_or(Rejected::TooManyChannels { limit })?;
        let flow = known.out.at(id).map(|(_, flow)| &*flow);
        if let Some(limit) = flow.and_then(|flow| flow.declined) {
            return Err(Rejected::TooManyChannels { limit });
        }
        let position = flow.and_then(Outflow::position);
        known.list(id);
        self.touch(peer);
        Ok(position)
    }

    /// The program has all messages of a flow with offsets below `next`, from an earlier start: they do not come again.
    pub(crate) fn resume(&mut self, peer: usize, key: &FlowKey, next: u64) -> Result<(), Rejected> {
        let limit = self.setup.limits.channels;
        let known = &mut self.peers[peer];
        let number = known.inn.make(key, limit, |_| super::Inflow::new(&known.kept));
        let Some((_, flow)) = number.and_then(|number| known.inn.at(number)) else {
            return Err(Rejected::TooManyChannels { limit });
        };
        let (id, skipped) = (flow.id, flow.skip_to(next));
        for (id, offset) in id
            .into_iter()
            .flat_map(|id| skipped.iter().map(move |offset| (id, *offset)))
        {
            known.settle(id, offset, false);
        }
        self.touch(peer);
        Ok(())
    }

    /// Ends the job for all parties.
    pub(crate) fn abort(&mut self, by: PartyId, mut reason: String) {
        if self.aborted.is_some() {
            return;
        }
        if let Some(end) = (0..=MAX_REASON).rev().find(|end| reason.is_char_boundary(*end)) {
            reason.truncate(end);
        }
        self.aborted = Some((by, reason));
        self.peers.iter_mut().for_each(Peer::clear);
        self.events.push_back(Event::Over);
        self.tell_all();
    }

    /// Nothing more will be sent; others hear of it when they have all that was.
    pub(crate) fn leave(&mut self) {
        self.is_leaving = true;
        self.tell_all();
    }

    /// Whether the others have all that was sent, and know that this party leaves.
    pub(crate) fn is_done(&self) -> bool {
        self.superseded || self.peers.iter().all(Peer::is_done)
    }

    /// Whether nothing is left to be done but to tell others, to whom the way is broken, that this party leaves.
    pub(crate) fn is_done_but_for_farewells(&self) -> bool {
        self.peers.iter().all(|peer| peer.is_done() || peer.is_farewell())
    }

    /// Whether no message is here alone any more. It may be that others have yet to hear that this party leaves.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.superseded
            || self
                .peers
                .iter()
                .all(|peer| peer.is_done() || peer.is_settled() || peer.is_taken_over())
    }

    fn tell_all(&mut self) {
        for index in 0..self.peers.len() {
            self.tell(index);
            self.touch(index);
        }
    }

    /// Tells a peer what it should know by now.
    fn tell(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        if !peer.link.is_up() {
            return;
        }
        if self.unseen == 0 && !std::mem::replace(&mut peer.is_ready_told, true) {
            peer.link.push(Item::Ready, Vec::new());
        }
        if let Some((by, reason)) = &self.aborted
            && !std::mem::replace(&mut peer.is_abort_told, true)
        {
            let (by, reason) = (by.clone(), reason.clone());
            peer.link.push(Item::Abort { by, reason }, Vec::new());
        }
        if self.is_leaving && peer.is_flushed() && !std::mem::replace(&mut peer.is_leave_told, true) {
            peer.link.push(Item::Leave, Vec::new());
        }
    }

    /// A peer is there, perhaps the last that was missing.
    fn saw(&mut self, index: usize) {
        if std::mem::replace(&mut self.peers[index].was_up, true) {
            return;
        }
        self.unseen -= 1;
        if self.unseen == 0 {
            self.tell_all();
            self.check_ready();
        }
    }

    fn check_ready(&mut self) {
        if !self.is_ready && self.unseen == 0 && self.unready == 0 {
            self.is_ready = true;
            self.events.push_back(Event::Ready);
        }
    }

    /// There may be something to say to a peer, or to be done at another time.
    fn touch(&mut self, index: usize) {
        if !std::mem::replace(&mut self.peers[index].is_listed, true) {
            self.busy.push_back(index);
        }
        self.set_alarm(index);
    }

    /// An alarm may come too early, but not too late: most are put off before they come.
    fn set_alarm(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let Some(at) = peer
            .poll_timeout()
            .filter(|at| peer.alarm.is_none_or(|set| *at < set))
        else {
            return;
        };
        if let Some(later) = peer.alarm.replace(at) {
            self.alarms.remove(&(later, index));
        }
        self.alarms.insert((at, index));
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A peer to which there may be something to say: [`poll_transmit`](Node::poll_transmit) knows. It is named again when
    /// there may be more.
    pub(crate) fn poll_busy(&mut self) -> Option<usize> {
        let index = self.busy.pop_front()?;
        self.peers[index].is_listed = false;
        Some(index)
    }
}
