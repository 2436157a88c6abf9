//! Any tokio reader and writer as a byte stream, for transports that others write.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::ByteStream;

/// Any tokio reader and writer as a [`ByteStream`]: the short way to a transport of one's own.
///
/// Both directions share one lock, which is held for the length of a poll, never while waiting.
/// [`try_write`](ByteStream::try_write) always declines, because a tokio writer cannot be asked without a task.
///
/// ```
/// use std::future::poll_fn;
/// use std::io::IoSlice;
///
/// use bytes::BytesMut;
/// use flexbond_transport::{ByteStream, IoStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (near, far) = tokio::io::duplex(64);
/// let (near, far) = (IoStream::new(near), IoStream::new(far));
/// let written = poll_fn(|cx| near.poll_write(cx, &[IoSlice::new(b"hello")])).await?;
/// let mut buffer = BytesMut::with_capacity(64);
/// let read = poll_fn(|cx| far.poll_read(cx, &mut buffer)).await?;
/// assert_eq!((written, read, &buffer[..]), (5, 5, &b"hello"[..]));
/// # Ok(())
/// # }
/// ```
pub struct IoStream<T> {
    io: Mutex<T>,
}

impl<T> IoStream<T> {
    /// Wraps a reader and writer.
    #[must_use]
    pub fn new(io: T) -> Self {
        IoStream { io: Mutex::new(io) }
    }

    /// The reader and writer again. Nothing was buffered here.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.io.into_inner()
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for IoStream<T> {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut io = self.io.lock();
        // The future holds no state between polls, so that it may as well be made for each of them.
        let read = pin!(io.read_buf(buffer));
        read.poll(cx)
    }

    fn poll_read_into(&self, cx: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut target = ReadBuf::new(target);
        ready!(Pin::new(&mut *self.io.lock()).poll_read(cx, &mut target))?;
        Poll::Ready(Ok(target.filled().len()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut io = self.io.lock();
        let count = ready!(Pin::new(&mut *io).poll_write_vectored(cx, slices))?;
        if count == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.lock()).poll_flush(cx)
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.lock()).poll_shutdown(cx)
    }
}

impl<T> fmt::Debug for IoStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoStream").finish_non_exhaustive()
    }
}
