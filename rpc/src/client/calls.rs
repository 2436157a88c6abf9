//! The calls under way of one client, without any I/O or clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::credit;
use crate::envelope::{Envelope, Kind};
use crate::error::CallError;
use crate::failure::Failure;
use crate::request::{Item, Response};

/// The calls under way of one client.
#[derive(Debug)]
pub(super) struct Calls {
    slots: Slab<Slot>,
    /// Of the next call: a number is never used twice while it may still be on its way.
    generation: u32,
    /// No deadline is before this.
    next_deadline: Option<Instant>,
    max_response: usize,
}

/// How long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes.
    Endless,
    /// So long for the whole call.
    Whole(Duration),
    /// So long for each sign of life: the next item, or leave to send more.
    Each(Duration),
}

impl Patience {
    fn limit(self) -> Option<Duration> {
        match self {
            Patience::Endless => None,
            Patience::Whole(limit) | Patience::Each(limit) => Some(limit),
        }
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    patience: Patience,
    deadline: Option<Instant>,
    /// It was handed to the connection.
    sent: bool,
    /// Nobody waits for more than that.
    is_one_way: bool,
    state: State,
    waker: Option<Waker>,
    /// Items of streamed arguments that the server has room for.
    upload: Option<Arc<Semaphore>>,
}

#[derive(Debug)]
enum State {
    /// For its answer.
    Waiting,
    /// As a stream.
    Streaming(Received),
    /// The end, not yet told.
    Done(Result<Response, CallError>),
}

/// What came of a streamed answer and was not read yet.
#[derive(Debug, Default)]
struct Received {
    items: VecDeque<Item>,
    next: u32,
    /// Items that may still come.
    room: u32,
    end: Option<Result<(), CallError>>,
}

/// What the caller of a stream gets next.
#[derive(Debug)]
pub(super) enum Next {
    Item(Item),
    End,
}

/// The beginning of an answer.
#[derive(Debug)]
pub(super) enum Beginning {
    /// All of it.
    Whole(Response),
    /// A stream, to be read with [`Calls::poll_item`].
    Stream,
}

impl Calls {
    pub(super) fn new(max_response: usize) -> Self {
        Calls {
            slots: Slab::new(),
            generation: 0,
            next_deadline: None,
            max_response,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes a call in; returns its number. With a `window` its answer may be a stream, of which so many items may come
    /// at first.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        patience: Patience,
        window: Option<u32>,
        upload: Option<Arc<Semaphore>>,
    ) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let deadline = patience.limit().and_then(|limit| now.checked_add(limit));
        let index = self.slots.insert(Slot {
            generation: self.generation,
            patience,
            deadline,
            sent: false,
            is_one_way: false,
            state: match window {
                Some(room) => State::Streaming(Received {
                    room,
                    ..Received::default()
                }),
                None => State::Waiting,
            },
            waker: None,
            upload,
        });
        self.expect(deadline);
        u64::from(self.generation) << 32 | index as u64
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

    /// The call was handed to the connection.
    pub(super) fn sent(&mut self, call: u64) {
        if let Some(slot) = self.slot(call) {
            slot.sent = true;
            if slot.is_one_way
                && let Some(waker) = slot.waker.take()
            {
                waker.wake();
            }
        }
    }

    /// Whether the end of this call is still to come. One that was told to have ended must not be sent any more.
    pub(super) fn is_open(&self, call: u64) -> bool {
        self.index(call)
            .is_some_and(|index| !self.slots[index].is_ended())
    }

    /// Takes an answer; returns who is to be woken, if it belongs to a call under way.
    pub(super) fn answer(&mut self, now: Instant, envelope: Envelope) -> Option<Waker> {
        let max = self.max_response;
        let slot = self.slot(envelope.header.call)?;
        let size = envelope.size();
        let count = envelope.header.count;
        match envelope.header.kind {
            Kind::Credit => {
                if let Some(upload) = &slot.upload {
                    credit::add(upload, count);
                }
            }
            _ if size > max => slot.finish(Err(CallError::TooLarge {
                size,
                limit: max,
                answer: true,
            })),
            Kind::Response => slot.finish(Ok(response(envelope))),
            Kind::Error => {
                let failure = Failure::from_envelope(envelope);
                slot.finish(Err(failure.map_or_else(CallError::Answer, CallError::Failure)));
            }
            Kind::StreamItem => slot.item(count, item(envelope)),
            Kind::StreamEnd => slot.end(count),
            // Nothing that a call is answered with.
            _ => return None,
        }
        let renewed = slot.renew(now);
        let waker = slot.waker.take();
        self.expect(renewed);
        waker
    }

    /// Something else than an answer ends a call.
    pub(super) fn fail(&mut self, call: u64, error: CallError) -> Option<Waker> {
        let slot = self.slot(call)?;
        slot.finish(Err(error));
        slot.waker.take()
    }

    /// Ends all calls for which `error` has one, given whether they were sent; tells who is to be woken.
    pub(super) fn fail_all(&mut self, mut error: impl FnMut(bool) -> Option<CallError>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (_, slot) in &mut self.slots {
            if slot.is_ended() {
                continue;
            }
            if let Some(error) = error(slot.sent) {
                slot.finish(Err(error));
                wakers.extend(slot.waker.take());
            }
        }
        wakers
    }

    /// When [`expire`](Self::expire) has something to do, at the earliest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Ends the calls whose time is over; returns those that the server is to be told of, and who is to be woken.
    pub(super) fn expire(&mut self, now: Instant, unconnected: Option<&str>) -> (Vec<u64>, Vec<Waker>) {
        let (mut cancelled, mut wakers) = (Vec::new(), Vec::new());
        if self.next_deadline.is_none_or(|next| next > now) {
            return (cancelled, wakers);
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
            if slot.is_ended() {
                continue;
            }
            if slot.sent {
                cancelled.push(u64::from(slot.generation) << 32 | index as u64);
            }
            slot.finish(Err(CallError::DeadlineExceeded {
                timeout: slot.patience.limit().unwrap_or_default(),
                unconnected: match slot.sent {
                    true => None,
                    false => Some(unconnected.unwrap_or("the connection has no room").to_owned()),
                },
            }));
            wakers.extend(slot.waker.take());
        }
        self.next_deadline = next_deadline;
        (cancelled, wakers)
    }

    /// Polls for the answer of a call that is no stream, or the beginning of one that is.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        call: u64,
    ) -> Poll<Result<Beginning, CallError>> {
        let Some(index) = self.index(call) else {
            return Poll::Ready(Err(CallError::Closed));
        };
        let slot = &mut self.slots[index];
        match &mut slot.state {
            State::Done(_) => match self.slots.remove(index).state {
                State::Done(done) => Poll::Ready(done.map(Beginning::Whole)),
                _ => Poll::Ready(Err(CallError::Closed)),
            },
            State::Streaming(received) => match &mut received.end {
                // What fails before its first item fails as a whole.
                Some(Err(_)) if received.items.is_empty() => {
                    let end = received.end.take();
                    self.slots.remove(index);
                    let error = end.and_then(Result::err);
                    Poll::Ready(Err(error.unwrap_or(CallError::Closed)))
                }
                None if received.items.is_empty() => slot.wait(cx),
                _ => Poll::Ready(Ok(Beginning::Stream)),
            },
            State::Waiting => slot.wait(cx),
        }
    }

