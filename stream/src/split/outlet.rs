//! What waits for one output, and what happens when that is too much.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use flexbond_session::socket::{Options, SlowPeer};
use serde::{Deserialize, Serialize};

/// What happens when an output takes nothing and no more may wait for it; the [module](super) has a table.
///
/// A PUB takes messages at any time; the policy then is that of its socket for each subscriber: it waits, or drops the
/// newest (`drop-stalled`, too) or the oldest message for the slow one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// All others go at the output's pace as long as it takes anything; what has taken nothing for a while (default 2 s, or
    /// less where no more may wait for it) gets nothing more before it has caught up, unless nobody else takes anything
    /// either. Until it is clear which of the two it is, more may wait for it. The default: nobody who is alive loses
    /// anything, and nobody who is not holds up the others.
    #[default]
    DropStalled,
    /// Everybody waits, for as long as it takes.
    Wait,
    /// The message is dropped for this output.
    DropNewest,
    /// The oldest message that waits for this output is dropped.
    DropOldest,
}

impl Policy {
    /// The nearest policy that a publishing socket has.
    pub(super) fn slow_peer(self) -> SlowPeer {
        match self {
            Policy::Wait => SlowPeer::Wait,
            Policy::DropOldest => SlowPeer::DropOldest,
            Policy::DropStalled | Policy::DropNewest => SlowPeer::DropNewest,
        }
    }
}

/// What became of the messages for one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutletStats {
    /// Messages handed to the output.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages dropped because no more might wait.
    pub dropped: u64,
    /// Messages that wait.
    pub queued: usize,
    /// Whether the output is stalled now (`drop-stalled`).
    pub stalled: bool,
    /// How often it stalled.
    pub stalls: u64,
}

/// The queue of one output.
#[derive(Clone, Debug)]
pub(super) struct Outlet<M> {
    queue: VecDeque<(M, usize)>,
    limit: usize,
    policy: Policy,
    patience: Duration,
    /// Since when messages come and none is taken. Whether that is too long only counts once it is full: what fills a
    /// queue for longer than the patience has been waited for already.
    untaken_since: Option<Instant>,
    /// Since when there are more than `limit`.
    beyond_since: Option<Instant>,
    /// So many there were at most while it could be that it is only slow.
    most: usize,
    /// The bytes of those that are beyond `limit`.
    bytes_beyond: usize,
    stats: OutletStats,
}

/// The bytes beyond an outlet's bound, with some for each message: what a stream of 1 GB/s has in half a second. The
/// outputs of a split share the messages themselves.
const MOST_BEYOND: usize = 512 << 20;
/// So long one that is alive may take nothing in any case, unless its patience is shorter. What has taken nothing for
/// longer is taken to stand as soon as others would have to wait for it.
const PAUSE: Duration = Duration::from_millis(250);
/// What a message takes besides its bytes.
const OVERHEAD: usize = 256;

/// What to do about a full outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    Drop,
    Evict,
}

impl<M> Outlet<M> {
    pub(super) fn new(limit: usize, policy: Policy, patience: Duration) -> Self {
        let mut outlet = Outlet {
            queue: VecDeque::new(),
            limit: 0,
            policy,
            patience,
            untaken_since: None,
            beyond_since: None,
            most: 0,
            bytes_beyond: 0,
            stats: OutletStats::default(),
        };
        outlet.set(limit, policy, patience);
        outlet
    }

    /// Changes the bound and the policy; what waits stays, even if it is more than may wait now.
    pub(super) fn set(&mut self, limit: usize, policy: Policy, patience: Duration) {
        self.limit = if limit == 0 { Options::UNLIMITED_HWM } else { limit };
        (self.policy, self.patience) = (policy, patience);
        let beyond = self.queue.iter().skip(self.limit);
        self.bytes_beyond = beyond.map(|(_, size)| size.saturating_add(OVERHEAD)).sum();
        self.stats.stalled &= policy == Policy::DropStalled;
    }

    pub(super) fn has_room(&self) -> bool {
        !self.stats.stalled && self.queue.len() < self.limit
    }

    /// Whether more than the bound may wait: for a while from when that is reached, then for as many as there are, and for
    /// more again while nothing is taken; never for more bytes than there is room for.
    pub(super) fn has_room_beyond(&self, now: Instant) -> bool {
        self.policy == Policy::DropStalled
            && !self.patience.is_zero()
            && !self.is_stuck(now)
            && !self.is_used_up()
            && (self.is_new_beyond(now) || self.pauses(now) || self.queue.len() < self.most)
    }

