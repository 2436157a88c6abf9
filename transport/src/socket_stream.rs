//! The byte stream of a kernel socket, tcp and ipc alike: plain reads and writes between waits for readiness.

use std::io;

use socket2::Socket;

use crate::LinkOptions;

/// Implements [`ByteStream`](crate::ByteStream) for a tokio socket, with what its [`lead`](crate::ByteStream::lead) is
/// and, where there is one, a function that sets its [keepalive](crate::ByteStream::set_keepalive).
macro_rules! byte_stream {
    ($socket:ty, lead: $lead:expr $(, keepalive: $keepalive:path)?) => {
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
                    let result = $crate::readiness::read_noting_drained(
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

            fn poll_read_into(
                &self,
                cx: &mut std::task::Context<'_>,
                target: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                use std::io::ErrorKind;
                use std::task::Poll;
                loop {
                    std::task::ready!(self.poll_read_ready(cx))?;
                    let result = $crate::readiness::read_noting_drained(
                        target.len(),
                        || self.try_read(target),
                        |interest, read| self.try_io(interest, read),
                    );
                    match result {
                        Err(error)
                            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                        result => return Poll::Ready(result),
                    }
                }
            }

            fn read_now(&self, target: &mut [u8]) -> std::io::Result<usize> {
                std::io::Read::read(&mut &*socket2::SockRef::from(self), target)
            }

            fn write_now(&self, slices: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let socket = socket2::SockRef::from(self);
                match slices {
                    [slice] => socket.send_with_flags(slice, $crate::socket_stream::NO_SIGNAL),
                    slices => socket.send_vectored_with_flags(slices, $crate::socket_stream::NO_SIGNAL),
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

            fn lead(&self) -> Option<usize> {
                $lead
            }

            $(
                fn set_keepalive(&self, keepalive: &$crate::Keepalive) -> std::io::Result<()> {
                    $keepalive(&socket2::SockRef::from(self), keepalive)
                }
            )?

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

/// `MSG_NOSIGNAL` (`send(2)`): a peer that has gone is an error, not a signal, in every program. Elsewhere the socket has
/// an option for it, or the signal does not exist.
pub(crate) const NO_SIGNAL: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    0x4000
} else {
    0
};

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
