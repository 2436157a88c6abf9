//! The groups that the coordinator makes: who takes part, and how they end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use flexbond_wire::group::{
    Abort, Arrive, ChannelJoin, ChannelKind, ChannelLeave, ChannelRefusal, ChannelReply, Header, List, Packet,
};

use super::channels::Channels;
use super::notices::Said;
use super::requests::is_later;
use super::{Node, Role};
use crate::group::MemberId;
use crate::group::barrier::{Hub, Seat};
use crate::group::flow::{RecordKind, Target};

/// A group, at the coordinator.
#[derive(Debug)]
pub(super) struct Hosted {
    /// Which of all groups that there have been it is.
    number: u64,
    /// Of a barrier; a broadcast group has none.
    pub(super) hub: Option<Hub>,
    /// Who has joined and was not told to the application yet, each once.
    arrivals: VecDeque<MemberId>,
    /// Until when what was sent may still be delivered, once the group ends.
    ending: Option<Instant>,
}

/// What was last heard of a member about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The number of its request: earlier ones come late and mean nothing any more.
    request: u32,
    /// Which of all groups that there have been it is about; 0 if the member did not come into one.
    hosting: u64,
}

impl Hosted {
    fn kind(&self) -> ChannelKind {
        match self.hub {
            Some(_) => ChannelKind::Barrier,
            None => ChannelKind::Broadcast,
        }
    }

    /// When it is over at the latest, once it ends.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.ending
    }
}

/// Why a group cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostError {
    /// Only the coordinator makes groups.
    NotCoordinator,
    /// There is one with this number, the number is that of the session itself, or there were so many groups of this
    /// number that nobody could tell another from them.
    Taken,
}

impl Node {
    /// Makes a barrier group, in which the coordinator itself takes part if `participate`; returns which of all that
    /// there have been it is.
    pub(crate) fn host_barrier(&mut self, channel: u16, participate: bool) -> Result<u64, HostError> {
        let mut hub = match self.channels.rounds.get(&channel) {
            None => Hub::new(),
            Some(Some(first)) => Hub::beginning_with(*first),
            Some(None) => return Err(HostError::Taken),
        };
        let seat = participate.then(|| Seat::new(hub.add(self.outbox.me())));
        let hosting = self.host(channel, Some(hub))?;
        self.channels.seats.extend(seat.map(|seat| (channel, seat)));
        Ok(hosting)
    }

    /// Makes a broadcast group, to which the coordinator sends; returns which of all that there have been it is.
    pub(crate) fn host_broadcast(&mut self, channel: u16) -> Result<u64, HostError> {
        let hosting = self.host(channel, None)?;
        if !self.flows.open(channel) {
            self.channels.hosted.remove(&channel);
            return Err(HostError::Taken);
        }
        Ok(hosting)
    }

    fn host(&mut self, channel: u16, hub: Option<Hub>) -> Result<u64, HostError> {
        if !matches!(self.role, Role::Coordinator(_)) {
            return Err(HostError::NotCoordinator);
        }
        if channel == 0 || self.channels.hosted.contains_key(&channel) {
            return Err(HostError::Taken);
        }
        self.channels.made += 1;
        let hosted = Hosted {
            number: self.channels.made,
            hub,
            arrivals: VecDeque::new(),
            ending: None,
        };
        self.channels.hosted.insert(channel, hosted);
        Ok(self.channels.made)
    }

    /// Which of all groups that there have been one is.
    #[cfg(test)]
    pub(super) fn hosting(&self, channel: u16) -> u64 {
        self.channels
            .hosted
            .get(&channel)
            .map_or(0, |hosted| hosted.number)
    }

    /// Which of all groups that there have been a member has come into by this request.
    #[cfg(test)]
    pub(super) fn came_into(&self, channel: u16, member: MemberId, request: u32) -> Option<u64> {
        let heard = self.channels.heard.get(&(channel, member))?;
        (heard.request == request).then_some(heard.hosting)
    }

    /// Whether there is such a group, which has not ended.
    pub(crate) fn hosts(&self, channel: u16) -> bool {
        let hosted = self.channels.hosted.get(&channel);
        hosted.is_some_and(|hosted| hosted.ending.is_none())
    }

