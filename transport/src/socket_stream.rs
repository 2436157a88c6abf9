//! The byte stream of a kernel socket, tcp and ipc alike: plain reads and writes between waits for readiness.

use std::io;

use socket2::Socket;

use crate::LinkOptions;

/// Implements [`ByteStream`](crate::ByteStream) for a tokio socket, with what its [`lead`](crate::ByteStream::lead) is.
macro_rules! byte_stream {
    ($socket:ty, lead: $lead:expr) => {
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
