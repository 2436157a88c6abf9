//! Compressed data parts: the framings in which LZ4 and bitshuffle travel.
//!
//! | [`Codec`] | used by | what a part looks like |
//! | --- | --- | --- |
//! | [`Lz4Block`](Codec::Lz4Block) | Dectris stream V1, `lz4<` | one LZ4 block |
//! | [`Lz4Sized`](Codec::Lz4Sized) | bsread, `lz4`; emulators of Dectris stream V1, `lz4<` | u32 bytes of data, LZ4 block |
//! | [`Lz4Hdf5`](Codec::Lz4Hdf5) | Dectris stream V1 and V2, `lz4`; HDF5 filter 32004 | u64 bytes of data, u32 bytes of a block; of each block u32 length and LZ4 block, or the data as they are if the length is that of the data |
//! | [`BitshuffleLz4`](Codec::BitshuffleLz4) | Dectris stream V1, `bs16-lz4<`; V2, `bslz4`; bsread, `bitshuffle_lz4`; HDF5 filter 32008 | u64 bytes of data, u32 bytes of a block; of each block u32 length and LZ4 block of transposed bits; up to seven elements as they are |
//! | [`BitshuffleLz4Bare`](Codec::BitshuffleLz4Bare) | emulators of Dectris stream V1, `bs16-lz4<` | as `BitshuffleLz4` without the first twelve bytes; blocks have the default size |
//! | [`Bitshuffle`](Codec::Bitshuffle) | HDF5 filter 32008 without compression | blocks of transposed bits; up to seven elements as they are |
//!
//! All numbers are big-endian but that of bsread's `lz4`: Java writes and Python reads it in the order of the channel,
//! Python writes it little-endian, C++ big-endian. Both are understood, and a channel's values are
//! [written](crate::bsread) with its own. LZ4 blocks are those of the LZ4 block format, without a frame.
//!
//! **Blocks of bitshuffle.** A block is a multiple of eight elements; the last one is what is left, rounded down to a
//! multiple of eight, and what then remains (n % 8 elements) stands at the end as it is. A header that says 0 asks for
//! the default: 8192 bytes, rounded down to a multiple of eight elements, but never fewer than 128 elements. Within a
//! block the first row is the least significant bit of the first byte of all elements, eight to a byte from the least
//! significant bit on. Bytes of elements are taken as they stand in memory, so that the order of bytes is neither known
//! nor changed here.
//!
//! **Memory.** What a part says of itself is believed only after it was checked: LZ4 makes at most 255 bytes of one, so
//! a part of p bytes cannot hold more than 255 p, and nothing is allocated for one that says so. Decompressing allocates
//! the data (not with [`decompress_into`](Codec::decompress_into)) and, with bitshuffle and LZ4, one block more, which is
//! never longer than the data. Whoever takes the length of the data from a peer bounds it: 255 times what a peer sends may be too much.
//!
//! # Example
//! ```
//! use flexbond_stream::compression::Codec;
//!
//! let counts: Vec<u8> = (0..10_000_u16).flat_map(|pixel| (pixel % 7).to_le_bytes()).collect();
//! let part = Codec::BitshuffleLz4.compress(&counts, 2);
//! assert!(part.len() < counts.len() / 4);
//!
//! let len = Codec::BitshuffleLz4.declared_len(&part)?.expect("this framing says it");
//! let mut frame = vec![0; len];
//! Codec::BitshuffleLz4.decompress_into(&part, 2, &mut frame)?;
//! assert_eq!(frame, counts);
//! # Ok::<(), flexbond_stream::compression::DecompressError>(())
//! ```

mod bitshuffle;
mod blocks;
mod error;
mod hdf5_lz4;
mod lz4;
mod sized;
mod transpose;

pub use bitshuffle::MAX_ELEMENT_SIZE;
pub use error::{DecompressError, Lz4Error};

use bitshuffle::Cut;
use blocks::{Header, Output, plausible};
use lz4::Encoder;

/// How a data part is compressed, framing included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// One bare LZ4 block; how long the data are is said elsewhere (Dectris `lz4<`).
    Lz4Block,
    /// A length of four bytes, little-endian, then one LZ4 block (bsread's `lz4`). A big-endian length is understood.
    Lz4Sized,
    /// The framing of HDF5's LZ4 filter: u64 bytes of data, u32 bytes of a block, both big-endian; of each block a
    /// big-endian u32 length and an LZ4 block, or the data themselves where the length is that of the block.
    Lz4Hdf5,
    /// The framing of HDF5's bitshuffle filter with LZ4: u64 bytes of data, u32 bytes of a block, both big-endian; of
    /// each block a big-endian u32 length and an LZ4 block of the transposed bits; elements beyond the last multiple of
    /// eight as they are (`bs16-lz4<`, `bslz4`, `bitshuffle_lz4`).
    BitshuffleLz4,
    /// As [`BitshuffleLz4`](Codec::BitshuffleLz4) without its header: what the function `bshuf_compress_lz4` of the C
    /// library writes. How long the data are is said elsewhere, and blocks have the default size. An emulator of
    /// detectors sends it as `bs16-lz4<`.
    BitshuffleLz4Bare,
    /// Transposed bits in blocks, no header, not compressed.
    Bitshuffle,
}

