//! How much may be kept of whom, and who waits for room.
//!
//! A sender's credit is reserved in all bounds that count for it (the server's, its job's, its own and that of its pair)
//! before it hears of it; what it then sends is taken from the reservation and stays reserved until the message has its
//! end. Whoever needs more waits at the first bound that lacks room, in the order of coming; nobody passes who waits at the
//! same bound. Messages that are handed on as they come wait on their own and may use the last eighth of each bound, so that
//! those which are kept whole behind them cannot shut them out.

use std::collections::BTreeSet;

use super::arena::Arena;
use super::event::QuotaKind;
use crate::federation::core::packet::cost;

/// A bound, by its number.
pub(super) type ScopeId = usize;

/// What credit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Messages that are kept whole.
    Whole,
    /// A message that is under way and not kept whole.
    Stream,
}

#[derive(Debug)]
struct Scope {
    kind: QuotaKind,
    limit: u64,
    /// What is kept or granted.
    used: u64,
    /// What is granted and has not come.
    granted: u64,
    /// The memory that is taken by what is known: of messages, which may be in a store, of channels and of pairs.
    known: u64,
    most_known: u64,
    /// What of it stays until a job is forgotten.
    fixed: u64,
    /// What lies idle with parties, and may come as messages without content.
    idle: u64,
    /// Tickets and halves, by class.
    waiting: [BTreeSet<(u64, usize)>; 2],
    is_freed: bool,
}

/// The part of a half: what its party may send and has sent in this session, and what is kept of it.
#[derive(Debug)]
pub(super) struct Account {
    scopes: [ScopeId; 4],
    /// What the party was told that it may send in this session.
    pub(super) granted: u64,
    /// What it has sent of it.
    pub(super) spent: u64,
    /// What it has asked for.
    pub(super) wanted: u64,
    /// What is kept, of all sessions.
    pub(super) held: u64,
    /// What of its bounds' `fixed` and `idle` it is.
    fixed: u64,
    idle: u64,
    /// What of `granted` it has not asked for, and has not come.
    unasked: u64,
    /// Where it waits.
    place: Option<(ScopeId, Class, u64)>,
    /// The party is away, and what it was granted is not reserved meanwhile.
    is_suspended: bool,
}

#[derive(Debug)]
pub(super) struct Quota {
    scopes: Arena<Scope>,
    /// Bounds that have more room and somebody who waits.
    freed: Vec<ScopeId>,
    tickets: u64,
    /// Whether there are messages that are not kept whole.
    has_streams: bool,
    /// The bytes that may be taken for what is known.
    memory: u64,
}

/// What is in memory of a message beside its content, in bytes, at least.
const OF_MESSAGE: u64 = 512;
/// What is in memory of a channel in one direction beside its name, and of two parties.
pub(super) const OF_FLOW: u64 = 1 << 10;
pub(super) const OF_PAIR: u64 = 4 << 10;
/// The part of what may be known that may come without being asked for.
const AT_HAND: u64 = 4;
/// The least memory that a server has.
const LEAST: u64 = 1 << 20;
/// So many messages may come beyond what is known: those for which their senders have asked.
const ASKED: u64 = 4096;

impl Quota {
    /// `memory`: the bytes that may be taken for what is known of messages, which are in a store perhaps, of channels and of
    /// pairs. A job gets half of that, a party a quarter.
    pub(super) fn new(has_streams: bool, memory: u64) -> Self {
        Quota {
            scopes: Arena::new(),
            freed: Vec::new(),
            tickets: 0,
            has_streams,
            memory: memory.max(LEAST),
        }
    }

    pub(super) fn add(&mut self, kind: QuotaKind, limit: u64) -> ScopeId {
        self.scopes.insert(Scope {
            kind,
            limit,
            used: 0,
            granted: 0,
            known: 0,
            most_known: match kind {
                QuotaKind::Server => self.memory,
                QuotaKind::Job => self.memory / 2,
                QuotaKind::Party => self.memory / 4,
                QuotaKind::Pair => u64::MAX,
            },
            fixed: 0,
            idle: 0,
            waiting: [BTreeSet::new(), BTreeSet::new()],
            is_freed: false,
        })
    }

    pub(super) fn remove(&mut self, scope: ScopeId) {
        self.scopes.remove(scope);
    }

    pub(super) fn kind(&self, scope: ScopeId) -> QuotaKind {
        self.scopes[scope].kind
    }

    /// What is kept or granted, and what of it is granted only.
    pub(super) fn used(&self, scope: ScopeId) -> (u64, u64) {
        (self.scopes[scope].used, self.scopes[scope].granted)
    }

    pub(super) fn waiting(&self) -> u64 {
        let count = |scope: &Scope| scope.waiting[0].len() + scope.waiting[1].len();
        self.scopes.iter().map(|(_, scope)| count(scope) as u64).sum()
    }

