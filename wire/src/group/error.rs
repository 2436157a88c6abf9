//! Why a datagram could not be taken apart or put together.

use thiserror::Error;

use super::Kind;

/// Why a datagram was refused.
///
/// Nothing but the datagram is concerned: count it, ignore it, go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends before its contents do.
    #[error("datagram ends before its contents")]
    Truncated,
    /// It is longer than its kind may be.
    #[error("datagram of {len} bytes exceeds the limit of {limit} bytes")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It is a JOIN shorter than [`MIN_JOIN`](super::MIN_JOIN).
    #[error("join of {len} bytes, shorter than a join may be")]
    ShortJoin {
        /// Its length in bytes.
        len: usize,
    },
    /// It does not start with the magic number: somebody else's.
    #[error("not a datagram of a group session: it starts with {magic:#06x}")]
    Foreign {
        /// The first two bytes.
        magic: u16,
    },
    /// It has another version of the format. A coordinator answers such a JOIN with
    /// [`RejectReason::Version`](super::RejectReason::Version).
    #[error("version {version} of the format is unknown")]
    Version {
        /// The version, without the bit that says sealed.
        version: u8,
    },
    /// Its kind does not exist in this version.
    #[error("packet kind {kind} is unknown")]
    UnknownKind {
        /// The kind's number.
        kind: u8,
    },
    /// Its checksum is wrong: it was damaged on its way.
    #[error("checksum does not match")]
    Checksum,
    /// It is sealed, and was to be read as a plain one.
    #[error("datagram is sealed")]
    Sealed,
    /// It is plain, and was to be opened with a key.
    #[error("datagram is not sealed")]
    NotSealed,
    /// It was not sealed with this key, or was damaged or changed since.
    #[error("seal does not match")]
    Forged,
    /// Its kind belongs to the handshake, which is never sealed.
    #[error("{kind:?} packet is sealed, though it must be plain")]
    MustBePlain {
        /// Its kind.
        kind: Kind,
    },
    /// A field has a value that means nothing.
    #[error("{field} cannot be {value}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A field is longer, or a list has more entries, than it may.
    #[error("{field} of length {len} exceeds the limit of {limit}")]
    Length {
        /// The field.
        field: &'static str,
        /// Bytes of the field, or entries of the list.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// A text is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// The padding of a JOIN has bytes other than zero.
    #[error("padding is not zero")]
    Padding,
    /// Bytes follow where the contents have ended.
    #[error("{count} bytes follow the contents")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
}

/// Why a packet could not be encoded. Nothing was written, and the same packet fails again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A field must not be empty.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A field is longer, or a list has more entries, than it may.
    #[error("{field} of length {len} exceeds the limit of {limit}")]
    Length {
        /// The field.
        field: &'static str,
        /// Bytes of the field, or entries of the list.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// A field has a value that the format has no room or no meaning for.
    #[error("{field} cannot be {value}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The caller's buffer is too small. A larger one will do.
    #[error("packet of {needed} bytes does not fit into {room} bytes")]
    NoRoom {
        /// Bytes that the datagram has.
        needed: usize,
        /// Bytes that the buffer has.
        room: usize,
    },
    /// The packet belongs to the handshake, which is never sealed.
    #[error("{kind:?} packet must be plain")]
    MustBePlain {
        /// Its kind.
        kind: Kind,
    },
    /// The key belongs to another sender, epoch or session than the header names.
    #[error("key belongs to another sender, epoch or session")]
    ForeignKey,
}

/// Refuses what is longer than `limit`.
pub(super) const fn at_most(field: &'static str, len: usize, limit: usize) -> Result<(), EncodeError> {
    if len > limit {
        return Err(EncodeError::Length { field, len, limit });
    }
    Ok(())
}
