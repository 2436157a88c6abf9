//! Which message goes to which output, and when to wait.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::outlet::{Outlet, Verdict};
use super::{Filter, OutletStats, Policy};
use crate::Header;

/// What goes to an output, and how much may wait for it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Which messages. Default: all.
    pub filter: Option<Filter>,
    /// Of these, every so many-th. Default 1.
    pub modulo: NonZeroU64,
    /// Shares its messages with all others of this group. What counts for a group is the filter, modulo and boundaries
    /// of its first output.
    pub group: Option<String>,
    /// What happens with the beginnings and ends of series.
    pub boundaries: Boundaries,
    /// What happens when no more may wait.
    pub policy: Policy,
    /// How long an output may take nothing before it is stalled, unless it is found to stand before; see the
    /// [module](super). Default 2 s.
    pub patience: Duration,
    /// How many messages may wait. Default 100; 0 is the sockets' own large bound.
    pub queue_size: usize,
}

impl Default for Rule {
    fn default() -> Self {
        super::OutputConfig::new("").rule()
    }
}

/// What happens with the beginnings and ends of series (`dheader-1.0`, `dseries_end-1.0`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Boundaries {
    /// They go to every output whose filter they do not contradict, to all of a group, and do not count for `modulo`.
    /// The default: images cannot be understood without the configuration that begins their series, and who waits for
    /// the end of a series must hear of it.
    #[default]
    All,
    /// They are messages like all others.
    Counted,
}

/// One output of a [`Splitter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutletId(u64);

/// Decides which message goes to which output, and holds what waits for each. No I/O, no clock.
///
/// ```
/// use std::time::Instant;
/// use flexbond_stream::split::{Rule, Splitter};
///
/// let mut tenth = Rule::default();
/// tenth.modulo = 10.try_into().unwrap();
/// let mut splitter = Splitter::new([Rule::default(), tenth]);
/// let outlets: Vec<_> = splitter.outlets().collect();
/// let now = Instant::now();
/// for i in 0..20 {
///     splitter.handle_message(now, None, 1, format!("message {i}"));
/// }
/// assert_eq!(splitter.stats(outlets[0]).unwrap().queued, 20);
/// assert_eq!(splitter.poll_transmit(outlets[1]).unwrap(), "message 0");
/// assert_eq!(splitter.poll_transmit(outlets[1]).unwrap(), "message 10");
/// assert_eq!(splitter.poll_transmit(outlets[1]), None);
/// ```
#[derive(Clone, Debug)]
pub struct Splitter<M> {
    outlets: Vec<(OutletId, Outlet<M>)>,
    routes: Vec<Route>,
    held: Option<Held<M>>,
    next_id: u64,
}

/// One output, or a group of them.
#[derive(Clone, Debug)]
struct Route {
    group: Option<String>,
    filter: Option<Filter>,
    modulo: NonZeroU64,
    boundaries: Boundaries,
    /// Where its outlets are.
    members: Vec<usize>,
    /// How many messages have passed the filter.
    passed: u64,
    /// Whose turn it is.
    turn: usize,
}

/// The message for which not everybody had room. Nothing else is taken meanwhile.
#[derive(Clone, Debug)]
struct Held<M> {
    message: M,
    size: usize,
    /// One of each of these is still to get it, the first one first.
    waiting: Vec<Vec<OutletId>>,
}

