//! The way from the first byte to a connection that is ready: greeting, then routing id or security mechanism.

use bytes::Bytes;
use flexbond_transport::Frame;

use super::command::Command;
use super::frame_codec::{Framing, Header};
use super::greeting::{Greeting, Peer, mechanism_name};
use super::input::Input;
use super::mechanism::{self, Mechanism, Progress, Transform};
use super::metadata::{self, Properties};
use super::{
    Config, Credentials, PeerInfo, ProtocolError, Randomness, Security, SocketType, Transmit, Verdict,
    Version,
};

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Handshake {
    stage: Stage,
    /// For the mechanism, if it needs any.
    randomness: Option<Randomness>,
    user_id: Option<String>,
    /// The mechanism took a command of the peer.
    pub(crate) heard_command: bool,
}

#[derive(Debug)]
enum Stage {
    Greeting(Greeting),
    /// Peers below 3.0: their routing id comes as a message.
    RoutingId {
        framing: Framing,
        version: Version,
        socket_type: Option<SocketType>,
        versioned: bool,
    },
    Mechanism {
        version: Version,
        mechanism: Box<dyn Mechanism>,
        question: Question,
    },
}

/// How far a mechanism's question got.
#[derive(Debug)]
enum Question {
    /// It has none, or none yet.
    None,
    /// It is to be asked.
    New(Credentials),
    /// The answer has not come.
    Open,
    /// It has none any more: the handshake is over.
    Settled(Properties),
}

/// After the mechanism's start, a command, or an answer.
impl From<Progress> for Question {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Continue => Question::None,
            Progress::Authenticate(credentials) => Question::New(credentials),
            Progress::Complete(properties) => Question::Settled(properties),
        }
    }
}

/// What a handshake led to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Authenticate(Credentials),
    Complete(Complete),
}

/// A complete handshake.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) peer: PeerInfo,
    pub(crate) framing: Framing,
    pub(crate) transform: Option<Box<dyn Transform>>,
    /// The peer cannot subscribe: treat it as if it had subscribed to everything.
    pub(crate) subscribe_all: bool,
}

impl Handshake {
    pub(crate) fn start(config: &Config, randomness: Option<Randomness>, out: &mut Transmit) -> Self {
        Handshake {
            stage: Stage::Greeting(Greeting::start(config, out)),
            randomness,
            user_id: None,
            heard_command: false,
        }
    }

    /// Goes on as far as the received bytes allow.
    pub(crate) fn advance(
        &mut self,
        config: &Config,
        input: &mut Input,
        out: &mut Transmit,
    ) -> Result<Option<Outcome>, ProtocolError> {
        loop {
            match &mut self.stage {
                Stage::Greeting(greeting) => {
                    let Some((peer, len)) = greeting.advance(config, input.bytes(), out)? else {
                        return Ok(None);
                    };
                    input.consume(len);
                    let randomness = self.randomness.take();
                    self.stage = next_stage(config, peer, randomness, out)?;
                }
                Stage::RoutingId {
                    framing,
                    version,
                    socket_type,
                    versioned,
                } => {
                    let Some((_, routing_id)) = input.next_frame(*framing, check_routing_id)? else {
                        return Ok(None);
                    };
                    let peer = PeerInfo {
                        version: *version,
                        mechanism: config.security.name().to_owned(),
                        socket_type: *socket_type,
                        routing_id: Bytes::copy_from_slice(&routing_id),
                        metadata: Vec::new(),
                        user_id: None,
                    };
                    return Ok(Some(Outcome::Complete(Complete {
                        peer,
                        framing: *framing,
                        transform: None,
                        subscribe_all: !*versioned && config.socket_type.publishes(),
                    })));
                }
                Stage::Mechanism {
                    question: Question::Open,
                    ..
                } => {
                    // An honest client waits for the answer, too.
                    if input.bytes().len() > config.max_command_size {
                        return Err(ProtocolError::malformed("too much data before the verdict"));
                    }
                    return Ok(None);
                }
                Stage::Mechanism {
                    version,
                    mechanism,
                    question,
                } => {
                    match std::mem::replace(question, Question::None) {
                        Question::New(credentials) => {
                            *question = Question::Open;
                            return Ok(Some(Outcome::Authenticate(credentials)));
                        }
                        Question::Settled(properties) => {
                            let user_id = self.user_id.take();
                            return complete(config, *version, &mut **mechanism, properties, user_id);
                        }
                        Question::None | Question::Open => {}
                    }
                    let Some(frame) = next_command(config, self.heard_command, input)? else {
                        return Ok(None);
                    };
                    let progress = mechanism.handle_command(Command::parse(&frame)?, config, out)?;
                    self.heard_command = true;
                    *question = progress.into();
                }
            }
        }
    }

