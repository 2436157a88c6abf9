//! One flow from this party: what its node has sent, until the stream has it.
//!
//! The last message of a flow stays in the stream, and each is stored on the condition that it follows the one that
//! this side knows to be the last. So nothing is stored twice or in another order, whoever's answer was lost, and what an
//! earlier process of this party may still have on its way is refused: every session begins with a batch without
//! entries.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::record::{Batch, Entry, Progress, write};
use crate::federation::core::packet::Data;

/// Small messages that are ready go together up to this size.
const BATCH: u64 = 128 << 10;
/// As many entries at most.
const MAX_ENTRIES: usize = 256;
/// What a record and its headers may take beside the content, of one entry.
const OVERHEAD: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) subject: String,
    /// The number of the item that has opened it.
    pub(super) opener: u64,
    /// The node's numbering, if it has one.
    from: Option<(u64, u64)>,
    stage: Stage,
    epoch: u64,
    /// The first offset of this numbering.
    first: u64,
    /// The offset of the next message that is not stored or on its way as a whole.
    next: u64,
    /// The place of the last message in the stream; 0 for none.
    pub(super) last: u64,
    /// How much of the message that was begun is to come from the node.
    left: u64,
    queue: VecDeque<Chunk>,
    /// How many of the queue are on their way.
    sending: usize,
    /// What the receiver has settled, as the node knows it.
    progress: Progress,
    /// What has come of that before the node was told.
    early: Option<Progress>,
}

#[derive(Debug)]
enum Stage {
    /// What the streams have of it is asked for.
    Asking {
        data: Option<Option<(u64, Batch)>>,
        done: Option<Option<Progress>>,
    },
    Fencing,
    Open,
}

#[derive(Debug)]
struct Chunk {
    entry: Entry,
    content: Vec<Bytes>,
    since: Instant,
    /// Whether the message ends with it.
    ends: bool,
    /// The link's item whose last chunk this is.
    item: Option<u64>,
}

/// What the node is told when a flow is open.
#[derive(Debug, PartialEq)]
pub(super) struct Opening {
    pub(super) epoch: u64,
    pub(super) next: u64,
    pub(super) held: Vec<u64>,
}

impl Outbound {
    pub(super) fn new(subject: String, opener: u64, from: Option<(u64, u64)>) -> Self {
        Outbound {
            subject,
            opener,
            from,
            stage: Stage::Asking {
                data: None,
                done: None,
            },
            epoch: 0,
            first: 0,
            next: 0,
            last: 0,
            left: 0,
            queue: VecDeque::new(),
            sending: 0,
            progress: Progress::default(),
            early: None,
        }
    }

    /// The stream's last message of this flow.
    pub(super) fn handle_last(&mut self, last: Option<(u64, Batch)>) {
        if let Stage::Asking { data, .. } = &mut self.stage {
            *data = Some(last);
        }
    }

    /// The receiver's record.
    pub(super) fn handle_done(&mut self, progress: Option<Progress>) {
        if let Stage::Asking { done, .. } = &mut self.stage {
            *done = Some(progress);
        }
    }

    /// The batch without entries that begins the session, when all is known that it needs: what it has to follow, and the
    /// batch. `fresh` is an epoch for a flow that has none.
    pub(super) fn fence(&mut self, fresh: u64) -> Option<(u64, Vec<u8>)> {
        let Stage::Asking {
            data: Some(data),
            done: Some(done),
        } = &mut self.stage
        else {
            return None;
        };
        let (data, done) = (data.take(), done.take());
        self.last = data.as_ref().map_or(0, |(seq, _)| *seq);
        let stored = data.map(|(_, batch)| (batch.epoch, batch.first, batch.next));
        let settled = done.as_ref().map(|done| (done.epoch, done.next, done.next));
        let known = match (stored, settled) {
            // What is settled may have been removed by hand.
            (Some((epoch, first, next)), Some((other, end, _))) if epoch == other => {
                Some((epoch, first, next.max(end)))
            }
            (stored, settled) => stored.or(settled),
        };
        (self.epoch, self.first, self.next) = match (self.from, known) {
            // The streams may have been made anew while this program ran: its own numbering goes on.
            (Some((epoch, offset)), known) if known.is_none_or(|(known, ..)| known != epoch) => {
                (epoch, offset, offset)
            }
            (_, Some(known)) => known,
            (_, None) => (fresh, 0, 0),
        };
        self.progress = done
            .filter(|done| done.epoch == self.epoch)
            .unwrap_or_else(|| Progress::new(self.epoch, self.first));
        self.stage = Stage::Fencing;
        Some((self.last, self.record(Vec::new())))
    }