impl<M: Clone> Splitter<M> {
    /// An output for each rule.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut splitter = Splitter {
            outlets: Vec::new(),
            routes: Vec::new(),
            held: None,
            next_id: 0,
        };
        splitter.replace(rules.into_iter().map(|rule| (None, rule)));
        splitter
    }

    /// Replaces all rules. An output that is named keeps what waits for it, its counters and its place in the count of
    /// `modulo`; a rule without a name makes a new output; all others are taken out, and what waited for them is
    /// returned.
    pub fn replace(
        &mut self,
        rules: impl IntoIterator<Item = (Option<OutletId>, Rule)>,
    ) -> Vec<(OutletId, VecDeque<M>)> {
        let mut former = std::mem::take(&mut self.outlets);
        let former_routes = std::mem::take(&mut self.routes);
        // By name, before outlets are taken out, which moves the others.
        let name_of = |&index: &usize| former.get(index).map(|(id, _)| *id);
        let known_routes: Vec<(Vec<OutletId>, &Route)> = former_routes
            .iter()
            .map(|route| (route.members.iter().filter_map(name_of).collect(), route))
            .collect();
        for (id, rule) in rules {
            let kept = id.and_then(|id| former.iter().position(|(known, _)| *known == id));
            let (id, outlet) = match kept {
                Some(index) => {
                    let (id, mut outlet) = former.remove(index);
                    outlet.set(rule.queue_size, rule.policy, rule.patience);
                    (id, outlet)
                }
                None => {
                    self.next_id += 1;
                    let outlet = Outlet::new(rule.queue_size, rule.policy, rule.patience);
                    (OutletId(self.next_id), outlet)
                }
            };
            let index = self.outlets.len();
            self.outlets.push((id, outlet));
            let same_group = |route: &&mut Route| rule.group.is_some() && route.group == rule.group;
            if let Some(route) = self.routes.iter_mut().find(same_group) {
                route.members.push(index);
                continue;
            }
            let passed = known_routes
                .iter()
                .find(|(ids, route)| ids.contains(&id) && route.group == rule.group)
                .map_or(0, |(_, route)| route.passed);
            self.routes.push(Route {
                group: rule.group,
                filter: rule.filter,
                modulo: rule.modulo,
                boundaries: rule.boundaries,
                members: vec![index],
                passed,
                turn: 0,
            });
        }
        let mut left: Vec<_> = former
            .into_iter()
            .map(|(id, outlet)| (id, outlet.into_messages()))
            .collect();
        self.leave_held(&mut left);
        left
    }

    /// Hands what is held to those of the outputs that were taken out for whom nobody takes it who stays.
    fn leave_held(&mut self, left: &mut [(OutletId, VecDeque<M>)]) {
        let Some(held) = &mut self.held else {
            return;
        };
        held.waiting.retain(|ids| {
            let stays = ids
                .iter()
                .any(|id| self.outlets.iter().any(|(known, _)| known == id));
            if !stays && let Some((_, messages)) = left.iter_mut().find(|(id, _)| ids.contains(id)) {
                messages.push_back(held.message.clone());
            }
            stays
        });
        if held.waiting.is_empty() {
            self.held = None;
        }
    }

    /// The outputs, in the order of their rules.
    pub fn outlets(&self) -> impl Iterator<Item = OutletId> {
        self.outlets.iter().map(|(id, _)| *id)
    }

    /// Whether any rule asks for the headers of messages.
    #[must_use]
    pub fn needs_header(&self) -> bool {
        self.routes.iter().any(|route| {
            route.filter.is_some()
                || route.boundaries == Boundaries::All && (route.modulo.get() > 1 || route.members.len() > 1)
        })
    }

    /// Whether the next message can be handled. If not, [`handle_timeout`](Self::handle_timeout) is to be called when
    /// [`poll_timeout`](Self::poll_timeout) says so, and after anything was transmitted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.held.is_none()
    }

    /// Takes a message of `size` bytes for all outputs that are to get it. A message without a readable header passes
    /// where there is no filter.
    ///
    /// # Panics
    /// When not [ready](Self::is_ready): the message before would be lost.
    pub fn handle_message(&mut self, now: Instant, header: Option<&Header>, size: usize, message: M) {
        assert!(self.is_ready(), "a message before this one is still held");
        let mut waiting = Vec::new();
        for route in &mut self.routes {
            let Some(whole_group) = route.takes(header) else {
                continue;
            };
            if whole_group {
                for &member in &route.members {
                    if offer(&mut self.outlets, &[member], 0, now, &message, size).is_none() {
                        waiting.push(vec![self.outlets[member].0]);
                    }
                }
                continue;
            }
            let count = route.members.len();
            match offer(&mut self.outlets, &route.members, route.turn, now, &message, size) {
                Some(taken) => route.turn = (taken + 1) % count,
                None => {
                    let turns = (0..count).map(|offset| route.members[(route.turn + offset) % count]);
                    waiting.push(turns.map(|member| self.outlets[member].0).collect());
                    route.turn = (route.turn + 1) % count;
                }
            }
        }
        if !waiting.is_empty() {
            self.held = Some(Held {
                message,
                size,
                waiting,
            });
        }
    }

    /// Tries again to place the message that is held.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        let outlets = &mut self.outlets;
        held.waiting.retain(|ids| {
            let place_of = |id: &OutletId| outlets.iter().position(|(known, _)| known == id);
            let members: Vec<usize> = ids.iter().filter_map(place_of).collect();
            // Of a group some may have been taken out meanwhile.
            !members.is_empty() && offer(outlets, &members, 0, now, &held.message, held.size).is_none()
        });
        if !held.waiting.is_empty() {
            self.held = Some(held);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) if nothing is transmitted before.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let held = self.held.as_ref()?;
        let awaited = |id: &OutletId| held.waiting.iter().any(|ids| ids.contains(id));
        self.outlets
            .iter()
            .filter(|(id, _)| awaited(id))
            .filter_map(|(_, outlet)| outlet.changes_at(now))
            .min()
    }

    /// The next message for an output.
    pub fn poll_transmit(&mut self, outlet: OutletId) -> Option<M> {
        self.find_mut(outlet)?.pop()
    }

    /// What became of the messages for an output.
    #[must_use]
    pub fn stats(&self, outlet: OutletId) -> Option<OutletStats> {
        let (_, outlet) = self.outlets.iter().find(|(id, _)| *id == outlet)?;
        Some(outlet.stats())
    }

    fn find_mut(&mut self, outlet: OutletId) -> Option<&mut Outlet<M>> {
        let found = self.outlets.iter_mut().find(|(id, _)| *id == outlet);
        found.map(|(_, outlet)| outlet)
    }
}

