//! A transport whose streams the test holds in its hands: it says how many bytes they take and when they break.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use flexbond_session::{Message, async_trait};
use flexbond_transport::{
    BindError, ByteStream, ConnectError, Connection, Endpoint, Link, LinkOptions, Listener, Registry,
    Transport,
};
use tokio::sync::mpsc;

use crate::harness::within;
use crate::raw::{COMMAND, LONG, MORE};

/// Where sockets under test connect to.
pub(crate) const ENDPOINT: &str = "scripted://peer";

/// A registry of this transport alone, and the far ends of the connections that sockets make.
pub(crate) fn scripted() -> (Registry, Ends) {
    let (sender, ends) = mpsc::unbounded_channel();
    let registry = Registry::empty();
    registry
        .register("scripted", Arc::new(Scripted(sender)))
        .expect("a new scheme");
    (registry, Ends(ends))
}

/// The far ends of connections, oldest first.
pub(crate) struct Ends(mpsc::UnboundedReceiver<Far>);

impl Ends {
    pub(crate) async fn next(&mut self) -> Far {
        within("the socket to connect", self.0.recv())
            .await
            .expect("the transport lives")
    }
}

struct Scripted(mpsc::UnboundedSender<Far>);

/// The socket's end of a stream.
struct Near(Arc<Mutex<Wire>>);

/// The test's end of a stream.
pub(crate) struct Far(Arc<Mutex<Wire>>);

#[derive(Default)]
struct Wire {
    /// What the socket wrote and the test has not taken.
    written: VecDeque<u8>,
    /// How many more bytes the stream takes.
    room: usize,
    /// Chooses how many of them each write takes; all, without it. Between two writes, others get their turn.
    steps: Option<fastrand::Rng>,
    pausing: bool,
    /// The room that there will be once the socket has read something.
    later: usize,
    /// Breaks once there is no room.
    breaks: bool,
    /// What the test wrote and the socket has not read.
    unread: VecDeque<u8>,
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    tester: Option<Waker>,
}

impl Wire {
    fn wake(slot: &mut Option<Waker>) {
        if let Some(waker) = slot.take() {
            waker.wake();
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.room == 0 && self.breaks {
            self.broken = true;
            Wire::wake(&mut self.reader);
        }
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let offered = slices
            .iter()
            .map(|slice| slice.len())
            .sum::<usize>()
            .min(self.room);
        let mut left = match &mut self.steps {
            Some(rng) if offered > 1 => {
                // Mostly a few bytes, now and then many.
                let most = 1 << rng.u32(0..20);
                rng.usize(1..=offered.min(most))
            }
            _ => offered,
        };
        if left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = left;
        self.room -= taken;
        for slice in slices {
            let step = left.min(slice.len());
            self.written.extend(&slice[..step]);
            left -= step;
        }
        Wire::wake(&mut self.tester);
        Ok(taken)
    }
}

impl Near {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().expect("no test panics with it")
    }
}

