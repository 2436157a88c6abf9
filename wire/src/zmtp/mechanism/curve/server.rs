//! The side whose key everybody may know.

use zeroize::Zeroizing;

use super::traffic::Traffic;
use super::{
    COOKIE, COOKIE_NONCE, FIRST, HELLO, HELLO_NONCE, INITIATE, INITIATE_NONCE, READY_NONCE, VOUCH_NONCE,
    WELCOME, WELCOME_NONCE, take, take_key, unauthentic,
};
use crate::zmtp::command::{self, Command, READY};
use crate::zmtp::curve::seal::{SharedKey, TAG};
use crate::zmtp::curve::{KeyPair, PublicKey, SecretKey};
use crate::zmtp::frame_codec::put_command;
use crate::zmtp::mechanism::{Mechanism, Progress, Transform, unexpected};
use crate::zmtp::metadata::Properties;
use crate::zmtp::secret_array::SecretArray;
use crate::zmtp::{Config, Credentials, ProtocolError, Randomness, Transmit, Verdict, metadata};

/// The server's side of a handshake.
#[derive(Debug)]
pub(in crate::zmtp::mechanism) struct Server {
    keys: KeyPair,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing came yet.
    New(Randomness),
    /// WELCOME was sent. What it takes to go on is in the cookie, and this opens it.
    Welcome {
        cookie_key: SharedKey,
        /// The nonce of HELLO.
        nonce: u64,
    },
    /// The client is who it says; whether it may come in is not decided.
    Judging {
        session: SharedKey,
        properties: Properties,
        nonce: u64,
    },
    Over(Option<Traffic>),
}

impl Server {
    pub(in crate::zmtp::mechanism) fn new(keys: KeyPair, randomness: Randomness) -> Self {
        Server {
            keys,
            stage: Stage::New(randomness),
        }
    }

    /// Answers HELLO, Box [64 zeros] (C'->S).
    fn handle_hello(
        &self,
        randomness: &Randomness,
        mut body: &[u8],
        out: &mut Transmit,
    ) -> Result<Stage, ProtocolError> {
        const WRONG: &str = "HELLO command of a wrong length";
        let &[major, minor] = take(&mut body, WRONG)?;
        if (major, minor) != (1, 0) {
            return Err(ProtocolError::malformed(
                "HELLO command of an unknown version of CURVE",
            ));
        }
        take::<72>(&mut body, WRONG)?;
        let their_short = take_key(&mut body, WRONG)?;
        let nonce = u64::from_be_bytes(*take(&mut body, WRONG)?);
        let tag = take::<TAG>(&mut body, WRONG)?;
        let mut zeros: [u8; 64] = body.try_into().map_err(|_| ProtocolError::malformed(WRONG))?;
        let key = SharedKey::agree(self.keys.secret(), &their_short).map_err(unauthentic(WRONG_KEY))?;
        key.sealer(HELLO_NONCE)
            .open(nonce, tag, &mut zeros)
            .map_err(unauthentic(WRONG_KEY))?;

        let our_short = KeyPair::from(SecretKey::from_secret(randomness.secret(0)));
        let cookie_key = SharedKey::from_secret(randomness.secret(32));
        let welcome_nonce = randomness.part(64);
        let cookie_nonce = randomness.part(80);

        // Box [C' + s'] (t): all that is to be known of this client, until it sends it back.
        let mut cookie = Zeroizing::new([0; 64]);
        cookie[..32].copy_from_slice(their_short.as_bytes());
        cookie[32..].copy_from_slice(our_short.secret().expose());
        let cookie_tag = cookie_key.seal_randomly(COOKIE_NONCE, &cookie_nonce, &mut *cookie);

        // Box [S' + cookie] (S->C').
        let mut text = our_short.public().as_bytes().to_vec();
        text.extend_from_slice(&cookie_nonce);
        text.extend_from_slice(&cookie_tag);
        text.extend_from_slice(&*cookie);
        let tag = key.seal_randomly(WELCOME_NONCE, &welcome_nonce, &mut text);

        let mut welcome = Command::start(WELCOME);
        welcome.extend_from_slice(&welcome_nonce);
        welcome.extend_from_slice(&tag);
        welcome.extend_from_slice(&text);
        put_command(&welcome, out);
        Ok(Stage::Welcome { cookie_key, nonce })
    }

