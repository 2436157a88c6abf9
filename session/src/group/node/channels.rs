//! Barrier and broadcast groups: what this node knows of them, and to whom packets about them mean something.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use flexbond_wire::group::{Header, Packet};

use super::entrances::Entrances;
use super::hosting::{Heard, Hosted};
use super::notices::Notices;
use super::places::Place;
use super::requests::Requests;
use super::{Node, Role};
use crate::group::MemberId;
use crate::group::barrier::{Outcome, Seat};

/// The groups that this node has to do with.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// The barriers that this node takes part in.
    pub(super) seats: BTreeMap<u16, Seat>,
    /// At a member: the groups that it has joined and not gone from, over or not.
    pub(super) places: BTreeMap<u16, Place>,
    /// At a member: what it asked of the coordinator.
    pub(super) requests: Requests,
    /// At the coordinator: the groups that there are.
    pub(super) hosted: BTreeMap<u16, Hosted>,
    /// At the coordinator: how many groups there have been.
    pub(super) made: u64,
    /// At the coordinator: what it last heard of each member about each number. It outlasts the group, so that what was
    /// said about one means nothing to the next of the same number; and it goes with the member. Of groups that there are
    /// not, no more is noted once there is [`MAX_HEARD`](Self::MAX_HEARD): members may name any number.
    pub(super) heard: BTreeMap<(u16, MemberId), Heard>,
    /// At the coordinator: the first round of the next barrier of each number that there was one of; there is none if
    /// the numbers are used up.
    pub(super) rounds: BTreeMap<u16, Option<u64>>,
    /// At the coordinator: who is to be told that a group is over.
    pub(super) notices: Notices,
    /// Since when it takes part in each of them, or somebody else does.
    pub(super) entrances: Entrances,
}

impl Channels {
    /// From how much on nothing new is noted of groups that there are not: two megabytes.
    pub(super) const MAX_HEARD: usize = 1 << 16;

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let seats = self.seats.values().filter_map(Seat::poll_timeout);
        let endings = self.hosted.values().filter_map(Hosted::ends_at);
        let rest = [self.requests.poll_timeout(), self.notices.poll_timeout()];
        seats.chain(endings).chain(rest.into_iter().flatten()).min()
    }
}

impl Node {
    pub(super) fn handle_channels_timeout(&mut self, now: Instant) {
        self.say_arrivals(now);
        self.forget_ended(now);
        self.say_notices(now);
        self.say_requests(now);
    }

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