impl Codec {
    /// The most bytes of data that [`Lz4Block`](Codec::Lz4Block) and [`Lz4Sized`](Codec::Lz4Sized) take: those of one LZ4
    /// block.
    pub const MAX_LZ4_BLOCK: usize = lz4::MAX_BLOCK;

    /// Which of its forms a part of Dectris' `lz4<` with `len` bytes of data has: [`Lz4Block`](Codec::Lz4Block),
    /// [`Lz4Hdf5`](Codec::Lz4Hdf5), or [`Lz4Sized`](Codec::Lz4Sized), which emulators send that pack with Python's
    /// `lz4.block`.
    ///
    /// They cannot be mistaken for each other. The header of the second begins with a zero byte for all data shorter
    /// than 2^56 bytes. An LZ4 block that begins with one, or with anything below 16, begins with no literal but with a
    /// copy, and there is nothing yet to copy from: no such block holds any data. A part that begins with the length of
    /// the third is one block all the same where it holds just so many bytes as one.
    ///
    /// ```
    /// use flexbond_stream::compression::Codec;
    ///
    /// let data = [7; 100];
    /// for codec in [Codec::Lz4Block, Codec::Lz4Hdf5, Codec::Lz4Sized] {
    ///     assert_eq!(Codec::detect_lz4(&codec.compress(&data, 1), data.len()), codec);
    /// }
    /// ```
    #[must_use]
    pub fn detect_lz4(part: &[u8], len: usize) -> Codec {
        if sized::announces(part, len) && lz4::measure(part) != Ok(len) {
            return Codec::Lz4Sized;
        }
        let Some(declared) = part.first_chunk::<8>().filter(|_| part.len() >= blocks::HEADER) else {
            return Codec::Lz4Block;
        };
        if u64::from_be_bytes(*declared) == len as u64 || part[0] < 16 {
            Codec::Lz4Hdf5
        } else {
            Codec::Lz4Block
        }
    }

    /// Which of its two forms a part of Dectris' `bs16-lz4<` with `len` bytes of data has:
    /// [`BitshuffleLz4`](Codec::BitshuffleLz4) or [`BitshuffleLz4Bare`](Codec::BitshuffleLz4Bare).
    ///
    /// Where the data are shorter than 4 GiB, the two cannot be mistaken for each other: the header begins with four zero
    /// bytes, the other form with the length of a block, and no block is empty. Fewer than eight elements make no block,
    /// so that the other form is then as long as the data. What would be a block longer than any that holds such data is
    /// a header, which then announces more than the part can hold.
    ///
    /// ```
    /// use flexbond_stream::compression::Codec;
    ///
    /// let data = [7; 100];
    /// for codec in [Codec::BitshuffleLz4, Codec::BitshuffleLz4Bare] {
    ///     assert_eq!(Codec::detect_bitshuffle_lz4(&codec.compress(&data, 2), data.len()), codec);
    /// }
    /// ```
    #[must_use]
    pub fn detect_bitshuffle_lz4(part: &[u8], len: usize) -> Codec {
        let announced = part
            .first_chunk::<8>()
            .is_some_and(|size| u64::from_be_bytes(*size) == len as u64);
        let longest = bitshuffle::longest_packed(len);
        let block = part.first_chunk::<4>().is_some_and(|&length| {
            let length = u32::from_be_bytes(length) as usize;
            (1..=longest).contains(&length)
        });
        if !announced && (block || part.len() == len) {
            Codec::BitshuffleLz4Bare
        } else {
            Codec::BitshuffleLz4
        }
    }

    /// How many bytes of data the part says that it holds; `None` where the framing does not say.
    ///
    /// The number is plausible: no more than 255 times the bytes of the part.
    ///
    /// # Errors
    /// [`Truncated`](DecompressError::Truncated) if the part is too short to say anything;
    /// [`Implausible`](DecompressError::Implausible) if it says more than it can hold;
    /// [`BlockSize`](DecompressError::BlockSize) if the size of a block beside it is negative.
    pub fn declared_len(self, part: &[u8]) -> Result<Option<usize>, DecompressError> {
        match self {
            Codec::Lz4Block | Codec::BitshuffleLz4Bare => Ok(None),
            Codec::Lz4Sized => sized::declared_len(part).map(Some),
            Codec::Lz4Hdf5 | Codec::BitshuffleLz4 => Header::read(part).map(|header| Some(header.data)),
            Codec::Bitshuffle => Ok(Some(part.len())),
        }
    }