    /// Opens INITIATE, Box [C + vouch + metadata] (C'->S'), behind the cookie.
    fn handle_initiate(
        &self,
        cookie_key: &SharedKey,
        hello_nonce: u64,
        mut body: &[u8],
        config: &Config,
    ) -> Result<(Stage, PublicKey), ProtocolError> {
        const WRONG: &str = "INITIATE command too short";
        let mut cookie = take::<COOKIE>(&mut body, WRONG)?.as_slice();
        let nonce = u64::from_be_bytes(*take(&mut body, WRONG)?);
        let tag = take::<TAG>(&mut body, WRONG)?;
        // C, and the vouch with its nonce and its tag.
        if body.len() < 32 + 16 + TAG + 64 {
            return Err(ProtocolError::malformed(WRONG));
        }
        let (their_short, our_short) = open_cookie(cookie_key, &mut cookie)?;

        let session = SharedKey::agree(&our_short, &their_short).map_err(unauthentic("INITIATE command"))?;
        let mut text = body.to_vec();
        session
            .sealer(INITIATE_NONCE)
            .open(nonce, tag, &mut text)
            .map_err(unauthentic("INITIATE command"))?;
        if nonce <= hello_nonce {
            return Err(ProtocolError::OutOfSequence {
                number: nonce,
                last: hello_nonce,
            });
        }
        let mut text = text.as_slice();
        let client = take_key(&mut text, WRONG)?;
        let vouch_nonce = take(&mut text, WRONG)?;
        let vouch_tag = take::<TAG>(&mut text, WRONG)?;
        let mut vouch = *take::<64>(&mut text, WRONG)?;
        // Box [C' + S] (C->S').
        SharedKey::agree(&our_short, &client)
            .and_then(|key| key.open_randomly(VOUCH_NONCE, vouch_nonce, vouch_tag, &mut vouch))
            .map_err(unauthentic("vouch in the INITIATE command"))?;
        // Both are public. Without S, another server could pass on what this client said to it (RFC 26).
        if vouch[..32] != *their_short.as_bytes() || vouch[32..] != *self.keys.public().as_bytes() {
            return Err(ProtocolError::Unauthentic {
                what: "vouch in the INITIATE command",
            });
        }
        let properties = metadata::parse(text)?;
        // A client whose type does not suit is not told READY.
        metadata::socket_type(config, &properties)?;
        let judging = Stage::Judging {
            session,
            properties,
            nonce,
        };
        Ok((judging, client))
    }
}

/// A HELLO that does not open: the client was given the key of another server.
const WRONG_KEY: &str = "HELLO command (does the client know the key of this server?)";

/// C' and s'.
fn open_cookie(key: &SharedKey, cookie: &mut &[u8]) -> Result<(PublicKey, SecretKey), ProtocolError> {
    const WRONG: &str = "cookie of a wrong length";
    let nonce = take(cookie, WRONG)?;
    let tag = take::<TAG>(cookie, WRONG)?;
    let mut text = Zeroizing::new(*take::<64>(cookie, WRONG)?);
    key.open_randomly(COOKIE_NONCE, nonce, tag, &mut *text)
        .map_err(unauthentic("cookie in the INITIATE command"))?;
    let mut text = text.as_slice();
    let their_short = take_key(&mut text, WRONG)?;
    let our_short = SecretKey::from_secret(SecretArray::copy_of(take(&mut text, WRONG)?));
    Ok((their_short, our_short))
}

impl Mechanism for Server {
    fn handle_command(
        &mut self,
        command: Command<'_>,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        // Whatever comes of it, no stage is tried twice, and its secrets are gone.
        match (
            std::mem::replace(&mut self.stage, Stage::Over(None)),
            command.name,
        ) {
            (Stage::New(randomness), HELLO) => {
                self.stage = self.handle_hello(&randomness, command.body, out)?;
                Ok(Progress::Continue)
            }
            (Stage::Welcome { cookie_key, nonce }, INITIATE) => {
                let (stage, public_key) = self.handle_initiate(&cookie_key, nonce, command.body, config)?;
                self.stage = stage;
                Ok(Progress::Authenticate(Credentials::Curve { public_key }))
            }
            _ => Err(unexpected(&command)),
        }
    }

    fn handle_verdict(
        &mut self,
        verdict: &Verdict,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<Progress, ProtocolError> {
        let Stage::Judging {
            session,
            properties,
            nonce,
        } = std::mem::replace(&mut self.stage, Stage::Over(None))
        else {
            return Ok(Progress::Continue);
        };
        verdict.refusal(command::error, out)?;
        // Box [metadata] (S'->C').
        let mut text = Vec::new();
        metadata::write(config, &mut text);
        let tag = session.sealer(READY_NONCE).seal(FIRST, &mut text);
        let mut ready = Command::start(READY);
        ready.extend_from_slice(&FIRST.to_be_bytes());
        ready.extend_from_slice(&tag);
        ready.extend_from_slice(&text);
        put_command(&ready, out);
        self.stage = Stage::Over(Some(Traffic::of_server(&session, FIRST, nonce)));
        Ok(Progress::Complete(properties))
    }

    fn holds_cookie_key(&self) -> bool {
        matches!(self.stage, Stage::Welcome { .. })
    }

    fn transform(&mut self) -> Option<Box<dyn Transform>> {
        match &mut self.stage {
            Stage::Over(traffic) => Some(Box::new(traffic.take()?)),
            _ => None,
        }
    }
}
