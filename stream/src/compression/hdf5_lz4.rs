//! The framing of HDF5's LZ4 filter, in which a block that does not become shorter is stored as it is.

use super::blocks::{Block, Blocks, HEADER, Header, Output};
use super::error::DecompressError;
use super::lz4::{self, Encoder};

/// Bytes of a block by default, as the filter has it.
const BLOCK: usize = 1 << 30;

/// Decompresses the blocks of `part`, whose header was read, into `out`.
///
/// # Errors
/// [`BlockSize`](DecompressError::BlockSize), [`Truncated`](DecompressError::Truncated),
/// [`TrailingBytes`](DecompressError::TrailingBytes), [`Block`](DecompressError::Block).
pub(super) fn decompress(part: &[u8], header: Header, out: &mut dyn Output) -> Result<(), DecompressError> {
    let block = header.block as usize;
    if block == 0 && header.data > 0 {
        return Err(DecompressError::BlockSize {
            block: header.block,
            element_size: 1,
        });
    }
    let mut blocks = Blocks::new(part, HEADER, header.data, block.max(1));
    while let Some(Block {
        packed,
        position,
        len,
    }) = blocks.next()?
    {
        let out = out.next(len);
        if packed.len() == len {
            out.copy_from_slice(packed);
        } else {
            lz4::decode(packed, out, len).map_err(|source| DecompressError::Block {
                position,
                len,
                source,
            })?;
        }
    }
    blocks.tail(0).map(|_| ())
}

/// Compresses `data`, header included.
pub(super) fn compress(data: &[u8]) -> Vec<u8> {
    let block = data.len().clamp(1, BLOCK);
    let mut encoder = Encoder::new(block.min(data.len()));
    let mut part = Vec::with_capacity(data.len() / 2);
    Header {
        data: data.len(),
        block: block as u32,
    }
    .write(&mut part);
    for data in data.chunks(block) {
        let packed = encoder.encode(data);
        let stored = if packed.len() < data.len() { packed } else { data };
        part.extend_from_slice(&(stored.len() as u32).to_be_bytes());
        part.extend_from_slice(stored);
    }
    part
}
