//! Barrier and broadcast groups: which there are, who takes part, and the rounds of the barriers.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_wire::group::{
    Abort, Arrive, ChannelJoin, ChannelKind, ChannelLeave, ChannelRefusal, ChannelReply, Header, List,
    MAX_FAILED, Packet, Release,
};

use super::entrances::Entrances;
use super::requests::{Ask, Requests, is_later};
use super::{Node, Role};
use crate::group::MemberId;
use crate::group::at_most_ages;
use crate::group::barrier::{Hub, Outcome, Seat, Signal};
use crate::group::flow::{RecordKind, Target};

/// The groups that this node has to do with.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// The barriers that this node takes part in.
    seats: BTreeMap<u16, Seat>,
    /// At a member: what it asked of the coordinator.
    pub(super) requests: Requests,
    /// At the coordinator: the groups that there are.
    hosted: BTreeMap<u16, Hosted>,
    /// Since when it takes part in each of them, or somebody else does.
    pub(super) entrances: Entrances,
}

/// A group, at the coordinator.
#[derive(Debug)]
struct Hosted {
    /// Of a barrier; a broadcast group has none.
    hub: Option<Hub>,
    /// The last request of each member that was heard of: older ones come late and mean nothing any more.
    heard: BTreeMap<MemberId, u32>,
    /// Who has joined and was not told to the application yet.
    arrivals: VecDeque<MemberId>,
    /// Until when what was sent may still be delivered, once the group ends.
    ending: Option<Instant>,
}

impl Hosted {
    fn kind(&self) -> ChannelKind {
        match self.hub {
            Some(_) => ChannelKind::Barrier,
            None => ChannelKind::Broadcast,
        }
    }
}

impl Channels {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let seats = self.seats.values().filter_map(Seat::poll_timeout);
        let endings = self.hosted.values().filter_map(|hosted| hosted.ending);
        seats.chain(endings).chain(self.requests.poll_timeout()).min()
    }
}

/// Why a group cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostError {
    /// Only the coordinator makes groups.
    NotCoordinator,
    /// There is one with this number, or the number is that of the session itself.
    Taken,
}

/// At the coordinator.
impl Node {
    /// Makes a barrier group, in which the coordinator itself takes part if `participate`.
    pub(crate) fn host_barrier(&mut self, channel: u16, participate: bool) -> Result<(), HostError> {
        let mut hub = Hub::new();
        let seat = participate.then(|| Seat::new(hub.add(self.outbox.me())));
        self.host(channel, Some(hub))?;
        self.channels.seats.extend(seat.map(|seat| (channel, seat)));
        Ok(())
    }

    /// Makes a broadcast group, to which the coordinator sends.
    pub(crate) fn host_broadcast(&mut self, channel: u16) -> Result<(), HostError> {
        self.host(channel, None)?;
        self.flows.open(channel);
        Ok(())
    }

    fn host(&mut self, channel: u16, hub: Option<Hub>) -> Result<(), HostError> {
        if !matches!(self.role, Role::Coordinator(_)) {
            return Err(HostError::NotCoordinator);
        }
        if channel == 0 || self.channels.hosted.contains_key(&channel) {
            return Err(HostError::Taken);
        }
        let hosted = Hosted {
            hub,
            heard: BTreeMap::new(),
            arrivals: VecDeque::new(),
            ending: None,
        };
        self.channels.hosted.insert(channel, hosted);
        Ok(())
    }

    /// Ends a group: those who wait at a barrier of it are told that the coordinator has gone from it, and until
    /// `deadline` those who come; what was sent to a broadcast group is still delivered until then.
    pub(crate) fn unhost(&mut self, now: Instant, channel: u16, deadline: Instant) {
        let me = self.outbox.me();
        self.channels.seats.remove(&channel);
        let Some(hosted) = self.channels.hosted.get_mut(&channel) else {
            return;
        };
        match &mut hosted.hub {
            Some(hub) => {
                hub.give_up(me);
                hosted.ending = Some(deadline);
                self.send_signals(now, channel);
            }
            None => {
                hosted.ending = Some(deadline);
                let _ = self.flows.push(channel, RecordKind::End, Bytes::new());
            }
        }
    }

