//! Bitshuffle: blocks of transposed bits, bare or compressed with LZ4.

use fearless_simd::Level;

use super::blocks::{Block, Blocks, HEADER, Header, Output};
use super::error::DecompressError;
use super::lz4::{self, Encoder, SLACK};
use super::transpose::{elements_to_rows, rows_to_elements};

/// The most bytes that an element may have. Real ones have up to sixteen.
pub const MAX_ELEMENT_SIZE: usize = 65_536;

/// How many bytes of data a block has by default, before rounding.
const TARGET: usize = 8192;
/// Bits of so many elements at a time are transposed, and blocks are multiples of it.
const GROUP: usize = 8;
/// A block by default has no fewer elements.
const FEWEST: usize = 128;

/// How data are cut: blocks of bytes, then a tail of fewer than eight elements that stays as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    element_size: usize,
    /// Bytes of a block.
    block: usize,
    /// Bytes of all blocks.
    blocks: usize,
    /// Bytes after the blocks.
    tail: usize,
}

impl Cut {
    /// Cuts `len` bytes into blocks of `block` bytes, or of the default size if that is zero.
    ///
    /// # Errors
    /// [`ElementSize`](DecompressError::ElementSize), [`NotWholeElements`](DecompressError::NotWholeElements),
    /// [`BlockSize`](DecompressError::BlockSize).
    pub(super) fn new(len: usize, element_size: usize, block: u32) -> Result<Cut, DecompressError> {
        if element_size == 0 || element_size > MAX_ELEMENT_SIZE {
            return Err(DecompressError::ElementSize { element_size });
        }
        if !len.is_multiple_of(element_size) {
            return Err(DecompressError::NotWholeElements { len, element_size });
        }
        let group = GROUP * element_size;
        let size = match block as usize {
            0 => default_block(element_size),
            size => size,
        };
        if !size.is_multiple_of(group) {
            return Err(DecompressError::BlockSize { block, element_size });
        }
        let blocks = len - len % group;
        Ok(Cut {
            element_size,
            block: size,
            blocks,
            tail: len - blocks,
        })
    }

    /// What says how the data are cut.
    pub(super) fn header(self) -> Header {
        Header {
            data: self.blocks + self.tail,
            block: self.block as u32,
        }
    }

    /// The longest block there is, in bytes.
    fn longest(self) -> usize {
        self.block.min(self.blocks)
    }
}

/// Bytes of a block of elements of `element_size` bytes where nothing else is said.
fn default_block(element_size: usize) -> usize {
    let elements = TARGET / element_size / GROUP * GROUP;
    elements.max(FEWEST) * element_size
}

/// The most bytes that LZ4 makes of a block, where the size of blocks is the default one and there are `len` bytes of data.
pub(super) fn longest_packed(len: usize) -> usize {
    let block = len.min(FEWEST * MAX_ELEMENT_SIZE);
    block + block / 255 + 16
}

/// Transposes the bits of `data` back, into `out`. `data` are `len` bytes.
pub(super) fn untransposed(data: &[u8], cut: Cut, out: &mut dyn Output) {
    let level = Level::new();
    let (blocks, tail) = data.split_at(cut.blocks);
    for rows in blocks.chunks(cut.block) {
        rows_to_elements(level, rows, cut.element_size, out.next(rows.len()));
    }
    out.next(cut.tail).copy_from_slice(tail);
}

/// Transposes the bits of `data`.
pub(super) fn transposed(data: &[u8], cut: Cut) -> Vec<u8> {
    let level = Level::new();
    let mut part = vec![0; data.len()];
    let (blocks, tail) = data.split_at(cut.blocks);
    let (rows, tail_to) = part.split_at_mut(cut.blocks);
    for (elements, rows) in blocks.chunks(cut.block).zip(rows.chunks_mut(cut.block)) {
        elements_to_rows(level, elements, cut.element_size, rows);
    }
    tail_to.copy_from_slice(tail);
    part
}

/// Decompresses the blocks and the tail of `part` into `out`; they begin at `position`, where the header ends.
///
/// # Errors
/// [`Truncated`](DecompressError::Truncated), [`TrailingBytes`](DecompressError::TrailingBytes),
/// [`Block`](DecompressError::Block).
pub(super) fn decompress(
    part: &[u8],
    position: usize,
    cut: Cut,
    out: &mut dyn Output,
) -> Result<(), DecompressError> {
    let level = Level::new();
    let tail = each_block(part, position, cut, |rows| {
        rows_to_elements(level, rows, cut.element_size, out.next(rows.len()));
    })?;
    out.next(cut.tail).copy_from_slice(tail);
    Ok(())
}

/// Whether [`decompress`] would succeed. Bits are not transposed: there is nothing that could be wrong with that.
///
/// # Errors
/// Those of [`decompress`].
#[cfg(feature = "recording")]
pub(super) fn check(part: &[u8], position: usize, cut: Cut) -> Result<(), DecompressError> {
    each_block(part, position, cut, |_| {}).map(drop)
}

/// Hands out the transposed bits of each block, and returns the tail.
fn each_block(
    part: &[u8],
    position: usize,
    cut: Cut,
    mut take: impl FnMut(&[u8]),
) -> Result<&[u8], DecompressError> {
    // One block, which stays in the first-level cache between its two steps.
    let mut rows = vec![0; cut.longest() + SLACK];
    let mut blocks = Blocks::new(part, position, cut.blocks, cut.block);
    while let Some(Block {
        packed,
        position,
        len,
    }) = blocks.next()?
    {
        lz4::decode(packed, &mut rows, len).map_err(|source| DecompressError::Block {
            position,
            len,
            source,
        })?;
        take(&rows[..len]);
    }
    blocks.tail(cut.tail)
}

/// Compresses `data`, after `header` where there is to be one.
pub(super) fn compress(data: &[u8], cut: Cut, header: Option<Header>) -> Vec<u8> {
    let level = Level::new();
    let longest = cut.longest();
    let mut rows = vec![0; longest];
    let mut encoder = Encoder::new(longest);
    // As long as it can become: what is not written takes no memory, and is given back at the end.
    let mut part = Vec::with_capacity(HEADER + data.len() + data.len() / 128 + 64);
    if let Some(header) = header {
        header.write(&mut part);
    }
    let (blocks, tail) = data.split_at(cut.blocks);
    for elements in blocks.chunks(cut.block) {
        let rows = &mut rows[..elements.len()];
        elements_to_rows(level, elements, cut.element_size, rows);
        let packed = encoder.encode(rows);
        part.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        part.extend_from_slice(packed);
    }
    part.extend_from_slice(tail);
    part.shrink_to_fit();
    part
}
