//! MESSAGE: what every frame travels in once both sides are ready.

use crate::zmtp::ProtocolError;
use crate::zmtp::curve::seal::{Sealer, SharedKey, TAG};
use crate::zmtp::mechanism::Transform;

const NAME: &[u8; 8] = b"\x07MESSAGE";
const CLIENT_NONCE: &[u8; 16] = b"CurveZMQMESSAGEC";
const SERVER_NONCE: &[u8; 16] = b"CurveZMQMESSAGES";

/// Where what stands in a MESSAGE: its name, its nonce, what authenticates the rest, the flags, the body.
const TAG_AT: usize = 16;
const FLAGS_AT: usize = TAG_AT + TAG;
const BODY_AT: usize = FLAGS_AT + 1;

const MORE: u8 = 1;
const COMMAND: u8 = 2;

/// Both directions of one connection.
#[derive(Debug)]
pub(super) struct Traffic {
    sent: Sealer,
    /// The nonce of the last frame that was sealed here.
    last_sent: u64,
    received: Sealer,
    /// The nonce of the last frame that was opened here.
    last_received: u64,
}

impl Traffic {
    /// The client's side; the last nonces are those of the handshake.
    pub(super) fn of_client(key: &SharedKey, last_sent: u64, last_received: u64) -> Self {
        Traffic {
            sent: key.sealer(CLIENT_NONCE),
            last_sent,
            received: key.sealer(SERVER_NONCE),
            last_received,
        }
    }

    /// The server's side.
    pub(super) fn of_server(key: &SharedKey, last_sent: u64, last_received: u64) -> Self {
        Traffic {
            sent: key.sealer(SERVER_NONCE),
            last_sent,
            received: key.sealer(CLIENT_NONCE),
            last_received,
        }
    }
}

impl Transform for Traffic {
    fn overhead(&self) -> usize {
        BODY_AT
    }

    fn remaining(&self) -> u64 {
        u64::MAX - self.last_sent
    }

    fn seal(&mut self, more: bool, command: bool, frame: &mut [u8]) {
        // Whoever seals asks `remaining` first.
        self.last_sent += 1;
        let (head, text) = frame.split_at_mut(FLAGS_AT);
        text[0] = (u8::from(more) * MORE) | (u8::from(command) * COMMAND);
        head[..8].copy_from_slice(NAME);
        head[8..TAG_AT].copy_from_slice(&self.last_sent.to_be_bytes());
        head[TAG_AT..].copy_from_slice(&self.sent.seal(self.last_sent, text));
    }

    fn open(&mut self, frame: &mut [u8]) -> Result<(bool, bool), ProtocolError> {
        let Some((name, rest)) = frame.split_first_chunk_mut() else {
            return Err(ProtocolError::malformed("sealed frame too short"));
        };
        if name != NAME {
            return Err(ProtocolError::malformed("frame that is not sealed"));
        }
        let Some((nonce, rest)) = rest.split_first_chunk_mut() else {
            return Err(ProtocolError::malformed("sealed frame too short"));
        };
        let nonce = u64::from_be_bytes(*nonce);
        if rest.len() <= TAG {
            return Err(ProtocolError::malformed("sealed frame too short"));
        }
        let (tag, text) = rest.split_at_mut(TAG);
        self.received
            .open(nonce, tag, text)
            .map_err(super::unauthentic("frame"))?;
        // RFC 26 allows gaps, but nobody leaves any: libzmq counts every frame that it seals. With the stream below being
        // reliable, a gap is a frame that somebody took out.
        let due = self.last_received.checked_add(1);
        if due != Some(nonce) {
            return Err(ProtocolError::OutOfSequence {
                number: nonce,
                last: self.last_received,
            });
        }
        self.last_received = nonce;
        Ok((text[0] & MORE != 0, text[0] & COMMAND != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::secret_array::SecretArray;

    fn sides(last: u64) -> (Traffic, Traffic) {
        let key = SharedKey::from_secret(SecretArray::take([5; 32]));
        (
            Traffic::of_client(&key, last, 0),
            Traffic::of_server(&key, 0, last),
        )
    }

    fn sealed(by: &mut Traffic, more: bool, command: bool, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; BODY_AT];
        frame.extend_from_slice(body);
        by.seal(more, command, &mut frame);
        frame
    }

    #[test]
    fn flags_and_body_arrive_and_nothing_of_them_shows() {
        let (mut client, mut server) = sides(0);
        for (more, command) in [(false, false), (true, false), (false, true)] {
            let mut frame = sealed(&mut client, more, command, b"a secret text");
            assert!(!frame.windows(6).any(|window| window == b"secret"));
            assert_eq!(server.open(&mut frame), Ok((more, command)));
            assert_eq!(&frame[BODY_AT..], b"a secret text");
        }
    }

    #[test]
    fn frames_are_taken_in_the_order_they_were_sealed_and_none_may_be_missing() {
        let (mut client, _) = sides(0);
        let frames: Vec<_> = (0..3).map(|_| sealed(&mut client, false, false, b"x")).collect();
        for (good, wrong) in [
            (&[][..], 1),
            (&[], 2),
            (&[0], 0),
            (&[0], 2),
            (&[0, 1], 0),
            (&[0, 1], 1),
        ] {
            let (_, mut server) = sides(0);
            for frame in good {
                assert!(server.open(&mut frames[*frame].clone()).is_ok());
            }
            let error = server.open(&mut frames[wrong].clone());
            let expected = ProtocolError::OutOfSequence {
                number: wrong as u64 + 1,
                last: good.len() as u64,
            };
            assert_eq!(error, Err(expected), "{wrong} after {good:?}");
        }
    }

    #[test]
    fn a_frame_is_refused_with_any_bit_changed_or_byte_missing_or_sent_back() {
        let (mut client, mut server) = sides(0);
        let good = sealed(&mut client, false, false, b"body");
        for bit in 0..good.len() * 8 {
            let mut wrong = good.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(server.open(&mut wrong).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(server.open(&mut good[..len].to_vec()).is_err(), "{len} bytes");
        }
        assert!(
            client.open(&mut good.clone()).is_err(),
            "each direction has its own nonces"
        );
        assert!(server.open(&mut good.clone()).is_ok());
    }

    #[test]
    fn the_last_nonce_is_used_once() {
        let (mut client, mut server) = sides(u64::MAX - 1);
        assert_eq!(client.remaining(), 1);
        let last = sealed(&mut client, false, false, b"");
        assert_eq!(client.remaining(), 0);
        assert_eq!(server.open(&mut last.clone()), Ok((false, false)));
        assert!(server.open(&mut last.clone()).is_err(), "none comes after it");
    }
}