    /// Forgets broadcast groups that have ended.
    fn forget_ended(&mut self, now: Instant) {
        let flows = &mut self.flows;
        let Channels {
            hosted, entrances, ..
        } = &mut self.channels;
        hosted.retain(|&channel, hosted| {
            let over = hosted.ending.is_some_and(|deadline| {
                now >= deadline || hosted.hub.is_none() && flows.unsettled_bytes(channel) == 0
            });
            if over {
                flows.close(channel);
                entrances.forget_group(channel);
            }
            !over
        });
    }

    /// The next member that has joined a group.
    pub(crate) fn pop_arrival(&mut self, channel: u16) -> Option<MemberId> {
        self.channels.hosted.get_mut(&channel)?.arrivals.pop_front()
    }

    fn handle_channel_join(&mut self, now: Instant, from: SocketAddr, header: &Header, join: &ChannelJoin) {
        let sender = MemberId(header.sender);
        let accepted = self.accept_into(now, header, join);
        self.send_signals(now, join.channel);
        let reply = ChannelReply {
            request: join.request,
            channel: join.channel,
            refusal: accepted.err(),
            first_round: accepted.unwrap_or(0),
        };
        let seal = self.protection.control(sender);
        self.outbox.push_control(from, seal, &Packet::ChannelReply(reply));
    }

    /// Lets a member take part; returns its first round at a barrier.
    fn accept_into(
        &mut self,
        now: Instant,
        header: &Header,
        join: &ChannelJoin,
    ) -> Result<u64, ChannelRefusal> {
        let member = MemberId(header.sender);
        let hosted = self
            .channels
            .hosted
            .get_mut(&join.channel)
            .ok_or(ChannelRefusal::Unknown)?;
        if join.kind != hosted.kind() {
            return Err(ChannelRefusal::WrongKind);
        }
        if hosted.ending.is_some() {
            return Err(ChannelRefusal::Closing);
        }
        let heard = hosted.heard.insert(member, join.request);
        if let Some(heard) = heard.filter(|heard| is_later(*heard, join.request)) {
            // It has been overtaken by a later one, whose answer is what counts.
            hosted.heard.insert(member, heard);
            return Err(ChannelRefusal::Other);
        }
        let is_new = heard != Some(join.request);
        if is_new {
            hosted.arrivals.push_back(member);
            self.channels.entrances.note(join.channel, member, header.number);
        }
        match &mut hosted.hub {
            Some(hub) => {
                if is_new {
                    // It knows nothing of when it was here before, even if nobody has heard that it went.
                    hub.remove(member, false);
                }
                Ok(hub.add(member))
            }
            None => {
                if is_new {
                    self.flows.remove_receiver(now, join.channel, member);
                }
                self.flows.add_receiver(join.channel, member);
                Ok(0)
            }
        }
    }

    fn handle_channel_leave(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: MemberId,
        leave: &ChannelLeave,
    ) {
        if let Some(hosted) = self.channels.hosted.get_mut(&leave.channel) {
            let heard = hosted.heard.get(&sender);
            if heard.is_none_or(|heard| is_later(leave.request, *heard)) {
                hosted.heard.insert(sender, leave.request);
                hosted.arrivals.retain(|arrived| *arrived != sender);
                match &mut hosted.hub {
                    Some(hub) => hub.remove(sender, false),
                    None => self.flows.remove_receiver(now, leave.channel, sender),
                }
                self.send_signals(now, leave.channel);
            }
        }
        let reply = ChannelReply {
            request: leave.request,
            channel: leave.channel,
            refusal: None,
            first_round: 0,
        };
        let seal = self.protection.control(sender);
        self.outbox.push_control(from, seal, &Packet::ChannelReply(reply));
    }

    fn handle_arrive(&mut self, now: Instant, sender: MemberId, arrive: &Arrive) {
        let hosted = self.channels.hosted.get_mut(&arrive.channel);
        if let Some(hub) = hosted.and_then(|hosted| hosted.hub.as_mut()) {
            hub.handle_arrive(sender, arrive.round);
            self.send_signals(now, arrive.channel);
        } else if let Some(to) = self.peers.address(sender) {
            // The group has ended while it did not hear.
            let abort = Abort {
                channel: arrive.channel,
                round: arrive.round,
                failed: List::new(&[Header::COORDINATOR]),
            };
            self.outbox.push(to, Target::One(sender), &Packet::Abort(abort));
        }
    }

