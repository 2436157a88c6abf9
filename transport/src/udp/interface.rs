//! Which network interface is meant.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A network interface.
///
/// Parsed from a text, an address is an address, a number an index, and all else a name. That an interface of the name
/// exists is found out when a socket is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interface {
    /// By its name, such as `eth0`.
    Name(String),
    /// By its index.
    Index(u32),
    /// By one of its addresses.
    Address(IpAddr),
}

/// How the system is told of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Selected {
    /// An IPv4 address of it, if it has one.
    pub(super) v4: Option<Ipv4Addr>,
    /// Its index; 0 is the system's choice.
    pub(super) index: u32,
}

impl Interface {
    /// Finds the interface on this machine; `None`: there is none.
    pub(super) fn select(&self) -> io::Result<Option<Selected>> {
        let interfaces = if_addrs::get_if_addrs()?;
        let meant = interfaces.iter().find(|candidate| match self {
            Interface::Name(name) => candidate.name == *name,
            Interface::Index(index) => candidate.index == Some(*index),
            Interface::Address(address) => candidate.ip() == *address,
        });
        let Some(meant) = meant else { return Ok(None) };
        let v4 = match self {
            // Of several addresses, the one that was asked for is sent from.
            Interface::Address(IpAddr::V4(address)) => Some(*address),
            _ => interfaces
                .iter()
                .filter(|candidate| candidate.name == meant.name)
                .find_map(|candidate| match candidate.ip() {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                }),
        };
        let index = meant.index.unwrap_or(0);
        Ok(Some(Selected { v4, index }))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interface::Name(name) => f.write_str(name),
            Interface::Index(index) => write!(f, "{index}"),
            Interface::Address(address) => write!(f, "{address}"),
        }
    }
}

impl FromStr for Interface {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Interface::Address(address));
        }
        Ok(match text.parse() {
            Ok(index) => Interface::Index(index),
            Err(_) => Interface::Name(text.to_owned()),
        })
    }
}

impl From<IpAddr> for Interface {
    fn from(address: IpAddr) -> Self {
        Interface::Address(address)
    }
}
