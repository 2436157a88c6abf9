//! Why a text is not an endpoint.

use thiserror::Error;

use super::{Endpoint, IpcAddress};

/// Why a text is not an endpoint. Each variant names the part that is wrong and shows the whole text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// More than [`Endpoint::MAX_LEN`] bytes.
    #[error("endpoint has {length} bytes, more than {limit}; it begins with {start:?}", limit = Endpoint::MAX_LEN)]
    TooLong {
        /// The first characters of it.
        start: String,
        /// How many bytes it has.
        length: usize,
    },
    /// A NUL byte, which no address can contain.
    #[error("NUL byte at byte {position} of endpoint {endpoint:?}")]
    NulByte {
        /// Where it stands, in bytes.
        position: usize,
        /// The whole text.
        endpoint: String,
    },
    /// No `://`.
    #[error("missing \"://\" between scheme and address in endpoint {endpoint:?}")]
    MissingSeparator {
        /// The whole text.
        endpoint: String,
    },
    /// Nothing before `://`.
    #[error("empty scheme before \"://\" in endpoint {endpoint:?}")]
    EmptyScheme {
        /// The whole text.
        endpoint: String,
    },
    /// A scheme begins with a lower-case letter and goes on with lower-case letters, digits, `+`, `-` and `.`.
    #[error(
        "character {character:?} may not stand at byte {position} of the scheme in endpoint {endpoint:?}"
    )]
    SchemeCharacter {
        /// The first one that is wrong.
        character: char,
        /// Where it stands, in bytes.
        position: usize,
        /// The whole text.
        endpoint: String,
    },
    /// Nothing after `://`, or nothing after the `@` of an abstract ipc name.
    #[error("empty address in endpoint {endpoint:?}")]
    EmptyAddress {
        /// The whole text.
        endpoint: String,
    },
    /// Nothing before the port.
    #[error("empty host in endpoint {endpoint:?}; any interface is \"*\"")]
    EmptyHost {
        /// The whole text.
        endpoint: String,
    },
    /// No `:port` after the host.
    #[error("missing \":port\" after the host in endpoint {endpoint:?}")]
    MissingPort {
        /// The whole text.
        endpoint: String,
    },
    /// A port is made of decimal digits, or is `*`.
    #[error("port {port:?} is not a number in endpoint {endpoint:?}")]
    InvalidPort {
        /// What stands there.
        port: String,
        /// The whole text.
        endpoint: String,
    },
    /// A port above 65535.
    #[error("port {port:?} is out of range (0 to 65535) in endpoint {endpoint:?}")]
    PortOutOfRange {
        /// What stands there.
        port: String,
        /// The whole text.
        endpoint: String,
    },
    /// A `[` without its `]`.
    #[error("\"[\" without \"]\" in endpoint {endpoint:?}")]
    UnclosedBracket {
        /// The whole text.
        endpoint: String,
    },
    /// Something else than `:port` after a `]`.
    #[error("{found:?} after \"]\" instead of \":port\" in endpoint {endpoint:?}")]
    AfterBracket {
        /// What stands there.
        found: String,
        /// The whole text.
        endpoint: String,
    },
    /// A host of digits and dots that is no IPv4 address.
    #[error("host {host:?} is not an IPv4 address in endpoint {endpoint:?}")]
    InvalidIpv4 {
        /// What stands there.
        host: String,
        /// The whole text.
        endpoint: String,
    },
    /// What stands in brackets is no IPv6 address.
    #[error("host {host:?} in brackets is not an IPv6 address in endpoint {endpoint:?}")]
    InvalidIpv6 {
        /// What stands there.
        host: String,
        /// The whole text.
        endpoint: String,
    },
    /// What follows the `%` of an IPv6 address is no interface: empty, too long, or with a character that none has.
    #[error("scope {zone:?} of an IPv6 address is not an interface name or index in endpoint {endpoint:?}")]
    InvalidZone {
        /// What stands there.
        zone: String,
        /// The whole text.
        endpoint: String,
    },
    /// A host with a colon; IPv6 addresses stand in brackets.
    #[error("host {host:?} contains \":\" in endpoint {endpoint:?}; an IPv6 address stands in brackets")]
    UnbracketedColon {
        /// What stands there.
        host: String,
        /// The whole text.
        endpoint: String,
    },
    /// A host name is made of ASCII letters, digits, `-`, `_` and `.`.
    #[error("character {character:?} may not stand in host {host:?} of endpoint {endpoint:?}")]
    HostCharacter {
        /// The first one that is wrong.
        character: char,
        /// The host.
        host: String,
        /// The whole text.
        endpoint: String,
    },
    /// A host name of more than [`Host::MAX_NAME`](super::Host::MAX_NAME) bytes.
    #[error("host has {length} bytes, more than {limit}, in endpoint {endpoint:?}", limit = super::Host::MAX_NAME)]
    HostTooLong {
        /// How many bytes it has.
        length: usize,
        /// The whole text.
        endpoint: String,
    },
    /// A path of more than [`IpcAddress::MAX_LEN`] bytes, which no socket address can hold.
    #[error("path has {length} bytes, more than {limit}, in endpoint {endpoint:?}", limit = IpcAddress::MAX_LEN)]
    PathTooLong {
        /// How many bytes it has.
        length: usize,
        /// The whole text.
        endpoint: String,
    },
    /// An abstract name of more than [`IpcAddress::MAX_LEN`] bytes, which no socket address can hold.
    #[error(
        "abstract name has {length} bytes after \"@\", more than {limit}, in endpoint {endpoint:?}",
        limit = IpcAddress::MAX_LEN
    )]
    AbstractTooLong {
        /// How many bytes it has, the `@` not counted.
        length: usize,
        /// The whole text.
        endpoint: String,
    },
    /// An inproc name of more than [`Endpoint::MAX_INPROC_NAME`] bytes.
    #[error("name has {length} bytes, more than {limit}, in endpoint {endpoint:?}", limit = Endpoint::MAX_INPROC_NAME)]
    NameTooLong {
        /// How many bytes it has.
        length: usize,
        /// The whole text.
        endpoint: String,
    },
}
