//! One flow to this party: from the stream to the node, within the node's window, and what is settled of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::record::{Batch, Entry, Progress};
use crate::federation::core::MAX_PARTS;
use crate::federation::core::few::Few;
use crate::federation::core::packet::{Data, Item, MAX_OFFSET};
use crate::federation::limits::Limits;
use crate::federation::name::Tag;

/// After so many settled batches they are removed from the stream at once.
const PURGE_COUNT: usize = 128;
/// And after this time in any case.
const PURGE_AFTER: Duration = Duration::from_millis(200);

/// A batch as the stream has it.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) seq: u64,
    /// When the server has stored it, by its clock in milliseconds.
    pub(super) time: u64,
    pub(super) batch: Batch,
    pub(super) contents: Vec<Bytes>,
}

#[derive(Debug)]
pub(super) struct Inbound {
    /// Its number on the link.
    pub(super) id: u32,
    pub(super) subject: String,
    pub(super) done: String,
    stage: Stage,
    epoch: u64,
    progress: Progress,
    /// The place of the record of progress in its stream; 0 for none.
    done_seq: u64,
    /// Messages with lower offsets are here as a whole, or settled.
    begun: u64,
    assembly: Option<Assembly>,
    /// Whole messages that the node has not got.
    ready: VecDeque<Whole>,
    /// What the node's window has to have room for, by offset.
    counted: BTreeMap<u64, u64>,
    counted_bytes: u64,
    /// What the node has since an earlier session, and its program has not.
    held: BTreeSet<u64>,
    /// Offsets below came to the node in an earlier session.
    known: u64,
    /// From this place on, batches were left in the stream since the window had no room.
    behind: Option<u64>,
    /// The place of the last batch that is known of.
    latest: u64,
    is_fetching: bool,
    /// Batches that are in the stream: the place, and which offset has to be settled before it can be removed.
    kept: VecDeque<(u64, u64)>,
    removable: usize,
    purge_at: Option<Instant>,
    /// The link's items that wait for the record of progress.
    settling: Vec<u64>,
    writing: Option<(Vec<u64>, u64)>,
    is_dirty: bool,
    /// Up to this place the stream was there when the session began.
    loaded_to: u64,
}

#[derive(Debug)]
enum Stage {
    /// What the streams have of it is asked for.
    Loading {
        waiting: Vec<Parcel>,
        last: Option<Option<(u64, u64)>>,
        done: Option<Option<(u64, Progress)>>,
    },
    /// The node is asked what it has.
    Opening,
    Open,
}

#[derive(Debug)]
struct Assembly {
    whole: Whole,
    size: u64,
    at: u64,
}

#[derive(Debug)]
struct Whole {
    offset: u64,
    tag: Option<Tag>,
    codec: u8,
    ttl: Option<u64>,
    time: u64,
    /// The lengths of all parts; none when it has expired.
    parts: Option<Vec<u64>>,
    chunks: Vec<Bytes>,
}

/// What has become of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Taken,
    /// The flow has begun anew: this session cannot go on.
    Renumbered,
}

impl Inbound {
    pub(super) fn new(id: u32, subject: String, done: String) -> Self {
        Inbound {
            id,
            subject,
            done,
            stage: Stage::Loading {
                waiting: Vec::new(),
                last: None,
                done: None,
            },
            epoch: 0,
            progress: Progress::default(),
            done_seq: 0,
            begun: 0,
            assembly: None,
            ready: VecDeque::new(),
            counted: BTreeMap::new(),
            counted_bytes: 0,
            held: BTreeSet::new(),
            known: 0,
            behind: None,
            latest: 0,
            is_fetching: false,
            kept: VecDeque::new(),
            removable: 0,
            purge_at: None,
            settling: Vec::new(),
            writing: None,
            is_dirty: false,
            loaded_to: 0,
        }
    }

    /// While this is so, no more batches should be handed in.
    pub(super) fn is_loading(&self) -> bool {
        matches!(self.stage, Stage::Loading { .. })
    }

    /// Whether the node has all that has come.
    pub(super) fn is_passed_on(&self) -> bool {
        matches!(self.stage, Stage::Open) && self.behind.is_none() && self.ready.is_empty()
    }

