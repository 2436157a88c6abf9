//! What only a member does: gets in, learns who else is in, and says that it lives.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flexbond_wire::group::{
    Accept, Goodbye, Header, Heartbeat, Join, Member as Entry, Nonce, Packet, View, ViewAck,
};

use super::peers::Peers;
use super::{Ending, Event, Node, NodeSettings, Role};
use crate::group::MemberId;
use crate::group::flow::Target;
use crate::group::membership::{Enrolment, EnrolmentEvent, EnrolmentSettings, Said};

/// What only a member keeps.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) enrolment: Enrolment,
    coordinator: SocketAddr,
    /// Whether anything came by the group's address.
    pub(super) hears_multicast: bool,
    /// The view that comes in parts.
    gathered: Gathered,
    /// The newest view that is known in whole.
    view: u32,
}

#[derive(Debug, Default)]
struct Gathered {
    view: u32,
    parts: Vec<bool>,
    members: Vec<Entry>,
}

impl Gathered {
    /// Takes a part; true once it was the last that had been missing.
    fn add(&mut self, view: &View<'_>) -> bool {
        if view.view != self.view || self.parts.len() != usize::from(view.parts) {
            *self = Gathered {
                view: view.view,
                parts: vec![false; usize::from(view.parts)],
                members: Vec::new(),
            };
        }
        match self.parts.get_mut(usize::from(view.part)) {
            Some(known) if !*known => *known = true,
            _ => return false,
        }
        self.members.extend(view.members.iter());
        self.parts.iter().all(|known| *known)
    }
}

impl Member {
    pub(super) fn new(
        now: Instant,
        coordinator: SocketAddr,
        nonce: Nonce,
        spare: &[Nonce],
        settings: &NodeSettings,
    ) -> Self {
        Member {
            enrolment: Enrolment::new(
                now,
                nonce,
                spare,
                EnrolmentSettings {
                    join_timeout: settings.join_timeout,
                    heartbeat: settings.heartbeat,
                    dead_after: settings.dead_after,
                },
            ),
            coordinator,
            hears_multicast: false,
            gathered: Gathered::default(),
            view: 0,
        }
    }

    pub(super) fn coordinator(&self) -> SocketAddr {
        self.coordinator
    }
}

impl Node {
    /// A packet of the handshake: from, or for, somebody who is no member yet.
    pub(super) fn handle_handshake(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        packet: Packet<'_>,
    ) {
        let member = match (&mut self.role, &packet) {
            (Role::Coordinator(_), Packet::Join(join)) => return self.handle_join(now, from, join),
            (Role::Member(member), _) if from == member.coordinator => member,
            _ => {
                self.counters.foreign += 1;
                return;
            }
        };
        let nonce = match &packet {
            Packet::Retry(retry) => retry.nonce,
            Packet::Reject(reject) => reject.nonce,
            Packet::Accept(accept) => accept.nonce,
            // It has no answer for anybody.
            _ => {
                self.counters.foreign += 1;
                return;
            }
        };
        if !member.enrolment.is_asking() || nonce != member.enrolment.nonce() {
            // The answer to an earlier question, or to somebody else's.
            self.counters.replayed += 1;
            return;
        }
        match packet {
            Packet::Retry(retry) => member.enrolment.handle_retry(now, retry.nonce, retry.cookie),
            Packet::Reject(reject) => {
                let text = format!("{} ({:?})", reject.text, reject.reason);
                member
                    .enrolment
                    .handle_reject(now, reject.nonce, reject.reason, text);
            }
            Packet::Accept(accept) => self.handle_accept(now, header, &accept),
            _ => {}
        }
        self.take_enrolment_events(now);
    }

    fn handle_accept(&mut self, now: Instant, header: &Header, accept: &Accept) {
        let Role::Member(member) = &mut self.role else {
            return;
        };
        let Some(seals) = self.protection.enter(header, accept) else {
            self.counters.forged += 1;
            return;
        };
        member.enrolment.handle_accept(
            now,
            accept.nonce,
            MemberId(accept.member),
            Duration::from_millis(accept.heartbeat.into()),
            Duration::from_millis(accept.dead_after.into()),
        );
        if member.enrolment.member().is_none() {
            return;
        }
        self.outbox.identify(header.session, MemberId(accept.member));
        if self.protection.is_on() {
            self.outbox.begin_epoch(header.epoch, seals.own);
            self.outbox.set_control(seals.control);
        }
        self.settings.multicast = accept.multicast;
        self.settings.segment = usize::from(accept.segment).max(1);
        self.settings.max_message = accept.max_message;
        self.settings.seed = header.session ^ u64::from(accept.member).rotate_right(32);
        self.flows.resize(&self.settings);
        let coordinator = Entry {
            id: Header::COORDINATOR,
            address: member.coordinator,
            max_message: accept.recv_budget,
            // It hears itself no other way.
            flags: Peers::UNICAST,
        };
        self.peers.set(&coordinator);
        self.flows.add_member(MemberId(Header::COORDINATOR));
    }

