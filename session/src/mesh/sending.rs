//! A message on its way to another rank.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use flexbond_transport::ByteStream;
use tokio::task::coop;

use super::error::MeshError;
use super::header::{Header, Key};
use super::hub::Hub;
use super::link::Link;
use super::operation::{Operation, Turn};
use super::outbound::{Parcel, Step};
use super::wakes::Wakes;

/// A message on its way to another rank; see [`Mesh::send`](super::Mesh::send).
///
/// # Cancel safety
/// Dropped before its first byte was written, nothing is sent. Dropped in the middle, what is left of the message is
/// copied, and a task sends it: the peer gets it whole, and what is sent later comes later.
#[must_use = "nothing is sent unless it is polled"]
pub struct Sending<'a> {
    operation: Operation<'a>,
    header: Header,
    parcel: Parcel<'a>,
    /// Its place among those to this rank itself.
    place: Option<u64>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(hub: &'a Arc<Hub>, to: usize, tag: u64, body: &'a [u8]) -> Self {
        Self::begin(hub, to, (tag, None, body.len()), body)
    }

    pub(super) fn announcement(
        hub: &'a Arc<Hub>,
        to: usize,
        tag: u64,
        number: NonZeroU32,
        length: usize,
    ) -> Self {
        Self::begin(hub, to, (tag, Some(number), length), &[])
    }

    fn begin(
        hub: &'a Arc<Hub>,
        to: usize,
        (tag, announced, length): (u64, Option<NonZeroU32>, usize),
        body: &'a [u8],
    ) -> Self {
        let operation = Operation::new(hub, to);
        let epoch = operation.epoch.number;
        let header = Header {
            key: Key { epoch, tag },
            announced,
            length,
        };
        Sending {
            operation,
            header,
            parcel: Parcel::new(header, body),
            place: None,
        }
    }

    /// The number of the epoch to which it belongs.
    pub(super) fn epoch(&self) -> u32 {
        self.operation.epoch.number
    }

    /// Does not look before it sleeps.
    pub(super) fn patient(mut self) -> Self {
        self.operation.is_patient = true;
        self
    }

    /// Sends it without waiting; false if that cannot be, and nothing was sent.
    pub(super) fn attempt(self) -> bool {
        let mut sending = self.patient();
        // What the task has done before does not matter to the message.
        let polled =
            Pin::new(&mut coop::unconstrained(&mut sending)).poll(&mut Context::from_waker(Waker::noop()));
        // What has begun is sent to its end.
        polled.is_ready() || sending.parcel.has_begun()
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        let (length, limit) = (self.header.length, self.operation.hub.options.max_message);
        if length > limit {
            return Poll::Ready(Err(MeshError::TooLong { length, limit }));
        }
        // The runtime is asked first: most often there is room, and it need not be asked again.
        let mut direct = false;
        loop {
            let link = Arc::clone(self.operation.link()?);
            if self.operation.is_own() {
                return self.deliver(cx, &link);
            }
            if link.has_left() {
                let rank = self.operation.peer;
                return Poll::Ready(Err(MeshError::PeerLeft { rank }));
            }
            let Some(stream) = link.stream() else {
                // Its place is taken now: who comes later goes later.
                link.outbound.lock().enlist(&mut self.parcel, cx.waker());
                self.operation.hub.connect(&link, self.epoch());
                let changed = || link.stream().is_some() || link.has_left();
                ready!(self.operation.park(cx, changed));
                continue;
            };
            let mut moved = false;
            let mut wakes = Wakes::default();
            let waker = cx.waker();
            let step = link.outbound.lock().poll(
                &mut self.parcel,
                stream.lead(),
                waker,
                &mut wakes,
                &mut |slices| {
                    let written = match direct {
                        _ if slices.is_empty() => return push_out(stream, &mut Context::from_waker(waker)),
                        true => now(|| stream.write_now(slices)),
                        false => stream.poll_write(&mut Context::from_waker(waker), slices),
                    };
                    moved |= matches!(written, Poll::Ready(Ok(_)));
                    written
                },
            );
            drop(wakes);
            match step {
                Step::Done => return Poll::Ready(Ok(())),
                Step::Behind => ready!(self.operation.park(cx, || link.has_left())),
                Step::Failed => {
                    self.operation.hub.break_off(&link, self.epoch());
                    ready!(self.operation.park(cx, || link.has_left()));
                }
                Step::Full => match self.operation.wait(cx, direct, moved) {
                    Turn::Again => direct = self.operation.is_direct(),
                    Turn::Later => return Poll::Pending,
                },
            }
        }
    }

    /// A message to this rank itself.
    fn deliver(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Result<(), MeshError>> {
        let hub = self.operation.hub;
        let deliver = || {
            // Woken when dropped, which the lock is before.
            let mut wakes = Wakes::default();
            let mut inbound = link.inbound.lock();
            let key = self.header.key;
            let is_delivered = inbound.senders.is_first(self.place, key)
                && inbound.deliver(self.header, self.parcel.body(), &mut wakes);
            match is_delivered {
                true => inbound.senders.leave(&mut self.place),
                false => inbound.senders.wait(&mut self.place, key),
            }
            is_delivered.then(|| !inbound.senders.is_empty())
        };
        let others_wait = ready!(hub.parked.poll_until(cx, deliver));
        if others_wait {
            hub.parked.wake_all();
        }
        Poll::Ready(Ok(()))
    }
}

/// What the stream holds back goes out.
fn push_out(stream: &dyn ByteStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    stream.poll_flush(cx).map_ok(|()| 0)
}

/// What the system says at this moment.
pub(super) fn now(mut call: impl FnMut() -> io::Result<usize>) -> Poll<io::Result<usize>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let progress = ready!(coop::poll_proceed(cx));
        let result = ready!(this.advance(cx));
        progress.made_progress();
        if result.is_err() {
            this.give_up();
        }
        this.operation.finish(result.is_ok());
        Poll::Ready(result)
    }
}

impl Sending<'_> {
    fn give_up(&mut self) {
        let Some(seat) = self.operation.epoch.seats.get(self.operation.peer) else {
            return;
        };
        if self.place.is_some() {
            seat.link.inbound.lock().senders.leave(&mut self.place);
            self.operation.hub.parked.wake_all();
        }
        let mut wakes = Wakes::default();
        if seat.link.outbound.lock().cancel(&mut self.parcel, &mut wakes) {
            let hub = Arc::clone(self.operation.hub);
            let link = Arc::clone(&seat.link);
            self.operation.hub.spawn(async move { flush(&hub, &link).await });
        }
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("to", &self.operation.peer)
            .field("tag", &self.header.key.tag)
            .field("length", &self.header.length)
            .finish_non_exhaustive()
    }
}

/// Sends what a cancelled send has left.
async fn flush(hub: &Hub, link: &Link) {
    std::future::poll_fn(|cx| {
        let mut wakes = Wakes::default();
        let Some(stream) = link.stream() else {
            return Poll::Ready(());
        };
        link.outbound
            .lock()
            .poll_rest(&mut wakes, &mut |slices| match slices.is_empty() {
                true => push_out(stream, cx),
                false => stream.poll_write(cx, slices),
            })
    })
    .await;
    hub.parked.wake_all();
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.operation.is_done {
            self.give_up();
            self.operation.finish(false);
        }
    }
}
