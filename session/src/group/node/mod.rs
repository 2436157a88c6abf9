//! One end of a session, without any I/O: packets in, packets out.
//!
//! A [`Node`] is the coordinator or a member. It ties together who belongs to the session, what flows between them, and
//! the datagrams of `flexbond_wire::group`.

mod cookies;
mod coordinator;
mod member;
mod peers;
mod traffic;
mod transmit;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_wire::group::{Goodbye, GoodbyeReason, Header, Packet};

use super::MemberId;
use super::flow::RecordKind;
use super::membership::Departure;
use coordinator::Coordinator;
use member::Member;
use peers::Peers;
use traffic::Traffic;
use transmit::Outbox;

/// One end of a session.
#[derive(Debug)]
pub(crate) struct Node {
    settings: NodeSettings,
    role: Role,
    /// When this node began: its timestamps count from here.
    began: Instant,
    peers: Peers,
    traffic: Traffic,
    outbox: Outbox,
    /// Members that a view does not name any more.
    gone: Vec<MemberId>,
    events: VecDeque<Event>,
    counters: NodeCounters,
}

#[derive(Debug)]
enum Role {
    Coordinator(Coordinator),
    Member(Member),
}

/// How a node behaves.
#[derive(Clone, Debug)]
pub(crate) struct NodeSettings {
    /// Where to send what is for all; to each by itself, if `None`.
    pub(crate) multicast: Option<SocketAddr>,
    /// Bytes of payload in a segment.
    pub(crate) segment: usize,
    /// Segments of a flow that may be on their way at once.
    pub(crate) window: u64,
    /// Memory for messages that nobody has received yet, in bytes.
    pub(crate) recv_budget: u64,
    /// Bytes in a message, at most.
    pub(crate) max_message: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) dead_after: Duration,
    pub(crate) join_timeout: Duration,
    pub(crate) max_members: usize,
    pub(crate) name: String,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// This node is in.
    Joined(MemberId),
    /// This node is not admitted, or no more a member; the text says why.
    Out(String),
    /// Somebody else is in.
    Arrived(MemberId),
    /// Somebody else is gone.
    Gone(MemberId, Option<Departure>),
}

/// What was ignored, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeCounters {
    /// Not a datagram of this format, or damaged.
    pub(crate) malformed: u64,
    /// Of another session, or of nobody known here.
    pub(crate) foreign: u64,
    /// Seen before, or too old to know.
    pub(crate) replayed: u64,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// This node is not in.
    NotIn,
    /// More than the session, or the memory of one of its members, allows.
    TooLarge { size: u64, limit: u64, member: MemberId },
}

impl Node {
    /// A coordinator of the session with this number, which no other should have.
    pub(crate) fn coordinator(
        now: Instant,
        session: u64,
        hasher: RandomState,
        settings: NodeSettings,
    ) -> Self {
        let role = Role::Coordinator(Coordinator::new(now, hasher, &settings));
        let mut node = Node::new(now, role, settings);
        node.outbox.identify(session, MemberId(Header::COORDINATOR));
        node
    }

    /// A member that asks the coordinator at this address to be admitted; its nonce is random.
    pub(crate) fn member(
        now: Instant,
        coordinator: SocketAddr,
        nonce: [u8; 16],
        settings: NodeSettings,
    ) -> Self {
        let role = Role::Member(Member::new(now, coordinator, nonce, &settings));
        Node::new(now, role, settings)
    }

    fn new(now: Instant, role: Role, settings: NodeSettings) -> Self {
        Node {
            role,
            began: now,
            peers: Peers::default(),
            traffic: Traffic::new(&settings),
            outbox: Outbox::default(),
            gone: Vec::new(),
            events: VecDeque::new(),
            counters: NodeCounters::default(),
            settings,
        }
    }