    /// Decompresses `part`, which must hold exactly `out.len()` bytes, of elements of `element_size` bytes.
    ///
    /// The size of an element matters to those with bitshuffle only. Every byte of the part must belong to the data.
    ///
    /// # Errors
    /// [`DecompressError`]; what `out` then holds is unspecified.
    pub fn decompress_into(
        self,
        part: &[u8],
        element_size: usize,
        out: &mut [u8],
    ) -> Result<(), DecompressError> {
        let len = out.len();
        match self {
            Codec::Lz4Block => lz4::decode_whole(part, 0, out),
            Codec::Lz4Sized => sized::decompress(part, out),
            _ => {
                let mut out = out;
                self.unframe(part, element_size, len, &mut out)
            }
        }
    }

    /// As [`decompress_into`](Codec::decompress_into), into new memory of `len` bytes, which are allocated only after
    /// the part was seen to be able to hold so many.
    ///
    /// # Errors
    /// [`DecompressError`].
    pub fn decompress(
        self,
        part: &[u8],
        element_size: usize,
        len: usize,
    ) -> Result<Vec<u8>, DecompressError> {
        match self {
            Codec::Lz4Block | Codec::Lz4Sized => {
                plausible(len as u64, part.len(), part.len())?;
                let mut data = vec![0; len];
                self.decompress_into(part, element_size, &mut data)?;
                Ok(data)
            }
            _ => {
                match self.declared_len(part)? {
                    Some(declared) => expect(declared, len)?,
                    None => drop(plausible(len as u64, part.len(), part.len())?),
                }
                let mut data = Vec::<u8>::with_capacity(len);
                self.unframe(part, element_size, len, &mut data)?;
                Ok(data)
            }
        }
    }

    /// Compresses `data`, whose length is a multiple of `element_size`.
    ///
    /// The size of an element matters to those with bitshuffle only. Their blocks have the default size; those of [`Lz4Hdf5`](Codec::Lz4Hdf5) 1 GiB, as the filter's.
    ///
    /// # Panics
    /// With bitshuffle, if `element_size` is zero or beyond [`MAX_ELEMENT_SIZE`], or `data` are not a whole number of
    /// elements; with [`Lz4Block`](Codec::Lz4Block) and [`Lz4Sized`](Codec::Lz4Sized), if `data` are longer than
    /// [`MAX_LZ4_BLOCK`](Codec::MAX_LZ4_BLOCK).
    #[must_use]
    pub fn compress(self, data: &[u8], element_size: usize) -> Vec<u8> {
        let cut = || match Cut::new(data.len(), element_size, 0) {
            Ok(cut) => cut,
            // The caller's mistake, documented above.
            Err(error) => panic!("data cannot be transposed: {error}"),
        };
        match self {
            Codec::Lz4Block => Encoder::new(data.len()).encode(data).to_vec(),
            Codec::Lz4Sized => sized::compress(data),
            Codec::Lz4Hdf5 => hdf5_lz4::compress(data),
            Codec::BitshuffleLz4 => {
                let cut = cut();
                bitshuffle::compress(data, cut, Some(cut.header()))
            }
            Codec::BitshuffleLz4Bare => bitshuffle::compress(data, cut(), None),
            Codec::Bitshuffle => bitshuffle::transposed(data, cut()),
        }
    }

    /// Whether `part` is [`BitshuffleLz4`](Codec::BitshuffleLz4) of `len` bytes that can be decompressed; in less time
    /// than that takes.
    ///
    /// # Errors
    /// Those of [`decompress`](Codec::decompress).
    #[cfg(feature = "recording")]
    pub(crate) fn check_bitshuffle_lz4(
        part: &[u8],
        element_size: usize,
        len: usize,
    ) -> Result<(), DecompressError> {
        let header = Header::read(part)?;
        expect(header.data, len)?;
        let cut = Cut::new(len, element_size, header.block)?;
        bitshuffle::check(part, blocks::HEADER, cut)
    }

    /// Decompresses what comes in blocks.
    fn unframe(
        self,
        part: &[u8],
        element_size: usize,
        len: usize,
        out: &mut dyn Output,
    ) -> Result<(), DecompressError> {
        match self {
            Codec::Bitshuffle => {
                expect(part.len(), len)?;
                bitshuffle::untransposed(part, Cut::new(len, element_size, 0)?, out);
                Ok(())
            }
            Codec::BitshuffleLz4 => {
                let header = Header::read(part)?;
                expect(header.data, len)?;
                let cut = Cut::new(len, element_size, header.block)?;
                bitshuffle::decompress(part, blocks::HEADER, cut, out)
            }
            Codec::BitshuffleLz4Bare => bitshuffle::decompress(part, 0, Cut::new(len, element_size, 0)?, out),
            _ => {
                let header = Header::read(part)?;
                expect(header.data, len)?;
                hdf5_lz4::decompress(part, header, out)
            }
        }
    }
}

fn expect(declared: usize, expected: usize) -> Result<(), DecompressError> {
    if declared == expected {
        Ok(())
    } else {
        Err(DecompressError::Length {
            declared: declared as u64,
            expected,
        })
    }
}
