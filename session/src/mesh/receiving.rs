//! A message that is waited for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::coop;

use super::claim::{Claim, Step, Target};
use super::error::MeshError;
use super::header::Key;
use super::hub::Hub;
use super::operation::{Operation, Turn};
use super::sending::now;
use super::wakes::Wakes;

/// A message that is waited for, into a slice; see [`Mesh::recv`](super::Mesh::recv).
///
/// # Cancel safety
/// Dropped before it is ready, nothing is lost: what the slice has of a message already is copied, and the message
/// waits for the next receive of its tag. What the slice holds then is undefined.
#[must_use = "nothing is received unless it is polled"]
pub struct Receiving<'a> {
    receipt: Receipt<'a>,
}

/// A message that is waited for, of any length; see [`Mesh::recv_bytes`](super::Mesh::recv_bytes).
///
/// # Cancel safety
/// As for [`Receiving`].
#[must_use = "nothing is received unless it is polled"]
pub struct ReceivingBytes<'a> {
    receipt: Receipt<'a>,
}

struct Receipt<'a> {
    operation: Operation<'a>,
    claim: Claim<'a>,
}

enum Received {
    Length(usize),
    Whole(Bytes),
}

impl<'a> Receiving<'a> {
    pub(super) fn new(hub: &'a Arc<Hub>, from: usize, tag: u64, into: &'a mut [u8]) -> Self {
        let receipt = Receipt::new(hub, from, tag, Target::Slice(into));
        Receiving { receipt }
    }
}

impl Receiving<'_> {
    /// Does not look before it sleeps, whatever [`MeshOptions::spin`](super::MeshOptions::spin) says: for what takes
    /// longer, while other tasks of the thread have something to do.
    pub fn patient(mut self) -> Self {
        self.receipt.operation.is_patient = true;
        self
    }
}

impl<'a> ReceivingBytes<'a> {
    pub(super) fn new(hub: &'a Arc<Hub>, from: usize, tag: u64) -> Self {
        let receipt = Receipt::new(hub, from, tag, Target::Own(Vec::new()));
        ReceivingBytes { receipt }
    }
}

impl Future for Receiving<'_> {
    type Output = Result<usize, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(self.get_mut().receipt.poll(cx))?;
        Poll::Ready(Ok(match received {
            Received::Length(length) => length,
            Received::Whole(body) => body.len(),
        }))
    }
}

impl Future for ReceivingBytes<'_> {
    type Output = Result<Bytes, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let received = ready!(self.get_mut().receipt.poll(cx))?;
        Poll::Ready(Ok(match received {
            Received::Length(_) => Bytes::new(),
            Received::Whole(body) => body,
        }))
    }
}

impl<'a> Receipt<'a> {
    fn new(hub: &'a Arc<Hub>, from: usize, tag: u64, target: Target<'a>) -> Self {
        let operation = Operation::new(hub, from);
        let epoch = operation.epoch.number;
        Receipt {
            operation,
            claim: Claim::new(Key { epoch, tag }, target),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, MeshError>> {
        let progress = ready!(coop::poll_proceed(cx));
        let result = ready!(self.advance(cx));
        progress.made_progress();
        if result.is_err() {
            self.give_up();
        }
        self.operation.finish(result.is_ok());
        Poll::Ready(result)
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, MeshError>> {
        loop {
            let link = Arc::clone(self.operation.link()?);
            let stream = link.stream();
            if stream.is_none() && !self.operation.is_own() {
                if link.is_vacant() {
                    let rank = self.operation.peer;
                    return Poll::Ready(Err(MeshError::PeerLeft { rank }));
                }
                // Its place is taken now: who comes later gets a later message.
                link.inbound.lock().enlist(&mut self.claim, cx.waker());
                self.operation.hub.connect(&link, self.operation.epoch.number);
                let changed = || link.stream().is_some() || link.is_vacant();
                ready!(self.operation.park(cx, changed));
                continue;
            }
            let direct = self.operation.is_direct();
            let mut moved = false;
            let mut wakes = Wakes::default();
            let waker = cx.waker();
            let is_new = !self.claim.has_waited();
            let mut inbound = link.inbound.lock();
            let was_swept = !inbound.holds_spent();
            let step = inbound.poll(&mut self.claim, waker, &mut wakes, &mut |target| {
                let read = match stream {
                    Some(stream) if direct => now(|| stream.read_now(target)),
                    Some(stream) => stream.poll_read_into(&mut Context::from_waker(waker), target),
                    None => Poll::Pending,
                };
                moved |= matches!(read, Poll::Ready(Ok(_)));
                read
            });
            inbound.counters.reads += u64::from(moved);
            // For who sends to this very rank: something was taken, or is awaited now, whatever else is stored.
            let has_room =
                !inbound.senders.is_empty() && (is_new || !matches!(step, Step::Dry | Step::Behind));
            let has_litter = was_swept && inbound.holds_spent();
            drop(inbound);
            drop(wakes);
            if has_room || has_litter {
                self.operation.hub.parked.wake_all();
            }
            match step {
                Step::Filled(_) | Step::Whole(_) => return Poll::Ready(Ok(step.into())),
                Step::Announced { number, length } => {
                    let announced = MeshError::Announced {
                        number: number.get(),
                        length,
                    };
                    return Poll::Ready(Err(announced));
                }
                Step::Truncated { length, room } => {
                    return Poll::Ready(Err(MeshError::Truncated { length, room }));
                }
                Step::Dry if stream.is_none() => ready!(self.operation.park(cx, || false)),
                Step::Dry => match self.operation.wait(cx, direct, moved) {
                    Turn::Again => {}
                    Turn::Later => return Poll::Pending,
                },
                Step::Behind => ready!(self.operation.park(cx, || false)),
                Step::Ended if link.has_left() => {
                    let rank = self.operation.peer;
                    return Poll::Ready(Err(MeshError::PeerLeft { rank }));
                }
                Step::Ended => {
                    self.operation.hub.break_off(&link, self.operation.epoch.number);
                    ready!(self.operation.park(cx, || link.has_left()));
                }
            }
        }
    }

    fn give_up(&mut self) {
        if let Some(seat) = self.operation.epoch.seats.get(self.operation.peer) {
            let mut wakes = Wakes::default();
            seat.link.inbound.lock().cancel(&mut self.claim, &mut wakes);
        }
    }
}

impl fmt::Debug for Receipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("from", &self.operation.peer)
            .field("tag", &self.claim.tag())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Receiving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiving").field(&self.receipt).finish()
    }
}

impl fmt::Debug for ReceivingBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReceivingBytes").field(&self.receipt).finish()
    }
}

impl From<Step> for Received {
    fn from(step: Step) -> Self {
        match step {
            Step::Filled(length) => Received::Length(length),
            Step::Whole(body) => Received::Whole(body),
            // The only steps that carry a message are the two above.
            _ => Received::Length(0),
        }
    }
}

impl Drop for Receipt<'_> {
    fn drop(&mut self) {
        if !self.operation.is_done {
            self.give_up();
            self.operation.finish(false);
        }
    }
}