    /// The last batch of the flow: its place and its epoch.
    pub(super) fn handle_last(&mut self, found: Option<(u64, u64)>) {
        if let Stage::Loading { last, .. } = &mut self.stage {
            *last = Some(found);
        }
    }

    /// This party's own record, and its place.
    pub(super) fn handle_done(&mut self, found: Option<(u64, Progress)>) {
        if let Stage::Loading { done, .. } = &mut self.stage {
            *done = Some(found);
        }
    }

    /// The opening for the node and the batches that have waited, when all is known that it needs.
    pub(super) fn open(&mut self) -> Option<((u64, u64), Vec<Parcel>)> {
        let Stage::Loading {
            waiting,
            last: Some(last),
            done: Some(done),
        } = &mut self.stage
        else {
            return None;
        };
        let (waiting, last, done) = (std::mem::take(waiting), *last, done.take());
        self.done_seq = done.as_ref().map_or(0, |(seq, _)| *seq);
        // The last batch has the numbering that counts; there is one, unless somebody has removed it.
        self.epoch = match (last, &done) {
            (Some((_, epoch)), _) => epoch,
            (None, Some((_, progress))) => progress.epoch,
            (None, None) => waiting.last().map_or(0, |parcel| parcel.batch.epoch),
        };
        let first = waiting
            .iter()
            .find(|parcel| parcel.batch.epoch == self.epoch)
            .map_or(0, |parcel| parcel.batch.first);
        self.progress = done
            .map(|(_, progress)| progress)
            .filter(|progress| progress.epoch == self.epoch)
            .unwrap_or_else(|| Progress::new(self.epoch, first));
        self.begun = self.progress.next;
        self.loaded_to = last.map_or(0, |(seq, _)| seq);
        self.stage = Stage::Opening;
        Some(((self.epoch, self.progress.next), waiting))
    }

    /// The node has answered the opening.
    pub(super) fn opened(&mut self, next: u64, held: &[u64]) {
        self.known = next;
        self.held = held.iter().copied().filter(|offset| *offset < next).collect();
        self.stage = Stage::Open;
        // What it has had and does not hold, its program has received.
        let gone = self.progress.unsettled(next).unwrap_or_default();
        for offset in gone {
            if !self.held.contains(&offset) {
                self.settle(offset, false);
            }
        }
    }

    /// Takes a batch of the stream.
    pub(super) fn handle(&mut self, parcel: Parcel, limits: &Limits) -> Outcome {
        if let Stage::Loading { waiting, .. } = &mut self.stage {
            waiting.push(parcel);
            return Outcome::Taken;
        }
        self.latest = self.latest.max(parcel.seq);
        if parcel.batch.epoch != self.epoch {
            // What is left of an earlier numbering comes before all of this one.
            if parcel.seq > self.loaded_to {
                return Outcome::Renumbered;
            }
            self.keep(parcel.seq, 0);
            return Outcome::Taken;
        }
        let end = parcel.batch.entries.last().map_or(0, |entry| entry.offset + 1);
        self.keep(parcel.seq, end);
        if self.behind.is_some_and(|behind| parcel.seq > behind) {
            return Outcome::Taken;
        }
        let Parcel {
            seq,
            time,
            batch,
            contents,
        } = parcel;
        for (entry, content) in batch.entries.into_iter().zip(contents) {
            if !self.accept(entry, content, time, limits) {
                self.behind = Some(seq);
                return Outcome::Taken;
            }
        }
        if self.behind == Some(seq) {
            self.behind = (seq < self.latest).then_some(seq + 1);
        }
        Outcome::Taken
    }

    /// Remembers what can be removed from the stream in the end.
    fn keep(&mut self, seq: u64, end: u64) {
        if self.kept.back().is_none_or(|(last, _)| *last < seq) {
            self.kept.push_back((seq, end));
        }
    }

    /// Whether there is room for it.
    fn accept(&mut self, entry: Entry, content: Bytes, time: u64, limits: &Limits) -> bool {
        if entry.offset < self.begun || entry.offset >= MAX_OFFSET {
            return true;
        }
        if entry.at == 0 {
            return self.begin(entry, content, time, limits);
        }
        // The rest of a message whose sender died comes to nothing: its successor has begun it again.
        if let Some(assembly) = &mut self.assembly
            && assembly.whole.offset == entry.offset
            && assembly.at == entry.at
            && content.len() as u64 <= assembly.size - assembly.at
        {
            assembly.at += content.len() as u64;
            assembly.whole.chunks.push(content);
            self.finish();
        }
        true
    }

