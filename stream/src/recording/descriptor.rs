//! An open file as the operating system knows it: bytes go to its end through the page cache, or past it.

use std::fs::File;
use std::io::{self, IoSlice};

use super::storage::ReadAt;

/// What a [`DirectFile`](super::direct_file::DirectFile) writes to.
pub(super) trait Descriptor: ReadAt + Send + 'static {
    /// Writes some bytes at the end, and says how many.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// As [`write`](Self::write), past the page cache. Where the file ends, where `blocks` lies in memory and how long
    /// it is are multiples of the [`alignment`](Self::alignment).
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] and [`io::ErrorKind::Unsupported`] where this file cannot be written so.
    fn write_direct(&mut self, blocks: &[u8]) -> io::Result<usize>;

    /// What direct writes have to be aligned to, a power of two; `None` where there are none.
    fn alignment(&self) -> Option<usize>;

    /// Cuts off everything from `len` on, and goes on writing there.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Returns when everything is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Descriptor for File {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        io::Write::write_vectored(self, slices)
    }

    #[cfg(target_os = "linux")]
    fn write_direct(&mut self, blocks: &[u8]) -> io::Result<usize> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

        // For this write alone: with the flag on, nothing unaligned could be read or written. It is a flag of this open
        // file, which nobody else has, and changing it costs less than a microsecond.
        let flags = fcntl_getfl(&*self)?;
        fcntl_setfl(&*self, flags | OFlags::DIRECT)?;
        let written = io::Write::write(self, blocks);
        fcntl_setfl(&*self, flags)?;
        written
    }

    #[cfg(not(target_os = "linux"))]
    fn write_direct(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(target_os = "linux")]
    fn alignment(&self) -> Option<usize> {
        use rustix::fs::{AtFlags, StatxFlags, statx};

        let Ok(stat) = statx(self, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else {
            return Some(BLOCK);
        };
        if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            // Not every kernel and file system says it.
            return Some(BLOCK);
        }
        match (stat.stx_dio_mem_align, stat.stx_dio_offset_align) {
            (0, _) | (_, 0) => None,
            (memory, offset) => {
                let align = (memory.max(offset) as usize).max(BLOCK);
                (align.is_power_of_two() && align <= LARGEST_BLOCK).then_some(align)
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn alignment(&self) -> Option<usize> {
        None
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        io::Seek::seek(self, io::SeekFrom::Start(len)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

// A page, too, so that no page of the cache has to be written back for a direct write beside it.
#[cfg(target_os = "linux")]
const BLOCK: usize = 4 << 10;
#[cfg(target_os = "linux")]
const LARGEST_BLOCK: usize = 64 << 10;
