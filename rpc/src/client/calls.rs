//! The calls under way of one client, without any I/O or clock.

use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::time::Instant;

use super::room::{Place, Room};
use super::slot::{self, Beginning, Next, Server, Slot};
use crate::envelope::{DecodeError, Envelope, Header, Kind};
use crate::error::CallError;
use crate::failure::Failure;
use crate::request::{Item, Response};

/// The calls under way of one client.
///
/// Whoever is to be woken is put into the `wakers` that are given, to be woken when the lock is not held any more.
#[derive(Debug)]
pub(super) struct Calls {
    slots: Slab<Slot>,
    /// Of the next call: a number is never used twice while it may still be on its way.
    generation: u32,
    /// No deadline is before this.
    next_deadline: Option<Instant>,
    max_response: usize,
    pub(super) room: Room,
}

impl Calls {
    pub(super) fn new(max_in_flight: usize, max_response: usize) -> Self {
        Calls {
            slots: Slab::new(),
            generation: 0,
            next_deadline: None,
            max_response,
            room: Room::new(max_in_flight),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes a call in, at the place that is held for it; returns its number.
    pub(super) fn insert(&mut self, now: Instant, kind: slot::Kind, place: &mut Place) -> u64 {
        self.room.enter(place);
        self.generation = self.generation.wrapping_add(1);
        let deadline = kind.deadline(now);
        self.expect(deadline);
        let entry = self.slots.vacant_entry();
        let index = entry.key();
        entry.insert(Slot::new(self.generation, deadline, kind));
        number(self.generation, index)
    }

    fn expect(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            let next = self.next_deadline.map_or(deadline, |next| next.min(deadline));
            self.next_deadline = Some(next);
        }
    }

    fn index(&self, call: u64) -> Option<usize> {
        let index = (call & u64::from(u32::MAX)) as usize;
        let slot = self.slots.get(index)?;
        (u64::from(slot.generation) == call >> 32).then_some(index)
    }

    fn slot(&mut self, call: u64) -> Option<&mut Slot> {
        let index = self.index(call)?;
        self.slots.get_mut(index)
    }

    fn remove(&mut self, index: usize, wakers: &mut Vec<Waker>) -> Slot {
        wakers.extend(self.room.free());
        self.slots.remove(index)
    }

    /// The call was handed to the connection.
    pub(super) fn sent(&mut self, now: Instant, call: u64, wakers: &mut Vec<Waker>) {
        if let Some(slot) = self.slot(call) {
            let renewed = slot.sent(now, wakers);
            self.expect(renewed);
        }
    }

    /// Whether the end of this call is still to come. One that was told to have ended must not be sent any more.
    pub(super) fn is_open(&self, call: u64) -> bool {
        self.index(call)
            .is_some_and(|index| !self.slots[index].is_ended())
    }

    /// When the time of a call is over.
    pub(super) fn deadline(&self, call: u64) -> Option<Instant> {
        self.slots[self.index(call)?].deadline
    }

    /// Whether the server works for any of them.
    pub(super) fn is_any_running(&self) -> bool {
        self.slots.iter().any(|(_, slot)| slot.is_running())
    }

    /// Takes an answer, if it belongs to a call under way.
    pub(super) fn answer(&mut self, now: Instant, envelope: Envelope, wakers: &mut Vec<Waker>) -> Server {
        let limit = self.max_response;
        let Some(slot) = self.slot(envelope.header.call) else {
            return Server::Knows;
        };
        let size = envelope.size();
        let Header { kind, count, .. } = envelope.header;
        let too_large = || CallError::TooLarge {
            size,
            limit,
            answer: true,
        };
        let mut server = Server::Knows;
        match kind {
            Kind::Credit => slot.credit(count, wakers),
            Kind::Response if size > limit => slot.finish(Err(too_large()), wakers),
            Kind::Response => slot.finish(Ok(response(envelope)), wakers),
            Kind::Error if size > limit => slot.finish(Err(too_large()), wakers),
            Kind::Error => {
                let failure = Failure::from_envelope(envelope);
                slot.finish(
                    Err(failure.map_or_else(CallError::Answer, CallError::Failure)),
                    wakers,
                );
            }
            Kind::StreamItem if size > limit => server = slot.give_up(too_large(), wakers),
            Kind::StreamItem => server = slot.item(count, item(envelope), wakers),
            Kind::StreamEnd => slot.end(count, wakers),
            // Nothing that a call is answered with.
            _ => return Server::Knows,
        }
        let renewed = slot.renew(now);
        self.expect(renewed);
        server
    }

    /// Takes a message that cannot be read, of the kind that it says, if it does, and of this call.
    pub(super) fn malformed(
        &mut self,
        call: u64,
        kind: Option<Kind>,
        error: DecodeError,
        wakers: &mut Vec<Waker>,
    ) -> Server {
        let server = self.fail(call, CallError::Malformed(error), wakers);
        match kind {
            Some(Kind::Response | Kind::Error | Kind::StreamEnd) => Server::Knows,
            _ => server,
        }
    }

    /// Something else than an answer ends a call.
    pub(super) fn fail(&mut self, call: u64, error: CallError, wakers: &mut Vec<Waker>) -> Server {
        self.slot(call)
            .map_or(Server::Knows, |slot| slot.give_up(error, wakers))
    }

    /// Ends all calls for which `error` has one, given whether they were sent.
    pub(super) fn fail_all(
        &mut self,
        mut error: impl FnMut(bool) -> Option<CallError>,
        wakers: &mut Vec<Waker>,
    ) {
        for (_, slot) in &mut self.slots {
            if slot.is_ended() {
                continue;
            }
            if let Some(error) = error(slot.sent) {
                slot.finish(Err(error), wakers);
            }
        }
    }

    /// When [`expire`](Self::expire) has something to do, at the earliest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Ends the calls whose time is over; returns those that the server is to be told of. `unsent` is why those that
    /// were not sent were not.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        unsent: impl Fn() -> String,
        wakers: &mut Vec<Waker>,
    ) -> Vec<u64> {
        let mut cancelled = Vec::new();
        if self.next_deadline.is_none_or(|next| next > now) {
            return cancelled;
        }
        let mut next_deadline: Option<Instant> = None;
        for (index, slot) in &mut self.slots {
            let Some(deadline) = slot.deadline else {
                continue;
            };
            if deadline > now {
                next_deadline = Some(next_deadline.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            slot.deadline = None;
            let error = CallError::DeadlineExceeded {
                timeout: slot.patience.limit().unwrap_or_default(),
                unconnected: (!slot.sent).then(&unsent),
            };
            if slot.give_up(error, wakers) == Server::MustStop {
                cancelled.push(number(slot.generation, index));
            }
        }
        self.next_deadline = next_deadline;
        cancelled
    }

    /// Polls for the answer of a call, or the beginning of one that is a stream. The call is over with it, unless it
    /// is a stream.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        call: u64,
        wakers: &mut Vec<Waker>,
    ) -> Poll<Result<Beginning, CallError>> {
        let Some(index) = self.index(call) else {
            return Poll::Ready(Err(CallError::Closed));
        };
        let answer = self.slots[index].poll_answer(cx);
        if let Poll::Ready(Ok(Beginning::Whole(_)) | Err(_)) = answer {
            self.remove(index, wakers);
        }
        answer
    }

    /// Polls for the next item of a streamed answer. After its end, or an error, the call is over.
    pub(super) fn poll_item(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
        call: u64,
        wakers: &mut Vec<Waker>,
    ) -> Poll<Result<Next, CallError>> {
        let Some(index) = self.index(call) else {
            return Poll::Ready(Ok(Next::End));
        };
        let slot = &mut self.slots[index];
        let next = slot.poll_item(cx);
        match &next {
            Poll::Ready(Ok(Next::Item(..))) => {
                let renewed = slot.renew(now);
                self.expect(renewed);
            }
            Poll::Ready(Ok(Next::End) | Err(_)) => drop(self.remove(index, wakers)),
            Poll::Pending => {}
        }
        next
    }

    /// Whether an item of streamed arguments may be sent; none when no more are wanted. Who asks is told when that
    /// changes.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>, call: u64) -> Option<bool> {
        self.slot(call)?.poll_leave(cx)
    }