    fn begin(&mut self, entry: Entry, content: Bytes, time: u64, limits: &Limits) -> bool {
        self.bury_missing(entry.offset, limits);
        if self.progress.is_settled(entry.offset) {
            self.begun = entry.offset + 1;
            return true;
        }
        let size = entry
            .parts
            .iter()
            .try_fold(0_u64, |sum, len| sum.checked_add(*len));
        let is_good = !entry.expired && (1..=MAX_PARTS).contains(&entry.parts.len());
        let size =
            size.filter(|size| is_good && *size <= limits.max_message && content.len() as u64 <= *size);
        let Some(size) = size else {
            self.bury(entry.offset, entry.tag);
            return true;
        };
        // An earlier beginning of the same message does not count any more.
        self.uncount(entry.offset);
        let has_room = self.counted.is_empty()
            || (self.counted.len() < limits.window_messages as usize
                && self.counted_bytes.saturating_add(size) <= limits.window_bytes);
        if !has_room {
            return false;
        }
        self.counted.insert(entry.offset, size);
        self.counted_bytes += size;
        self.assembly = Some(Assembly {
            at: content.len() as u64,
            size,
            whole: Whole {
                offset: entry.offset,
                tag: entry.tag,
                codec: entry.codec,
                ttl: entry.ttl,
                time,
                parts: Some(entry.parts),
                chunks: vec![content],
            },
        });
        self.finish();
        true
    }

    /// Messages that the stream has no longer, because of their age or by hand, are gone: who asks for them is told.
    fn bury_missing(&mut self, end: u64, limits: &Limits) {
        let first = end
            .saturating_sub(u64::from(limits.window_messages))
            .max(self.begun);
        for offset in first..end {
            if !self.progress.is_settled(offset) {
                self.bury(offset, None);
            }
        }
    }

    fn bury(&mut self, offset: u64, tag: Option<Tag>) {
        self.uncount(offset);
        self.begun = offset + 1;
        self.ready.push_back(Whole {
            offset,
            tag,
            codec: 0,
            ttl: None,
            time: 0,
            parts: None,
            chunks: Vec::new(),
        });
    }

    fn finish(&mut self) {
        if let Some(assembly) = self.assembly.take_if(|assembly| assembly.at == assembly.size) {
            self.begun = assembly.whole.offset + 1;
            self.ready.push_back(assembly.whole);
        }
    }

    fn uncount(&mut self, offset: u64) {
        if let Some(size) = self.counted.remove(&offset) {
            self.counted_bytes -= size;
        }
    }

    /// The next message for the node, as items. `now` is the server's clock in milliseconds.
    pub(super) fn poll_whole(&mut self, now: u64) -> Option<Vec<(Item, Vec<Bytes>)>> {
        if !matches!(self.stage, Stage::Open) {
            return None;
        }
        loop {
            let whole = self.ready.pop_front()?;
            if whole.offset >= self.known {
                return Some(whole.into_items(self.id, now));
            }
            if !self.held.contains(&whole.offset) {
                self.uncount(whole.offset);
            }
        }
    }

    /// The node's program has a message, or never will.
    pub(super) fn handle_settled(&mut self, offset: u64, expired: bool, item: u64) {
        self.settle(offset, expired);
        self.settling.push(item);
    }

    fn settle(&mut self, offset: u64, expired: bool) {
        self.uncount(offset);
        self.is_dirty |= self.progress.settle(offset, expired);
    }

    /// The record that is to be written, and what it has to follow.
    pub(super) fn poll_record(&mut self) -> Option<(u64, Vec<u8>)> {
        let has_news = self.is_dirty || !self.settling.is_empty();
        if self.writing.is_some() || self.is_loading() || !has_news {
            return None;
        }
        self.is_dirty = false;
        self.writing = Some((std::mem::take(&mut self.settling), self.progress.next));
        Some((self.done_seq, self.progress.write()))
    }