    /// Whether it became full a short while ago, or will now. Later on it is slow.
    fn is_new_beyond(&self, now: Instant) -> bool {
        let while_new = self.patience.saturating_mul(2);
        self.beyond_since
            .is_none_or(|since| now.saturating_duration_since(since) < while_new)
    }

    /// Whether it has taken nothing for longer than one does that is only slow.
    fn pauses(&self, now: Instant) -> bool {
        let pause = self.patience.min(PAUSE);
        self.untaken_since
            .is_some_and(|since| now.saturating_duration_since(since) >= pause)
    }

    /// Whether nothing more may wait, for however short a time.
    fn is_used_up(&self) -> bool {
        self.bytes_beyond >= MOST_BEYOND
    }

    pub(super) fn push(&mut self, now: Instant, message: M, size: usize) {
        self.queue.push_back((message, size));
        if self.queue.len() > self.limit && self.policy == Policy::DropStalled {
            self.beyond_since.get_or_insert(now);
            // What comes in a pause later on is worked off after it. Otherwise each pause would leave some.
            if self.is_new_beyond(now) {
                self.most = self.most.max(self.queue.len());
            }
            self.bytes_beyond = self.bytes_beyond.saturating_add(size.saturating_add(OVERHEAD));
        }
        self.untaken_since.get_or_insert(now);
    }

    /// Notes that there is no room for a message. It may be full for other reasons than the last message: when less
    /// may wait than did before.
    pub(super) fn handle_full(&mut self, now: Instant) {
        self.untaken_since.get_or_insert(now);
    }

    pub(super) fn pop(&mut self) -> Option<M> {
        let (message, size) = self.queue.pop_front()?;
        self.untaken_since = None;
        self.settle();
        if self.queue.is_empty() {
            self.stats.stalled = false;
        }
        self.stats.messages += 1;
        self.stats.bytes = self.stats.bytes.saturating_add(size as u64);
        Some(message)
    }

    /// Whether it is full and takes nothing, for longer than it should.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        let waited = |since: Instant| now.saturating_duration_since(since) >= self.patience;
        let in_vain = self.untaken_since.is_some_and(waited) || self.is_used_up() && self.pauses(now);
        self.stats.stalled || self.queue.len() >= self.limit && in_vain
    }

    /// What is to be done with a message for which there is no room.
    pub(super) fn verdict(&self, now: Instant, others_move: bool) -> Verdict {
        match self.policy {
            Policy::Wait => Verdict::Wait,
            Policy::DropNewest => Verdict::Drop,
            Policy::DropOldest => Verdict::Evict,
            Policy::DropStalled if others_move && self.is_stuck(now) => Verdict::Drop,
            Policy::DropStalled => Verdict::Wait,
        }
    }

    /// Drops the message for which there is no room.
    pub(super) fn drop_newest(&mut self) {
        self.stats.dropped += 1;
        if self.policy == Policy::DropStalled && !self.stats.stalled {
            self.stats.stalled = true;
            self.stats.stalls += 1;
            // They were kept for one that might have gone on.
            while self.queue.len() > self.limit && self.queue.pop_back().is_some() {
                self.stats.dropped += 1;
            }
            self.settle();
        }
    }

    /// Takes note that fewer wait.
    fn settle(&mut self) {
        if self.queue.len() <= self.limit {
            self.bytes_beyond = 0;
        } else if let Some((_, size)) = self.queue.get(self.limit - 1) {
            // It was the first one beyond.
            self.bytes_beyond = self.bytes_beyond.saturating_sub(size.saturating_add(OVERHEAD));
        }
        if self.queue.len() < self.limit {
            (self.beyond_since, self.most) = (None, 0);
        }
    }

    /// Drops what has waited longest, for a newer message.
    pub(super) fn drop_oldest(&mut self) {
        while self.queue.len() >= self.limit && self.queue.pop_front().is_some() {
            self.stats.dropped += 1;
        }
    }

    /// When it will be stuck, or more may wait for it, if it takes nothing until then.
    pub(super) fn changes_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.policy == Policy::DropStalled && !self.is_stuck(now);
        let patience = match self.pauses(now) {
            true => self.patience,
            false => self.patience.min(PAUSE),
        };
        self.untaken_since
            .filter(|_| waits)
            .and_then(|since| since.checked_add(patience))
    }

    pub(super) fn stats(&self) -> OutletStats {
        OutletStats {
            queued: self.queue.len(),
            ..self.stats
        }
    }

    /// What waits, in order.
    pub(super) fn into_messages(self) -> VecDeque<M> {
        self.queue.into_iter().map(|(message, _)| message).collect()
    }
}
