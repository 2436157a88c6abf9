//! Items between two parties: each once and in order, over a way that loses, doubles and reorders packets.
//!
//! Both sides number the items of a session from 0 and acknowledge with every packet. What comes too early is not kept:
//! the receiver says so, and the sender goes back to the first that is missing. Ways that keep order lose that nothing, and
//! all real ones do. When no acknowledgement comes, only the first item is sent again: a way that is slow has the others
//! still, and on one that has lost them the receiver sees that they are missing.
//!
//! A packet takes as many items as are ready. Acknowledgements go with every packet, and nobody waits for one but who
//! leaves: without anything to go with, they wait a little for it.
//!
//! A session is a pair of incarnations, random numbers that the programs draw when they start. When one side starts
//! again, both begin a new session; items of the old one are gone, and whoever needs them makes them anew.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::few::Few;
use super::packet::{Content, Header, Hello, Item, MAX_BATCH, MAX_PARTS, Refusal, SHORT};
use super::speech::{Queued, Run, Saying, Speech};
use crate::federation::limits::Limits;
use crate::federation::name::MAX_NAME;

/// How many items may be sent and not yet acknowledged before no more data is added. Who commits to a disk before it
/// acknowledges has to have many at a time.
pub(crate) const MAX_ITEMS: usize = 4096;
/// As many bytes of content likewise; one piece more may be added.
const MAX_BYTES: usize = 16 << 20;
/// The content of a packet in bytes, and of its header, from which on no item is added; and of that, how much may be
/// short pieces: the other side has work to do while the next packet is made, and small buffers are cheap.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_SHORT: usize = 16 << 10;
const BATCH_HEADER: usize = 256 << 10;
/// How long an acknowledgement waits for something to go with; shorter where what is not acknowledged is soon sent again.
const ACK_DELAY: Duration = Duration::from_millis(20);
/// How many incarnations that had to go are remembered.
const MAX_RETIRED: usize = 8;
/// The retry time grows to this many times the first.
pub(crate) const MAX_BACKOFF: u32 = 10;

#[derive(Debug)]
pub(crate) struct Link {
    local: u64,
    retry: Duration,
    heartbeat: Duration,
    dead_after: Duration,
    /// The other side's incarnation, of the present session.
    remote: Option<u64>,
    /// Whether the other side knows of the session, too.
    is_up: bool,
    retired: VecDeque<u64>,
    /// Items that are not acknowledged; the first has the number `first`, and `sent` of them are on their way.
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    first: u64,
    sent: usize,
    /// How far it has ever been sent: what is below is sent again.
    furthest: u64,
    /// The number of the item that comes next.
    expected: u64,
    /// Of the items that have come, those with lower numbers are acknowledged to the other side.
    confirmed: u64,
    /// Up to here, the other side was told so.
    acked: u64,
    /// The bytes of content that have come since then.
    unacked_bytes: usize,
    ack_delay: Duration,
    ack_at: Option<Instant>,
    /// The other side waits for the acknowledgement of all that has come.
    is_urgent: bool,
    /// No item with this number or a higher one has come.
    seen: u64,
    backoff: Duration,
    resend_at: Option<Instant>,
    /// Whether the first item is to be sent again.
    is_probing: bool,
    /// Until this item is acknowledged, what it is asked for is on its way again.
    repaired_to: u64,
    hello_at: Instant,
    say_hello: bool,
    speak_at: Instant,
    say_ack: bool,
    gap: bool,
    /// Whom to tell what.
    refuse: Option<(u64, Refusal)>,
    heard: Option<Instant>,
    is_lost: bool,
    pub(crate) resent: u64,
    pub(crate) ignored: u64,
}

/// What came with a packet.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// The other side is another process than before, or the first: all items of the session before are gone.
    pub(crate) is_new: bool,
    /// The session is known to both sides from now on.
    pub(crate) came_up: bool,
    /// The other side refuses this one.
    pub(crate) refused: Option<Refusal>,
}

