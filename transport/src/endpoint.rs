//! Where a socket listens or connects to: parsing and showing `scheme://address`.

mod error;
mod host;
mod ipc;
mod socket_address;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

pub use error::EndpointError;
pub use host::Host;
pub use ipc::IpcAddress;
pub use socket_address::{TcpAddress, UdpAddress};

/// Where a socket listens or connects to: `scheme://address`.
///
/// The schemes of this crate are taken apart when they are parsed, whether or not the build has their transport, so
/// that a mistake is found at once. Every other scheme is kept as text for the transport that is registered for it.
///
/// What [`Display`](fmt::Display) shows parses to an equal endpoint. The text is normalized: a port `*` is shown as
/// `0`, IPv6 addresses in their shortest form.
///
/// ```
/// use flexbond_transport::{Endpoint, Host};
///
/// let endpoint: Endpoint = "tcp://*:*".parse()?;
/// assert_eq!(endpoint.scheme(), "tcp");
/// assert_eq!(endpoint.to_string(), "tcp://*:0");
/// let Endpoint::Tcp(address) = &endpoint else { unreachable!() };
/// assert_eq!((address.host(), address.port()), (&Host::Any, 0));
///
/// let error = "tcp://127.0.0.1:70000".parse::<Endpoint>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"port "70000" is out of range (0 to 65535) in endpoint "tcp://127.0.0.1:70000""#
/// );
/// # Ok::<(), flexbond_transport::EndpointError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `tcp://host:port`.
    Tcp(TcpAddress),
    /// `tls://host:port`: TLS over tcp.
    Tls(TcpAddress),
    /// `udp://host:port`: packets, not connections (see [`DatagramSocket`](crate::DatagramSocket)).
    Udp(UdpAddress),
    /// `ipc://path`, `ipc://@abstract` or `ipc://*`.
    Ipc(IpcAddress),
    /// `inproc://name`; the name is one of 1 to [`Endpoint::MAX_INPROC_NAME`] bytes.
    #[non_exhaustive]
    Inproc {
        /// Any text.
        name: String,
    },
    /// A scheme that this crate does not know, for a transport that somebody registers.
    #[non_exhaustive]
    Other {
        /// What stands before `://`.
        scheme: String,
        /// What stands after it; never empty.
        address: String,
    },
}

impl Endpoint {
    /// The longest endpoint, in bytes.
    pub const MAX_LEN: usize = 1024;
    /// The longest name of an inproc endpoint, in bytes, as in libzmq.
    pub const MAX_INPROC_NAME: usize = 256;

    /// What stands before `://`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        match self {
            Endpoint::Tcp(_) => "tcp",
            Endpoint::Tls(_) => "tls",
            Endpoint::Udp(_) => "udp",
            Endpoint::Ipc(_) => "ipc",
            Endpoint::Inproc { .. } => "inproc",
            Endpoint::Other { scheme, .. } => scheme,
        }
    }

    /// What stands after `://`, normalized.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Endpoint::Tcp(address) | Endpoint::Tls(address) => address.to_string(),
            Endpoint::Udp(address) => address.to_string(),
            Endpoint::Ipc(address) => address.to_string(),
            Endpoint::Inproc { name } => name.clone(),
            Endpoint::Other { address, .. } => address.clone(),
        }
    }

    /// Splits off and checks the scheme; `0` is the scheme and `1` the address, which may be empty.
    fn split(text: &str) -> Result<(&str, &str), EndpointError> {
        if text.len() > Endpoint::MAX_LEN {
            return Err(EndpointError::TooLong {
                start: text.chars().take(40).collect(),
                length: text.len(),
            });
        }
        if let Some(position) = text.find('\0') {
            return Err(EndpointError::NulByte {
                position,
                endpoint: text.to_owned(),
            });
        }
        let Some((scheme, address)) = text.split_once("://") else {
            return Err(EndpointError::MissingSeparator {
                endpoint: text.to_owned(),
            });
        };
        if scheme.is_empty() {
            return Err(EndpointError::EmptyScheme {
                endpoint: text.to_owned(),
            });
        }
        match invalid_in_scheme(scheme) {
            Some((position, character)) => Err(EndpointError::SchemeCharacter {
                character,
                position,
                endpoint: text.to_owned(),
            }),
            None => Ok((scheme, address)),
        }
    }
}

/// The first character that a scheme must not have there: it begins with a lower-case letter and goes on with
/// lower-case letters, digits, `+`, `-` and `.` (RFC 3986, section 3.1, in its canonical lower case).
pub(crate) fn invalid_in_scheme(scheme: &str) -> Option<(usize, char)> {
    scheme.char_indices().find(|&(position, character)| {
        let inner = character.is_ascii_digit() || matches!(character, '+' | '-' | '.');
        !(character.is_ascii_lowercase() || (position > 0 && inner))
    })
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, address) = Endpoint::split(text)?;
        match scheme {
            "tcp" => TcpAddress::parse(address, text).map(Endpoint::Tcp),
            "tls" => TcpAddress::parse(address, text).map(Endpoint::Tls),
            "udp" => UdpAddress::parse(address, text).map(Endpoint::Udp),
            "ipc" => IpcAddress::parse(address, text).map(Endpoint::Ipc),
            _ if address.is_empty() => Err(EndpointError::EmptyAddress {
                endpoint: text.to_owned(),
            }),
            "inproc" if address.len() > Endpoint::MAX_INPROC_NAME => Err(EndpointError::NameTooLong {
                length: address.len(),
                endpoint: text.to_owned(),
            }),
            "inproc" => Ok(Endpoint::Inproc {
                name: address.to_owned(),
            }),
            _ => Ok(Endpoint::Other {
                scheme: scheme.to_owned(),
                address: address.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
            Endpoint::Tls(address) => write!(f, "tls://{address}"),
            Endpoint::Udp(address) => write!(f, "udp://{address}"),
            Endpoint::Ipc(address) => write!(f, "ipc://{address}"),
            Endpoint::Inproc { name } => write!(f, "inproc://{name}"),
            Endpoint::Other { scheme, address } => write!(f, "{scheme}://{address}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:?})", self.to_string())
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: &String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<&Endpoint> for Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        endpoint.clone()
    }
}

impl From<SocketAddr> for Endpoint {
    /// A tcp endpoint.
    fn from(address: SocketAddr) -> Self {
        Endpoint::Tcp(address.into())
    }
}

impl From<Infallible> for EndpointError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
