//! PLAIN: a user name and a password in clear text (RFC 24).
//!
//! The client sends HELLO, the server WELCOME (or ERROR), the client INITIATE, the server READY.

use zeroize::Zeroizing;

use super::{Mechanism, Progress, put_properties, unexpected};
use crate::zmtp::command::{self, Command, READY};
use crate::zmtp::frame_codec::put_command;
use crate::zmtp::{Config, Credentials, ProtocolError, Secret, Security, Transmit, Verdict, metadata};

const HELLO: &[u8] = b"HELLO";
const WELCOME: &[u8] = b"WELCOME";
const INITIATE: &[u8] = b"INITIATE";

/// The side that shows its credentials.
#[derive(Debug)]
pub(super) struct Client {
    welcome: bool,
}

impl Client {
    pub(super) fn new() -> Self {
        Client { welcome: false }
    }
}

impl Mechanism for Client {
    fn start(&mut self, config: &Config, out: &mut Transmit) -> Result<Progress, ProtocolError> {
        let Security::PlainClient { username, password } = &config.security else {
            return Ok(Progress::Continue);
        };
        let mut hello = Zeroizing::new(Command::start(HELLO));
        // At once: where it would grow, it would leave the password behind.
        hello.reserve(2 * (1 + 255));
        for text in [username.as_bytes(), password.expose()] {
            // `Config::validate` limits both to 255 bytes; a longer one must not shift the frame's other fields.
            let text = &text[..text.len().min(255)];
            hello.push(text.len() as u8);
            hello.extend_from_slice(text);
        }
        put_command(&hello, out);
        Ok(Progress::Continue)
    }

    fn handle_command(
        &mut self,
        command: Command<'_>,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        match (self.welcome, command.name) {
            (false, WELCOME) if !command.body.is_empty() => {
                Err(ProtocolError::malformed("WELCOME command with a body"))
            }
            (false, WELCOME) => {
                self.welcome = true;
                put_properties(INITIATE, config, out);
                Ok(Progress::Continue)
            }
            (true, READY) => metadata::parse(command.body).map(Progress::Complete),
            _ => Err(unexpected(&command)),
        }
    }
}

/// The side that asks for credentials.
#[derive(Debug)]
pub(super) struct Server {
    hello: bool,
}

impl Server {
    pub(super) fn new() -> Self {
        Server { hello: false }
    }
}

impl Mechanism for Server {
    fn handle_command(
        &mut self,
        command: Command<'_>,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        match (self.hello, command.name) {
            (false, HELLO) => {
                self.hello = true;
                credentials(command.body).map(Progress::Authenticate)
            }
            (true, INITIATE) => {
                let properties = metadata::parse(command.body)?;
                // A client whose type does not suit is not told READY.
                metadata::socket_type(config, &properties)?;
                put_properties(READY, config, out);
                Ok(Progress::Complete(properties))
            }
            _ => Err(unexpected(&command)),
        }
    }

    fn handle_verdict(
        &mut self,
        verdict: &Verdict,
        _config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        verdict.refusal(command::plain_error, out)?;
        put_command(&Command::start(WELCOME), out);
        Ok(Progress::Continue)
    }
}

/// The body of HELLO: user name and password, each with one byte of length, and nothing else.
fn credentials(body: &[u8]) -> Result<Credentials, ProtocolError> {
    const WRONG: ProtocolError = ProtocolError::malformed("HELLO command with wrong lengths");
    let (&len, rest) = body.split_first().ok_or(WRONG)?;
    let (username, rest) = rest.split_at_checked(usize::from(len)).ok_or(WRONG)?;
    let (&len, password) = rest.split_first().ok_or(WRONG)?;
    if password.len() != usize::from(len) {
        return Err(WRONG);
    }
    let username =
        std::str::from_utf8(username).map_err(|_| ProtocolError::malformed("user name is not UTF-8"))?;
    Ok(Credentials::Plain {
        username: username.to_owned(),
        password: Secret::from(password),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_comes_apart() {
        let expected = Credentials::Plain {
            username: "admin".into(),
            password: Secret::from("pw"),
        };
        assert_eq!(credentials(b"\x05admin\x02pw"), Ok(expected));
        for wrong in [
            &b""[..],
            b"\x05adm",
            b"\x05admin",
            b"\x05admin\x03pw",
            b"\x05admin\x01pw",
        ] {
            assert!(credentials(wrong).is_err(), "{wrong:?}");
        }
        assert!(credentials(b"\x01\xff\0").is_err());
    }
}