impl Route {
    /// Whether a message goes here, and then whether to all members.
    fn takes(&mut self, header: Option<&Header>) -> Option<bool> {
        if self.boundaries == Boundaries::All && header.is_some_and(is_boundary) {
            let refused = self
                .filter
                .as_ref()
                .zip(header)
                .is_some_and(|(filter, header)| filter.verdict(header) == Some(false));
            return (!refused).then_some(true);
        }
        let passes = match (&self.filter, header) {
            (None, _) => true,
            (Some(filter), Some(header)) => filter.matches(header),
            (Some(_), None) => false,
        };
        if !passes {
            return None;
        }
        let is_due = self.passed.is_multiple_of(self.modulo.get());
        self.passed = self.passed.wrapping_add(1);
        is_due.then_some(false)
    }
}

fn is_boundary(header: &Header) -> bool {
    header.begins_series() || header.ends_series()
}

/// Gives a message to the first member, from `turn` on, that has room, and says which that was. Where none has room, the
/// policy of the one whose turn it is decides; `None` is to wait.
fn offer<M: Clone>(
    outlets: &mut [(OutletId, Outlet<M>)],
    members: &[usize],
    turn: usize,
    now: Instant,
    message: &M,
    size: usize,
) -> Option<usize> {
    let count = members.len();
    for offset in 0..count {
        let at = (turn + offset) % count;
        let (_, outlet) = &mut outlets[members[at]];
        if outlet.has_room() {
            outlet.push(now, message.clone(), size);
            return Some(at);
        }
        outlet.handle_full(now);
    }
    // More may wait for one that may be slow, or may have come to a stand, while there are others that it would hold up.
    let held_up = |(other, (_, outlet)): (usize, &(OutletId, Outlet<M>))| {
        !members.contains(&other) && outlet.has_room()
    };
    let others_have_room = outlets.iter().enumerate().any(held_up);
    for offset in (0..count).filter(|_| others_have_room) {
        let at = (turn + offset) % count;
        let (_, outlet) = &mut outlets[members[at]];
        if outlet.has_room_beyond(now) {
            outlet.push(now, message.clone(), size);
            return Some(at);
        }
    }
    // In a group, one that is only full will have room before one that takes nothing.
    let moving = (0..count)
        .map(|offset| (turn + offset) % count)
        .find(|&at| !outlets[members[at]].1.is_stuck(now));
    let at = moving.unwrap_or(turn % count);
    let index = members[at];
    let others_move = outlets
        .iter()
        .enumerate()
        .any(|(other, (_, outlet))| !members.contains(&other) && !outlet.is_stuck(now));
    let (_, outlet) = &mut outlets[index];
    match outlet.verdict(now, others_move) {
        Verdict::Wait => return None,
        Verdict::Drop => outlet.drop_newest(),
        Verdict::Evict => {
            outlet.drop_oldest();
            outlet.push(now, message.clone(), size);
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests;
