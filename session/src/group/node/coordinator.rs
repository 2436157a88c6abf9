//! What only the coordinator does: admits, says who is in, and sees to it that all live.

use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flexbond_wire::group::{
    Accept, ChannelKind, Goodbye, GoodbyeReason, Header, Heartbeat, Join, Member, Packet, Reject,
    RejectReason, Retry, ViewParts,
};

use super::cookies::{Cookies, Proof};
use super::peers::Peers;
use super::reminders::Reminders;
use super::{Ending, Event, Node, NodeSettings, Role};
use crate::group::MemberId;
use crate::group::flow::Target;
use crate::group::membership::{Applicant, Departure, Reply, Roster, RosterEvent, RosterSettings};

/// What only the coordinator keeps.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) roster: Roster,
    cookies: Cookies,
    pub(super) reminders: Reminders,
    /// When the next sign of life is due.
    beat_at: Instant,
    /// The highest number that a member ever had.
    highest: u32,
    /// How often it is still to be said that the session ends, and when next.
    farewells: Option<(u32, Instant)>,
}

impl Coordinator {
    /// How often and in what distance it is said that the session ends.
    const FAREWELLS: u32 = 3;
    const FAREWELL_PAUSE: Duration = Duration::from_millis(20);

    pub(super) fn new(now: Instant, hasher: RandomState, settings: &NodeSettings) -> Self {
        Coordinator {
            roster: Roster::new(
                now,
                RosterSettings {
                    max_members: settings.max_members,
                    dead_after: settings.dead_after,
                    heartbeat: settings.heartbeat,
                    min_budget: settings.least_budget,
                },
            ),
            reminders: Reminders::new(hasher.clone()),
            cookies: Cookies::new(now, hasher, settings),
            beat_at: now,
            highest: 0,
            farewells: None,
        }
    }

    pub(super) fn was_member(&self, member: MemberId) -> bool {
        (1..=self.highest).contains(&member.0)
    }

    /// Nobody is admitted again by a copy of what somebody said who has gone.
    fn spend_cookies(&mut self, now: Instant) {
        for nonce in self.roster.take_departed() {
            self.cookies.spend(now, nonce);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let farewell = self.farewells.filter(|(left, _)| *left > 0).map(|(_, at)| at);
        let roster = self.roster.poll_timeout().into_iter();
        roster.chain([self.beat_at]).chain(farewell).min()
    }

    /// Whether it has said that the session ends as often as it is said.
    pub(super) fn has_said_farewell(&self) -> bool {
        matches!(self.farewells, Some((0, _)))
    }

    /// What a member calls itself.
    pub(super) fn name(&self, member: MemberId) -> Option<&str> {
        let mut members = self.roster.members();
        let (_, applicant) = members.find(|(id, _)| *id == member)?;
        Some(&applicant.name)
    }
}

impl Node {
    /// Somebody asks to be admitted. Nothing is kept of it before its address is proven.
    pub(super) fn handle_join(&mut self, now: Instant, from: SocketAddr, join: &Join<'_>) {
        let Role::Coordinator(coordinator) = &mut self.role else {
            return;
        };
        coordinator.spend_cookies(now);
        let proof = join.cookie.map_or(Proof::Missing, |cookie| {
            coordinator.cookies.check(now, from, &join.nonce, &cookie)
        });
        if proof == Proof::Missing {
            let cookie = coordinator.cookies.make(now, from, &join.nonce);
            let retry = Retry {
                nonce: join.nonce,
                cookie,
            };
            return self
                .outbox
                .push_in(from, self.outbox.epoch(), &Packet::Retry(retry));
        }
        if proof == Proof::Spent {
            let text = "whoever joined with this nonce is gone";
            return self.reject(from, join, RejectReason::Spent, text);
        }
        if let Err(reason) = self.protection.check(join) {
            let text = match reason {
                RejectReason::NeedsKey => "the session has a key, and none was shown",
                RejectReason::NoKey => "the session has no key",
                _ => "the key is another than the session's",
            };
            return self.reject(from, join, reason, text);
        }
        let applicant = Applicant {
            nonce: join.nonce,
            address: from,
            name: join.name.to_owned(),
            budget: join.recv_budget,
        };
        let (reason, text) = match coordinator.roster.handle_join(now, applicant) {
            // What it seals is numbered: two who share its place, and so its key, would use numbers twice.
            Reply::Accepted(member) if self.peers.newest(member).is_some() => {
                (RejectReason::Spent, "somebody else is in with this nonce")
            }
            Reply::Accepted(member) => {
                coordinator.highest = coordinator.highest.max(member.0);
                self.outbox.ways.keep();
                return self.accept(from, join, member);
            }
            Reply::Taken => (RejectReason::Spent, "somebody else is in with this nonce"),
            Reply::Full => (
                RejectReason::Full,
                "the session has as many members as it may have",
            ),
            Reply::Closing => (RejectReason::Closing, "the session ends"),
            Reply::BudgetTooSmall => (RejectReason::BudgetTooSmall, "too little memory for messages"),
        };
        self.reject(from, join, reason, text);
    }

