//! One end of a session, without any I/O: packets in, packets out.
//!
//! A [`Node`] is the coordinator or a member. It ties together who belongs to the session, what flows between them, and
//! the datagrams of `flexbond_wire::group`.

mod channels;
mod cookies;
mod coordinator;
mod entrances;
mod flows;
mod hosting;
mod landing;
mod member;
mod notices;
mod peers;
mod places;
mod protection;
mod receive;
mod reminders;
mod requests;
mod settings;
mod signals;
mod traffic;
mod transmit;
mod ways;

#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::Bytes;
#[cfg(all(any(test, fuzzing), feature = "group-crypto"))]
use flexbond_wire::group::Kind;
use flexbond_wire::group::{Data, GoodbyeReason, Header, Nonce, Packet, RejectReason};

use super::MemberId;
use super::flow::RecordKind;
use super::membership::Departure;
use channels::Channels;
use coordinator::Coordinator;
use entrances::group_of;
use flows::Flows;
pub(crate) use flows::Popped;
pub(crate) use hosting::HostError;
pub(crate) use landing::Landing;
use landing::Spot;
use member::Member;
use peers::Peers;
pub(crate) use places::GroupEnd;
#[cfg(feature = "group-crypto")]
pub(crate) use protection::Entropy;
use protection::Protection;
#[cfg(all(any(test, fuzzing), feature = "group-crypto"))]
pub(super) use protection::ledger;
pub(crate) use settings::NodeSettings;
use transmit::Outbox;

/// One end of a session.
#[derive(Debug)]
pub(crate) struct Node {
    settings: NodeSettings,
    role: Role,
    /// When this node began: its timestamps count from here.
    began: Instant,
    peers: Peers,
    protection: Protection,
    flows: Flows,
    channels: Channels,
    /// Where the last segment belonged.
    spot: Option<Spot>,
    outbox: Outbox,
    /// Members that a view does not name any more.
    gone: Vec<MemberId>,
    events: VecDeque<Event>,
    /// Why this node is out, once it is.
    ending: Option<Ending>,
    /// When it began to want to go, and when it goes at the latest.
    winding_up: Option<(Instant, Instant)>,
    /// When something last came that is to be confirmed.
    asked_at: Option<Instant>,
    is_abandoned: bool,
    /// Something has happened that somebody may wait for.
    news: bool,
    /// What was delivered when somebody was last told.
    told: u64,
    counters: NodeCounters,
}

#[derive(Debug)]
enum Role {
    Coordinator(Coordinator),
    Member(Member),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// This node is in.
    Joined(MemberId),
    /// This node is not admitted, or no more a member.
    Out(Ending),
    /// Somebody else is in.
    Arrived(MemberId),
    /// Somebody else is gone.
    Gone(MemberId, Option<Departure>),
    /// There was no place for somebody at this address.
    TurnedAway(SocketAddr),
}

/// Why a node is not in a session, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It left, as it wanted to.
    Left,
    /// The coordinator did not admit it; the text says why.
    Rejected(RejectReason, String),
    /// The coordinator did not answer.
    NoAnswer,
    /// The coordinator was not heard for too long.
    CoordinatorDead,
    /// The coordinator sent it away, or ended the session.
    Dismissed(GoodbyeReason),
    /// What the coordinator sends cannot be taken; the text says why.
    Unusable(String),
}

/// What was ignored, and why; and what did not get out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeCounters {
    /// Packets that are none of this format, or damaged.
    pub malformed: u64,
    /// Questions of those for whom the session has no place ([`Options::max_members`](super::Options::max_members)); only
    /// the coordinator is asked.
    pub turned_away: u64,
    /// Packets of another session, or of nobody known here.
    pub foreign: u64,
    /// Packets that were seen before, are too old to know, answer what this node does not ask any more, or are of a group
    /// that was over when this node joined one of the same number.
    pub replayed: u64,
    /// Events that nobody asked for in time.
    pub events_dropped: u64,
    /// Packets that were not sealed with the key that they should be, were changed since, or are for somebody else.
    pub forged: u64,
    /// Packets sealed in an epoch of which the key is not here: not yet, or not any more.
    pub unreadable: u64,
    /// Packets, or several joined, that the system refused to send: lost, as if the network had lost them. It may have no
    /// way to where they should go, or forbid it.
    pub unsent: u64,
    /// Answers that were not given: too many waited to be sent, or whoever asked is no member any more and had just been
    /// told so.
    pub unanswered: u64,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// This node is not in.
    NotIn,
    /// There is no such channel, or not any more.
    NoChannel,
    /// As much waits to be delivered as may wait.
    Full,
    /// More than the session, or the memory of one of its members, allows.
    TooLarge { size: u64, limit: u64, member: MemberId },
}