    /// Ends a group, if it is still this one of all that there have been: those who wait at a barrier of it are told that
    /// the coordinator has gone from it, and until `deadline` those who come; what was sent to a broadcast group is still
    /// delivered until then.
    pub(crate) fn unhost(&mut self, now: Instant, channel: u16, hosting: u64, deadline: Instant) {
        let me = self.outbox.me();
        let hosted = self.channels.hosted.get_mut(&channel);
        let Some(hosted) = hosted.filter(|hosted| hosted.number == hosting) else {
            return;
        };
        self.channels.seats.remove(&channel);
        // Nobody else will come.
        self.news = true;
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

    /// Forgets groups that are over. Who may lack something of what was sent is told.
    pub(super) fn forget_ended(&mut self, now: Instant) {
        let flows = &self.flows;
        let hosted = self.channels.hosted.iter();
        let over = hosted.filter(|(channel, hosted)| {
            hosted.ending.is_some_and(|deadline| {
                now >= deadline || hosted.hub.is_none() && flows.unsettled_bytes(**channel) == 0
            })
        });
        let over: Vec<_> = over.map(|(channel, _)| *channel).collect();
        // Whoever waits for something to be delivered, or for somebody to join, waits no longer.
        self.news |= !over.is_empty();
        for channel in over {
            self.channels.entrances.forget_group(channel);
            if let Some(Hosted { hub: Some(hub), .. }) = self.channels.hosted.remove(&channel) {
                self.channels.rounds.insert(channel, hub.beyond());
                continue;
            }
            for (member, end) in self.flows.give_up(now, channel) {
                if let Some(heard) = self.channels.heard.get(&(channel, member)) {
                    let said = Said {
                        channel,
                        member,
                        request: heard.request,
                        end,
                    };
                    self.channels.notices.add(now, said);
                }
            }
        }
    }

    /// Tells those who have not heard that a group is over.
    pub(super) fn say_notices(&mut self, now: Instant) {
        while let Some(said) = self.channels.notices.poll(now) {
            if let Some(to) = self.peers.address(said.member) {
                let reply = ChannelReply {
                    request: said.request,
                    channel: said.channel,
                    refusal: Some(ChannelRefusal::Closing),
                    first_round: said.end,
                };
                let seal = self.protection.control(said.member);
                self.outbox.push_control(to, seal, &Packet::ChannelReply(reply));
            }
        }
    }

    /// The next member that has joined a group.
    pub(crate) fn pop_arrival(&mut self, channel: u16) -> Option<MemberId> {
        self.channels.hosted.get_mut(&channel)?.arrivals.pop_front()
    }

    pub(super) fn handle_channel_join(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        join: &ChannelJoin,
    ) {
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
        let now_heard = Heard {
            request: join.request,
            hosting: hosted.number,
        };
        let refused = Heard {
            hosting: 0,
            ..now_heard
        };
        let heard = self.channels.heard.get(&(join.channel, member));
        let is_new = heard.is_none_or(|heard| is_later(join.request, heard.request));
        if heard == Some(&refused) {
            return Err(ChannelRefusal::Closing);
        }
        if !is_new && heard != Some(&now_heard) {
            // It has been overtaken by a later one, whose answer is what counts, or by the end of the group.
            return Err(ChannelRefusal::Other);
        }
        if is_new {
            let is_closing = hosted.ending.is_some();
            let now_heard = if is_closing { refused } else { now_heard };
            self.channels.heard.insert((join.channel, member), now_heard);
            self.channels.notices.confirm(join.channel, member, join.request);
            if is_closing {
                return Err(ChannelRefusal::Closing);
            }
            if !hosted.arrivals.contains(&member) {
                hosted.arrivals.push_back(member);
            }
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

    pub(super) fn handle_channel_leave(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: MemberId,
        leave: &ChannelLeave,
    ) {
        self.channels
            .notices
            .confirm(leave.channel, sender, leave.request);
        let key = (leave.channel, sender);
        let heard = self.channels.heard.get(&key);
        let has_room = heard.is_some()
            || self.channels.hosted.contains_key(&leave.channel)
            || self.channels.heard.len() < Channels::MAX_HEARD;
        if has_room && heard.is_none_or(|heard| is_later(leave.request, heard.request)) {
            let hosted = self.channels.hosted.get_mut(&leave.channel);
            let now_heard = Heard {
                request: leave.request,
                hosting: hosted.as_ref().map_or(0, |hosted| hosted.number),
            };
            self.channels.heard.insert(key, now_heard);
            if let Some(hosted) = hosted {
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

    pub(super) fn handle_arrive(&mut self, now: Instant, sender: MemberId, arrive: &Arrive) {
        let hosted = self.channels.hosted.get_mut(&arrive.channel);
        let hub = hosted.and_then(|hosted| hosted.hub.as_mut());
        if let Some(hub) = hub.filter(|hub| hub.is_seated(sender)) {
            hub.handle_arrive(sender, arrive.round);
            self.send_signals(now, arrive.channel);
        } else if let Some(to) = self.peers.address(sender) {
            // The group has ended while it did not hear; if there is one, it is another.
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
        self.channels.notices.forget_member(member);
        self.channels.heard.retain(|(_, known), _| *known != member);
        let channels: Vec<u16> = self.channels.hosted.keys().copied().collect();
        for channel in channels {
            if let Some(hosted) = self.channels.hosted.get_mut(&channel) {
                hosted.arrivals.retain(|arrived| *arrived != member);
                if let Some(hub) = &mut hosted.hub {
                    hub.remove(member, lost);
                    self.send_signals(now, channel);
                }
            }
        }
    }
}