    fn reject(&mut self, to: SocketAddr, join: &Join<'_>, reason: RejectReason, text: &str) {
        if reason == RejectReason::Full {
            self.counters.turned_away += 1;
            // Whoever asks again and again is not to fill the application's ears.
            if self.counters.turned_away.is_power_of_two() {
                self.tell(Event::TurnedAway(to));
            }
        }
        let reject = Reject {
            nonce: join.nonce,
            reason,
            text,
        };
        self.outbox
            .push_in(to, self.outbox.epoch(), &Packet::Reject(reject));
    }

    fn accept(&mut self, to: SocketAddr, join: &Join<'_>, member: MemberId) {
        let mut accept = Accept {
            nonce: join.nonce,
            member: member.0,
            multicast: self.settings.multicast,
            segment: self.settings.segment as u16,
            heartbeat: self.settings.heartbeat.as_millis() as u32,
            dead_after: self.settings.dead_after.as_millis() as u32,
            max_message: self.settings.max_message,
            recv_budget: self.settings.recv_budget,
            key: None,
            server_nonce: [0; 16],
        };
        let Role::Coordinator(coordinator) = &self.role else {
            return;
        };
        let view = coordinator.roster.next_view();
        let epoch = self.protection.admit(to, view, &mut accept);
        let epoch = epoch.unwrap_or(self.outbox.epoch());
        self.outbox.push_in(to, epoch, &Packet::Accept(accept));
    }

    pub(super) fn handle_leave(&mut self, from: SocketAddr, member: MemberId) {
        if let Role::Coordinator(coordinator) = &mut self.role {
            coordinator.roster.remove(member, Departure::Left);
            let goodbye = Goodbye {
                reason: GoodbyeReason::Left,
                text: "",
            };
            let seal = self.protection.control(member);
            self.outbox.push_control(from, seal, &Packet::Goodbye(goodbye));
        }
    }

    pub(super) fn handle_coordinator_timeout(&mut self, now: Instant) {
        if let Role::Coordinator(coordinator) = &mut self.role {
            coordinator.roster.handle_timeout(now);
            coordinator.spend_cookies(now);
            if self.protection.is_tired() || self.outbox.is_tired() {
                coordinator.roster.renew();
            }
        }
        self.renew(now);
        self.beat(now);
        self.say_farewell(now);
    }

    /// Whether somebody has come or gone of whom no view says so yet.
    pub(super) fn has_changed(&self) -> bool {
        matches!(&self.role, Role::Coordinator(coordinator) if coordinator.roster.has_changed())
    }

    /// Makes a view of all that has changed, and tells those who do not know the newest one.
    pub(super) fn renew(&mut self, now: Instant) {
        let gone = self.take_roster_events(now);
        // All that follows is of the new epoch, if there is one.
        self.tell_views(now);
        for (member, lost) in gone {
            self.leave_channels(now, member, lost);
        }
    }