impl ByteStream for Near {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        let count = wire.unread.len().min(buffer.capacity() - buffer.len());
        if count == 0 {
            if wire.broken {
                return Poll::Ready(Ok(0));
            }
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes: Vec<u8> = wire.unread.drain(..count).collect();
        buffer.extend_from_slice(&bytes);
        wire.room += std::mem::take(&mut wire.later);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        wire.pausing = !wire.pausing && wire.steps.is_some();
        if wire.pausing {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match wire.write(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wire.writer = Some(cx.waker().clone());
                Wire::wake(&mut wire.tester);
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.wire().write(slices)
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        let mut wire = self.wire();
        wire.broken = true;
        Wire::wake(&mut wire.tester);
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn bind(&self, endpoint: &Endpoint, _: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        Err(BindError::Unusable {
            endpoint: endpoint.clone(),
            reason: "sockets only connect here".to_owned(),
        })
    }

    async fn connect(&self, endpoint: &Endpoint, _: &LinkOptions) -> Result<Connection, ConnectError> {
        let wire = Arc::new(Mutex::new(Wire {
            room: usize::MAX,
            ..Wire::default()
        }));
        // A test that is over takes no more connections.
        let _ = self.0.send(Far(Arc::clone(&wire)));
        Ok(Connection::new(
            Link::Stream(Box::new(Near(wire))),
            endpoint.clone(),
        ))
    }
}

impl Far {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().expect("no test panics with it")
    }

    /// The stream takes so many more bytes, from now on.
    pub(crate) fn allow(&self, room: usize) {
        let mut wire = self.wire();
        wire.room = room;
        if room > 0 {
            Wire::wake(&mut wire.writer);
        }
    }

    /// The stream takes so many more bytes, in steps that `rng` chooses, and then breaks.
    pub(crate) fn allow_and_break(&self, room: usize, rng: fastrand::Rng) {
        let mut wire = self.wire();
        wire.room = room;
        wire.steps = Some(rng);
        wire.breaks = true;
        Wire::wake(&mut wire.writer);
    }

    /// The socket reads these bytes.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut wire = self.wire();
        wire.unread.extend(bytes);
        Wire::wake(&mut wire.reader);
    }

    /// The socket reads these bytes, and once it has, there is room to write again.
    pub(crate) fn send_and_allow(&self, bytes: &[u8]) {
        let mut wire = self.wire();
        wire.later = usize::MAX;
        wire.unread.extend(bytes);
        Wire::wake(&mut wire.reader);
    }

    /// Waits until the socket has something to write and the stream takes nothing.
    pub(crate) async fn blocked(&self) {
        let blocked = poll_fn(|cx| {
            let mut wire = self.wire();
            if wire.room == 0 && wire.writer.is_some() {
                return Poll::Ready(());
            }
            wire.tester = Some(cx.waker().clone());
            Poll::Pending
        });
        within("the socket to find the stream full", blocked).await;
    }

    /// Takes exactly this many bytes; `None` if the stream ends before.
    pub(crate) async fn try_recv(&self, count: usize) -> Option<Vec<u8>> {
        let read = poll_fn(|cx| {
            let mut wire = self.wire();
            if wire.written.len() >= count {
                return Poll::Ready(Some(wire.written.drain(..count).collect()));
            }
            if wire.broken {
                return Poll::Ready(None);
            }
            wire.tester = Some(cx.waker().clone());
            Poll::Pending
        });
        within(&format!("{count} bytes from the socket"), read).await
    }

    /// Takes exactly this many bytes.
    pub(crate) async fn recv(&self, count: usize) -> Vec<u8> {
        self.try_recv(count).await.expect("bytes before the end")
    }

    /// Takes one frame of ZMTP 2 or 3; `None` if the stream ends before it is whole.
    pub(crate) async fn try_recv_frame(&self) -> Option<(u8, Vec<u8>)> {
        let flags = self.try_recv(1).await?[0];
        let size = if flags & LONG == 0 {
            usize::from(self.try_recv(1).await?[0])
        } else {
            u64::from_be_bytes(self.try_recv(8).await?.try_into().expect("eight bytes")) as usize
        };
        Some((flags, self.try_recv(size).await?))
    }

    /// Takes one message or command; `None` if the stream ends before it is whole.
    pub(crate) async fn try_recv_unit(&self) -> Option<Unit> {
        let mut message = Message::new();
        loop {
            let (flags, body) = self.try_recv_frame().await?;
            if flags & COMMAND != 0 {
                assert!(message.is_empty(), "a command in the middle of a message");
                return Some(Unit::Command(body));
            }
            message.push_back(body);
            if flags & MORE == 0 {
                return Some(Unit::Message(message));
            }
        }
    }

    /// As [`try_recv_unit`](Self::try_recv_unit), in frames of ZMTP 1.0.
    pub(crate) async fn try_recv_elder(&self) -> Option<Unit> {
        let mut message = Message::new();
        loop {
            let size = match self.try_recv(1).await?[0] {
                0xFF => u64::from_be_bytes(self.try_recv(8).await?.try_into().expect("eight bytes")),
                size => u64::from(size),
            };
            let mut body = self.try_recv(size as usize).await?;
            let flags = body.remove(0);
            message.push_back(body);
            if flags & MORE == 0 {
                return Some(Unit::Message(message));
            }
        }
    }

    /// The whole handshake as a peer of this type that speaks 3.1.
    pub(crate) async fn handshake(&self, socket_type: &str) {
        self.send(
            &[
                crate::raw::greeting(1, "NULL"),
                crate::raw::ready(socket_type, &[]),
            ]
            .concat(),
        );
        self.recv(64).await;
        assert!(
            matches!(self.try_recv_unit().await, Some(Unit::Command(body)) if body.starts_with(b"\x05READY"))
        );
    }
}

/// What stands between two boundaries on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Message(Message),
    Command(Vec<u8>),
}