impl Link {
    /// `local` is this process's incarnation, not 0.
    pub(crate) fn new(local: u64, limits: &Limits, now: Instant) -> Self {
        Link {
            local,
            retry: limits.retry,
            heartbeat: limits.heartbeat,
            dead_after: limits.dead_after,
            remote: None,
            is_up: false,
            retired: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            first: 0,
            sent: 0,
            furthest: 0,
            expected: 0,
            confirmed: 0,
            acked: 0,
            unacked_bytes: 0,
            ack_delay: ACK_DELAY.min(limits.retry / 4),
            ack_at: None,
            is_urgent: false,
            seen: 0,
            backoff: limits.retry,
            resend_at: None,
            is_probing: false,
            repaired_to: 0,
            hello_at: now,
            say_hello: false,
            speak_at: now,
            say_ack: false,
            gap: false,
            refuse: None,
            heard: None,
            is_lost: false,
            resent: 0,
            ignored: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether the session is with this incarnation of the other side.
    pub(crate) fn is_with(&self, incarnation: u64) -> bool {
        self.remote == Some(incarnation)
    }

    /// When the other side was last heard of.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.heard
    }

    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.is_up && !self.is_lost && self.heard.is_some_and(|heard| now < heard + self.dead_after)
    }

    /// Whether the way to the other side is broken, and nothing was heard since.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether all items have come over.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether an item of this kind is among those that have not come over.
    pub(crate) fn holds(&self, is_such: impl Fn(&Item) -> bool) -> bool {
        self.queue.iter().any(|queued| is_such(&queued.item))
    }

    /// Whether more data may be added. Items without content are always taken: what causes them is bounded.
    pub(crate) fn has_room(&self) -> bool {
        self.is_up && self.queue.len() < MAX_ITEMS && self.queued_bytes < MAX_BYTES
    }