    /// Takes note of who came and went; returns who is gone, and whether not by its own will.
    fn take_roster_events(&mut self, now: Instant) -> Vec<(MemberId, bool)> {
        let Role::Coordinator(coordinator) = &mut self.role else {
            return Vec::new();
        };
        let (mut told, mut left) = (Vec::new(), Vec::new());
        while let Some(event) = coordinator.roster.poll_event() {
            match event {
                RosterEvent::Joined(id) => {
                    let member = coordinator.roster.members().find(|(member, _)| *member == id);
                    if let Some((_, applicant)) = member {
                        self.peers.set(&describe(id, applicant, true));
                        self.flows.add_member(id);
                        told.push(Event::Arrived(id));
                    }
                }
                RosterEvent::Gone(id, departure) => {
                    let address = self.peers.address(id);
                    if let Some(address) = address
                        && departure != Departure::Left
                    {
                        let goodbye = Goodbye {
                            reason: match departure {
                                Departure::Dead => GoodbyeReason::Dead,
                                Departure::Left | Departure::Evicted => GoodbyeReason::Evicted,
                            },
                            text: "",
                        };
                        let seal = self.protection.control(id);
                        self.outbox.push_control(address, seal, &Packet::Goodbye(goodbye));
                    }
                    self.peers.remove(id);
                    if let Some(address) = address.filter(|address| !self.peers.is_at(*address)) {
                        self.outbox.ways.forget(address);
                    }
                    self.protection.remove(id, address);
                    self.flows.remove_member(now, id);
                    left.push((id, departure != Departure::Left));
                    told.push(Event::Gone(id, Some(departure)));
                }
            }
        }
        for event in told {
            self.tell(event);
        }
        left
    }

    /// Ends the session, as its coordinator: all members are told, a few times because nobody confirms it.
    pub(super) fn close(&mut self, now: Instant) {
        if let Role::Coordinator(coordinator) = &mut self.role {
            coordinator.roster.close();
            coordinator.farewells = Some((Coordinator::FAREWELLS, now));
        }
        self.end(Ending::Left);
    }

    fn say_farewell(&mut self, now: Instant) {
        let Role::Coordinator(coordinator) = &mut self.role else {
            return;
        };
        let Some((left, at)) = &mut coordinator.farewells else {
            return;
        };
        if *left == 0 || *at > now {
            return;
        }
        *left -= 1;
        *at = now + Coordinator::FAREWELL_PAUSE;
        self.repeat_outcomes(now);
        let goodbye = Packet::Goodbye(Goodbye {
            reason: GoodbyeReason::Closed,
            text: "the coordinator has ended the session",
        });
        for id in self.peers.ids() {
            if let Some(to) = self.peers.address(id) {
                let seal = self.protection.control(id);
                self.outbox.push_control(to, seal, &goodbye);
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
        // Whoever was kept waiting by a coordinator that stood still has not kept it waiting.
        let stood_still = now.saturating_duration_since(coordinator.beat_at) > self.settings.heartbeat;
        coordinator.beat_at = now + self.settings.heartbeat;
        if let Some(limit) = self.settings.evict_after {
            if stood_still {
                self.flows.forgive();
            }
            self.flows.note_full(now);
            for blocker in self.flows.blockers(now, limit) {
                coordinator.roster.remove(blocker, Departure::Evicted);
            }
        }
        let heartbeat = Packet::Heartbeat(Heartbeat {
            sent_at: clock,
            echo: 0,
            echo_delay: 0,
            hears_multicast: false,
        });
        // To the group's address even if nobody is known to hear it: only so can they find out that they do.
        let group = self.settings.multicast;
        if let Some(group) = group {
            self.outbox.push(group, Target::All, &heartbeat);
        }
        for (member, to) in self.peers.alone(group) {
            self.outbox.push(to, Target::One(member), &heartbeat);
        }
    }

    /// Tells those who do not know the newest view.
    fn tell_views(&mut self, now: Instant) {
        let Role::Coordinator(coordinator) = &mut self.role else {
            return;
        };
        let mut members = None;
        loop {
            let told = coordinator.roster.poll_view(now);
            let view = coordinator.roster.view();
            if view != self.outbox.epoch() {
                let seal = self.protection.begin(now, view);
                self.outbox.begin_epoch(view, seal);
            }
            let Some(member) = told else {
                break;
            };
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
            let Ok(parts) = ViewParts::new(0, ChannelKind::Session, view, members) else {
                continue;
            };
            for mut part in parts {
                self.protection.wrap(member, &mut part);
                let seal = self.protection.control(member);
                self.outbox.push_control(to, seal, &Packet::View(part));
            }
        }
        // Whom multicast reaches is news for the coordinator, too.
        for (id, applicant) in coordinator.roster.members() {
            self.peers
                .set(&describe(id, applicant, !coordinator.roster.hears_multicast(id)));
        }
        self.news |= members.is_some();
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
