//! Security mechanisms: how two peers learn to trust each other before the first message.
//!
//! A mechanism owns the connection from the end of the greeting until both sides know each other's properties. One
//! that also protects what follows hands over a [`Transform`]; without one, frames never pass through a virtual call.

#[cfg(feature = "curve")]
mod curve;
mod null;
mod plain;

use std::fmt;

use super::command::Command;
use super::frame_codec::put_command;
use super::metadata::{self, Properties};
use super::{Config, Credentials, ProtocolError, Randomness, Security, Transmit, Verdict};

/// One side of a security handshake.
pub(crate) trait Mechanism: fmt::Debug + Send + Sync {
    /// Queues the commands this side may send before it heard from the peer: none, where the other side speaks first.
    fn start(&mut self, _config: &Config, _out: &mut Transmit) -> Result<Progress, ProtocolError> {
        Ok(Progress::Continue)
    }

    /// Takes the peer's next command.
    fn handle_command(
        &mut self,
        command: Command<'_>,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError>;

    /// Takes the answer to [`Progress::Authenticate`], if this side asks for one; a refusal is queued for the peer and
    /// returned as the error.
    fn handle_verdict(
        &mut self,
        _verdict: &Verdict,
        _config: &Config,
        _out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        Ok(Progress::Continue)
    }

    /// Whether a secret is kept for a peer that has proved nothing: only for a short time.
    fn holds_cookie_key(&self) -> bool {
        false
    }

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
    /// The bytes in front of the body of a frame that travels.
    fn overhead(&self) -> usize;

    /// How many frames may still be sealed.
    fn remaining(&self) -> u64;

    /// Makes, of [`overhead`](Transform::overhead) bytes that mean nothing and a body, the body of the frame that
    /// travels. Not to be called when none [`remaining`](Transform::remaining).
    fn seal(&mut self, more: bool, command: bool, frame: &mut [u8]);

    /// The way back; returns whether more parts follow, and whether it is a command.
    fn open(&mut self, frame: &mut [u8]) -> Result<(bool, bool), ProtocolError>;
}

/// This side of the configured mechanism.
pub(crate) fn create(
    security: &Security,
    randomness: Option<Randomness>,
) -> Result<Box<dyn Mechanism>, ProtocolError> {
    #[cfg(feature = "curve")]
    let randomness = randomness.ok_or(ProtocolError::NoRandomness);
    #[cfg(not(feature = "curve"))]
    drop(randomness);
    Ok(match security {
        Security::Null => Box::new(null::Null { judged: false }),
        Security::NullServer => Box::new(null::Null { judged: true }),
        Security::PlainClient { .. } => Box::new(plain::Client::new()),
        Security::PlainServer => Box::new(plain::Server::new()),
        #[cfg(feature = "curve")]
        Security::CurveClient { server, keys } => {
            Box::new(curve::Client::new(*server, keys.clone(), &randomness?))
        }
        #[cfg(feature = "curve")]
        Security::CurveServer { keys } => Box::new(curve::Server::new(keys.clone(), randomness?)),
    })
}

/// Queues a command that holds our properties, readable by anybody.
fn put_properties(name: &'static [u8], config: &Config, out: &mut Transmit) {
    let mut command = Command::start(name);
    metadata::write(config, &mut command);
    put_command(&command, out);
}

/// A command that cannot come at this point of a handshake.
fn unexpected(command: &Command<'_>) -> ProtocolError {
    if command.name == super::command::ERROR {
        command.peer_error()
    } else {
        ProtocolError::malformed("unexpected command in the handshake")
    }
}