    /// A member is gone from the session, and so from all its groups; `lost` if not by its own will.
    pub(super) fn leave_channels(&mut self, now: Instant, member: MemberId, lost: bool) {
        self.channels.entrances.forget_member(member);
        let channels: Vec<u16> = self.channels.hosted.keys().copied().collect();
        for channel in channels {
            if let Some(hosted) = self.channels.hosted.get_mut(&channel) {
                hosted.heard.remove(&member);
                hosted.arrivals.retain(|arrived| *arrived != member);
                if let Some(hub) = &mut hosted.hub {
                    hub.remove(member, lost);
                    self.send_signals(now, channel);
                }
            }
        }
    }

    /// Says what the hub of a barrier has to say.
    fn send_signals(&mut self, now: Instant, channel: u16) {
        loop {
            let hosted = self.channels.hosted.get_mut(&channel);
            let Some(hub) = hosted.and_then(|hosted| hosted.hub.as_mut()) else {
                return;
            };
            let Some(signal) = hub.poll_signal() else {
                return;
            };
            let seats: Vec<_> = hub.seats().collect();
            self.send_signal(now, channel, &seats, &signal);
        }
    }

    /// Says once more how the last rounds ended: whoever has not heard it could not ask any more.
    pub(super) fn repeat_outcomes(&mut self, now: Instant) {
        let mut last = Vec::new();
        for (&channel, hosted) in &self.channels.hosted {
            if let Some(hub) = &hosted.hub
                && let Some((round, outcome)) = hub.last()
            {
                last.extend(hub.seats().map(|member| {
                    let to = Some(member);
                    let outcome = outcome.clone();
                    (channel, Signal { to, round, outcome })
                }));
            }
        }
        for (channel, signal) in last {
            self.send_signal(now, channel, &[], &signal);
        }
    }

    fn send_signal(&mut self, now: Instant, channel: u16, seats: &[MemberId], signal: &Signal) {
        let failed: Vec<u32>;
        let round = signal.round;
        let packet = match &signal.outcome {
            Outcome::Released => Packet::Release(Release { channel, round }),
            Outcome::Aborted(members) => {
                failed = members.iter().take(MAX_FAILED).map(|member| member.0).collect();
                Packet::Abort(Abort {
                    channel,
                    round,
                    failed: List::new(&failed),
                })
            }
        };
        let me = self.outbox.me();
        if signal.to.is_none_or(|to| to == me)
            && let Some(seat) = self.channels.seats.get_mut(&channel)
        {
            seat.handle_outcome(now, round, signal.outcome.clone());
            self.news = true;
        }
        match signal.to {
            Some(member) => {
                if let Some(to) = self.peers.address(member) {
                    self.outbox.push(to, Target::One(member), &packet);
                }
            }
            None => {
                let all = self
                    .peers
                    .some(self.settings.multicast, |member| seats.contains(&member));
                self.outbox.push_to_all(&all, &packet);
            }
        }
    }
}

/// At a member, and at a coordinator that takes part itself.
impl Node {
    /// Asks to take part in a group, for at most the time that joining the session may take; returns the request.
    pub(crate) fn join_channel(&mut self, now: Instant, channel: u16, kind: ChannelKind) -> u32 {
        let until = now + self.settings.join_timeout;
        self.channels.requests.add(now, channel, Ask::Join(kind), until)
    }

    /// How a request ended, once.
    pub(crate) fn take_reply(&mut self, request: u32) -> Option<Result<u64, Option<ChannelRefusal>>> {
        self.channels.requests.take(request)
    }

    /// Nobody waits for the answer to a request any more.
    pub(crate) fn forget_request(&mut self, request: u32) {
        self.channels.requests.forget(request);
    }

    /// Goes from a group.
    pub(crate) fn leave_channel(&mut self, now: Instant, channel: u16) {
        self.channels.seats.remove(&channel);
        self.flows
            .report_last(now, channel, &self.peers, &mut self.outbox);
        self.flows.close(channel);
        if let Role::Member(_) = self.role {
            self.channels.entrances.forget_group(channel);
            // Until it is answered: those at a barrier would wait for this end for as long as it is in the session.
            let until = now + at_most_ages(Duration::MAX);
            let request = self.channels.requests.add(now, channel, Ask::Leave, until);
            self.channels.requests.forget(request);
        }
    }

    /// Comes to the next round of a barrier.
    pub(crate) fn arrive(&mut self, now: Instant, channel: u16) {
        if let Some(seat) = self.channels.seats.get_mut(&channel) {
            seat.arrive(now);
        }
        self.say_arrivals(now);
    }