    /// The record is written. Returns the link's items that are in it.
    pub(super) fn recorded(&mut self, now: Instant, seq: u64) -> Vec<u64> {
        self.done_seq = seq;
        let Some((items, next)) = self.writing.take() else {
            return Vec::new();
        };
        while let Some((_, end)) = self.kept.get(self.removable)
            && *end <= next
        {
            self.removable += 1;
        }
        if self.removable > 1 && self.purge_at.is_none() {
            self.purge_at = Some(now + PURGE_AFTER);
        }
        items
    }

    /// The record was refused, and may be written again.
    pub(super) fn unrecorded(&mut self) {
        if let Some((items, _)) = self.writing.take() {
            self.settling.extend(items);
            self.is_dirty = true;
        }
    }

    /// When [`poll_purge`](Inbound::poll_purge) has something.
    pub(super) fn purge_at(&self) -> Option<Instant> {
        self.purge_at
    }

    /// Before which place all batches can be removed. The last one always stays.
    pub(super) fn poll_purge(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.removable > PURGE_COUNT || self.purge_at.is_some_and(|at| now >= at);
        let count = self.removable.min(self.kept.len().saturating_sub(1));
        if !is_due || count == 0 {
            return None;
        }
        self.purge_at = None;
        self.kept.drain(..count);
        self.removable -= count;
        self.kept.front().map(|(seq, _)| *seq)
    }

    /// From which place on the stream should be read again, if there is room now.
    pub(super) fn poll_fetch(&mut self, limits: &Limits) -> Option<u64> {
        let has_room = self.counted.is_empty()
            || (self.counted.len() < limits.window_messages as usize
                && self.counted_bytes < limits.window_bytes);
        if self.is_fetching || !has_room {
            return None;
        }
        self.is_fetching = self.behind.is_some();
        self.behind
    }

    /// What was fetched: the first batch from there on, if there is one.
    pub(super) fn fetched(&mut self, parcel: Option<Parcel>, limits: &Limits) -> Outcome {
        self.is_fetching = false;
        let Some(parcel) = parcel else {
            self.behind = None;
            return Outcome::Taken;
        };
        self.behind = Some(parcel.seq);
        self.handle(parcel, limits)
    }
}

impl Whole {
    fn into_items(self, flow: u32, now: u64) -> Vec<(Item, Vec<Bytes>)> {
        let ttl = self
            .ttl
            .map(|ttl| ttl.saturating_sub(now.saturating_sub(self.time)));
        let mut data = Data {
            flow,
            offset: self.offset,
            tag: self.tag,
            codec: self.codec,
            ttl,
            expired: ttl == Some(0),
            at: 0,
            parts: Few::new(),
            pieces: 0,
        };
        let Some(parts) = self.parts.filter(|_| !data.expired) else {
            data.expired = true;
            return vec![(Item::Data(data), Vec::new())];
        };
        let mut items = Vec::with_capacity(self.chunks.len());
        let mut at = 0;
        for chunk in self.chunks {
            let len = chunk.len() as u64;
            let pieces = cut(&parts, at, chunk);
            let item = Item::Data(Data {
                at,
                tag: data.tag.take(),
                parts: if at == 0 { parts.clone().into() } else { Few::new() },
                pieces: u16::try_from(pieces.len()).expect("a message has at most `MAX_PARTS` parts"),
                ..data.clone()
            });
            items.push((item, pieces));
            at += len;
        }
        items
    }
}

/// Content that begins at `at` of the parts laid end to end, cut where a part ends.
fn cut(parts: &[u64], at: u64, mut content: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut end = 0_u64;
    let mut at = at;
    for len in parts {
        end += len;
        if end <= at {
            continue;
        }
        if content.is_empty() {
            break;
        }
        let here = usize::try_from(end - at).map_or(content.len(), |here| here.min(content.len()));
        pieces.push(content.split_to(here));
        at += here as u64;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_cut_where_parts_end() {
        let content = Bytes::from_static(b"0123456789");
        let cut_at = |at: usize, end: usize| -> Vec<String> {
            cut(&[3, 0, 4, 0, 3], at as u64, content.slice(at..end))
                .into_iter()
                .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
                .collect()
        };
        assert_eq!(cut_at(0, 10), ["012", "3456", "789"]);
        assert_eq!(cut_at(2, 4), ["2", "3"]);
        assert_eq!(cut_at(3, 7), ["3456"]);
        assert_eq!(cut_at(7, 7), [""; 0]);
    }
}
