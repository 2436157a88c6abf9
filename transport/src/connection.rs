//! What a transport hands over once two ends have met: a stream of bytes, or a channel of whole messages.

use std::fmt;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use crate::pipe::{PipeReceiver, PipeSender};
use crate::{Endpoint, Keepalive, Message, PeerIdentity};

/// An established connection to one peer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// What travels on it, and by which means.
    pub link: Link,
    /// The far end as far as it is known: `tcp://192.0.2.7:40112`, `ipc:///run/x.sock`, `inproc://name`.
    pub peer: Endpoint,
    /// Who the peer has proved to be; `None` where the transport knows nothing of that, or nothing was shown.
    pub identity: Option<PeerIdentity>,
}

impl Connection {
    /// A connection to `peer` over `link`.
    #[must_use]
    pub fn new(link: Link, peer: Endpoint) -> Self {
        Connection {
            link,
            peer,
            identity: None,
        }
    }

    /// The same connection, to a peer that has proved to be `identity`.
    #[must_use]
    pub fn with_identity(mut self, identity: Option<PeerIdentity>) -> Self {
        self.identity = identity;
        self
    }
}

/// The two kinds of connection.
pub enum Link {
    /// Bytes in order, to be framed by a wire protocol (tcp, ipc, …).
    Stream(Box<dyn ByteStream>),
    /// Whole messages in order, without any encoding (inproc).
    Messages(MessageChannel),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Link::Stream(_) => "Stream",
            Link::Messages(_) => "Messages",
        })
    }
}

/// What the default of [`ByteStream::poll_read_into`] reads before it copies.
const COPIED_AT_ONCE: usize = 64 << 10;

/// An ordered, reliable stream of bytes.
///
/// All methods take `&self`, so that one task may read while another writes. At most one task reads and at most
/// one *polls* for writing at a time (the last waker of each direction is the one that is woken); any task may
/// [`try_write`](Self::try_write).
pub trait ByteStream: Send + Sync + 'static {
    /// Reads into the spare capacity of `buffer` and returns how many bytes came; zero is the end of the stream.
    ///
    /// Never grows a buffer that has spare capacity; the caller reserves what it wants to be read at once.
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// As [`poll_read`](Self::poll_read), into a slice that is there already: no more than its length is read. Not for
    /// an empty slice, of which the end of the stream cannot be told.
    ///
    /// The default reads into memory of its own and copies.
    fn poll_read_into(&self, cx: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut memory = BytesMut::with_capacity(target.len().min(COPIED_AT_ONCE));
        let count = ready!(self.poll_read(cx, &mut memory))?;
        let Some(target) = target.get_mut(..count) else {
            return Poll::Ready(Err(io::Error::other("more was read than there was room for")));
        };
        target.copy_from_slice(&memory[..count]);
        Poll::Ready(Ok(count))
    }

    /// Reads what the system has at this moment, past the runtime's notes of what is ready: for who looks again and
    /// again, and cannot wait until the runtime has asked the system for events. Does not disturb who polls.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing now, or when the stream cannot look without a task to wake,
    /// which is what the default does.
    fn read_now(&self, target: &mut [u8]) -> io::Result<usize> {
        let _ = target;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Writes what the system takes at this moment, as [`read_now`](Self::read_now) reads.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be written now, or when the stream cannot look without a task to
    /// wake, which is what the default does.
    fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let _ = slices;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Writes from `slices` and returns how many bytes were taken (at least one, unless all slices are empty).
    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// As [`poll_write`](Self::poll_write), without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be written now, or when the stream cannot write without a
    /// task to wake, which is what the default does.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let _ = slices;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// How many bytes of a large message are better written alone before the rest, so that the reader is up when the
    /// rest comes; `None`, the default, where that gains nothing.
    fn lead(&self) -> Option<usize> {
        None
    }

    /// Has the system look whether the peer is still there while nothing is under way; once it does not answer, the
    /// stream ends with an error. For those whose two ends may be on different machines: others, and the default, do
    /// nothing.
    ///
    /// # Errors
    /// The system's; nothing has changed then.
    fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        let _ = keepalive;
        Ok(())
    }

    /// Pushes out what the stream itself buffers. Streams without a buffer of their own have nothing to do.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Ends the writing direction: the peer reads what was written and then the end.
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Both directions of a connection that carries whole messages.
#[derive(Debug)]
pub struct MessageChannel {
    /// Towards the peer.
    pub tx: PipeSender<Message>,
    /// From the peer.
    pub rx: PipeReceiver<Message>,
}
