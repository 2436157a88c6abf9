//! Frames: the header in front of every message part and command.

mod v1;
mod v2;

use super::{ProtocolError, Transmit};

/// Which of the two header formats the peers agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// ZMTP 1.0: length first, flags counted in it. Knows no commands.
    V1,
    /// ZMTP 2.0 and later: flags first.
    V2,
}

/// A frame's header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// More frames of the same message follow.
    pub(crate) more: bool,
    /// The frame is a command, not part of a message.
    pub(crate) command: bool,
    /// The bytes of the header itself.
    pub(crate) len: usize,
    /// The bytes of the body, as the peer claims.
    pub(crate) body: u64,
}

impl Framing {
    /// Decodes the header at the start of `bytes`; `None` when more bytes are needed.
    #[inline]
    pub(crate) fn parse(self, bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
        match self {
            Framing::V2 => Ok(v2::parse(bytes)),
            Framing::V1 => v1::parse(bytes),
        }
    }

    /// Makes the header of one part of a message.
    #[inline]
    pub(crate) fn with_header<R>(self, more: bool, body: usize, put: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Framing::V2 => v2::with_header(more, false, body, put),
            Framing::V1 => v1::with_header(more, body, put),
        }
    }
}

/// Queues a command: only the newer format has them.
pub(crate) fn put_command(body: &[u8], out: &mut Transmit) {
    command_header(body.len(), |header| {
        out.put(header);
        out.put(body);
    });
}

/// Makes the header of a command.
pub(crate) fn command_header(body: usize, put: impl FnOnce(&[u8])) {
    v2::with_header(false, true, body, put);
}