    /// Polls for the moment at which a call that wants no answer was handed to the connection. It is over then.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>, call: u64) -> Poll<Result<(), CallError>> {
        let Some(index) = self.index(call) else {
            return Poll::Ready(Err(CallError::Closed));
        };
        let slot = &mut self.slots[index];
        slot.is_one_way = true;
        if !slot.sent && !slot.is_ended() {
            return slot.wait(cx);
        }
        match self.slots.remove(index).state {
            State::Done(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Polls for the next item of a streamed answer. After its end, or an error, the call is over.
    pub(super) fn poll_item(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
        call: u64,
    ) -> Poll<Result<Next, CallError>> {
        let Some(index) = self.index(call) else {
            return Poll::Ready(Ok(Next::End));
        };
        let slot = &mut self.slots[index];
        let State::Streaming(received) = &mut slot.state else {
            return Poll::Ready(Ok(Next::End));
        };
        if let Some(item) = received.items.pop_front() {
            let renewed = slot.renew(now);
            self.expect(renewed);
            return Poll::Ready(Ok(Next::Item(item)));
        }
        match received.end.take() {
            Some(end) => {
                self.slots.remove(index);
                Poll::Ready(end.map(|()| Next::End))
            }
            None => slot.wait(cx),
        }
    }

    /// So many items more may come.
    pub(super) fn grant(&mut self, call: u64, items: u32) {
        if let Some(slot) = self.slot(call)
            && let State::Streaming(received) = &mut slot.state
        {
            received.room = received.room.saturating_add(items);
        }
    }

    /// The caller no longer waits. Whether the server is to be told.
    pub(super) fn cancel(&mut self, call: u64) -> bool {
        let Some(index) = self.index(call) else {
            return false;
        };
        let slot = self.slots.remove(index);
        slot.sent && !slot.is_ended()
    }
}

impl Slot {
    fn is_ended(&self) -> bool {
        match &self.state {
            State::Waiting => false,
            State::Streaming(received) => received.end.is_some(),
            State::Done(_) => true,
        }
    }

    /// A sign of life: the next one is due, unless it is the caller's turn. Returns the new deadline, if it is new.
    fn renew(&mut self, now: Instant) -> Option<Instant> {
        let Patience::Each(limit) = self.patience else {
            return None;
        };
        let is_callers_turn = match &self.state {
            State::Waiting => false,
            State::Streaming(received) => !received.items.is_empty(),
            State::Done(_) => true,
        };
        self.deadline = match is_callers_turn || self.is_ended() {
            true => None,
            false => now.checked_add(limit),
        };
        self.deadline
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ends the call, unless it has ended.
    fn finish(&mut self, result: Result<Response, CallError>) {
        self.upload = None;
        match &mut self.state {
            State::Waiting => self.state = State::Done(result),
            // One answer in place of a stream is a stream of one item.
            State::Streaming(received) if received.end.is_none() => {
                let whole = result.map(|response| {
                    received.items.push_back(Item {
                        codec: response.codec,
                        body: response.body,
                        buffers: response.buffers,
                    });
                });
                received.end = Some(whole);
            }
            State::Streaming(_) | State::Done(_) => {}
        }
    }

    fn item(&mut self, number: u32, item: Item) {
        match &mut self.state {
            State::Waiting => self.finish(Err(CallError::Shape { stream: true })),
            State::Streaming(received) if received.end.is_none() => {
                if received.room == 0 {
                    let reason = "an item of the stream came without leave".to_owned();
                    self.finish(Err(CallError::Layer(reason)));
                } else if number == received.next {
                    received.room -= 1;
                    received.next = received.next.wrapping_add(1);
                    received.items.push_back(item);
                } else {
                    let (received, sent) = (received.next, number);
                    self.finish(Err(CallError::Incomplete { received, sent }));
                }
            }
            State::Streaming(_) | State::Done(_) => {}
        }
    }

    fn end(&mut self, sent: u32) {
        match &mut self.state {
            State::Waiting => self.finish(Err(CallError::Shape { stream: true })),
            State::Streaming(received) if received.end.is_none() => {
                let received_items = received.next;
                received.end = Some(match received_items == sent {
                    true => Ok(()),
                    false => Err(CallError::Incomplete {
                        received: received_items,
                        sent,
                    }),
                });
                self.upload = None;
            }
            State::Streaming(_) | State::Done(_) => {}
        }
    }
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