impl Node {
    /// Events that wait for somebody to ask; more, and the oldest are dropped.
    const MAX_EVENTS: usize = 1024;
    /// How long nobody must have asked a member anything before it goes, and how long it waits for that at most.
    const QUIET: Duration = Duration::from_millis(100);
    const UNQUIET: Duration = Duration::from_millis(500);

    /// A coordinator of the session with this number, which no other should have.
    pub(crate) fn coordinator(
        now: Instant,
        session: u64,
        hasher: RandomState,
        settings: NodeSettings,
    ) -> Self {
        let role = Role::Coordinator(Coordinator::new(now, hasher, &settings));
        let protection = Protection::coordinator(session, &settings);
        let mut node = Node::new(now, role, protection, settings);
        node.outbox.identify(session, MemberId(Header::COORDINATOR));
        node.outbox.begin_epoch(0, node.protection.sealing());
        node
    }

    /// A member that asks the coordinator at this address to be admitted, with this nonce, or a spare one when
    /// it has to begin again. All of them are random.
    pub(crate) fn member(
        now: Instant,
        coordinator: SocketAddr,
        nonce: Nonce,
        spare: &[Nonce],
        settings: NodeSettings,
    ) -> Self {
        let role = Role::Member(Member::new(now, coordinator, nonce, spare, &settings));
        let protection = Protection::member(&settings);
        Node::new(now, role, protection, settings)
    }

    fn new(now: Instant, role: Role, protection: Protection, settings: NodeSettings) -> Self {
        Node {
            role,
            began: now,
            peers: Peers::default(),
            protection,
            flows: Flows::new(&settings),
            channels: Channels::default(),
            spot: None,
            outbox: Outbox::default(),
            gone: Vec::new(),
            events: VecDeque::new(),
            ending: None,
            winding_up: None,
            asked_at: None,
            is_abandoned: false,
            news: false,
            told: 0,
            counters: NodeCounters::default(),
            settings,
        }
    }

    fn handle_packet(&mut self, now: Instant, from: SocketAddr, header: &Header, packet: Packet<'_>) {
        let sender = MemberId(header.sender);
        if group_of(&packet).is_some_and(|channel| self.is_late(channel, header)) {
            self.counters.replayed += 1;
            return;
        }
        match packet {
            Packet::Data(data) => self.take_data(now, sender, &data),
            Packet::Parity(parity) => {
                self.asked_at = Some(now);
                self.news |= self.flows.handle_parity(now, sender, &parity);
                self.evict_unusable(now);
            }
            Packet::Status(status) => self.flows.handle_status(now, sender, self.outbox.me(), &status),
            Packet::Sync(sync) => {
                self.asked_at = Some(now);
                self.news |= self.flows.handle_sync(now, sender, &sync);
                self.evict_unusable(now);
            }
            Packet::Heartbeat(heartbeat) => {
                if let Role::Coordinator(coordinator) = &mut self.role {
                    coordinator
                        .roster
                        .handle_heartbeat(now, sender, heartbeat.hears_multicast);
                }
            }
            Packet::View(view) => self.handle_view(now, from, header, &view),
            Packet::ViewAck(ack) => {
                if let Role::Coordinator(coordinator) = &mut self.role {
                    coordinator.roster.handle_view_ack(sender, ack.view);
                    self.protection.note_switch(sender, ack.view, header.number);
                }
            }
            Packet::Leave => self.handle_leave(from, sender),
            Packet::Goodbye(goodbye) => self.handle_goodbye(sender, &goodbye),
            Packet::ChannelJoin(_)
            | Packet::ChannelReply(_)
            | Packet::ChannelLeave(_)
            | Packet::Arrive(_)
            | Packet::Release(_)
            | Packet::Abort(_) => self.handle_channel_packet(now, from, header, &packet),
            // Of a handshake, which was seen to before, or of no use here.
            _ => {}
        }
    }

    fn handle_data(&mut self, now: Instant, header: &Header, data: &Data<'_>) {
        match self.is_late(data.channel, header) {
            true => self.counters.replayed += 1,
            false => self.take_data(now, MemberId(header.sender), data),
        }
    }

    /// Whether a packet is of a group that is over, under whose number there is another one now.
    fn is_late(&self, channel: u16, header: &Header) -> bool {
        let entrances = &self.channels.entrances;
        channel != Flows::ALL && entrances.precedes(channel, MemberId(header.sender), header.number)
    }

    fn take_data(&mut self, now: Instant, sender: MemberId, data: &Data<'_>) {
        self.asked_at = Some(now);
        self.news |= self.flows.handle_data(now, sender, data);
        self.evict_unusable(now);
    }