    /// The connection does not take the arguments of these calls. That it takes what is said before them is a sign of
    /// life: to say so once more begins their time anew.
    pub(super) fn stall(&mut self, now: Instant, calls: impl IntoIterator<Item = u64>) {
        for call in calls {
            let renewed = self.slot(call).and_then(|slot| slot.stall(now));
            self.expect(renewed);
        }
    }

    /// It takes them again: who sends them is to look.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        calls: impl IntoIterator<Item = u64>,
        wakers: &mut Vec<Waker>,
    ) {
        for call in calls {
            let renewed = self.slot(call).and_then(|slot| slot.resume(now, wakers));
            self.expect(renewed);
        }
    }

    /// An item of streamed arguments was sent.
    pub(super) fn uploaded(&mut self, now: Instant, call: u64) {
        self.upload(now, call, Slot::uploaded);
    }

    /// All items of streamed arguments were sent.
    pub(super) fn upload_ended(&mut self, now: Instant, call: u64) {
        self.upload(now, call, Slot::upload_ended);
    }

    fn upload(&mut self, now: Instant, call: u64, step: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slot(call) {
            step(slot);
            let renewed = slot.renew(now);
            self.expect(renewed);
        }
    }

    /// The caller no longer waits.
    pub(super) fn cancel(&mut self, call: u64, wakers: &mut Vec<Waker>) -> Server {
        let Some(index) = self.index(call) else {
            return Server::Knows;
        };
        let mut slot = self.remove(index, wakers);
        slot.give_up(CallError::Closed, wakers)
    }
}

fn number(generation: u32, index: usize) -> u64 {
    u64::from(generation) << 32 | index as u64
}

fn response(envelope: Envelope) -> Response {
    Response {
        codec: envelope.header.codec,
        body: envelope.body,
        buffers: envelope.buffers,
        metadata: envelope.metadata,
        items: None,
    }
}

fn item(envelope: Envelope) -> Item {
    Item {
        codec: envelope.header.codec,
        body: envelope.body,
        buffers: envelope.buffers,
    }
}

#[cfg(test)]
mod tests;
