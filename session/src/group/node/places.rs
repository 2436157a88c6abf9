//! The groups that this node takes part in: at a member, and at a coordinator that comes to its own barriers.

use std::time::{Duration, Instant};

use flexbond_wire::group::{
    Arrive, ChannelJoin, ChannelKind, ChannelLeave, ChannelRefusal, ChannelReply, Packet,
};

use super::requests::Ask;
use super::{Node, Role};
use crate::group::MemberId;
use crate::group::at_most_ages;
use crate::group::barrier::{Outcome, Seat};
use crate::group::flow::Target;

/// A group that a member has joined.
#[derive(Debug)]
pub(super) struct Place {
    /// The request by which it came in.
    pub(super) request: u32,
    /// How the group is over, once it is.
    pub(super) end: Option<GroupEnd>,
}

/// How a group is over for one who took part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupEnd {
    /// It has had all that was sent.
    Whole,
    /// Something is missing that was sent to it.
    Cut,
}

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

    /// Goes from the group that this request led into, or was to lead; nothing changes if it has gone from that, and has
    /// joined another of the same number, or asks to.
    pub(crate) fn leave_place(&mut self, now: Instant, channel: u16, request: u32) {
        let place = self.channels.places.get(&channel);
        if place.is_some_and(|place| place.request != request) {
            return;
        }
        if self.channels.requests.is_open(channel) {
            // The group that it came into is over: to ask for the next one is to go from it.
            self.channels.places.remove(&channel);
            return;
        }
        self.leave_channel(now, channel);
    }

    /// Goes from a group.
    pub(crate) fn leave_channel(&mut self, now: Instant, channel: u16) {
        self.channels.seats.remove(&channel);
        self.channels.places.remove(&channel);
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
        let outcome = self.channels.seats.get_mut(&channel)?.take_outcome()?;
        if let Outcome::Aborted(failed) = &outcome
            && failed.contains(&MemberId::COORDINATOR)
        {
            // That is the end of the group.
            self.end_place(channel, GroupEnd::Whole);
        }
        Some(outcome)
    }

    /// A group is over for this node, which has had all that it gets of it.
    pub(super) fn end_place(&mut self, channel: u16, end: GroupEnd) {
        if let Some(place) = self.channels.places.get_mut(&channel) {
            place.end = Some(end);
        }
        self.channels.seats.remove(&channel);
        self.flows.close(channel);
        self.channels.entrances.forget_group(channel);
    }

    /// How the group is over that this request led into; `None` if it is not.
    pub(crate) fn place_end(&self, channel: u16, request: u32) -> Option<GroupEnd> {
        match self.channels.places.get(&channel) {
            Some(place) if place.request == request => place.end,
            // It could join another since.
            _ => Some(GroupEnd::Whole),
        }
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
    pub(super) fn say_arrivals(&mut self, now: Instant) {
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

    /// Says what it asks of the coordinator, as far as it is time to say so.
    pub(super) fn say_requests(&mut self, now: Instant) {
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

    pub(super) fn handle_channel_reply(&mut self, now: Instant, number: u64, reply: &ChannelReply) {
        let answer = reply.refusal.map_or(Ok(reply.first_round), Err);
        let granted = self
            .channels
            .requests
            .handle_reply(now, reply.request, reply.channel, answer);
        let Some((Ask::Join(kind), first)) = granted else {
            if reply.refusal == Some(ChannelRefusal::Closing) {
                self.handle_notice(reply);
            }
            return;
        };
        let place = Place {
            request: reply.request,
            end: None,
        };
        self.channels.places.insert(reply.channel, place);
        self.channels
            .entrances
            .note(reply.channel, MemberId::COORDINATOR, number);
        match kind {
            ChannelKind::Barrier => {
                self.channels.seats.insert(reply.channel, Seat::new(first));
            }
            ChannelKind::Broadcast => {
                self.flows.close(reply.channel);
                self.flows.open(reply.channel);
                self.flows.add_source(reply.channel, MemberId::COORDINATOR);
            }
            ChannelKind::Session | ChannelKind::Communicator => {}
        }
    }

    /// A group that this node came into is over, for all the coordinator knows before it had everything.
    fn handle_notice(&mut self, reply: &ChannelReply) {
        let place = self.channels.places.get(&reply.channel);
        if place.is_some_and(|place| place.request == reply.request && place.end.is_none()) {
            self.flows.handle_end(reply.channel, reply.first_round);
        }
        // Whether it knew or not: otherwise it is told again.
        let heard = Packet::ChannelLeave(ChannelLeave {
            request: reply.request,
            channel: reply.channel,
        });
        if let Role::Member(member) = &self.role {
            let to = member.coordinator();
            self.outbox.push(to, Target::One(MemberId::COORDINATOR), &heard);
        }
    }

    pub(super) fn handle_outcome(&mut self, now: Instant, channel: u16, round: u64, outcome: Outcome) {
        if let Some(seat) = self.channels.seats.get_mut(&channel) {
            seat.handle_outcome(now, round, outcome);
            self.news = true;
        }
    }
}
