//! The address of an ipc endpoint.

use std::fmt;

use super::EndpointError;

/// The address of an ipc endpoint, within the limits of a Unix socket address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IpcAddress {
    /// `*`: binding makes a socket file of its own in the directory for temporary files. Cannot be connected to.
    Any,
    /// A socket file; a relative path counts from the working directory. A file whose name begins with `@` is
    /// written `./@name`, one that is called `*` is written `./*`.
    #[non_exhaustive]
    Path {
        /// As it was written.
        path: String,
    },
    /// `@name`: a name in Linux's abstract namespace.
    #[non_exhaustive]
    Abstract {
        /// Without the `@`.
        name: String,
    },
}

impl IpcAddress {
    /// The longest path, and the longest abstract name, in bytes: `sun_path` less the NUL byte at the end of a path
    /// or at the beginning of an abstract name.
    pub const MAX_LEN: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
        107
    } else {
        103
    };

    pub(super) fn parse(address: &str, endpoint: &str) -> Result<Self, EndpointError> {
        let endpoint = || endpoint.to_owned();
        match address.strip_prefix('@') {
            _ if address == "*" => Ok(IpcAddress::Any),
            None if address.is_empty() => Err(EndpointError::EmptyAddress { endpoint: endpoint() }),
            None if address.len() > Self::MAX_LEN => Err(EndpointError::PathTooLong {
                length: address.len(),
                endpoint: endpoint(),
            }),
            None => Ok(IpcAddress::Path {
                path: address.to_owned(),
            }),
            Some("") => Err(EndpointError::EmptyAddress { endpoint: endpoint() }),
            Some(name) if name.len() > Self::MAX_LEN => Err(EndpointError::AbstractTooLong {
                length: name.len(),
                endpoint: endpoint(),
            }),
            Some(name) => Ok(IpcAddress::Abstract {
                name: name.to_owned(),
            }),
        }
    }
}

impl fmt::Display for IpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpcAddress::Any => f.write_str("*"),
            IpcAddress::Path { path } => f.write_str(path),
            IpcAddress::Abstract { name } => write!(f, "@{name}"),
        }
    }
}
