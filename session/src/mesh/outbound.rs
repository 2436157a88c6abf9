//! The sending side of a connection: one frame after the other, each straight from its sender's memory. Without I/O.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Poll, Waker, ready};

use super::header::Header;
use super::wakes::Wakes;

/// Writes from slices that are not all empty, as [`ByteStream::poll_write`](flexbond_transport::ByteStream) does. Without any
/// slice, pushes out what the stream holds back, as its `poll_flush` does.
pub(super) type Write<'a> = &'a mut dyn FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>;

#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Whose frame is being written.
    owner: Option<u64>,
    /// What is left of a frame whose sender has gone; a task writes it.
    rest: Vec<u8>,
    rest_written: usize,
    /// The stream may hold back a part of that frame.
    unflushed: bool,
    waiters: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    /// A small frame, header and body.
    scratch: Vec<u8>,
    /// How often bytes were taken.
    pub(super) writes: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// One send.
pub(super) struct Parcel<'a> {
    header: [u8; Header::LEN],
    body: &'a [u8],
    written: usize,
    ticket: Option<u64>,
}

/// What a send has come to.
#[derive(Debug)]
pub(super) enum Step {
    Done,
    /// The connection takes nothing now.
    Full,
    /// Another one is being sent, and wakes this one.
    Behind,
    Failed,
}

impl<'a> Parcel<'a> {
    /// `body` is what follows the header.
    pub(super) fn new(header: Header, body: &'a [u8]) -> Self {
        debug_assert_eq!(header.following(), body.len());
        Parcel {
            header: header.encode(),
            body,
            written: 0,
            ticket: None,
        }
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Whether a part of it was written.
    pub(super) fn has_begun(&self) -> bool {
        self.written > 0
    }

    fn len(&self) -> usize {
        Header::LEN + self.body.len()
    }
}

impl Outbound {
    /// Bodies up to this size are copied beside their headers: cheaper than to have the system gather them.
    const COPIED: usize = 8 << 10;

    /// Goes on with a send. If it is not done, `waker` is woken when it is its turn; for [`Step::Full`] the caller sees
    /// to it that it is woken by the connection.
    pub(super) fn poll(
        &mut self,
        parcel: &mut Parcel<'_>,
        lead: Option<usize>,
        waker: &Waker,
        wakes: &mut Wakes,
        write: Write<'_>,
    ) -> Step {
        if !self.is_turn(parcel) {
            self.enlist(parcel, waker);
            return Step::Behind;
        }
        match self.write(parcel, lead, write) {
            Poll::Ready(Ok(())) => {
                self.messages += 1;
                self.bytes += parcel.body.len() as u64;
                self.release(parcel, wakes);
                Step::Done
            }
            Poll::Ready(Err(_)) => {
                self.release(parcel, wakes);
                Step::Failed
            }
            Poll::Pending => {
                self.owner = Some(self.ticket(parcel));
                Step::Full
            }
        }
    }

    fn is_turn(&self, parcel: &Parcel<'_>) -> bool {
        if let Some(owner) = self.owner {
            return Some(owner) == parcel.ticket;
        }
        let is_first = match self.waiters.front() {
            Some((ticket, _)) => Some(*ticket) == parcel.ticket,
            None => true,
        };
        !self.has_rest() && is_first
    }

    fn ticket(&mut self, parcel: &mut Parcel<'_>) -> u64 {
        *parcel.ticket.get_or_insert_with(|| {
            self.next_ticket += 1;
            self.next_ticket
        })
    }

    /// Takes a place behind the others, unless it has one; `waker` is woken when it is its turn.
    pub(super) fn enlist(&mut self, parcel: &mut Parcel<'_>, waker: &Waker) {
        let ticket = self.ticket(parcel);
        match self.waiters.iter_mut().find(|(other, _)| *other == ticket) {
            Some((_, known)) => known.clone_from(waker),
            None => self.waiters.push_back((ticket, waker.clone())),
        }
    }

