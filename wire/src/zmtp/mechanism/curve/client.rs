//! The side that knows the server's key beforehand.

use super::traffic::Traffic;
use super::{
    COOKIE, FIRST, HELLO, HELLO_NONCE, INITIATE, INITIATE_NONCE, READY_NONCE, SECOND, VOUCH_NONCE, WELCOME,
    WELCOME_NONCE, take, take_key, unauthentic,
};
use crate::zmtp::command::{Command, ERROR, READY};
use crate::zmtp::curve::seal::{SharedKey, TAG};
use crate::zmtp::curve::{KeyPair, PublicKey, SecretKey};
use crate::zmtp::frame_codec::put_command;
use crate::zmtp::mechanism::{Mechanism, Progress, Transform, unexpected};
use crate::zmtp::{Config, ProtocolError, Randomness, Transmit, metadata};

/// The client's side of a handshake.
#[derive(Debug)]
pub(in crate::zmtp::mechanism) struct Client {
    server: PublicKey,
    keys: KeyPair,
    /// C' and c'.
    short: KeyPair,
    vouch_nonce: [u8; 16],
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    New,
    /// HELLO was sent; this is the key of c' and S.
    Hello(SharedKey),
    /// INITIATE was sent; this is the key of c' and S'.
    Initiate(SharedKey),
    Over(Option<Traffic>),
}

impl Client {
    pub(in crate::zmtp::mechanism) fn new(server: PublicKey, keys: KeyPair, randomness: &Randomness) -> Self {
        Client {
            server,
            keys,
            short: KeyPair::from(SecretKey::from_secret(randomness.secret(0))),
            vouch_nonce: randomness.part(32),
            stage: Stage::New,
        }
    }

    /// Box [S' + cookie] (S->C').
    fn handle_welcome(
        &self,
        key: &SharedKey,
        mut body: &[u8],
        config: &Config,
        out: &mut Transmit,
    ) -> Result<SharedKey, ProtocolError> {
        const WRONG: &str = "WELCOME command of a wrong length";
        let nonce = take(&mut body, WRONG)?;
        let tag = take::<TAG>(&mut body, WRONG)?;
        let mut text: [u8; 32 + COOKIE] = body.try_into().map_err(|_| ProtocolError::malformed(WRONG))?;
        key.open_randomly(WELCOME_NONCE, nonce, tag, &mut text)
            .map_err(unauthentic(WRONG_KEY))?;
        let mut text = text.as_slice();
        let their_short = take_key(&mut text, WRONG)?;
        let cookie = text;
        let session =
            SharedKey::agree(self.short.secret(), &their_short).map_err(unauthentic("WELCOME command"))?;

        // Box [C' + S] (C->S'): who owns c says that it owns c'.
        let mut vouch = [0; 64];
        vouch[..32].copy_from_slice(self.short.public().as_bytes());
        vouch[32..].copy_from_slice(self.server.as_bytes());
        let vouch_tag = SharedKey::agree(self.keys.secret(), &their_short)
            .map_err(unauthentic("WELCOME command"))?
            .seal_randomly(VOUCH_NONCE, &self.vouch_nonce, &mut vouch);

        // Box [C + vouch + metadata] (C'->S').
        let mut text = self.keys.public().as_bytes().to_vec();
        text.extend_from_slice(&self.vouch_nonce);
        text.extend_from_slice(&vouch_tag);
        text.extend_from_slice(&vouch);
        metadata::write(config, &mut text);
        let tag = session.sealer(INITIATE_NONCE).seal(SECOND, &mut text);

        let mut initiate = Command::start(INITIATE);
        initiate.extend_from_slice(cookie);
        initiate.extend_from_slice(&SECOND.to_be_bytes());
        initiate.extend_from_slice(&tag);
        initiate.extend_from_slice(&text);
        put_command(&initiate, out);
        Ok(session)
    }
}

/// A WELCOME that does not open: whoever answered does not own the key we were given.
const WRONG_KEY: &str = "WELCOME command (does the server own the key that was configured for it?)";

/// Box [metadata] (S'->C').
fn handle_ready(
    session: &SharedKey,
    mut body: &[u8],
) -> Result<(Traffic, metadata::Properties), ProtocolError> {
    const WRONG: &str = "READY command of a wrong length";
    let nonce = u64::from_be_bytes(*take(&mut body, WRONG)?);
    let tag = take::<TAG>(&mut body, WRONG)?;
    let mut text = body.to_vec();
    session
        .sealer(READY_NONCE)
        .open(nonce, tag, &mut text)
        .map_err(unauthentic("READY command"))?;
    let properties = metadata::parse(&text)?;
    Ok((Traffic::of_client(session, SECOND, nonce), properties))
}

impl Mechanism for Client {
    fn start(&mut self, _config: &Config, out: &mut Transmit) -> Result<Progress, ProtocolError> {
        let key = SharedKey::agree(self.short.secret(), &self.server)
            .map_err(unauthentic("server key in the configuration"))?;
        // Box [64 zeros] (C'->S): shows that we know S.
        let mut zeros = [0; 64];
        let tag = key.sealer(HELLO_NONCE).seal(FIRST, &mut zeros);
        let mut hello = Command::start(HELLO);
        // The version, 1.0, and as many zeros as make it longer than the answer: nobody gains by a forged sender.
        hello.extend_from_slice(&[1, 0]);
        hello.extend_from_slice(&[0; 72]);
        hello.extend_from_slice(self.short.public().as_bytes());
        hello.extend_from_slice(&FIRST.to_be_bytes());
        hello.extend_from_slice(&tag);
        hello.extend_from_slice(&zeros);
        put_command(&hello, out);
        self.stage = Stage::Hello(key);
        Ok(Progress::Continue)
    }

    fn handle_command(
        &mut self,
        command: Command<'_>,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        match (&self.stage, command.name) {
            (Stage::Hello(key), WELCOME) => {
                let session = self.handle_welcome(key, command.body, config, out)?;
                self.stage = Stage::Initiate(session);
                Ok(Progress::Continue)
            }
            (Stage::Initiate(session), READY) => {
                let (traffic, properties) = handle_ready(session, command.body)?;
                self.stage = Stage::Over(Some(traffic));
                Ok(Progress::Complete(properties))
            }
            // Whoever answers has proved nothing yet. A server has nothing to refuse before it knows who we are.
            (Stage::New | Stage::Hello(_), ERROR) => Err(ProtocolError::malformed(
                "ERROR command of a peer that has not proved to be the server",
            )),
            _ => Err(unexpected(&command)),
        }
    }

    fn transform(&mut self) -> Option<Box<dyn Transform>> {
        match &mut self.stage {
            Stage::Over(traffic) => Some(Box::new(traffic.take()?)),
            _ => None,
        }
    }
}
