//! The coordinator's list of members: admits them, watches over them, and says who is in.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Attention;
use crate::group::MemberId;

/// The coordinator's list of members.
#[derive(Debug)]
pub(crate) struct Roster {
    settings: RosterSettings,
    attention: Attention,
    members: BTreeMap<MemberId, Entry>,
    by_nonce: HashMap<Nonce, MemberId>,
    next_id: u32,
    /// The number of the newest view.
    view: u32,
    /// Whether somebody came or went since that view.
    changed: bool,
    closing: bool,
    events: VecDeque<RosterEvent>,
    /// The nonces of those who went.
    departed: Vec<Nonce>,
}

/// What a joiner draws at random, so that it knows which answers are for it.
pub(crate) type Nonce = [u8; 16];

#[derive(Clone, Copy, Debug)]
pub(crate) struct RosterSettings {
    pub(crate) max_members: usize,
    pub(crate) dead_after: Duration,
    pub(crate) heartbeat: Duration,
    /// The least memory for messages that a member must offer.
    pub(crate) min_budget: u64,
}

/// Who asks to be admitted. Its address is proven and its key right.
#[derive(Clone, Debug)]
pub(crate) struct Applicant {
    pub(crate) nonce: Nonce,
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
    /// The memory it has for messages, in bytes.
    pub(crate) budget: u64,
}

/// The answer to an applicant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is a member, from now on or already.
    Accepted(MemberId),
    /// Somebody at another address is a member with this nonce.
    Taken,
    /// There are as many members as there may be.
    Full,
    /// The session ends.
    Closing,
    /// It has less memory for messages than the session needs.
    BudgetTooSmall,
}

/// Why a member is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It said so.
    Left,
    /// Nothing was heard of it for too long.
    Dead,
    /// It was sent away.
    Evicted,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RosterEvent {
    Joined(MemberId),
    Gone(MemberId, Departure),
}

#[derive(Debug)]
struct Entry {
    applicant: Applicant,
    /// The attended time at which it was last heard.
    heard: Duration,
    hears_multicast: bool,
    /// The newest view that it knows.
    knows: u32,
    /// The attended time at which it is told again.
    tell_at: Duration,
    pause: Duration,
}

impl Roster {
    /// Pauses before a member that has not confirmed a view is told again.
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    const LONGEST_PAUSE: Duration = Duration::from_millis(200);
    /// From this view on nobody else is admitted: the numbers above are for those who are in to go.
    const LAST_OPEN_VIEW: u32 = u32::MAX - (1 << 20);

    pub(crate) fn new(now: Instant, settings: RosterSettings) -> Self {
        Roster {
            attention: Attention::new(now, 2 * settings.heartbeat),
            settings,
            members: BTreeMap::new(),
            by_nonce: HashMap::new(),
            // The coordinator is 0.
            next_id: 1,
            view: 1,
            changed: false,
            closing: false,
            events: VecDeque::new(),
            departed: Vec::new(),
        }
    }

    /// As if there had been so many views.
    #[cfg(test)]
    pub(crate) fn advance_view(&mut self, view: u32) {
        self.view = view;
    }

    /// Somebody asks to be admitted. To ask again is answered the same way.
    pub(crate) fn handle_join(&mut self, now: Instant, applicant: Applicant) -> Reply {
        let heard = self.attention.look(now);
        if let Some(&member) = self.by_nonce.get(&applicant.nonce) {
            // Two copies of a process have drawn the same: they are not one member.
            let entry = self.members.get(&member);
            if entry.is_some_and(|entry| entry.applicant.address != applicant.address) {
                return Reply::Taken;
            }
            // It has not heard yet that it is in, and asks instead of saying that it lives. Later, anybody could say it
            // again for it.
            if entry.is_some_and(|entry| entry.knows == 0) {
                self.handle_heard(now, member);
            }
            return Reply::Accepted(member);
        }
        if self.closing {
            return Reply::Closing;
        }
        if self.view >= Self::LAST_OPEN_VIEW {
            return Reply::Full;
        }
        if self.members.len() >= self.settings.max_members {
            return Reply::Full;
        }
        if applicant.budget < self.settings.min_budget {
            return Reply::BudgetTooSmall;
        }
        // Numbers are never used again, so that nobody is taken for somebody who has gone.
        let Some(next) = self.next_id.checked_add(1).filter(|next| *next < u32::MAX) else {
            return Reply::Full;
        };
        let member = MemberId(std::mem::replace(&mut self.next_id, next));
        self.by_nonce.insert(applicant.nonce, member);
        self.members.insert(
            member,
            Entry {
                applicant,
                heard,
                hears_multicast: false,
                knows: 0,
                tell_at: heard,
                pause: Self::FIRST_PAUSE,
            },
        );
        self.changed = true;
        self.events.push_back(RosterEvent::Joined(member));
        Reply::Accepted(member)
    }

