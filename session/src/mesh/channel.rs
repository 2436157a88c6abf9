//! A channel of whole messages as a stream of bytes, so that ranks of one process can meet over inproc.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use flexbond_transport::pipe::{PipeReceiver, PipeSender, PushError};
use flexbond_transport::{ByteStream, Connection, Link, Message, MessageChannel};
use parking_lot::Mutex;

/// The connection's stream, whatever its kind.
pub(super) fn stream_of(connection: Connection) -> Box<dyn ByteStream> {
    match connection.link {
        Link::Stream(stream) => stream,
        Link::Messages(channel) => Box::new(ChannelStream::new(channel)),
    }
}

struct ChannelStream {
    tx: PipeSender<Message>,
    rx: Mutex<Incoming>,
}

struct Incoming {
    rx: PipeReceiver<Message>,
    /// What is left of the last message.
    rest: Bytes,
}

impl ChannelStream {
    /// What travels as one message at most.
    const PIECE: usize = 256 << 10;

    fn new(MessageChannel { tx, rx, .. }: MessageChannel) -> Self {
        let rest = Bytes::new();
        ChannelStream {
            tx,
            rx: Mutex::new(Incoming { rx, rest }),
        }
    }
}

impl ChannelStream {
    fn push(&self, slices: &[IoSlice<'_>], waker: Option<&Waker>) -> io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let length = length.min(Self::PIECE);
        let mut piece = BytesMut::with_capacity(length);
        for slice in slices {
            let room = length - piece.len();
            piece.extend_from_slice(&slice[..room.min(slice.len())]);
        }
        match self.tx.try_push(Message::from(piece.freeze()), waker) {
            Ok(()) => Ok(length),
            Err(PushError::Full(_)) => Err(io::ErrorKind::WouldBlock.into()),
            Err(PushError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Incoming {
    /// Waits for bytes, or only looks where there is no waker; false at the end.
    fn poll_rest(&mut self, waker: Option<&Waker>) -> Poll<bool> {
        while self.rest.is_empty() {
            match self.rx.pop() {
                Some(mut message) => {
                    if let Some(frame) = message.pop_front() {
                        self.rest = frame.into_bytes();
                    }
                }
                None if ready!(self.rx.fill(waker)) => {}
                None => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    }

    fn take(&mut self, target: &mut [u8]) -> usize {
        let count = target.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut target[..count]);
        count
    }
}

impl ByteStream for ChannelStream {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = buffer.capacity() - buffer.len();
        let start = buffer.len();
        buffer.resize(start + room, 0);
        let read = self.poll_read_into(cx, &mut buffer[start..]);
        let count = match &read {
            Poll::Ready(Ok(count)) => *count,
            _ => 0,
        };
        buffer.truncate(start + count);
        read
    }

    fn poll_read_into(&self, cx: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut incoming = self.rx.lock();
        match ready!(incoming.poll_rest(Some(cx.waker()))) {
            true => Poll::Ready(Ok(incoming.take(target))),
            false => Poll::Ready(Ok(0)),
        }
    }

    fn read_now(&self, target: &mut [u8]) -> io::Result<usize> {
        let mut incoming = self.rx.lock();
        match incoming.poll_rest(None) {
            Poll::Ready(true) => Ok(incoming.take(target)),
            Poll::Ready(false) => Ok(0),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if !self.tx.has_room_or_register(cx.waker()) {
            return Poll::Pending;
        }
        match self.push(slices, Some(cx.waker())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.tx.room() {
            0 if !self.tx.is_closed() => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.push(slices, None),
        }
    }

    fn poll_shutdown(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tx.close();
        Poll::Ready(Ok(()))
    }
}
