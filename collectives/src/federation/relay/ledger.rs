//! What the store is to do, and who waits for it.

use std::collections::{BTreeMap, VecDeque};

use super::store::{Op, PieceId, Request};

/// A batch of so many bytes of content is closed: where the store has little room, it takes one after the other.
const LARGE: u64 = 256 << 10;

#[derive(Debug)]
pub(super) struct Ledger {
    is_durable: bool,
    ops: Vec<Op>,
    /// The bytes of content in the open batch.
    bytes: u64,
    /// Batches that are closed and not given yet.
    closed: VecDeque<(u64, Vec<Op>)>,
    /// The batch that is open: what is added now is durable with it.
    batch: u64,
    committed: u64,
    marks: VecDeque<(u64, Mark)>,
    loads: VecDeque<PieceId>,
    /// What the store was asked for and has not given, and the bytes that are kept free for it.
    loading: BTreeMap<PieceId, u64>,
    /// The bytes of messages that are in memory, or on their way there.
    pub(super) memory: u64,
    /// Those of them that the store has not got yet.
    pub(super) unwritten: u64,
    /// Flows that wait for memory to load into.
    pub(super) starved: VecDeque<usize>,
}

/// Who waits for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A half, in this session, that can confirm items.
    Half { half: usize, session: u64 },
    /// A new sender can be told what is here of a flow.
    Answer { flow: usize, session: u64 },
    /// A piece of this many bytes, that may be sent on.
    Piece {
        flow: usize,
        seq: u64,
        at: u64,
        len: u64,
    },
}

impl Ledger {
    pub(super) fn new(is_durable: bool) -> Self {
        Ledger {
            is_durable,
            ops: Vec::new(),
            bytes: 0,
            closed: VecDeque::new(),
            batch: u64::from(is_durable),
            committed: 0,
            marks: VecDeque::new(),
            loads: VecDeque::new(),
            loading: BTreeMap::new(),
            memory: 0,
            unwritten: 0,
            starved: VecDeque::new(),
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// The open batch; 0 without a store, where all is held for durable.
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// How many changes the open batch has.
    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(super) fn add(&mut self, op: impl FnOnce() -> Op) {
        if self.is_durable {
            let op = op();
            if let Op::Piece { content, .. } = &op {
                self.bytes += content.iter().map(|buffer| buffer.len() as u64).sum::<u64>();
            }
            self.ops.push(op);
        }
    }

    /// Closes the open batch if it is large. Not between the changes of one cause.
    pub(super) fn divide(&mut self) {
        if self.bytes >= LARGE {
            self.close();
        }
    }

    fn close(&mut self) {
        self.closed.push_back((self.batch, std::mem::take(&mut self.ops)));
        self.batch += 1;
        self.bytes = 0;
    }

    /// Tells when the open batch is durable.
    pub(super) fn mark(&mut self, mark: Mark) {
        if self.is_durable {
            self.marks.push_back((self.batch, mark));
        }
    }

    /// Tells when all that has changed so far is durable; false if it is.
    pub(super) fn mark_last(&mut self, mark: Mark) -> bool {
        let last = self.batch.saturating_sub(u64::from(self.ops.is_empty()));
        if !self.is_durable || last <= self.committed {
            return false;
        }
        self.marks.push_back((last, mark));
        true
    }

    /// What has changed since the last batch is none of the store's business.
    pub(super) fn forget_changes(&mut self) {
        self.ops.clear();
    }

    /// Asks for pieces, with their lengths.
    pub(super) fn load(&mut self, pieces: Vec<(PieceId, u64)>) {
        for (piece, len) in pieces {
            self.loads.push_back(piece);
            self.memory += len;
            *self.loading.entry(piece).or_default() += len;
        }
    }

    /// A piece that was asked for is here, or does not exist: its bytes, which do not count as being loaded any more.
    pub(super) fn loaded(&mut self, piece: PieceId) -> u64 {
        let len = self.loading.remove(&piece).unwrap_or(0);
        self.unload(len);
        len
    }

    /// The bytes that are kept free for what the store was asked for.
    #[cfg(any(test, fuzzing))]
    pub(super) fn loading(&self) -> u64 {
        self.loading.values().sum()
    }

    pub(super) fn unload(&mut self, bytes: u64) {
        self.memory = self.memory.saturating_sub(bytes);
    }

    pub(super) fn poll(&mut self) -> Option<Request> {
        if self.closed.is_empty() && !self.ops.is_empty() {
            self.close();
        }
        if let Some((batch, ops)) = self.closed.pop_front() {
            return Some(Request::Commit { batch, ops });
        }
        self.loads.pop_front().map(Request::Load)
    }

    pub(super) fn commit(&mut self, batch: u64) {
        // Nothing that was not given can have been done.
        self.committed = self.committed.max(batch.min(self.batch.saturating_sub(1)));
    }

    /// Somebody whose batch is durable.
    pub(super) fn next_mark(&mut self) -> Option<Mark> {
        let committed = self.committed;
        let mark = self.marks.pop_front_if(|(batch, _)| *batch <= committed)?;
        Some(mark.1)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ops.is_empty() && (!self.is_durable || self.committed + 1 == self.batch)
    }
}
