//! All messages of a channel from one party to another, until the receiver has them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tonic::Status;

use crate::messages::{Mark, Numbered, Piece};
use crate::outbox::Outbox;

/// Pieces are as large as this; a sender whose mailbox has more bytes than the window waits.
pub(crate) const PIECE: usize = 1 << 20;
/// Pieces that may be in a mailbox.
pub(crate) const MOST: usize = 1024;

/// A mailbox.
pub(crate) struct Mailbox {
    room: usize,
    state: Mutex<State>,
    /// Something has come or has gone.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The number of the first piece that is kept.
    first: u64,
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Where pieces are pushed to.
    reader: Option<End>,
    /// Where marks go.
    writer: Option<End>,
}

/// A stream, and the mailbox's number in it.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) outbox: Arc<Outbox<Numbered>>,
    pub(crate) number: u32,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is in the mailbox, perhaps since an earlier time; so are all below this.
    Taken(u64),
    /// There is no room for it yet.
    Full,
}

impl State {
    fn next(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    fn mark(&self) {
        if let Some(End { outbox, number }) = &self.writer {
            outbox.mark(Mark {
                number: *number,
                taken: self.next(),
                received: self.first,
            });
        }
    }
}

impl Mailbox {
    pub(crate) fn new(room: usize) -> Self {
        Mailbox {
            room,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a piece once, whatever how often it comes.
    ///
    /// # Errors
    /// When one before it is missing.
    pub(crate) fn put(&self, piece: Piece) -> Result<Put, Status> {
        let mut state = self.lock();
        let next = state.next();
        if piece.offset > next {
            return Err(Status::out_of_range(format!("{next} is missing")));
        }
        if piece.offset < next {
            state.mark();
            return Ok(Put::Taken(next));
        }
        let is_full = state.pieces.len() >= MOST || state.bytes + piece.data.len() > self.room;
        if is_full && !state.pieces.is_empty() {
            return Ok(Put::Full);
        }
        state.bytes += piece.data.len();
        if let Some(End { outbox, number }) = &state.reader {
            outbox.push(Numbered {
                number: *number,
                piece: Some(piece.clone()),
            });
        }
        state.pieces.push_back(piece);
        state.mark();
        drop(state);
        self.changed.notify_waiters();
        Ok(Put::Taken(next + 1))
    }

    /// The same, when there is room.
    pub(crate) async fn put_in_turn(&self, piece: Piece) -> Result<u64, Status> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Put::Taken(next) = self.put(piece.clone())? {
                return Ok(next);
            }
            changed.await;
        }
    }

    /// The receiver has all pieces below `next`: they are kept no longer.
    pub(crate) fn received(&self, next: u64) {
        let mut state = self.lock();
        if next <= state.first {
            return;
        }
        let before = state.bytes;
        while state.first < next {
            let Some(piece) = state.pieces.pop_front() else {
                break;
            };
            state.bytes -= piece.data.len();
            state.first += 1;
        }
        state.mark();
        if let Some(End { outbox, .. }) = &state.writer
            && before - state.bytes >= PIECE
        {
            outbox.hurry();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The piece of this number, when there is one.
    pub(crate) async fn wait_for(&self, offset: u64) -> Piece {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(piece) = self.piece(offset) {
                return piece;
            }
            changed.await;
        }
    }

    fn piece(&self, offset: u64) -> Option<Piece> {
        let state = self.lock();
        let index = offset.checked_sub(state.first)?;
        state.pieces.get(usize::try_from(index).ok()?).cloned()
    }

    /// From now on pieces are pushed to this stream, those first that are there already.
    pub(crate) fn attach_reader(&self, end: End) {
        let mut state = self.lock();
        for piece in &state.pieces {
            end.outbox.push(Numbered {
                number: end.number,
                piece: Some(piece.clone()),
            });
        }
        state.reader = Some(end);
    }

    /// From now on this stream is told what became of pieces.
    pub(crate) fn attach_writer(&self, end: End) {
        let mut state = self.lock();
        state.writer = Some(end);
        state.mark();
    }

    /// A stream has ended, and another may be there by now.
    pub(crate) fn detach(&self, outbox: &Arc<Outbox<Numbered>>) {
        let mut state = self.lock();
        let is_other = |end: &End| !Arc::ptr_eq(&end.outbox, outbox);
        state.reader = state.reader.take().filter(is_other);
        state.writer = state.writer.take().filter(is_other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn piece(offset: u64) -> Piece {
        Piece {
            offset,
            goes_on: false,
            data: Bytes::from_static(b"ten bytes!"),
        }
    }

    #[test]
    fn pieces_are_taken_once_and_in_order() {
        let mailbox = Mailbox::new(25);
        assert!(mailbox.put(piece(1)).is_err());
        assert_eq!(mailbox.put(piece(0)).unwrap(), Put::Taken(1));
        assert_eq!(mailbox.put(piece(0)).unwrap(), Put::Taken(1));
        assert_eq!(mailbox.put(piece(1)).unwrap(), Put::Taken(2));
        assert_eq!(mailbox.put(piece(2)).unwrap(), Put::Full);
        assert_eq!(mailbox.piece(0), Some(piece(0)));
        mailbox.received(1);
        assert_eq!(mailbox.piece(0), None);
        assert_eq!(mailbox.put(piece(2)).unwrap(), Put::Taken(3));
        assert_eq!(mailbox.piece(1), Some(piece(1)));
    }
}
