//! A party of a job, without I/O, clock or randomness: what it has sent and not handed over, what has come and was not
//! received, and what it knows of the others.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use flexbond_transport::Message;
use thiserror::Error;

use super::link::{Heard, Link};
use super::outflow::{Letter, Outflow};
use super::packet::{Content, FlowKey, Header, Hello, Item, Packet, Refusal};
use super::peer::{Peer, bounds};
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
        let peers: Vec<_> = setup
            .peers
            .iter()
            .map(|id| {
                Peer::new(
                    id.clone(),
                    Link::new(setup.incarnation, &setup.limits, now),
                    &setup.limits,
                )
            })
            .collect();
        let mut members: Vec<_> = setup.peers.iter().chain([&setup.local]).cloned().collect();
        members.sort();
        let by_id = setup.peers.iter().cloned().zip(0..).collect();
        let mut node = Node {
            setup,
            members,
            peers,
            by_id,
            aborted: None,
            superseded: false,
            is_leaving: false,
            is_ready: false,
            events: VecDeque::new(),
            foreign: 0,
        };
        node.look_around();
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
        if !self.has_room(peer, key, letter.size())? {
            return Err(Rejected::Full(letter));
        }
        let expires = ttl.and_then(|ttl| now.checked_add(ttl));
        let peer = &mut self.peers[peer];
        if let Some(flow) = peer.out.get_mut(key) {
            flow.push(letter, expires);
        }
        peer.activate(key);
        Ok(())
    }

    /// Whether a message of this size would be taken now. Makes the flow.
    pub(crate) fn has_room(&mut self, peer: usize, key: &FlowKey, size: u64) -> Result<bool, Rejected> {
        self.check(Some(peer)).map_err(Rejected::Over)?;
        let (peer, limit) = (&mut self.peers[peer], self.setup.limits.channels);
        let bounds = peer.bounds;
        if size > bounds.message {
            let limit = bounds.message;
            return Err(Rejected::TooLarge { size, limit });
        }
        let flow = peer
            .outflow(key, limit)
            .ok_or(Rejected::TooManyChannels { limit })?;
        Ok(flow.has_room(size, bounds.messages, bounds.bytes))
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
        let peer = &mut self.peers[peer];
        let flow = peer.inn.get_mut(key)?;
        let taken = flow.take(tag)?;
        let id = flow.id;
        // Without a number, this session has not opened the flow; then it is told with the answer to the opening.
        if let (Some(id), Some(_)) = (id, &taken.letter) {
            peer.settle(id, taken.offset, false);
        }
        Some(taken)
    }

    /// Begins to find out which message of a flow is the next; [`Event::Moved`] says when it is known.
    pub(crate) fn open(&mut self, peer: usize, key: &FlowKey) -> Result<Option<u64>, Rejected> {
        self.check(Some(peer)).map_err(Rejected::Over)?;
        let limit = self.setup.limits.channels;
        let flow = self.peers[peer]
            .outflow(key, limit)
            .ok_or(Rejected::TooManyChannels { limit })?;
        let position = flow.position();
        self.peers[peer].activate(key);
        Ok(position)
    }

    /// The program has all messages of a flow with offsets below `next`, from an earlier start: they do not come again.
    pub(crate) fn resume(&mut self, peer: usize, key: &FlowKey, next: u64) -> Result<(), Rejected> {
        let limit = self.setup.limits.channels;
        let peer = &mut self.peers[peer];
        if !peer.inn.contains_key(key) && peer.inn.len() >= limit as usize {
            return Err(Rejected::TooManyChannels { limit });
        }
        let flow = peer.inn.entry(key.clone()).or_default();
        let (id, skipped) = (flow.id, flow.skip_to(next));
        for (id, offset) in id
            .into_iter()
            .flat_map(|id| skipped.iter().map(move |offset| (id, *offset)))
        {
            peer.settle(id, offset, false);
        }
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
        for peer in &mut self.peers {
            peer.out.values_mut().for_each(Outflow::clear);
            peer.inn.values_mut().for_each(super::Inflow::clear);
        }
        self.events.push_back(Event::Over);
        self.look_around();
    }

    /// Nothing more will be sent; others hear of it when they have all that was.
    pub(crate) fn leave(&mut self) {
        self.is_leaving = true;
        self.look_around();
    }

    /// Whether the others have all that was sent, and know that this party leaves.
    pub(crate) fn is_done(&self) -> bool {
        self.superseded || self.peers.iter().all(Peer::is_done)
    }

    /// A packet that cannot be read or is nobody's is counted and forgotten.
    pub(crate) fn handle_packet(&mut self, now: Instant, message: Message) {
        let Ok(Packet { header, pieces }) = Packet::decode(message) else {
            self.foreign += 1;
            return;
        };
        let Some(index) = self
            .peer_index(&header.from)
            .filter(|_| header.to == self.setup.local)
        else {
            self.foreign += 1;
            return;
        };
        let peer = &mut self.peers[index];
        let is_ours = header.job == self.setup.job;
        let acceptable = match &header.content {
            Content::Hello(_) if !is_ours => Err(Refusal::OtherJob),
            Content::Hello(hello) if hello.members != self.members => Err(Refusal::OtherMembers),
            // A refusal may come from another job, and says so.
            Content::Hello(_) | Content::Refused(_) => Ok(()),
            _ if is_ours => Ok(()),
            _ => {
                self.foreign += 1;
                return;
            }
        };
        let (heard, taken) = peer.link.handle(now, &header, acceptable);
        if let Content::Hello(hello) = &header.content
            && peer.link.is_with(header.mine)
        {
            peer.meet(hello, &self.setup.limits);
        }
        self.note(index, &heard);
        if let (Content::Items { items, .. }, Some(taken)) = (header.content, taken) {
            self.handle_items(now, index, items, taken, pieces);
        }
        self.look_around();
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
            let own: Vec<_> = pieces.by_ref().take(item.pieces()).collect();
            if number < taken {
                continue;
            }
            if !self.handle_item(now, index, item, own) {
                return;
            }
            self.peers[index].link.take();
        }
    }

    fn note(&mut self, index: usize, heard: &Heard) {
        let peer = &mut self.peers[index];
        if heard.is_new {
            peer.reset();
        }
        if heard.came_up {
            peer.was_up = true;
            peer.refused = None;
        }
        if let Some(refusal) = heard.refused {
            peer.refused = Some(refusal);
            if refusal == Refusal::Superseded {
                self.superseded = true;
                self.events.push_back(Event::Over);
            }
        }
        if *heard != Heard::default() {
            self.events.push_back(Event::Peer { peer: index });
        }
    }

    /// Whether the item was taken.
    fn handle_item(&mut self, now: Instant, index: usize, item: Item, pieces: Vec<bytes::Bytes>) -> bool {
        let is_over = self.aborted.is_some();
        let limits = &self.setup.limits;
        let peer = &mut self.peers[index];
        match item {
            Item::Abort { by, reason } => self.abort(by, reason),
            // What others still send is of no use any more.
            _ if is_over => {}
            Item::Open { .. } | Item::Data(_) if !peer.has_room_for_answers(limits) => {
                peer.wrong += 1;
                return false;
            }
            Item::Open { flow, key, from: _ } => {
                if !peer.open(flow, key, self.setup.incarnation, limits.channels) {
                    peer.wrong += 1;
                    return false;
                }
            }
            Item::Opened { next, held, .. } if !Peer::may_be_opened(next, &held) => {
                peer.wrong += 1;
                return false;
            }
            Item::Opened { flow, next, held, .. } => {
                if let Some(key) = peer.opened(flow, next, &held) {
                    self.events.push_back(Event::Moved { peer: index, key });
                }
            }
            Item::Data(data) => match peer.arrived(now, data, pieces, bounds(limits)) {
                Some((key, true)) => self.events.push_back(Event::Arrived { peer: index, key }),
                Some((_, false)) => {}
                None => {
                    peer.wrong += 1;
                    return false;
                }
            },
            Item::Settled {
                flow,
                offset,
                expired,
            } => {
                if let Some(key) = peer.settled(flow, offset, expired) {
                    self.events.push_back(Event::Moved { peer: index, key });
                }
            }
            Item::Ready => peer.is_ready = true,
            Item::Leave => {
                peer.has_left = true;
                self.events.push_back(Event::Peer { peer: index });
            }
            // Between parties there are no credit and no absence.
            Item::Credit { .. } | Item::Seen { .. } | Item::Rewind { .. } | Item::Want { .. } => {}
        }
        true
    }

    /// The way to a peer is broken.
    pub(crate) fn handle_lost(&mut self, peer: usize) {
        self.peers[peer].link.lost();
        self.events.push_back(Event::Peer { peer });
    }

    /// Tells others what they should know by now.
    fn look_around(&mut self) {
        let sees_all = self.peers.iter().all(|peer| peer.was_up);
        for peer in self.peers.iter_mut().filter(|peer| peer.link.is_up()) {
            if sees_all && !std::mem::replace(&mut peer.is_ready_told, true) {
                peer.link.push(Item::Ready, Vec::new());
            }
            if let Some((by, reason)) = &self.aborted
                && !std::mem::replace(&mut peer.is_abort_told, true)
            {
                let (by, reason) = (by.clone(), reason.clone());
                peer.link.push(Item::Abort { by, reason }, Vec::new());
            }
            if self.is_leaving && peer.is_flushed() && !peer.is_leave_told {
                peer.is_leave_told = true;
                peer.link.push(Item::Leave, Vec::new());
            }
            peer.is_ready_told &= sees_all;
        }
        if !self.is_ready && sees_all && self.peers.iter().all(|peer| peer.is_ready) {
            self.is_ready = true;
            self.events.push_back(Event::Ready);
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next packet for a peer.
    pub(crate) fn poll_transmit(&mut self, now: Instant, peer: usize) -> Option<Message> {
        let Node {
            setup,
            members,
            peers,
            is_leaving,
            ..
        } = self;
        let peer = &mut peers[peer];
        peer.fill(now, setup.piece);
        if *is_leaving && !peer.is_leave_told && peer.link.is_up() && peer.is_flushed() {
            peer.is_leave_told = true;
            peer.link.push(Item::Leave, Vec::new());
        }
        let hello = || {
            Content::Hello(Hello {
                members: members.clone(),
                window_messages: setup.limits.window_messages,
                window_bytes: setup.limits.window_bytes,
                max_message: setup.limits.max_message,
                credit: u64::MAX,
                custody: u64::MAX,
            })
        };
        let (yours, content, pieces) = peer.link.poll_transmit(now, hello)?;
        let header = Header {
            job: setup.job.clone(),
            from: setup.local.clone(),
            to: peer.id.clone(),
            mine: setup.incarnation,
            yours,
            ack: peer.link.ack(),
            content,
        };
        Some(Packet { header, pieces }.encode())
    }

    /// When [`handle_timeout`](Node::handle_timeout) has to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let links = self.peers.iter().filter_map(|peer| peer.link.poll_timeout());
        if self.superseded {
            return None;
        }
        let out = self
            .peers
            .iter()
            .flat_map(|peer| peer.out.values())
            .filter_map(Outflow::expires);
        let inn = self.peers.iter().flat_map(|peer| peer.inn.values());
        links
            .chain(out)
            .chain(inn.filter_map(super::Inflow::expires))
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let messages = self.setup.limits.window_messages;
        for (index, peer) in self.peers.iter_mut().enumerate() {
            peer.link.handle_timeout(now);
            for (key, flow) in &mut peer.out {
                if flow.expire(now) > 0 {
                    let key = key.clone();
                    self.events.push_back(Event::Moved { peer: index, key });
                }
            }
            let mut settled = Vec::new();
            for (key, flow) in &mut peer.inn {
                let expired = flow.expire(now, messages);
                if !expired.is_empty() {
                    let key = key.clone();
                    self.events.push_back(Event::Arrived { peer: index, key });
                }
                let id = flow.id;
                settled.extend(
                    id.into_iter()
                        .flat_map(|id| expired.iter().map(move |offset| (id, *offset))),
                );
            }
            for (id, offset) in settled {
                peer.settle(id, offset, true);
            }
        }
    }
}
