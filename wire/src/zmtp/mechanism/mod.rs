//! Security mechanisms: how two peers learn to trust each other before the first message.
//!
//! A mechanism owns the connection from the end of the greeting until both sides know each other's properties. One
//! that also protects what follows hands over a [`Transform`]; without one, frames never pass through a virtual call.

mod null;
mod plain;

use std::fmt;

use flexbond_transport::Frame;

use super::command::Command;
use super::metadata::Properties;
use super::{Config, Credentials, ProtocolError, Security, Transmit, Verdict};

/// One side of a security handshake.
pub(crate) trait Mechanism: fmt::Debug + Send + Sync {
    /// Queues the commands this side may send before it heard from the peer.
    fn start(&mut self, config: &Config, out: &mut Transmit);

    /// Takes the peer's next command.
    fn handle_command(
        &mut self,
        command: Command<'_>,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError>;

    /// Takes the answer to [`Progress::Authenticate`]; a refusal is queued for the peer and returned as the error.
    fn handle_verdict(&mut self, verdict: &Verdict, out: &mut Transmit) -> Result<(), ProtocolError>;

    /// What every later frame passes through; asked once, when the handshake is complete.
    fn transform(&mut self) -> Option<Box<dyn Transform>> {
        None
    }
}

/// What a command led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More commands must come.
    Continue,
    /// Somebody must judge these credentials before the handshake goes on.
    Authenticate(Credentials),
    /// Both sides are done; these are the peer's properties.
    Complete(Properties),
}

/// Protection of the frames that follow the handshake.
pub(crate) trait Transform: fmt::Debug + Send + Sync {
    /// Wraps an outgoing frame into the body of the frame that travels.
    fn seal(&mut self, more: bool, command: bool, body: &[u8]) -> Frame;

    /// Unwraps the body of a frame that travelled: whether more parts follow, whether it is a command, its body.
    fn open(&mut self, sealed: &Frame) -> Result<(bool, bool, Frame), ProtocolError>;
}

/// This side of the configured mechanism.
pub(crate) fn create(security: &Security) -> Box<dyn Mechanism> {
    match security {
        Security::Null => Box::new(null::Null),
        Security::PlainClient { .. } => Box::new(plain::Client::new()),
        Security::PlainServer => Box::new(plain::Server::new()),
    }
}

/// A command that cannot come at this point of a handshake.
fn unexpected(command: &Command<'_>) -> ProtocolError {
    if command.name == super::command::ERROR {
        command.peer_error()
    } else {
        ProtocolError::malformed("unexpected command in the handshake")
    }
}