    /// Something authentic was heard of a member, from its address.
    pub(crate) fn handle_heard(&mut self, now: Instant, member: MemberId) {
        let at = self.attention.look(now);
        if let Some(entry) = self.members.get_mut(&member) {
            entry.heard = at;
        }
    }

    /// A member says whether multicast reaches it. That it does is news for all: they send to it, too.
    pub(crate) fn handle_heartbeat(&mut self, now: Instant, member: MemberId, hears_multicast: bool) {
        self.handle_heard(now, member);
        if let Some(entry) = self.members.get_mut(&member)
            && hears_multicast
            && !entry.hears_multicast
        {
            entry.hears_multicast = true;
            self.changed = true;
        }
    }

    /// A member knows view number `view`.
    pub(crate) fn handle_view_ack(&mut self, member: MemberId, view: u32) {
        if let Some(entry) = self.members.get_mut(&member)
            && view <= self.view
        {
            entry.knows = entry.knows.max(view);
        }
    }

    /// A member is no member any more; false if it was none.
    pub(crate) fn remove(&mut self, member: MemberId, departure: Departure) -> bool {
        let Some(entry) = self.members.remove(&member) else {
            return false;
        };
        self.by_nonce.remove(&entry.applicant.nonce);
        self.departed.push(entry.applicant.nonce);
        self.changed = true;
        self.events.push_back(RosterEvent::Gone(member, departure));
        true
    }

    /// The nonces of those who went since this was last asked: with them nobody else may be admitted.
    pub(crate) fn take_departed(&mut self) -> Vec<Nonce> {
        std::mem::take(&mut self.departed)
    }

    /// Makes a new view, even if nobody has come or gone.
    pub(crate) fn renew(&mut self) {
        self.changed = true;
    }

    /// Nobody else is admitted.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let at = self.attention.look(now);
        let dead_after = self.settings.dead_after;
        let dead: Vec<_> = self
            .members
            .iter()
            .filter(|(_, entry)| at >= entry.heard + dead_after)
            .map(|(&member, _)| member)
            .collect();
        for member in dead {
            self.remove(member, Departure::Dead);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let dead_after = self.settings.dead_after;
        let due = self.members.values().map(|entry| {
            let death = entry.heard + dead_after;
            match entry.knows < self.view || self.changed {
                true => death.min(entry.tell_at),
                false => death,
            }
        });
        due.min().map(|at| self.attention.instant(at))
    }

    /// The next member that is to be told the view. All changes since the last one are one view.
    pub(crate) fn poll_view(&mut self, now: Instant) -> Option<MemberId> {
        let at = self.attention.look(now);
        if std::mem::take(&mut self.changed) {
            self.view = self.view.saturating_add(1);
            for entry in self.members.values_mut() {
                (entry.tell_at, entry.pause) = (at, Self::FIRST_PAUSE);
            }
        }
        let view = self.view;
        let (&member, entry) = self
            .members
            .iter_mut()
            .find(|(_, entry)| entry.knows < view && entry.tell_at <= at)?;
        entry.tell_at = at + entry.pause;
        entry.pause = (2 * entry.pause).min(Self::LONGEST_PAUSE);
        Some(member)
    }

    pub(crate) fn poll_event(&mut self) -> Option<RosterEvent> {
        self.events.pop_front()
    }

    /// The number of the newest view.
    pub(crate) fn view(&self) -> u32 {
        self.view
    }

    /// Whether somebody came or went since the newest view.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// The number of the view that says what is so now.
    pub(crate) fn next_view(&self) -> u32 {
        self.view.saturating_add(self.changed.into())
    }

    /// All members with their addresses and the memory they have for messages.
    pub(crate) fn members(&self) -> impl Iterator<Item = (MemberId, &Applicant)> {
        self.members
            .iter()
            .map(|(&member, entry)| (member, &entry.applicant))
    }

    /// Whether multicast reaches `member`.
    pub(crate) fn hears_multicast(&self, member: MemberId) -> bool {
        self.members
            .get(&member)
            .is_some_and(|entry| entry.hears_multicast)
    }

    /// Whether every member knows the newest view.
    #[cfg(test)]
    pub(crate) fn is_agreed(&self) -> bool {
        !self.changed && self.members.values().all(|entry| entry.knows == self.view)
    }
}
