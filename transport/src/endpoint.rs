//! Where a socket listens or connects to.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Where a socket listens or connects to: `scheme://address`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(String);

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid endpoint")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Endpoint(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
