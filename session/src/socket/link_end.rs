//! Why a connection over a stream of bytes ended.

use std::io;

use flexbond_wire::zmtp::ProtocolError;
use thiserror::Error;

use super::handshakes::Full;
use super::lane::TOO_HEAVY;
use super::pattern::Refusal;
use super::security::Denial;
use super::{Limit, LimitAction};

/// Why a connection ended.
#[derive(Debug, Error)]
pub(crate) enum LinkEnd {
    #[error("the peer closed the connection")]
    Eof,
    #[error(
        "the peer closed the connection in the handshake; a CURVE server does so if its key is not the one that \
         was configured for it"
    )]
    ClosedInHandshake,
    #[error("it made room for a newer connection before its handshake was complete ({0})")]
    Displaced(Full),
    #[error("{0}")]
    Denied(Denial),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("{}", .0.reason)]
    Refused(Refusal),
    #[error("{TOO_HEAVY}")]
    Heavy,
    #[error("closed here")]
    Stopped,
}

impl LinkEnd {
    /// The limit that the peer went over, if that is why, and what happened to it.
    pub(crate) fn limit(&self) -> Option<(Limit, LimitAction)> {
        let limit = match self {
            LinkEnd::Displaced(full) => return Some((full.limit(), LimitAction::Displaced)),
            LinkEnd::Protocol(error) => Limit::of_protocol(error),
            LinkEnd::Refused(refusal) => refusal.limit,
            LinkEnd::Heavy => Some(Limit::RecvMemory),
            _ => None,
        };
        Some((limit?, LimitAction::Disconnected))
    }
}
