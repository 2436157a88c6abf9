//! Commands: what peers tell each other between messages (RFC 37, section "Commands").

use super::{Heartbeat, ProtocolError};

pub(crate) const READY: &[u8] = b"READY";
pub(crate) const ERROR: &[u8] = b"ERROR";
/// How libzmq 4.3 spells the start of a PLAIN server's ERROR: a slip in its source (`"\x5ERROR"`) turns the length and
/// the E into one character. Its PLAIN client knows no other spelling.
const LIBZMQ_ERROR: &[u8] = b"^RROR";
pub(crate) const PING: &[u8] = b"PING";
pub(crate) const PONG: &[u8] = b"PONG";
pub(crate) const SUBSCRIBE: &[u8] = b"SUBSCRIBE";
pub(crate) const CANCEL: &[u8] = b"CANCEL";

/// A command taken apart: one byte of length, the name, the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Command<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Command<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        // Nobody's command has a name of 94 bytes that starts with RROR.
        if let Some(body) = bytes.strip_prefix(LIBZMQ_ERROR) {
            return Ok(Command { name: ERROR, body });
        }
        let (&len, rest) = bytes
            .split_first()
            .ok_or(ProtocolError::malformed("empty command"))?;
        let (name, body) = rest
            .split_at_checked(usize::from(len))
            .ok_or(ProtocolError::malformed("command name longer than the command"))?;
        Ok(Command { name, body })
    }

    /// The bytes of a command with this name, ready for its body.
    pub(crate) fn start(name: &'static [u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        bytes
    }

    /// The error that an ERROR command stands for. What does not follow the format is read as far as it goes.
    pub(crate) fn peer_error(&self) -> ProtocolError {
        let reason = match self.body.split_first() {
            Some((&len, reason)) => &reason[..reason.len().min(usize::from(len))],
            None => &[],
        };
        ProtocolError::PeerError {
            reason: String::from_utf8_lossy(reason).into_owned(),
        }
    }
}

/// The ERROR command of a PLAIN server, in libzmq's spelling: a libzmq client tells its user of a failed authentication
/// only then. Others see a command that cannot be, and close the connection all the same.
pub(crate) fn plain_error(reason: &str) -> Vec<u8> {
    put_reason(LIBZMQ_ERROR.to_vec(), reason)
}

/// The ERROR command of a server of another mechanism.
pub(crate) fn error(reason: &str) -> Vec<u8> {
    put_reason(Command::start(ERROR), reason)
}

/// Adds a reason, cut to what its length can say.
fn put_reason(mut bytes: Vec<u8>, reason: &str) -> Vec<u8> {
    let mut cut = reason.len().min(255);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    bytes.push(cut as u8);
    bytes.extend_from_slice(&reason.as_bytes()[..cut]);
    bytes
}

/// A PING command.
pub(crate) fn ping(heartbeat: &Heartbeat) -> Vec<u8> {
    let mut bytes = Command::start(PING);
    bytes.extend_from_slice(&heartbeat.ttl_tenths().to_be_bytes());
    bytes.extend_from_slice(&heartbeat.context);
    bytes
}

/// The PONG command that answers a PING with this context: libzmq returns its first 16 bytes.
pub(crate) fn pong(context: &[u8]) -> Vec<u8> {
    let mut bytes = Command::start(PONG);
    bytes.extend_from_slice(&context[..context.len().min(Heartbeat::MAX_CONTEXT)]);
    bytes
}

/// A SUBSCRIBE or CANCEL command.
pub(crate) fn subscription(subscribe: bool, topic: &[u8]) -> Vec<u8> {
    let mut bytes = Command::start(if subscribe { SUBSCRIBE } else { CANCEL });
    bytes.extend_from_slice(topic);
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn commands_come_apart() {
        let command = Command::parse(b"\x04PING\0\x0a").expect("well formed");
        assert_eq!((command.name, command.body), (PING, &b"\0\x0a"[..]));
        assert!(Command::parse(b"").is_err());
        assert!(Command::parse(b"\x05PING").is_err());
    }

    #[test]
    fn a_ping_carries_tenths_of_a_second_rounded_up() {
        let mut heartbeat = Heartbeat::new(Duration::from_secs(1));
        heartbeat.ttl = Duration::from_millis(2_450);
        heartbeat.context = Bytes::from_static(b"tick");
        assert_eq!(ping(&heartbeat), b"\x04PING\0\x19tick");
    }

    #[test]
    fn a_pong_is_cut_to_sixteen_bytes() {
        assert_eq!(pong(b"0123456789abcdefgh"), b"\x04PONG0123456789abcdef");
    }

    #[test]
    fn errors_round_trip_and_are_cut_between_characters() {
        let bytes = plain_error(&"ü".repeat(200));
        let error = Command::parse(&bytes).expect("well formed").peer_error();
        assert_eq!(
            error,
            ProtocolError::PeerError {
                reason: "ü".repeat(127)
            }
        );
        let sloppy = Command::parse(b"\x05ERROR\x09no")
            .expect("well formed")
            .peer_error();
        assert_eq!(sloppy, ProtocolError::PeerError { reason: "no".into() });
    }
}