    /// Sends those away who send what cannot be taken.
    fn evict_unusable(&mut self, now: Instant) {
        while let Some((member, refused)) = self.flows.pop_unusable() {
            self.evict(now, member, &format!("its messages cannot be taken: {refused:?}"));
        }
    }

    /// Sends a member away, or gives up the session if it is the coordinator who cannot be lived with.
    fn evict(&mut self, now: Instant, member: MemberId, why: &str) {
        match &mut self.role {
            Role::Coordinator(coordinator) => {
                coordinator.roster.remove(member, Departure::Evicted);
            }
            Role::Member(own) if member.0 == Header::COORDINATOR => {
                own.enrolment.leave(now);
                self.end(Ending::Unusable(why.to_owned()));
            }
            // The coordinator alone decides who is in; this member takes nothing more of it.
            Role::Member(_) => self.flows.forget_source(member),
        }
    }

    /// Goes as soon as what was sent is delivered, at `deadline` at the latest. Nothing more is taken to be sent.
    pub(crate) fn wind_up(&mut self, now: Instant, deadline: Instant) {
        let (begun, earlier) = self.winding_up.unwrap_or((now, deadline));
        self.winding_up = Some((begun, earlier.min(deadline)));
    }

    /// When it goes, if nothing more comes.
    fn go_at(&self) -> Option<Instant> {
        let (begun, deadline) = self.winding_up?;
        if !self.flows.is_settled() {
            return Some(deadline);
        }
        let quiet_at = match self.role {
            Role::Coordinator(_) => begun,
            // What it has confirmed may have been lost: it stays until nobody asks any more.
            Role::Member(_) => self.asked_at.map_or(begun, |at| at + Self::QUIET),
        };
        Some(quiet_at.min(begun + Self::UNQUIET).min(deadline))
    }

    /// Goes, if it wants to and can.
    fn go(&mut self, now: Instant) {
        if self.go_at().is_some_and(|at| now >= at) {
            self.winding_up = None;
            match &self.role {
                Role::Coordinator(_) => self.close(now),
                Role::Member(_) => self.leave(now),
            }
        }
    }

