//! The framing that HDF5's LZ4 and bitshuffle filters share: a header of twelve bytes, then blocks with their lengths.

use super::error::DecompressError;
use super::lz4::MAX_EXPANSION;

/// Bytes of the header: a u64 and a u32.
pub(super) const HEADER: usize = 12;

/// The largest block that a signed 32-bit length can tell.
const LARGEST: u32 = i32::MAX as u32;

/// What stands before the blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Bytes of data in all blocks and after them.
    pub(super) data: usize,
    /// Bytes of data in a block; zero asks for the default.
    pub(super) block: u32,
}

impl Header {
    /// Reads the header of `part`.
    ///
    /// # Errors
    /// [`Truncated`](DecompressError::Truncated) if the part is shorter than a header;
    /// [`Implausible`](DecompressError::Implausible) if the part cannot hold the data it announces;
    /// [`BlockSize`](DecompressError::BlockSize) if the blocks' size is negative.
    pub(super) fn read(part: &[u8]) -> Result<Header, DecompressError> {
        let Some((data, rest)) = part.split_first_chunk::<8>() else {
            return Err(DecompressError::Truncated {
                needed: HEADER as u64,
                available: part.len(),
            });
        };
        let Some(block) = rest.first_chunk::<4>() else {
            return Err(DecompressError::Truncated {
                needed: HEADER as u64,
                available: part.len(),
            });
        };
        let block = u32::from_be_bytes(*block);
        let data = plausible(u64::from_be_bytes(*data), part.len(), part.len() - HEADER)?;
        if block > LARGEST {
            return Err(DecompressError::BlockSize {
                block,
                element_size: 1,
            });
        }
        Ok(Header { data, block })
    }

    /// Appends the header to `part`.
    pub(super) fn write(self, part: &mut Vec<u8>) {
        part.extend_from_slice(&(self.data as u64).to_be_bytes());
        part.extend_from_slice(&self.block.to_be_bytes());
    }
}

/// `len` as a length in memory, if `packed` bytes of LZ4 can stand for so many.
///
/// # Errors
/// [`DecompressError::Implausible`] if not.
pub(super) fn plausible(len: u64, part: usize, packed: usize) -> Result<usize, DecompressError> {
    match usize::try_from(len) {
        // Where the bound is beyond what a machine can address, so is no length that it can address.
        Ok(fits) if fits <= packed.saturating_mul(MAX_EXPANSION) => Ok(fits),
        _ => Err(DecompressError::Implausible { len, part }),
    }
}

/// One block of a part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// What stands in the part.
    pub(super) packed: &'a [u8],
    /// Where that begins in the part.
    pub(super) position: usize,
    /// Bytes of data.
    pub(super) len: usize,
}

/// The blocks of a part, one after the other.
pub(super) struct Blocks<'a> {
    part: &'a [u8],
    position: usize,
    /// Bytes of data in the blocks to come.
    left: usize,
    /// Bytes of data in each but the last; not zero.
    block: usize,
}

impl<'a> Blocks<'a> {
    /// The blocks of `part` from `position` on, where its header ends; they hold `len` bytes in pieces of `block`.
    pub(super) fn new(part: &'a [u8], position: usize, len: usize, block: usize) -> Blocks<'a> {
        debug_assert!(block > 0 && position <= part.len());
        Blocks {
            part,
            position,
            left: len,
            block,
        }
    }

    /// The next block.
    ///
    /// # Errors
    /// [`Truncated`](DecompressError::Truncated) if the part ends before the block does.
    pub(super) fn next(&mut self) -> Result<Option<Block<'a>>, DecompressError> {
        if self.left == 0 {
            return Ok(None);
        }
        let rest = &self.part[self.position..];
        let Some((packed, rest)) = rest.split_first_chunk::<4>() else {
            return Err(self.truncated(4));
        };
        let packed = u32::from_be_bytes(*packed);
        let Some(packed) = usize::try_from(packed).ok().and_then(|len| rest.get(..len)) else {
            return Err(self.truncated(4 + u64::from(packed)));
        };
        let position = self.position + 4;
        let len = self.block.min(self.left);
        self.position = position + packed.len();
        self.left -= len;
        Ok(Some(Block {
            packed,
            position,
            len,
        }))
    }

    /// What follows the blocks, after all of them were taken; it must be `len` bytes.
    ///
    /// # Errors
    /// [`Truncated`](DecompressError::Truncated) and [`TrailingBytes`](DecompressError::TrailingBytes).
    pub(super) fn tail(self, len: usize) -> Result<&'a [u8], DecompressError> {
        debug_assert_eq!(self.left, 0);
        let rest = &self.part[self.position..];
        match rest.len().checked_sub(len) {
            Some(0) => Ok(rest),
            Some(count) => Err(DecompressError::TrailingBytes { count }),
            None => Err(self.truncated(len as u64)),
        }
    }

    fn truncated(&self, more: u64) -> DecompressError {
        DecompressError::Truncated {
            needed: self.position as u64 + more,
            available: self.part.len(),
        }
    }
}

/// Where decompressed data go, a block at a time.
pub(super) trait Output {
    /// Memory for the next `len` bytes.
    fn next(&mut self, len: usize) -> &mut [u8];
}

/// Memory of the caller's. Its length was compared with that of the data before.
impl Output for &mut [u8] {
    fn next(&mut self, len: usize) -> &mut [u8] {
        let (next, left) = std::mem::take(self).split_at_mut(len);
        *self = left;
        next
    }
}

/// New memory, which grows by a block: what is cleared is still in the cache when it is written.
impl Output for Vec<u8> {
    fn next(&mut self, len: usize) -> &mut [u8] {
        let written = self.len();
        self.resize(written + len, 0);
        &mut self[written..]
    }
}
