//! What only the coordinator does: admits, says who is in, and sees to it that all live.

use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::Instant;

use flexbond_wire::group::{
    Accept, ChannelKind, Goodbye, GoodbyeReason, Header, Heartbeat, Join, Member, Packet, Reject,
    RejectReason, Retry, ViewParts,
};

use super::cookies::Cookies;
use super::peers::Peers;
use super::{Event, Node, NodeSettings, Role};
use crate::group::MemberId;
use crate::group::membership::{Applicant, Departure, Reply, Roster, RosterEvent, RosterSettings};

/// What only the coordinator keeps.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) roster: Roster,
    cookies: Cookies,
    /// When the next sign of life is due.
    beat_at: Instant,
    /// The highest number that a member ever had.
    highest: u32,
}

impl Coordinator {
    pub(super) fn new(now: Instant, hasher: RandomState, settings: &NodeSettings) -> Self {
        Coordinator {
            roster: Roster::new(
                now,
                RosterSettings {
                    max_members: settings.max_members,
                    dead_after: settings.dead_after,
                    heartbeat: settings.heartbeat,
                    min_budget: 0,
                },
            ),
            cookies: Cookies::new(now, hasher),
            beat_at: now,
            highest: 0,
        }
    }

    pub(super) fn was_member(&self, member: MemberId) -> bool {
        (1..=self.highest).contains(&member.0)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.roster.poll_timeout().into_iter().chain([self.beat_at]).min()
    }
}

impl Node {
    /// Somebody asks to be admitted. Nothing is kept of it before its address is proven.
    pub(super) fn handle_join(&mut self, now: Instant, from: SocketAddr, join: &Join<'_>) {
        let Role::Coordinator(coordinator) = &mut self.role else {
            return;
        };
        let proven = join
            .cookie
            .is_some_and(|cookie| coordinator.cookies.check(now, from, &join.nonce, &cookie));
        if !proven {
            let cookie = coordinator.cookies.make(now, from, &join.nonce);
            let retry = Retry {
                nonce: join.nonce,
                cookie,
            };
            return self.outbox.push(from, &Packet::Retry(retry));
        }
        let applicant = Applicant {
            nonce: join.nonce,
            address: from,
            name: join.name.to_owned(),
            budget: join.recv_budget,
        };
        let (reason, text) = match coordinator.roster.handle_join(now, applicant) {
            Reply::Accepted(member) => {
                coordinator.highest = coordinator.highest.max(member.0);
                return self.accept(from, join, member);
            }
            Reply::Full => (
                RejectReason::Full,
                "the session has as many members as it may have",
            ),
            Reply::Closing => (RejectReason::Closing, "the session ends"),
            Reply::BudgetTooSmall => (RejectReason::BudgetTooSmall, "too little memory for messages"),
        };
        let reject = Reject {
            nonce: join.nonce,
            reason,
            text,
        };
        self.outbox.push(from, &Packet::Reject(reject));
    }

    fn accept(&mut self, to: SocketAddr, join: &Join<'_>, member: MemberId) {
        let accept = Accept {
            nonce: join.nonce,
            member: member.0,
            multicast: self.settings.multicast,
            segment: self.settings.segment as u16,
            heartbeat: self.settings.heartbeat.as_millis() as u32,
            dead_after: self.settings.dead_after.as_millis() as u32,
            max_message: self.settings.max_message,
            key: None,
            server_nonce: [0; 16],
        };
        self.outbox.push(to, &Packet::Accept(accept));
    }

    pub(super) fn handle_leave(&mut self, from: SocketAddr, member: MemberId) {
        if let Role::Coordinator(coordinator) = &mut self.role {
            coordinator.roster.remove(member, Departure::Left);
            let goodbye = Goodbye {
                reason: GoodbyeReason::Left,
                text: "",
            };
            self.outbox.push(from, &Packet::Goodbye(goodbye));
        }
    }

    pub(super) fn handle_coordinator_timeout(&mut self, now: Instant) {
        if let Role::Coordinator(coordinator) = &mut self.role {
            coordinator.roster.handle_timeout(now);
        }
        self.take_roster_events(now);
        self.beat(now);
        self.tell_views(now);
    }

    fn take_roster_events(&mut self, now: Instant) {
        let Role::Coordinator(coordinator) = &mut self.role else {
            return;
        };
        while let Some(event) = coordinator.roster.poll_event() {
            match event {
                RosterEvent::Joined(id) => {
                    let member = coordinator.roster.members().find(|(member, _)| *member == id);
                    if let Some((_, applicant)) = member {
                        self.peers.set(&describe(id, applicant, true));
                        self.traffic.add_member(id);
                        self.events.push_back(Event::Arrived(id));
                    }
                }
                RosterEvent::Gone(id, departure) => {
                    if let Some(address) = self.peers.address(id)
                        && departure != Departure::Left
                    {
                        let goodbye = Goodbye {
                            reason: match departure {
                                Departure::Dead => GoodbyeReason::Dead,
                                Departure::Left | Departure::Evicted => GoodbyeReason::Evicted,
                            },
                            text: "",
                        };
                        self.outbox.push(address, &Packet::Goodbye(goodbye));
                    }
                    self.peers.remove(id);
                    self.traffic.remove_member(now, id);
                    self.events.push_back(Event::Gone(id, Some(departure)));
                }
            }
        }
    }

    /// A sign of life to all, from time to time.
    fn beat(&mut self, now: Instant) {
        let clock = self.clock(now);
        let Role::Coordinator(coordinator) = &mut self.role else {
            return;
        };
        if coordinator.beat_at > now {
            return;
        }
        coordinator.beat_at = now + self.settings.heartbeat;
        let heartbeat = Packet::Heartbeat(Heartbeat {
            sent_at: clock,
            echo: 0,
            echo_delay: 0,
            hears_multicast: false,
        });
        // To the group's address even if nobody is known to hear it: only so can they find out that they do.
        let group = self.settings.multicast;
        let targets = group
            .into_iter()
            .chain(self.peers.all(group).filter(|to| Some(*to) != group));
        for to in targets.collect::<Vec<_>>() {
            self.outbox.push(to, &heartbeat);
        }
    }

    /// Tells those who do not know the newest view.
    fn tell_views(&mut self, now: Instant) {
        let Role::Coordinator(coordinator) = &mut self.role else {
            return;
        };
        let mut members = None;
        while let Some(member) = coordinator.roster.poll_view(now) {
            let Some(to) = self.peers.address(member) else {
                continue;
            };
            let members = members.get_or_insert_with(|| {
                let roster = &coordinator.roster;
                roster
                    .members()
                    .map(|(id, applicant)| describe(id, applicant, !roster.hears_multicast(id)))
                    .collect::<Vec<_>>()
            });
            let view = coordinator.roster.view();
            self.outbox.set_epoch(view);
            let Ok(parts) = ViewParts::new(0, ChannelKind::Session, view, members) else {
                continue;
            };
            for part in parts {
                self.outbox.push(to, &Packet::View(part));
            }
        }
        // Whom multicast reaches is news for the coordinator, too.
        for (id, applicant) in coordinator.roster.members() {
            self.peers
                .set(&describe(id, applicant, !coordinator.roster.hears_multicast(id)));
        }
    }
}

fn describe(id: MemberId, applicant: &Applicant, unicast: bool) -> Member {
    debug_assert_ne!(id.0, Header::COORDINATOR);
    Member {
        id: id.0,
        address: applicant.address,
        max_message: applicant.budget,
        flags: if unicast { Peers::UNICAST } else { 0 },
    }
}