    fn record(&self, entries: Vec<Entry>) -> Vec<u8> {
        write(&Batch {
            epoch: self.epoch,
            first: self.first,
            next: self.next,
            entries,
        })
    }

    /// The same batch again, when the server had no room for it.
    pub(super) fn fence_again(&self) -> Option<(u64, Vec<u8>)> {
        matches!(self.stage, Stage::Fencing).then(|| (self.last, self.record(Vec::new())))
    }

    /// The fence is stored: what the node is told. None when the streams contradict each other.
    pub(super) fn open(&mut self, seq: u64) -> Option<Opening> {
        self.last = seq;
        self.stage = Stage::Open;
        if let Some(early) = self.early.take() {
            self.settled(early);
        }
        Some(Opening {
            epoch: self.epoch,
            next: self.next,
            held: self.progress.unsettled(self.next)?,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Takes a message or a piece of one, which are cut to what the server takes. `item` is its number on the link.
    pub(super) fn push(
        &mut self,
        now: Instant,
        data: Data,
        pieces: Vec<Bytes>,
        item: u64,
        max_payload: usize,
    ) {
        if data.at == 0 {
            self.left = data.parts.iter().sum();
        }
        let mut rest: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let limit = max_payload.saturating_sub(OVERHEAD).max(1);
        let (mut at, mut tag, mut parts) = (data.at, data.tag, data.parts);
        loop {
            let mut content = Vec::new();
            let mut len = 0;
            while len < limit
                && let Some(piece) = rest.front_mut()
            {
                let part = piece.split_to(piece.len().min(limit - len));
                len += part.len();
                content.push(part);
                if piece.is_empty() {
                    rest.pop_front();
                }
            }
            let len = len as u64;
            self.left = self.left.saturating_sub(len);
            let is_end = rest.is_empty();
            self.queue.push_back(Chunk {
                entry: Entry {
                    offset: data.offset,
                    tag: tag.take(),
                    codec: data.codec,
                    ttl: data.ttl,
                    expired: data.expired,
                    at,
                    parts: std::mem::take(&mut parts).into_vec(),
                    len,
                },
                content,
                since: now,
                ends: is_end && self.left == 0,
                item: is_end.then_some(item),
            });
            at += len;
            if is_end {
                return;
            }
        }
    }

    /// The next batch and what it has to follow, unless one is on its way.
    pub(super) fn poll_batch(&mut self, now: Instant, max_payload: usize) -> Option<(u64, Vec<u8>)> {
        if !self.is_open() || self.sending > 0 || self.queue.is_empty() {
            return None;
        }
        let limit = (max_payload as u64).min(BATCH);
        let (mut count, mut size) = (0, 0);
        for chunk in self.queue.iter().take(MAX_ENTRIES) {
            size += chunk.entry.size();
            if count > 0 && size > limit {
                break;
            }
            count += 1;
        }
        let mut entries = Vec::with_capacity(count);
        for chunk in self.queue.iter().take(count) {
            let mut entry = chunk.entry.clone();
            let waited = now.saturating_duration_since(chunk.since);
            entry.ttl = entry.ttl.map(|ttl| ttl.saturating_sub(millis(waited)));
            entries.push(entry);
            self.next = chunk.entry.offset + u64::from(chunk.ends);
        }
        self.sending = count;
        let mut payload = self.record(entries);
        for piece in self.queue.iter().take(count).flat_map(|chunk| &chunk.content) {
            payload.extend_from_slice(piece);
        }
        Some((self.last, payload))
    }

    /// The batch is stored. Returns the link's items that are.
    pub(super) fn stored(&mut self, seq: u64) -> Vec<u64> {
        self.last = seq;
        let count = std::mem::take(&mut self.sending);
        self.queue.drain(..count).filter_map(|chunk| chunk.item).collect()
    }

    /// The batch was refused, and may be sent again as it was.
    pub(super) fn refused(&mut self) {
        self.sending = 0;
    }

    /// What is settled now and was not before, and whether it had expired.
    pub(super) fn settled(&mut self, progress: Progress) -> Vec<(u64, bool)> {
        if !self.is_open() {
            self.early = Some(progress);
            return Vec::new();
        }
        if progress.epoch != self.epoch || !progress.is_beyond(&self.progress) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.progress, progress);
        let unsettled = before.unsettled(self.next).unwrap_or_default();
        unsettled
            .into_iter()
            .filter(|offset| self.progress.is_settled(*offset))
            .map(|offset| (offset, self.progress.was_expired(offset)))
            .collect()
    }
}

impl Entry {
    /// At most so many bytes in a batch.
    fn size(&self) -> u64 {
        let tag = self.tag.as_ref().map_or(0, |tag| tag.as_str().len());
        self.len + (64 + tag + 10 * self.parts.len()) as u64
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
