//! Where the bytes of a recording are: a file, or memory.

use std::fs::File;
use std::io;

use bytes::Bytes;

use super::batch::Batch;

/// Bytes that can be read at any offset.
pub trait ReadAt {
    /// How many bytes there are.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self) -> io::Result<u64>;

    /// Reads some bytes at `offset` into `buf`, and says how many; zero at the end.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `buf` with the bytes at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where there are not so many, and those of the operating system.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buf = &mut buf[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a recording is written to.
pub(super) trait Storage: ReadAt {
    /// Writes all of `batch` at the end.
    fn write(&mut self, batch: &Batch, reach: Reach) -> io::Result<()>;

    /// Cuts off everything from `len` on, and goes on writing there.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Returns when everything is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// What the operating system has after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everything.
    Everything,
    /// All but what is being written just now, and less than a block that waits for the next write. More is about to
    /// come.
    Blocks,
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, buf, offset)
    }
}

macro_rules! memory {
    ($($bytes:ty),*) => {$(
        /// A recording in memory.
        impl ReadAt for $bytes {
            fn size(&self) -> io::Result<u64> {
                Ok(self.len() as u64)
            }

            fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
                let start = usize::try_from(offset).map_or(self.len(), |offset| offset.min(self.len()));
                let len = buf.len().min(self.len() - start);
                buf[..len].copy_from_slice(&self[start..start + len]);
                Ok(len)
            }
        }
    )*};
}

memory!(Vec<u8>, Bytes);

/// The last bytes that were read, so that small blocks do not cost a system call each.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    // A typical read-ahead of the kernel, and cheap to keep alive while a small message is handled.
    const LEN: usize = 256 << 10;

    /// The `len` bytes at `offset`, which the caller has checked to be before `end`, the end of what may be read.
    pub(super) fn get(
        &mut self,
        source: &impl ReadAt,
        offset: u64,
        len: usize,
        end: u64,
    ) -> io::Result<Bytes> {
        if let Some(bytes) = self.within(offset, len) {
            return Ok(bytes);
        }
        // The part that is here already; the caller's next block begins where the last one ended.
        let here = self.tail_from(offset);
        if len > Self::LEN {
            let mut bytes = vec![0; len];
            bytes[..here.len()].copy_from_slice(&here);
            source.read_exact_at(&mut bytes[here.len()..], offset + here.len() as u64)?;
            return Ok(bytes.into());
        }
        let room = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; room.min(Self::LEN).max(len)];
        let here = here.slice(..here.len().min(bytes.len()));
        bytes[..here.len()].copy_from_slice(&here);
        source.read_exact_at(&mut bytes[here.len()..], offset + here.len() as u64)?;
        (self.start, self.bytes) = (offset, bytes.into());
        Ok(self.bytes.slice(..len))
    }

    fn within(&self, offset: u64, len: usize) -> Option<Bytes> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let end = at.checked_add(len).filter(|&end| end <= self.bytes.len())?;
        Some(self.bytes.slice(at..end))
    }

    fn tail_from(&self, offset: u64) -> Bytes {
        offset
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|&at| at < self.bytes.len())
            .map_or_else(Bytes::new, |at| self.bytes.slice(at..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_what_is_there() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ (n >> 9)) as u8).collect();
        let end = bytes.len() as u64;
        let mut window = Window::default();
        for (offset, len) in [
            (0, 64),
            (64, 10),
            (262_100, 64),
            (262_164, 1_000_000),
            (500, 20),
            (2_999_936, 64),
            (3_000_000, 0),
        ] {
            let seen = window.get(&bytes, offset, len, end).unwrap();
            assert_eq!(seen, &bytes[offset as usize..][..len]);
        }
        assert_eq!(
            window.get(&bytes, 2_999_999, 2, end).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
