//! How long things may be: the sizes that the format fixes, and the limits that both sides enforce.

/// Bytes of the checksum that ends a plain datagram.
pub const CHECKSUM_LEN: usize = 4;

/// Bytes of the authentication tag that ends a sealed datagram.
pub const TAG_LEN: usize = 16;

/// The longest datagram, header and trailer included: what UDP over IPv4 can carry.
pub const MAX_DATAGRAM: usize = 65_507;

/// The shortest JOIN, header and trailer included. No answer to an address that has not proven itself is longer, so a
/// forged source address gains nothing.
pub const MIN_JOIN: usize = 1200;

/// The longest VIEW, header and the longer of both trailers included.
pub const MAX_VIEW: usize = 1200;

/// How many members one VIEW can list: addresses of IPv4, and no key material. Others fit fewer.
pub const MAX_VIEW_MEMBERS: usize = 57;

/// How many parts a list of members may be split into.
pub const MAX_VIEW_PARTS: u16 = 1024;

/// The longest payload of DATA. A session agrees on less, so that datagrams fit its network.
pub const MAX_SEGMENT: usize = MAX_PARITY - 2;

/// The longest payload of PARITY: two bytes above [`MAX_SEGMENT`], so that parity can cover a segment's length too.
pub const MAX_PARITY: usize = MAX_DATAGRAM - super::Header::LEN - TAG_LEN - 13;

/// The longest name of a member, in bytes of UTF-8.
pub const MAX_NAME: usize = 64;

/// The longest text of REJECT and GOODBYE, in bytes of UTF-8.
pub const MAX_TEXT: usize = 200;

/// How many gaps one STATUS can list.
pub const MAX_GAPS: usize = 64;

/// How many members one ABORT can name.
pub const MAX_FAILED: usize = 64;
