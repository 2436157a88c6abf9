//! What a short read tells of a kernel socket: that there is nothing more to read.

use std::io;

use tokio::io::Interest;

/// Whether a read that did not fill its buffer means that the kernel's buffer is empty: so it is where readiness is
/// reported once per change (`epoll(7)`, "Questions and answers", 9).
const SHORT_READ_DRAINS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Runs `read` and, when it read less than `room` (bytes, or packets of a batch), remembers that there is nothing
/// more, which saves the next read the system call that would only say so.
///
/// `try_io` is tokio's method of that name: it notes the readiness before it calls and clears what it noted when it
/// is told `WouldBlock`, so that bytes which arrive meanwhile are not missed. The end of a stream is never cleared.
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