    /// Reserves `amount` more, or says which bound lacks room.
    pub(super) fn grant(&mut self, account: &mut Account, amount: u64, class: Class) -> Result<(), ScopeId> {
        for id in account.scopes {
            let scope = &self.scopes[id];
            // What is under way is no message more.
            if class == Class::Whole && scope.is_full() {
                return Err(id);
            }
            let spare = match class {
                Class::Whole if self.has_streams => scope.limit / 8,
                _ => 0,
            };
            if scope.used.saturating_add(amount) > scope.limit - spare {
                return Err(id);
            }
        }
        self.reserve(account, amount);
        account.granted += amount;
        Ok(())
    }

    /// As [`grant`](Quota::grant), for what a party has not asked for.
    pub(super) fn top_up(&mut self, account: &mut Account, amount: u64) -> bool {
        let is_granted = self.grant(account, amount, Class::Whole).is_ok();
        if is_granted {
            account.unasked += amount;
            self.note_idle(account);
        }
        is_granted
    }

    /// What a party may have at hand without asking: not more than `most`, less when there is little room, and nothing
    /// where others wait.
    pub(super) fn at_hand(&self, account: &Account, most: u64) -> u64 {
        let of_scope = |id: &ScopeId| {
            let scope = &self.scopes[*id];
            // It may be spent on messages without content, when others have filled all the rest.
            let left = scope.most_known.saturating_sub(scope.known);
            let messages = left.min(scope.most_known / AT_HAND) / OF_MESSAGE;
            let known = messages.saturating_mul(cost(0, 0)).saturating_sub(scope.idle) / 4;
            let has_waiting = scope.waiting.iter().any(|waiting| !waiting.is_empty());
            // What lies idle with many must not keep anybody from a message that is as large as may be.
            let idle = (scope.limit / 4).saturating_sub(scope.granted);
            let free = (scope.limit - scope.limit / 4).saturating_sub(scope.used);
            if has_waiting {
                0
            } else {
                (idle / 4).min(free / 4).min(known)
            }
        };
        account.scopes.iter().map(of_scope).min().unwrap_or(0).min(most)
    }

    fn reserve(&mut self, account: &Account, amount: u64) {
        for id in account.scopes {
            let scope = &mut self.scopes[id];
            scope.used += amount;
            scope.granted += amount;
        }
    }

    /// A piece has come that was granted.
    pub(super) fn spend(&mut self, account: &mut Account, amount: u64) {
        account.spent += amount;
        account.held += amount;
        account.unasked = account.unasked.saturating_sub(amount);
        for id in account.scopes {
            let scope = &mut self.scopes[id];
            scope.granted = scope.granted.saturating_sub(amount);
        }
        self.note_idle(account);
    }

    /// Counts what a party has at hand. What it has beyond that, it has asked for, for one message.
    fn note_idle(&mut self, account: &mut Account) {
        let idle = if account.is_suspended {
            0
        } else {
            account.left().min(account.unasked)
        };
        if idle != account.idle {
            for id in account.scopes {
                let scope = &mut self.scopes[id];
                scope.idle = (scope.idle + idle).saturating_sub(account.idle);
            }
            account.idle = idle;
        }
    }

    /// Whether there is room for what stays until the job is forgotten.
    pub(super) fn has_room(&self, scopes: &[ScopeId], bytes: u64) -> Result<(), ScopeId> {
        let is_full = |id: &&ScopeId| {
            let scope = &self.scopes[**id];
            scope.fixed.saturating_add(bytes) > scope.most_known / 2
        };
        scopes.iter().find(is_full).map_or(Ok(()), |id| Err(*id))
    }

    /// Something is made that stays until the job is forgotten, whether there is room for it or not.
    pub(super) fn fix(&mut self, account: &mut Account, bytes: u64) {
        account.fixed += bytes;
        for id in account.scopes {
            let scope = &mut self.scopes[id];
            scope.fixed += bytes;
            scope.known += bytes;
        }
    }

    /// What was made for a job goes, or so much of it.
    pub(super) fn unfix(&mut self, account: &mut Account, bytes: u64) {
        let bytes = bytes.min(account.fixed);
        account.fixed -= bytes;
        for id in account.scopes {
            let scope = &mut self.scopes[id];
            scope.fixed = scope.fixed.saturating_sub(bytes);
            scope.known = scope.known.saturating_sub(bytes);
        }
        self.free(account.scopes, 0, 0);
    }

    /// Whether there are so many messages that none more is taken, whatever was granted for it: who keeps to what it has
    /// asked for does not come so far.
    pub(super) fn is_overrun(&self, account: &Account) -> bool {
        account.scopes.iter().any(|id| {
            let scope = &self.scopes[*id];
            let more = (scope.most_known / AT_HAND).saturating_add(ASKED * OF_MESSAGE);
            scope.known > scope.most_known.saturating_add(more)
        })
    }

    /// What is kept from before a start of the server. It may be more than the bounds are now.
    pub(super) fn restore(&mut self, account: &mut Account, amount: u64) {
        account.held += amount;
        for id in account.scopes {
            self.scopes[id].used += amount;
        }
    }

    /// Something is not kept any longer.
    pub(super) fn release(&mut self, account: &mut Account, amount: u64) {
        account.held = account.held.saturating_sub(amount);
        self.free(account.scopes, amount, 0);
    }