    /// How many items wait for their acknowledgement, and the bytes of their content.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queued_bytes)
    }

    /// Queues an item and returns its number.
    pub(crate) fn push(&mut self, item: Item, pieces: impl Into<Few<Bytes>>) -> u64 {
        let pieces = pieces.into();
        let bytes = size(&pieces);
        self.queued_bytes += bytes;
        self.queue.push_back(Queued { item, pieces, bytes });
        self.first + self.queue.len() as u64 - 1
    }

    /// Tells this incarnation of the other side that it may not take part.
    pub(crate) fn refuse(&mut self, incarnation: u64, refusal: Refusal) {
        self.refuse = Some((incarnation, refusal));
    }

    /// `bytes` is the size of the packet's content. `acceptable` says of a HELLO whether its sender may take part. Of a
    /// packet with items, it returns how many of them were taken before, if the next one is among them.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        header: &Header,
        bytes: usize,
        acceptable: Result<(), Refusal>,
    ) -> (Heard, Option<usize>) {
        let mut heard = Heard::default();
        let is_for_us = header.yours == self.local;
        if let Content::Refused(refusal) = header.content {
            heard.refused = is_for_us.then_some(refusal);
            // Who has to wait for another's end asks again soon.
            if is_for_us {
                self.backoff = self.retry;
            }
            return (heard, None);
        }
        if self.remote != Some(header.mine) {
            match (&header.content, acceptable) {
                _ if self.retired.contains(&header.mine) => self.refuse(header.mine, Refusal::Superseded),
                (Content::Hello(_), Err(refusal)) => self.refuse(header.mine, refusal),
                (Content::Hello(_), Ok(())) if self.is_alive(now) => {
                    self.refuse(header.mine, Refusal::InUse);
                }
                (Content::Hello(_), Ok(())) => {
                    self.begin(now, header.mine);
                    heard.is_new = true;
                }
                // Of a session that this side does not know: a HELLO has to come first.
                _ => {
                    self.ignored += 1;
                    self.say_hello |= !self.is_up;
                }
            }
            if !heard.is_new {
                return (heard, None);
            }
        }
        self.heard = Some(now);
        self.is_lost = false;
        if !is_for_us {
            // It does not know this incarnation yet.
            self.say_hello |= matches!(header.content, Content::Hello(_));
            return (heard, None);
        }
        if !self.is_up {
            self.is_up = true;
            self.speak_at = now + self.heartbeat;
            self.say_ack = true;
            heard.came_up = true;
        }
        self.handle_ack(now, header.ack);
        match &header.content {
            Content::Ack { gap: true } => self.go_back(),
            Content::Items { seq, items } => {
                let end = seq.saturating_add(items.len() as u64);
                if *seq <= self.expected && self.expected < end {
                    self.unacked_bytes = self.unacked_bytes.saturating_add(bytes);
                    let taken = (self.expected - seq) as usize;
                    return (heard, Some(taken));
                }
                self.ignored += 1;
                self.say_ack = true;
                self.gap |= *seq > self.expected;
                self.seen = self.seen.max(end);
            }
            // It has not heard that this side knows it.
            Content::Hello(_) => self.say_ack = true,
            _ => {}
        }
        (heard, None)
    }

    /// The next item that [`handle`](Link::handle) has shown is taken: the other side will hear so. What is not taken
    /// comes again.
    pub(crate) fn take(&mut self) {
        self.take_unconfirmed();
        self.confirm(self.expected);
    }

    /// Like [`take`](Link::take), but the other side does not hear of it before it is confirmed.
    pub(crate) fn take_unconfirmed(&mut self) {
        self.expected += 1;
        // What came too early is missing now.
        self.gap = self.seen > self.expected;
        self.say_ack |= self.gap;
    }

    /// The other side need not keep taken items with lower numbers any longer.
    pub(crate) fn confirm(&mut self, below: u64) {
        let below = below.min(self.expected);
        if below <= self.confirmed {
            return;
        }
        self.confirmed = below;
        // The other side must not come to the end of its window.
        let is_much = self.confirmed - self.acked >= MAX_ITEMS as u64 / 2;
        self.say_ack |= is_much || self.unacked_bytes >= MAX_BYTES / 2;
        self.say_ack |= self.is_urgent && self.confirmed == self.expected;
    }

    /// The other side waits for the acknowledgement of what has come, and of the item that comes now.
    pub(crate) fn hurry(&mut self) {
        self.is_urgent = true;
        self.say_ack |= self.acked < self.confirmed;
    }

    /// From now on acknowledgements do not wait for something to go with: this side ends.
    pub(crate) fn prompt(&mut self) {
        self.ack_delay = Duration::ZERO;
        self.say_ack |= self.acked < self.confirmed;
    }

    /// The number of the item that comes next: all before it are taken.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// The acknowledgement that goes with every packet of this session.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn ack(&self) -> u64 {
        self.confirmed
    }

    /// The other side has all items with lower numbers.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.first
    }

    fn begin(&mut self, now: Instant, remote: u64) {
        if let Some(old) = self.remote.replace(remote) {
            if self.retired.len() == MAX_RETIRED {
                self.retired.pop_front();
            }
            self.retired.push_back(old);
        }
        self.is_up = false;
        (self.confirmed, self.acked, self.unacked_bytes) = (0, 0, 0);
        (self.ack_at, self.is_urgent) = (None, false);
        self.queue.clear();
        (
            self.queued_bytes,
            self.first,
            self.sent,
            self.furthest,
            self.expected,
        ) = (0, 0, 0, 0, 0);
        (self.seen, self.repaired_to) = (0, 0);
        (self.resend_at, self.is_probing) = (None, false);
        (self.say_ack, self.gap) = (false, false);
        self.backoff = self.retry;
        self.hello_at = now;
    }

    fn handle_ack(&mut self, now: Instant, ack: u64) {
        // Nothing above what was sent can have come: such a number is no acknowledgement.
        if ack <= self.first || ack > self.furthest {
            return;
        }
        while self.first < ack
            && let Some(queued) = self.queue.pop_front()
        {
            self.queued_bytes -= queued.bytes;
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
        }
        self.backoff = self.retry;
        self.resend_at = (self.sent > 0).then(|| now + self.backoff);
    }

    fn go_back(&mut self) {
        // Each packet that came early asks for it; once is enough for all that were on their way.
        if self.first >= self.repaired_to {
            self.repaired_to = self.furthest;
            self.sent = 0;
            self.resend_at = None;
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_up {
            let others = self.resend_at.into_iter().chain(self.ack_at);
            Some(others.fold(self.speak_at, Instant::min))
        } else {
            Some(self.hello_at)
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.is_up {
            if now >= self.hello_at {
                self.say_hello = true;
                self.hello_at = now + self.backoff;
                self.back_off();
            }
            return;
        }
        if self.resend_at.is_some_and(|at| now >= at) {
            // What was sent again may be lost as well.
            self.repaired_to = 0;
            self.is_probing = true;
            self.back_off();
            self.resend_at = Some(now + self.backoff);
        }
        self.say_ack |= self.ack_at.take_if(|at| now >= *at).is_some();
        if now >= self.speak_at {
            // Who is not heard may have started again, and not know of this side: a server waits to be spoken to.
            let is_heard = self.is_alive(now);
            self.say_ack |= is_heard;
            self.say_hello |= !is_heard;
            self.speak_at = now + self.heartbeat;
        }
    }

    /// The way to the other side is broken: it may have died, and its successor need not wait. What was on the way may be
    /// lost, all of it.
    pub(crate) fn lost(&mut self) {
        self.is_lost = true;
        self.say_hello |= self.is_up;
        self.repaired_to = self.furthest;
        self.sent = 0;
        self.resend_at = None;
    }

    fn back_off(&mut self) {
        self.backoff = (self.backoff * 2).min(self.retry * MAX_BACKOFF);
    }

    /// The next packet. `hello` makes a HELLO.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        hello: impl FnOnce() -> Hello,
    ) -> Option<Speech<'_>> {
        let ack = self.confirmed;
        if let Some((yours, refusal)) = self.refuse.take() {
            let saying = Saying::Refused(refusal);
            return Some(Speech { yours, ack, saying });
        }
        let yours = self.remote.unwrap_or(0);
        if std::mem::take(&mut self.say_hello) {
            let saying = Saying::Hello(hello());
            return Some(Speech { yours, ack, saying });
        }
        if !self.is_up {
            return None;
        }
        let is_probe = std::mem::take(&mut self.is_probing) && self.sent > 0;
        if let Some(range) = self.batch(is_probe) {
            self.resend_at.get_or_insert(now + self.backoff);
            // An early packet of the other side's is answered by an acknowledgement of its own.
            self.say_ack &= self.gap;
            self.spoken(now);
            let seq = self.first + range.start as u64;
            let items = Run::new(&self.queue, range);
            let saying = Saying::Items { seq, items };
            return Some(Speech { yours, ack, saying });
        }
        let is_prompt = self.ack_delay.is_zero() && self.acked < self.confirmed;
        if std::mem::take(&mut self.say_ack) | is_prompt {
            let gap = std::mem::take(&mut self.gap);
            self.spoken(now);
            let saying = Saying::Ack { gap };
            return Some(Speech { yours, ack, saying });
        }
        if self.acked < self.confirmed {
            self.ack_at.get_or_insert(now + self.ack_delay);
        }
        None
    }

    /// The items that are to be sent now, as many as go into one packet; of those that were, the first is sent again.
    fn batch(&mut self, is_probe: bool) -> Option<Range<usize>> {
        let (start, most) = if is_probe { (0, 1) } else { (self.sent, MAX_BATCH) };
        if start >= self.queue.len() {
            return None;
        }
        let (mut count, mut pieces, mut bytes, mut short, mut header) = (0, 0, 0, 0, 0);
        for queued in self.queue.range(start..).take(most) {
            header += header_size(&queued.item);
            bytes += queued.bytes;
            if queued.bytes <= SHORT {
                short += queued.bytes;
            }
            pieces += queued.pieces.len();
            let is_full =
                bytes > BATCH_BYTES || short > BATCH_SHORT || header > BATCH_HEADER || pieces > MAX_PARTS;
            if is_full && count > 0 {
                break;
            }
            count += 1;
        }
        if !is_probe {
            self.sent += count;
        }
        let seq = self.first + start as u64;
        self.resent += u64::from(seq < self.furthest);
        self.furthest = self.furthest.max(seq + count as u64);
        Some(start..start + count)
    }

    /// A packet of this session goes to the other side, and with it the acknowledgement.
    fn spoken(&mut self, now: Instant) {
        self.speak_at = now + self.heartbeat;
        self.acked = self.confirmed;
        self.ack_at = None;
        // What is not confirmed yet counts on.
        if self.confirmed == self.expected {
            self.unacked_bytes = 0;
        }
        self.is_urgent &= self.confirmed < self.expected;
    }
}

fn size(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// At least as many bytes as an item takes in a header.
fn header_size(item: &Item) -> usize {
    const NUMBER: usize = 10;
    const NAME: usize = 2 + MAX_NAME;
    match item {
        Item::Open { .. } => NAME + 4 * NUMBER,
        Item::Opened { held, .. } => (5 + held.len()) * NUMBER,
        Item::Data(data) => NAME + (8 + data.parts.len()) * NUMBER,
        Item::Abort { reason, .. } => NAME + 2 * NUMBER + reason.len(),
        _ => 4 * NUMBER,
    }
}
