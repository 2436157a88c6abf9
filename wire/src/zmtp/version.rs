//! The protocol version two peers agree on.

use std::fmt;

/// A version of ZMTP. Versions are ordered, so `version >= Version::V3_1` reads as it should.
///
/// ```
/// use flexbond_wire::zmtp::Version;
///
/// assert!(Version::V3_0 < Version::V3_1);
/// assert_eq!(Version::V2_0.to_string(), "2.0");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The part before the dot.
    pub major: u8,
    /// The part after the dot.
    pub minor: u8,
}

impl Version {
    /// ZMTP 1.0 (RFC 13): ØMQ 2.x. No greeting, no socket types.
    pub const V1_0: Version = Version { major: 1, minor: 0 };
    /// ZMTP 2.0 (RFC 15): ØMQ 3.2. A greeting with the socket type, subscriptions as messages.
    pub const V2_0: Version = Version { major: 2, minor: 0 };
    /// ZMTP 3.0 (RFC 23): ØMQ 4.0 and 4.1. Commands, metadata and security mechanisms.
    pub const V3_0: Version = Version { major: 3, minor: 0 };
    /// ZMTP 3.1 (RFC 37): ØMQ 4.2 and later. Heartbeats and subscription commands.
    pub const V3_1: Version = Version { major: 3, minor: 1 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