    fn write(
        &mut self,
        parcel: &mut Parcel<'_>,
        lead: Option<usize>,
        write: Write<'_>,
    ) -> Poll<io::Result<()>> {
        let total = parcel.len();
        let is_small = parcel.body.len() <= Self::COPIED;
        if is_small && parcel.written == 0 {
            self.scratch.clear();
            self.scratch.extend_from_slice(&parcel.header);
            self.scratch.extend_from_slice(parcel.body);
        }
        while parcel.written < total {
            let count = if is_small {
                write(&[IoSlice::new(&self.scratch[parcel.written..])])
            } else if let Some(header) = parcel
                .header
                .get(parcel.written..)
                .filter(|left| !left.is_empty())
            {
                let body = &parcel.body[..lead.unwrap_or(usize::MAX).min(parcel.body.len())];
                write(&[IoSlice::new(header), IoSlice::new(body)])
            } else {
                write(&[IoSlice::new(&parcel.body[parcel.written - Header::LEN..])])
            };
            match ready!(count)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    parcel.written += count;
                    self.writes += 1;
                }
            }
        }
        // Nobody else would: there may be no other frame for long.
        write(&[]).map_ok(drop)
    }

    /// The next one's turn.
    fn release(&mut self, parcel: &mut Parcel<'_>, wakes: &mut Wakes) {
        self.owner = None;
        if let Some(ticket) = parcel.ticket.take() {
            self.waiters.retain(|(other, _)| *other != ticket);
        }
        self.wake_next(wakes);
    }

    fn wake_next(&self, wakes: &mut Wakes) {
        if let Some((_, waker)) = self.waiters.front() {
            wakes.push(waker.clone());
        }
    }

    /// A send is given up. A frame of which the peer has a part is copied, and true is returned: the caller has
    /// [`poll_rest`](Self::poll_rest) called until it is written.
    pub(super) fn cancel(&mut self, parcel: &mut Parcel<'_>, wakes: &mut Wakes) -> bool {
        let Some(ticket) = parcel.ticket else {
            return false;
        };
        let is_owner = self.owner == Some(ticket);
        if is_owner && parcel.written > 0 {
            self.owner = None;
            self.waiters.retain(|(other, _)| *other != ticket);
            parcel.ticket = None;
            if let Some(header) = parcel.header.get(parcel.written..) {
                self.rest.extend_from_slice(header);
            }
            let written = parcel.written.saturating_sub(Header::LEN);
            self.rest.extend_from_slice(&parcel.body[written..]);
            self.unflushed = true;
            self.messages += 1;
            self.bytes += parcel.body.len() as u64;
            return true;
        }
        self.waiters.retain(|(other, _)| *other != ticket);
        parcel.ticket = None;
        if is_owner {
            self.owner = None;
        }
        if self.owner.is_none() && !self.has_rest() {
            self.wake_next(wakes);
        }
        false
    }

    /// Writes what a cancelled send has left; ready once there is nothing left.
    pub(super) fn poll_rest(&mut self, wakes: &mut Wakes, write: Write<'_>) -> Poll<()> {
        while self.rest_written < self.rest.len() {
            match ready!(write(&[IoSlice::new(&self.rest[self.rest_written..])])) {
                Ok(count) if count > 0 => {
                    self.rest_written += count;
                    self.writes += 1;
                }
                // The stream has ended, and all who send find that out by themselves.
                _ => self.rest_written = self.rest.len(),
            }
        }
        let _ = ready!(write(&[]));
        self.unflushed = false;
        self.rest = Vec::new();
        self.rest_written = 0;
        self.wake_next(wakes);
        Poll::Ready(())
    }

    /// Whether a send waits, or what one has left.
    pub(super) fn is_awaited(&self) -> bool {
        self.owner.is_some() || !self.waiters.is_empty() || self.has_rest()
    }

    /// Whether a cancelled send has left something.
    pub(super) fn has_rest(&self) -> bool {
        self.unflushed || !self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests;