    /// The coordinator says who is in.
    pub(super) fn handle_view(&mut self, now: Instant, from: SocketAddr, header: &Header, view: &View<'_>) {
        let Role::Member(member) = &mut self.role else {
            return;
        };
        if header.sender != Header::COORDINATOR || view.channel != 0 || view.view < member.view {
            return;
        }
        if view.view > member.view {
            if !self.protection.note_part(header, view) {
                self.counters.forged += 1;
                return;
            }
            if !member.gathered.add(view) {
                return;
            }
            member.view = view.view;
            let members = std::mem::take(&mut member.gathered).members;
            self.take_view(now, view.view, &members);
            self.protection
                .note_switch(MemberId::COORDINATOR, view.view, header.number);
        }
        let ack = ViewAck {
            channel: 0,
            view: view.view,
        };
        self.outbox
            .push(from, Target::One(MemberId::COORDINATOR), &Packet::ViewAck(ack));
    }

    fn take_view(&mut self, now: Instant, view: u32, members: &[Entry]) {
        let seal = self.protection.begin(now, view);
        self.outbox.begin_epoch(view, seal);
        let me = self.outbox.me();
        self.news = true;
        for entry in members {
            let id = MemberId(entry.id);
            if id != me && self.peers.set(entry) {
                self.flows.add_member(id);
                self.tell(Event::Arrived(id));
            }
        }
        let gone: Vec<_> = self
            .peers
            .ids()
            .filter(|id| id.0 != Header::COORDINATOR && members.iter().all(|entry| entry.id != id.0))
            .collect();
        for id in gone {
            let address = self.peers.address(id);
            self.peers.remove(id);
            self.protection.remove(id, address);
            self.gone.push(id);
        }
    }

    pub(super) fn handle_goodbye(&mut self, sender: MemberId, goodbye: &Goodbye<'_>) {
        if let Role::Member(member) = &mut self.role
            && sender.0 == Header::COORDINATOR
        {
            member.enrolment.handle_goodbye(goodbye.reason);
        }
    }

    pub(super) fn handle_member_timeout(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.gone) {
            self.flows.remove_member(now, id);
            self.tell(Event::Gone(id, None));
        }
        if let Role::Member(member) = &mut self.role {
            member.enrolment.handle_timeout(now);
        }
        self.take_enrolment_events(now);
        let clock = self.clock(now);
        let Role::Member(member) = &mut self.role else {
            return;
        };
        while let Some(said) = member.enrolment.poll_said(now) {
            let packet = match said {
                Said::Join { cookie } => {
                    let mut join = Join {
                        nonce: member.enrolment.nonce(),
                        cookie,
                        name: &self.settings.name,
                        recv_budget: self.settings.recv_budget,
                        proof: None,
                    };
                    self.protection.prove(&mut join);
                    Packet::Join(join)
                }
                Said::Heartbeat => Packet::Heartbeat(Heartbeat {
                    sent_at: clock,
                    echo: 0,
                    echo_delay: 0,
                    hears_multicast: member.hears_multicast,
                }),
                Said::Leave => {
                    self.flows.report_all(now, &self.peers, &mut self.outbox);
                    Packet::Leave
                }
            };
            let target = Target::One(MemberId::COORDINATOR);
            self.outbox.push(member.coordinator, target, &packet);
        }
    }

    fn take_enrolment_events(&mut self, now: Instant) {
        let Role::Member(member) = &mut self.role else {
            return;
        };
        let (mut joined, mut ended) = (None, None);
        while let Some(event) = member.enrolment.poll_event() {
            let why = match event {
                EnrolmentEvent::Joined(id) => {
                    joined = Some(id);
                    continue;
                }
                EnrolmentEvent::Rejected(why, text) => Ending::Rejected(why, text),
                EnrolmentEvent::NoAnswer => Ending::NoAnswer,
                EnrolmentEvent::CoordinatorDead => Ending::CoordinatorDead,
                EnrolmentEvent::Dismissed(why) => Ending::Dismissed(why),
                EnrolmentEvent::Left => Ending::Left,
            };
            ended = Some(why);
            for id in self.peers.ids().collect::<Vec<_>>() {
                self.peers.remove(id);
                self.flows.remove_member(now, id);
            }
        }
        if let Some(id) = joined {
            self.tell(Event::Joined(id));
        }
        if let Some(ending) = ended {
            self.end(ending);
        }
    }

    /// Leaves the session, as a member.
    pub(super) fn leave(&mut self, now: Instant) {
        if let Role::Member(member) = &mut self.role {
            member.enrolment.leave(now);
        }
    }
}
