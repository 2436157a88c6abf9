//! NULL: no security (RFC 37). Both sides send READY at once.

use super::{Mechanism, Progress, unexpected};
use crate::zmtp::command::{Command, READY};
use crate::zmtp::frame_codec::put_command;
use crate::zmtp::{Config, ProtocolError, Transmit, Verdict, metadata};

#[derive(Debug)]
pub(super) struct Null;

impl Mechanism for Null {
    fn start(&mut self, config: &Config, out: &mut Transmit) {
        let mut ready = Command::start(READY);
        metadata::write(config, &mut ready);
        put_command(&ready, out);
    }

    fn handle_command(
        &mut self,
        command: Command<'_>,
        _config: &Config,
        _out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        if command.name == READY {
            metadata::parse(command.body).map(Progress::Complete)
        } else {
            Err(unexpected(&command))
        }
    }

    fn handle_verdict(&mut self, _verdict: &Verdict, _out: &mut Transmit) -> Result<(), ProtocolError> {
        // NULL asks for no verdict.
        Ok(())
    }
}