    /// There are so many messages more, or fewer.
    pub(super) fn count(&mut self, account: &Account, before: usize, after: usize) {
        if before == after {
            return;
        }
        let (before, after) = (before as u64 * OF_MESSAGE, after as u64 * OF_MESSAGE);
        let mut is_freed = false;
        for id in account.scopes {
            let scope = &mut self.scopes[id];
            let was_full = scope.is_full();
            scope.known = (scope.known + after).saturating_sub(before);
            is_freed |= was_full && !scope.is_full();
        }
        if is_freed {
            self.free(account.scopes, 0, 0);
        }
    }

    fn free(&mut self, scopes: [ScopeId; 4], amount: u64, granted: u64) {
        for id in scopes {
            let scope = &mut self.scopes[id];
            scope.used = scope.used.saturating_sub(amount);
            scope.granted = scope.granted.saturating_sub(granted);
            let has_waiting = scope.waiting.iter().any(|waiting| !waiting.is_empty());
            if has_waiting && !std::mem::replace(&mut scope.is_freed, true) {
                self.freed.push(id);
            }
        }
    }

    /// A session has ended: what was granted and has not come is free again.
    pub(super) fn end(&mut self, account: &mut Account) {
        self.leave_queue(account);
        if !account.is_suspended {
            let left = account.granted - account.spent;
            self.free(account.scopes, left, left);
        }
        (account.granted, account.spent, account.wanted) = (0, 0, 0);
        account.unasked = 0;
        account.is_suspended = false;
        self.note_idle(account);
    }

    /// The party is not heard any more: others may use what it was granted.
    pub(super) fn suspend(&mut self, account: &mut Account) {
        self.leave_queue(account);
        if !std::mem::replace(&mut account.is_suspended, true) {
            let left = account.granted - account.spent;
            self.free(account.scopes, left, left);
            self.note_idle(account);
        }
    }

    /// It is heard again, in the same session: what it was told holds, also when there is no room by now.
    pub(super) fn resume(&mut self, account: &mut Account) {
        if std::mem::take(&mut account.is_suspended) {
            self.reserve(account, account.granted - account.spent);
            self.note_idle(account);
        }
    }

    /// Waits at a bound; the ticket of whoever waits already stays.
    pub(super) fn wait(&mut self, half: usize, account: &mut Account, scope: ScopeId, class: Class) {
        let ticket = match account.place {
            Some((_, _, ticket)) => ticket,
            None => {
                self.tickets += 1;
                self.tickets
            }
        };
        self.leave_queue(account);
        self.scopes[scope].waiting[class as usize].insert((ticket, half));
        account.place = Some((scope, class, ticket));
    }

    /// Whether somebody waits at one of the account's bounds who has to be served first.
    pub(super) fn is_behind(&self, account: &Account, class: Class) -> Option<ScopeId> {
        let mut scopes = account.scopes.into_iter();
        scopes.find(|id| !self.scopes[*id].waiting[class as usize].is_empty())
    }

    pub(super) fn leave_queue(&mut self, account: &mut Account) {
        let Some((scope, class, ticket)) = account.place.take() else {
            return;
        };
        let waiting = &mut self.scopes[scope].waiting[class as usize];
        if let Some(entry) = waiting.range((ticket, 0)..=(ticket, usize::MAX)).next().copied() {
            waiting.remove(&entry);
        }
        // Who waited behind may have enough room.
        let scope_ref = &mut self.scopes[scope];
        if !std::mem::replace(&mut scope_ref.is_freed, true) {
            self.freed.push(scope);
        }
    }

    /// A bound that may have room for those who wait.
    pub(super) fn next_freed(&mut self) -> Option<ScopeId> {
        while let Some(id) = self.freed.pop() {
            if let Some(scope) = self.scopes.get_mut(id) {
                scope.is_freed = false;
                return Some(id);
            }
        }
        None
    }

    /// Who waits first at a bound.
    pub(super) fn first(&self, scope: ScopeId, class: Class) -> Option<usize> {
        let waiting = &self.scopes.get(scope)?.waiting[class as usize];
        waiting.first().map(|(_, half)| *half)
    }
}

impl Scope {
    /// Whether nothing more may be known.
    fn is_full(&self) -> bool {
        self.known >= self.most_known
    }
}

impl Account {
    pub(super) fn new(scopes: [ScopeId; 4]) -> Self {
        Account {
            scopes,
            granted: 0,
            spent: 0,
            wanted: 0,
            held: 0,
            fixed: 0,
            idle: 0,
            unasked: 0,
            place: None,
            is_suspended: false,
        }
    }

    /// What may still come.
    pub(super) fn left(&self) -> u64 {
        self.granted - self.spent
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.place.is_some()
    }

    pub(super) fn scopes(&self) -> [ScopeId; 4] {
        self.scopes
    }

    /// Whether its party is away. What it were granted now would count twice when it comes back.
    pub(super) fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// The bound of its pair, which goes with it.
    pub(super) fn pair(&self) -> ScopeId {
        self.scopes[3]
    }
}
