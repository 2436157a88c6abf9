//! NULL: no security (RFC 37). Both sides send READY at once, unless somebody has to judge the peer's address first.

use super::{Mechanism, Progress, put_properties, unexpected};
use crate::zmtp::command::{self, Command, READY};
use crate::zmtp::{Config, Credentials, ProtocolError, Transmit, Verdict, metadata};

#[derive(Debug)]
pub(super) struct Null {
    /// Somebody is asked first.
    pub(super) judged: bool,
}

impl Mechanism for Null {
    fn start(&mut self, config: &Config, out: &mut Transmit) -> Result<Progress, ProtocolError> {
        if self.judged {
            return Ok(Progress::Authenticate(Credentials::Null));
        }
        put_properties(READY, config, out);
        Ok(Progress::Continue)
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

    fn handle_verdict(
        &mut self,
        verdict: &Verdict,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        verdict.refusal(command::error, out)?;
        put_properties(READY, config, out);
        Ok(Progress::Continue)
    }
}
