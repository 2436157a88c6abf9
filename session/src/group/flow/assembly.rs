//! Records put together again from a stream that arrives in order.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use flexbond_wire::spare;

use super::budget::Budget;
use super::record::{BadHeader, HeaderReader, RecordKind};

/// Records put together again.
///
/// Room for the whole body is taken from the budget before anything of it is stored; while there is none, the stream
/// waits.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    header: HeaderReader,
    /// A header that was read, but whose body has no room yet.
    waiting: Option<(RecordKind, u64)>,
    partial: Option<Partial>,
    ready: VecDeque<(RecordKind, Bytes)>,
    /// Whether a streamed message has begun that has not ended.
    streaming: bool,
}

#[derive(Debug)]
struct Partial {
    kind: RecordKind,
    length: usize,
    /// Bytes of the body that have come.
    filled: usize,
    /// As long as what has come; or, if it is large, as long as it will be, so that bytes can be put there directly.
    body: BytesMut,
}

impl Partial {
    fn push(&mut self, bytes: &[u8]) {
        match self.body.get_mut(self.filled..self.filled + bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => self.body.extend_from_slice(bytes),
        }
        self.filled += bytes.len();
    }
}

/// Why a flow cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// What came is no stream of records.
    Malformed,
    /// A message of `length` bytes, more than will ever be taken.
    TooLarge { length: u64, limit: u64 },
}

impl From<BadHeader> for Refused {
    fn from(BadHeader: BadHeader) -> Self {
        Refused::Malformed
    }
}

impl Assembly {
    /// What a waiting record costs besides its body.
    const RECORD: u64 = 64;
    /// Bodies of this many bytes and more go to memory that was used before.
    const LARGE: usize = 32 << 10;

    /// Takes from the front of `bytes` what there is room for: all of it, unless the budget is used up.
    pub(crate) fn push(&mut self, bytes: &mut &[u8], budget: &mut Budget, limit: u64) -> Result<(), Refused> {
        loop {
            if self.waiting.is_some() && !self.begin(budget, limit)? {
                return Ok(());
            }
            if let Some(partial) = &mut self.partial {
                let wanted = partial.length - partial.filled;
                let count = wanted.min(bytes.len());
                partial.push(&bytes[..count]);
                bytes.advance(count);
                if count < wanted {
                    return Ok(());
                }
                self.finish(budget);
            }
            while self.waiting.is_none() {
                let Some((&byte, rest)) = bytes.split_first() else {
                    return Ok(());
                };
                *bytes = rest;
                self.waiting = self.header.push(byte)?;
            }
        }
    }

    /// Makes room for the body that a header has announced; false while there is none.
    fn begin(&mut self, budget: &mut Budget, limit: u64) -> Result<bool, Refused> {
        let Some((kind, length)) = self.waiting else {
            return Ok(true);
        };
        let limit = limit.min(budget.limit());
        let Some(size) = usize::try_from(length).ok().filter(|_| length <= limit) else {
            return Err(Refused::TooLarge { length, limit });
        };
        if !budget.take(Self::cost(length, budget)) {
            return Ok(false);
        }
        self.waiting = None;
        self.partial = Some(Partial {
            kind,
            length: size,
            filled: 0,
            body: match size {
                Self::LARGE.. => spare::take_filled(size),
                // Small ones, too, so that tests need not send large ones.
                _ if cfg!(test) => BytesMut::zeroed(size),
                _ => BytesMut::with_capacity(size),
            },
        });
        Ok(true)
    }

    /// What a record of this length takes from the budget: one that is as long as all of it waits alone.
    fn cost(length: u64, budget: &Budget) -> u64 {
        length.saturating_add(Self::RECORD).min(budget.limit())
    }

    /// Where the bytes belong that come next, all of the same body; empty if that is not known, or is not large.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        match &mut self.partial {
            Some(partial) => &mut partial.body[partial.filled..],
            None => &mut [],
        }
    }

    /// So many bytes have been put into [`room`](Self::room).
    pub(crate) fn take_placed(&mut self, count: usize, budget: &mut Budget) {
        let Some(partial) = &mut self.partial else {
            return;
        };
        partial.filled += count.min(partial.body.len() - partial.filled);
        if partial.filled == partial.length {
            self.finish(budget);
        }
    }

    fn finish(&mut self, budget: &mut Budget) {
        let Some(Partial { kind, body, .. }) = self.partial.take() else {
            return;
        };
        let begun = self.streaming;
        self.streaming = match kind {
            RecordKind::FirstChunk => true,
            RecordKind::Chunk => begun,
            RecordKind::Message | RecordKind::LastChunk | RecordKind::End | RecordKind::Cut => false,
        };
        if matches!(kind, RecordKind::Chunk | RecordKind::LastChunk) && !begun {
            // Of a message that began before this flow did.
            budget.give_back(Self::cost(body.len() as u64, budget));
        } else {
            let body = match body.len() {
                Self::LARGE.. => spare::lend(body),
                _ => body.freeze(),
            };
            self.ready.push_back((kind, body));
        }
    }

    /// Whether a header was read, but there is no room for its body.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes the oldest whole record, and gives back its room.
    pub(crate) fn pop(&mut self, budget: &mut Budget) -> Option<(RecordKind, Bytes)> {
        let (kind, body) = self.ready.pop_front()?;
        if kind != RecordKind::Cut {
            budget.give_back(Self::cost(body.len() as u64, budget));
        }
        Some((kind, body))
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What comes next does not follow on what came before, if anything comes: drops what is not whole.
    pub(crate) fn cut(&mut self, budget: &mut Budget) {
        if let Some(partial) = self.partial.take() {
            budget.give_back(Self::cost(partial.length as u64, budget));
        }
        self.header = HeaderReader::default();
        self.waiting = None;
        if std::mem::take(&mut self.streaming) {
            self.ready.push_back((RecordKind::Cut, Bytes::new()));
        }
    }

    /// Gives everything back: nobody wants it any more.
    pub(crate) fn clear(&mut self, budget: &mut Budget) {
        self.cut(budget);
        while self.pop(budget).is_some() {}
    }
}
