//! A length of four bytes, then one LZ4 block: bsread's `lz4`.
//!
//! Senders in Python write the length little-endian, those in C++ big-endian and those in Java in the order of the
//! channel, in which the receiver in Python reads it. Both orders are read: whoever knows how long the data are compares
//! with both, and who does not asks the block itself where both are possible.

use super::blocks::plausible;
use super::error::DecompressError;
use super::lz4::{self, Encoder};

/// Bytes of the length.
const SIZE: usize = 4;

/// How many bytes of data `part` says that it holds.
///
/// # Errors
/// [`Truncated`](DecompressError::Truncated) and [`Implausible`](DecompressError::Implausible).
pub(super) fn declared_len(part: &[u8]) -> Result<usize, DecompressError> {
    let [little, big] = sizes(part)?.map(|len| plausible(u64::from(len), part.len(), part.len() - SIZE));
    match (little, big) {
        (Ok(little), Ok(big)) if little != big => Ok(if lz4::measure(&part[SIZE..]) == Ok(big) {
            big
        } else {
            little
        }),
        (Err(_), Ok(big)) => Ok(big),
        (little, _) => little,
    }
}

/// Whether `part` begins with the little-endian length of `len` bytes of data, of which there are some.
pub(super) fn announces(part: &[u8], len: usize) -> bool {
    let announced = part
        .first_chunk::<SIZE>()
        .map(|&size| u32::from_le_bytes(size) as usize);
    len > 0 && announced == Some(len)
}

/// Decompresses `part`, which must hold exactly `out.len()` bytes.
///
/// # Errors
/// [`Truncated`](DecompressError::Truncated), [`Length`](DecompressError::Length), [`Block`](DecompressError::Block).
pub(super) fn decompress(part: &[u8], out: &mut [u8]) -> Result<(), DecompressError> {
    let sizes = sizes(part)?;
    if !sizes.iter().any(|&size| size as usize == out.len()) {
        return Err(DecompressError::Length {
            declared: u64::from(sizes[0]),
            expected: out.len(),
        });
    }
    lz4::decode_whole(part, SIZE, out)
}

/// Compresses `data`.
///
/// # Panics
/// If `data` are longer than LZ4 takes.
pub(super) fn compress(data: &[u8]) -> Vec<u8> {
    let mut part = (data.len() as u32).to_le_bytes().to_vec();
    part.extend_from_slice(Encoder::new(data.len()).encode(data));
    part
}

/// The two numbers that the length can be: little-endian and big-endian.
fn sizes(part: &[u8]) -> Result<[u32; 2], DecompressError> {
    match part.first_chunk::<SIZE>() {
        Some(&size) => Ok([u32::from_le_bytes(size), u32::from_be_bytes(size)]),
        None => Err(DecompressError::Truncated {
            needed: SIZE as u64,
            available: part.len(),
        }),
    }
}