    /// Whether all is said and done: nobody need drive this node any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_abandoned
            || match &self.role {
                Role::Coordinator(coordinator) => coordinator.has_said_farewell(),
                Role::Member(_) => self.ending.is_some(),
            }
    }

    /// Where the session multicasts, as far as this node knows.
    pub(crate) fn multicast(&self) -> Option<SocketAddr> {
        self.settings.multicast.filter(|_| self.is_in())
    }

    /// Where somebody is.
    pub(crate) fn address(&self, member: MemberId) -> Option<SocketAddr> {
        self.peers.address(member)
    }

    /// What a member calls itself; only the coordinator knows.
    pub(crate) fn name(&self, member: MemberId) -> Option<&str> {
        match &self.role {
            Role::Coordinator(coordinator) => coordinator.name(member),
            Role::Member(_) => None,
        }
    }

    /// Sends a member away, as the coordinator; false if there is none, or this is not the coordinator.
    pub(crate) fn dismiss(&mut self, member: MemberId) -> bool {
        match &mut self.role {
            Role::Coordinator(coordinator) => coordinator.roster.remove(member, Departure::Evicted),
            Role::Member(_) => false,
        }
    }

    /// Nobody drives this node any more; the text says why.
    pub(crate) fn abandon(&mut self, why: &str) {
        self.is_abandoned = true;
        self.end(Ending::Unusable(why.to_owned()));
    }

    /// This node is out; only the first reason counts.
    fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending.clone());
            self.tell(Event::Out(ending));
        }
    }

    /// Why this node is out, once it is.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.go(now);
        self.protection.handle_timeout(now);
        match &mut self.role {
            Role::Coordinator(_) => self.handle_coordinator_timeout(now),
            Role::Member(_) => self.handle_member_timeout(now),
        }
        self.handle_channels_timeout(now);
        self.news |= self.flows.handle_timeout(now);
        self.evict_unusable(now);
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
            .chain(self.go_at())
            .chain(self.channels.poll_timeout())
            .chain(self.flows.poll_timeout(now))
            .chain(self.protection.poll_timeout())
            .min()
    }

    /// Whether something has happened since this was last asked that somebody may wait for.
    pub(crate) fn take_news(&mut self) -> bool {
        let progress = self.flows.progress();
        let moved = std::mem::replace(&mut self.told, progress) != progress;
        std::mem::take(&mut self.news) | moved
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() == Self::MAX_EVENTS {
            self.events.pop_front();
            self.counters.events_dropped += 1;
        }
        self.events.push_back(event);
        self.news = true;
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Queues a message for all others on a channel; returns its number.
    ///
    /// # Errors
    /// [`PushError`]; it was not queued.
    pub(crate) fn push(&mut self, channel: u16, kind: RecordKind, body: &Bytes) -> Result<u64, PushError> {
        self.make_room(channel, body.len() as u64)?;
        self.flows
            .push(channel, kind, body.clone())
            .ok_or(PushError::NoChannel)
    }

    /// Whether a message of `size` bytes would be taken now. If only room is lacking, who lags may have to skip for it.
    pub(crate) fn make_room(&mut self, channel: u16, size: u64) -> Result<(), PushError> {
        if !self.is_in() || self.winding_up.is_some() {
            return Err(PushError::NotIn);
        }
        let own = (self.settings.max_message, self.outbox.me());
        let (limit, member) = self.peers.least_max_message().map_or(own, |least| least.min(own));
        if size > limit {
            return Err(PushError::TooLarge { size, limit, member });
        }
        let unsettled = self.flows.unsettled_bytes(channel);
        if unsettled > 0 && unsettled + size > self.settings.send_budget {
            self.flows.note_refused(channel);
            return Err(PushError::Full);
        }
        Ok(())
    }

    /// How far those have come on a channel that are waited for.
    pub(crate) fn held(&self, channel: u16) -> u64 {
        self.flows.held(channel)
    }

    /// Messages of a channel, and parts of streamed ones, that were not delivered to all yet.
    pub(crate) fn undelivered(&self, channel: u16) -> u64 {
        self.flows.undelivered(channel)
    }

    /// Ends a streamed message where it is, on a channel.
    pub(crate) fn push_end(&mut self, channel: u16) {
        if self.is_in() {
            let _ = self.flows.push(channel, RecordKind::LastChunk, Bytes::new());
        }
    }

    /// Takes the next message of anybody on a channel.
    pub(crate) fn pop(&mut self, now: Instant, channel: u16) -> Option<Popped> {
        let (popped, resumes) = self.flows.pop(now, channel);
        self.news |= resumes;
        self.evict_unusable(now);
        match popped {
            Some(popped) if popped.kind == RecordKind::End => {
                // The coordinator keeps it until this node has said that it has it.
                self.flows
                    .report_last(now, channel, &self.peers, &mut self.outbox);
                self.end_place(channel, GroupEnd::Whole);
                None
            }
            None => {
                if let Some(end) = self.flows.over(channel) {
                    self.end_place(channel, end);
                }
                None
            }
            popped => popped,
        }
    }

    /// Whether there is such a channel, or is still.
    #[cfg(test)]
    pub(crate) fn has_channel(&self, channel: u16) -> bool {
        self.flows.has(channel)
    }

    /// Everything below was delivered to all who were in and still are.
    pub(crate) fn settled(&self, channel: u16) -> u64 {
        self.flows.settled(channel)
    }

    /// Who went, or skipped, without having had all of these messages of a channel: the parts of a stream, or one.
    pub(crate) fn missed(&self, channel: u16, numbers: RangeInclusive<u64>) -> Vec<MemberId> {
        self.flows.missed(channel, numbers)
    }

    /// Who this node is, while it is in.
    pub(crate) fn me(&self) -> Option<MemberId> {
        self.is_in().then(|| self.outbox.me())
    }

    /// Whether this node is in the session.
    pub(crate) fn is_in(&self) -> bool {
        match &self.role {
            Role::Coordinator(_) => self.ending.is_none(),
            Role::Member(member) => member.enrolment.member().is_some(),
        }
    }

    /// Who else is in.
    pub(crate) fn others(&self) -> impl Iterator<Item = MemberId> {
        self.peers.ids()
    }

    /// How many others what is sent to the group's address reaches, as far as this node knows.
    pub(crate) fn reached_by_multicast(&self) -> usize {
        match self.settings.multicast {
            Some(_) => self.peers.reached_by_multicast(),
            None => 0,
        }
    }

    pub(crate) fn counters(&self) -> NodeCounters {
        NodeCounters {
            unanswered: self.counters.unanswered + self.outbox.unanswered(),
            ..self.counters
        }
    }

    /// With what packets of this kind are sealed, and of which epoch they are, that look as if a member had sent them, as
    /// far as this node knows.
    #[cfg(all(any(test, fuzzing), feature = "group-crypto"))]
    pub(crate) fn sealing_as(&self, member: MemberId, kind: Kind) -> Option<(u32, protection::SealKey)> {
        if !self.protection.is_on() || !self.is_in() {
            return None;
        }
        match kind.is_control() {
            true => Some((0, self.protection.control_as(member)?)),
            false => Some(self.protection.sealing_as(member)),
        }
    }

    /// How many packets wait to be sent.
    #[cfg(all(any(test, fuzzing), feature = "group-crypto"))]
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.waiting()
    }

    /// Microseconds since this node began.
    fn clock(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_micros() as u64
    }
}