    /// How the round of a barrier ended that this node came to, once.
    pub(crate) fn take_outcome(&mut self, channel: u16) -> Option<Outcome> {
        self.channels.seats.get_mut(&channel)?.take_outcome()
    }

    /// Whether this node takes part in a group, or asks to.
    pub(crate) fn takes_part(&self, channel: u16) -> bool {
        self.has_seat(channel) || self.flows.has(channel) || self.channels.requests.is_open(channel)
    }

    /// Whether this node takes part in a barrier.
    pub(crate) fn has_seat(&self, channel: u16) -> bool {
        self.channels.seats.contains_key(&channel)
    }

    /// Says to which rounds this node has come, as far as it is time to say so.
    fn say_arrivals(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (&channel, seat) in &mut self.channels.seats {
            due.extend(seat.poll_arrive(now).map(|round| Arrive { channel, round }));
        }
        let me = self.outbox.me();
        for arrive in due {
            match self.role {
                Role::Coordinator(_) => self.handle_arrive(now, me, &arrive),
                Role::Member(ref member) => {
                    let to = member.coordinator();
                    self.outbox
                        .push(to, Target::One(MemberId::COORDINATOR), &Packet::Arrive(arrive));
                }
            }
        }
    }

    pub(super) fn handle_channels_timeout(&mut self, now: Instant) {
        self.say_arrivals(now);
        self.forget_ended(now);
        let Role::Member(member) = &self.role else {
            return;
        };
        let to = member.coordinator();
        while let Some((request, channel, ask)) = self.channels.requests.poll(now, &mut self.news) {
            let packet = match ask {
                Ask::Join(kind) => Packet::ChannelJoin(ChannelJoin {
                    request,
                    channel,
                    kind,
                }),
                Ask::Leave => Packet::ChannelLeave(ChannelLeave { request, channel }),
            };
            self.outbox.push(to, Target::One(MemberId::COORDINATOR), &packet);
        }
    }

    fn handle_channel_reply(&mut self, now: Instant, number: u64, reply: &ChannelReply) {
        let answer = reply.refusal.map_or(Ok(reply.first_round), Err);
        let granted = self
            .channels
            .requests
            .handle_reply(now, reply.request, reply.channel, answer);
        if let Some((Ask::Join(_), _)) = granted {
            self.channels
                .entrances
                .note(reply.channel, MemberId::COORDINATOR, number);
        }
        match granted {
            Some((Ask::Join(ChannelKind::Barrier), first)) => {
                self.channels
                    .seats
                    .entry(reply.channel)
                    .or_insert_with(|| Seat::new(first));
            }
            Some((Ask::Join(ChannelKind::Broadcast), _)) => {
                self.flows.open(reply.channel);
                self.flows.add_source(reply.channel, MemberId::COORDINATOR);
            }
            Some(_) | None => {}
        }
    }

    fn handle_outcome(&mut self, now: Instant, channel: u16, round: u64, outcome: Outcome) {
        if let Some(seat) = self.channels.seats.get_mut(&channel) {
            seat.handle_outcome(now, round, outcome);
            self.news = true;
        }
    }
}

/// At both.
impl Node {
    /// A packet about a group.
    pub(super) fn handle_channel_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        packet: &Packet<'_>,
    ) {
        let sender = MemberId(header.sender);
        if matches!(self.role, Role::Coordinator(_)) {
            match packet {
                Packet::ChannelJoin(join) => self.handle_channel_join(now, from, header, join),
                Packet::ChannelLeave(leave) => self.handle_channel_leave(now, from, sender, leave),
                Packet::Arrive(arrive) => self.handle_arrive(now, sender, arrive),
                _ => return,
            }
            self.news = true;
        } else if sender == MemberId::COORDINATOR {
            match packet {
                Packet::ChannelReply(reply) => {
                    self.handle_channel_reply(now, header.number, reply);
                    self.news = true;
                }
                Packet::Release(release) => {
                    self.handle_outcome(now, release.channel, release.round, Outcome::Released);
                }
                Packet::Abort(abort) => {
                    let failed = abort.failed.iter().map(MemberId).collect();
                    self.handle_outcome(now, abort.channel, abort.round, Outcome::Aborted(failed));
                }
                _ => {}
            }
        }
    }
}