    /// A datagram has come; `multicast` if it was sent to the group's address.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        multicast: bool,
        datagram: &[u8],
    ) {
        let Ok((header, packet)) = Packet::decode(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        if packet.kind().is_handshake() {
            return self.handle_handshake(now, from, &header, packet);
        }
        if header.session != self.outbox.session() || self.outbox.me() == MemberId(header.sender) {
            self.counters.foreign += 1;
            return;
        }
        let sender = MemberId(header.sender);
        if !self.peers.knows(sender, from) {
            self.counters.foreign += 1;
            return self.handle_stranger(from, sender);
        }
        if !self.peers.accept(now, sender, header.number) {
            self.counters.replayed += 1;
            return;
        }
        self.note_heard(now, sender, multicast);
        self.handle_packet(now, sender, from, packet);
    }

    /// Somebody who is no member, or not any more, may not know that.
    fn handle_stranger(&mut self, from: SocketAddr, sender: MemberId) {
        if let Role::Coordinator(coordinator) = &self.role
            && coordinator.was_member(sender)
        {
            let goodbye = Packet::Goodbye(Goodbye {
                reason: GoodbyeReason::Evicted,
                text: "",
            });
            self.outbox.push(from, &goodbye);
        }
    }

    fn note_heard(&mut self, now: Instant, sender: MemberId, multicast: bool) {
        match &mut self.role {
            Role::Coordinator(coordinator) => coordinator.roster.handle_heard(now, sender),
            Role::Member(member) if sender.0 == Header::COORDINATOR => {
                member.enrolment.handle_heard(now);
                member.hears_multicast |= multicast;
            }
            Role::Member(_) => {}
        }
    }

    fn handle_packet(&mut self, now: Instant, sender: MemberId, from: SocketAddr, packet: Packet<'_>) {
        match packet {
            Packet::Data(data) => {
                let refused = self.traffic.handle_data(now, sender, &data);
                if let Err(refused) = refused {
                    self.evict(now, sender, &format!("its messages cannot be taken: {refused:?}"));
                }
            }
            Packet::Status(status) => self.traffic.handle_status(now, sender, self.outbox.me(), &status),
            Packet::Sync(sync) => self.traffic.handle_sync(now, sender, &sync),
            Packet::Heartbeat(heartbeat) => {
                if let Role::Coordinator(coordinator) = &mut self.role {
                    coordinator
                        .roster
                        .handle_heartbeat(now, sender, heartbeat.hears_multicast);
                }
            }
            Packet::View(view) => self.handle_view(from, sender, &view),
            Packet::ViewAck(ack) => {
                if let Role::Coordinator(coordinator) = &mut self.role {
                    coordinator.roster.handle_view_ack(sender, ack.view);
                }
            }
            Packet::Leave => self.handle_leave(from, sender),
            Packet::Goodbye(goodbye) => self.handle_goodbye(sender, &goodbye),
            // Of a later layer, or of a handshake, which was seen to before.
            _ => {}
        }
    }

    /// Sends a member away, or gives up the session if it is the coordinator who cannot be lived with.
    fn evict(&mut self, now: Instant, member: MemberId, why: &str) {
        match &mut self.role {
            Role::Coordinator(coordinator) => coordinator.roster.remove(member, Departure::Evicted),
            Role::Member(own) if member.0 == Header::COORDINATOR => {
                own.enrolment.leave(now);
                self.events.push_back(Event::Out(why.to_owned()));
            }
            // The coordinator alone decides who is in; this member takes nothing more of it.
            Role::Member(_) => self.traffic.forget_source(member),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.role {
            Role::Coordinator(_) => self.handle_coordinator_timeout(now),
            Role::Member(_) => self.handle_member_timeout(now),
        }
        self.traffic.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) and [`poll_transmit`](Self::poll_transmit) have something to do.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let role = match &self.role {
            Role::Coordinator(coordinator) => coordinator.poll_timeout(),
            Role::Member(member) => member.enrolment.poll_timeout(),
        };
        let gone = (!self.gone.is_empty()).then_some(now);
        role.into_iter()
            .chain(gone)
            .chain(self.traffic.poll_timeout(now))
            .min()
    }

    /// Whether [`poll_event`](Self::poll_event) or [`pop`](Self::pop) has something.
    pub(crate) fn has_news(&self) -> bool {
        !self.events.is_empty() || self.traffic.has_ready()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Queues a message for all others; returns its number.
    ///
    /// # Errors
    /// [`PushError`]; it was not queued.
    pub(crate) fn push(&mut self, kind: RecordKind, body: Bytes) -> Result<u64, PushError> {
        if !self.is_in() {
            return Err(PushError::NotIn);
        }
        let size = body.len() as u64;
        let own = (self.settings.max_message, self.outbox.me());
        let (limit, member) = self.peers.least_max_message().map_or(own, |least| least.min(own));
        if size > limit {
            return Err(PushError::TooLarge { size, limit, member });
        }
        Ok(self.traffic.push(kind, body))
    }

    /// Takes the next message of anybody.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(MemberId, RecordKind, Bytes)> {
        match self.traffic.pop(now) {
            Ok(popped) => popped,
            Err((member, refused)) => {
                self.evict(now, member, &format!("its messages cannot be taken: {refused:?}"));
                None
            }
        }
    }

    /// Everything below was delivered to all who were in and still are.
    pub(crate) fn settled(&self) -> u64 {
        self.traffic.settled()
    }

    /// Whether this node is in the session.
    pub(crate) fn is_in(&self) -> bool {
        match &self.role {
            Role::Coordinator(_) => true,
            Role::Member(member) => member.enrolment.member().is_some(),
        }
    }

    /// Who else is in.
    pub(crate) fn others(&self) -> impl Iterator<Item = MemberId> {
        self.peers.ids()
    }

    pub(crate) fn counters(&self) -> NodeCounters {
        self.counters
    }

    /// Microseconds since this node began.
    fn clock(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_micros() as u64
    }
}
