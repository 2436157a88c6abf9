//! Why compressed data cannot be read.

use thiserror::Error;

/// Why data cannot be decompressed.
///
/// Every variant says that the part is not what it claims to be, or not what the caller expects: trying again with the
/// same arguments fails in the same way. Nothing but the output is touched; what it holds after an error is unspecified.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// The part ends before what its framing announces.
    #[error("part of {available} bytes ends too early: at least {needed} are needed")]
    Truncated {
        /// How many bytes the part must have at least, as far as it could be read.
        needed: u64,
        /// How many it has.
        available: usize,
    },

    /// Bytes follow the end of the data.
    #[error("{count} bytes follow the end of the data")]
    TrailingBytes {
        /// How many.
        count: usize,
    },

    /// The part holds another number of bytes of data than the caller expects.
    #[error("part says that it holds {declared} bytes of data where {expected} are expected")]
    Length {
        /// What the part says.
        declared: u64,
        /// What the caller expects.
        expected: usize,
    },

    /// The part says, or is said, to hold more data than LZ4 can pack into as many bytes as it has, or more than this
    /// machine can address. Nothing was allocated.
    #[error("{len} bytes of data cannot come out of a part of {part} bytes")]
    Implausible {
        /// Bytes of data.
        len: u64,
        /// Bytes of the part.
        part: usize,
    },

    /// The size of an element is zero or beyond [`MAX_ELEMENT_SIZE`](super::MAX_ELEMENT_SIZE).
    #[error("an element of {element_size} bytes is none that bits can be transposed of")]
    ElementSize {
        /// Bytes of an element.
        element_size: usize,
    },

    /// The data are not a whole number of elements.
    #[error("{len} bytes of data are not a multiple of the {element_size} bytes of an element")]
    NotWholeElements {
        /// Bytes of data.
        len: usize,
        /// Bytes of an element.
        element_size: usize,
    },

    /// The framing's size of a block is zero where that is not allowed, negative, or not a multiple of eight elements.
    #[error("blocks of {block} bytes do not fit elements of {element_size} bytes")]
    BlockSize {
        /// Bytes of a block, as the part says.
        block: u32,
        /// Bytes of an element; 1 where elements have no part in the framing.
        element_size: usize,
    },

    /// A block is not LZ4, or not of as many bytes as it must be.
    #[error("block of {len} bytes of data at byte {position} of the part is broken")]
    Block {
        /// Where the block begins, in bytes from the beginning of the part.
        position: usize,
        /// How many bytes of data it must hold.
        len: usize,
        /// What is wrong with it.
        source: Lz4Error,
    },
}

/// Why bytes are not an LZ4 block of the expected length.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Lz4Error {
    /// The block ends inside a sequence.
    #[error("the LZ4 block ends inside a sequence, after {read} bytes")]
    Truncated {
        /// How many bytes of the block were read.
        read: usize,
    },

    /// There are more data in the block than there must be.
    #[error("the LZ4 block holds more than {len} bytes")]
    TooLong {
        /// How many bytes there must be.
        len: usize,
    },

    /// There are fewer data in the block than there must be.
    #[error("the LZ4 block holds {actual} bytes instead of {len}")]
    TooShort {
        /// How many bytes there are.
        actual: usize,
        /// How many there must be.
        len: usize,
    },

    /// A copy begins before the first byte of the data, or nowhere (a distance of zero).
    #[error("the LZ4 block copies from {offset} bytes back when {written} are written")]
    Offset {
        /// How far back.
        offset: usize,
        /// How many bytes of the data were there.
        written: usize,
    },
}
