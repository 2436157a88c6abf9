//! The byte stream of a kernel socket, tcp and ipc alike: plain reads and writes between waits for readiness.

use std::io;

use socket2::Socket;
use tokio::io::Interest;

use crate::LinkOptions;

/// Whether a read that did not fill its buffer means that the kernel's buffer is empty: so it is where readiness is
/// reported once per change (`epoll(7)`, "Questions and answers", 9).
pub(crate) const SHORT_READ_DRAINS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Runs `read` and, when it read less than `room`, remembers that there is nothing more, which saves the next read
/// the system call that would only say so.
///
/// `try_io` is tokio's method of that name: it notes the readiness before it calls and clears what it noted when it
/// is told `WouldBlock`, so that bytes which arrive meanwhile are not missed. The end of the stream is never cleared.
pub(crate) fn read_noting_drained(
    room: usize,
    read: impl FnOnce() -> io::Result<usize>,
    try_io: impl FnOnce(Interest, &mut dyn FnMut() -> io::Result<usize>) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut read = Some(read);
    let mut short = None;
    let result = try_io(Interest::READABLE, &mut || {
        let Some(read) = read.take() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let count = read()?;
        if SHORT_READ_DRAINS && count > 0 && count < room {
            short = Some(count);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    });
    short.map_or(result, Ok)
}

/// Implements [`ByteStream`](crate::ByteStream) for a tokio socket.
macro_rules! byte_stream {
    ($socket:ty) => {
        impl $crate::ByteStream for $socket {
            fn poll_read(
                &self,
                cx: &mut std::task::Context<'_>,
                buffer: &mut bytes::BytesMut,
            ) -> std::task::Poll<std::io::Result<usize>> {
                use std::io::ErrorKind;
                use std::task::Poll;
                loop {
                    std::task::ready!(self.poll_read_ready(cx))?;
                    let room = bytes::BufMut::chunk_mut(buffer).len();
                    let result = $crate::socket_stream::read_noting_drained(
                        room,
                        || self.try_read_buf(buffer),
                        |interest, read| self.try_io(interest, read),
                    );
                    match result {
                        Err(error)
                            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                        result => return Poll::Ready(result),
                    }
                }
            }

            fn poll_write(
                &self,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                use std::io::ErrorKind;
                use std::task::Poll;
                loop {
                    std::task::ready!(self.poll_write_ready(cx))?;
                    match $crate::ByteStream::try_write(self, slices) {
                        Err(error)
                            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                        result => return Poll::Ready(result),
                    }
                }
            }

            fn try_write(&self, slices: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                match slices {
                    // The plain call is the cheaper one for the system.
                    [slice] => <$socket>::try_write(self, slice),
                    slices => self.try_write_vectored(slices),
                }
            }

            fn poll_shutdown(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                let _ = cx;
                let result = socket2::SockRef::from(self).shutdown(std::net::Shutdown::Write);
                std::task::Poll::Ready(match result {
                    // The peer has gone altogether: there is nothing left to end.
                    Err(error) if error.kind() == std::io::ErrorKind::NotConnected => Ok(()),
                    result => result,
                })
            }
        }
    };
}

pub(crate) use byte_stream;

/// Sets the sizes of the kernel's buffers that are asked for. The system may double or limit them.
pub(crate) fn set_buffers(socket: &Socket, options: &LinkOptions) -> io::Result<()> {
    let size = |size: usize| size.min(i32::MAX as usize);
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(size(bytes))?;
    }
    if let Some(bytes) = options.recv_buffer {
        socket.set_recv_buffer_size(size(bytes))?;
    }
    Ok(())
}