    /// Whether the mechanism keeps a secret for a peer that has proved nothing.
    pub(crate) fn holds_cookie_key(&self) -> bool {
        matches!(&self.stage, Stage::Mechanism { mechanism, .. } if mechanism.holds_cookie_key())
    }

    /// Takes the answer to [`Outcome::Authenticate`]; one that was not asked for changes nothing.
    pub(crate) fn handle_verdict(
        &mut self,
        verdict: Verdict,
        config: &Config,
        out: &mut Transmit,
    ) -> Result<(), ProtocolError> {
        let Stage::Mechanism {
            mechanism,
            question: question @ Question::Open,
            ..
        } = &mut self.stage
        else {
            return Ok(());
        };
        *question = mechanism.handle_verdict(&verdict, config, out)?.into();
        if let Verdict::Allow { user_id } = verdict {
            self.user_id = user_id;
        }
        Ok(())
    }
}

/// The longest command of who has said nothing yet, where the mechanism asks for proof: none of PLAIN and CURVE is longer
/// than 600 bytes. Strangers are not to have the memory that properties may take.
const FIRST_COMMAND: usize = 1024;

/// The next command of the peer, once it is whole.
fn next_command(config: &Config, has_heard: bool, input: &mut Input) -> Result<Option<Frame>, ProtocolError> {
    let limit = match config.security {
        Security::Null | Security::NullServer => config.max_command_size,
        _ if has_heard => config.max_command_size,
        _ => FIRST_COMMAND.min(config.max_command_size),
    };
    match input.next_frame(Framing::V2, |header| check_command(limit, header))? {
        Some((header, _)) if !header.command => Err(ProtocolError::malformed(
            "message before the end of the handshake",
        )),
        next => Ok(next.map(|(_, frame)| frame)),
    }
}

/// The peer as its mechanism left it.
fn complete(
    config: &Config,
    version: Version,
    mechanism: &mut dyn Mechanism,
    properties: Properties,
    user_id: Option<String>,
) -> Result<Option<Outcome>, ProtocolError> {
    let peer = PeerInfo {
        version,
        mechanism: config.security.name().to_owned(),
        socket_type: metadata::socket_type(config, &properties)?,
        routing_id: metadata::routing_id(&properties)?,
        metadata: properties,
        user_id,
    };
    Ok(Some(Outcome::Complete(Complete {
        peer,
        framing: Framing::V2,
        transform: mechanism.transform(),
        subscribe_all: false,
    })))
}

fn next_stage(
    config: &Config,
    peer: Peer,
    randomness: Option<Randomness>,
    out: &mut Transmit,
) -> Result<Stage, ProtocolError> {
    match peer {
        Peer::Unversioned => Ok(Stage::RoutingId {
            framing: Framing::V1,
            version: Version::V1_0,
            socket_type: None,
            versioned: false,
        }),
        Peer::Routing {
            framing,
            version,
            socket_type,
        } => Ok(Stage::RoutingId {
            framing,
            version,
            socket_type,
            versioned: true,
        }),
        Peer::Modern {
            version,
            mechanism: theirs,
        } => {
            let ours = config.security.name();
            let theirs = mechanism_name(&theirs);
            if theirs != ours.as_bytes() {
                return Err(ProtocolError::MechanismMismatch {
                    ours: ours.to_owned(),
                    theirs: String::from_utf8_lossy(theirs).into_owned(),
                });
            }
            let mut mechanism = mechanism::create(&config.security, randomness)?;
            let question = mechanism.start(config, out)?.into();
            Ok(Stage::Mechanism {
                version,
                mechanism,
                question,
            })
        }
    }
}

fn check_routing_id(header: &Header) -> Result<(), ProtocolError> {
    if header.body > Config::MAX_ROUTING_ID as u64 {
        return Err(ProtocolError::malformed("routing id longer than 255 bytes"));
    }
    Ok(())
}

/// A command's size is limited before it is allocated.
pub(crate) fn check_command(limit: usize, header: &Header) -> Result<(), ProtocolError> {
    if header.body > limit as u64 {
        return Err(ProtocolError::CommandTooLarge {
            size: header.body,
            limit,
        });
    }
    Ok(())
}
