//! What the demo's messages carry: a number, and contents that can be checked.

use bytes::Bytes;

use crate::transport::{Frame, Message};

/// Up to this size a message is one part made anew; above, its number travels in front of a shared part.
const COPIED: usize = 4096;
/// Different contents of shared parts, used in turn.
const BODIES: usize = 4;
/// Number and check value.
const STAMP: usize = 16;
/// Stands where the number does in the message after the last, whose check value is the count.
const END: u64 = u64::MAX;

/// Makes and checks messages of one size.
pub(super) struct Payload {
    topic: &'static [u8],
    /// Small messages: what comes after topic and stamp, behind room for them.
    scratch: Vec<u8>,
    /// Large messages.
    bodies: Vec<Bytes>,
}

/// What a good message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Number(u64),
    /// There were so many.
    End(u64),
}

impl Payload {
    /// Messages of `size` bytes (at least 16 more than the topic) whose first part begins with `topic`.
    pub(super) fn new(topic: &'static [u8], size: usize) -> Self {
        if size <= COPIED {
            let scratch = (0..size.max(topic.len() + STAMP))
                .map(|index| (index % 251) as u8)
                .collect();
            return Payload {
                topic,
                scratch,
                bodies: Vec::new(),
            };
        }
        let size = size - topic.len() - STAMP;
        let body = |seed: usize| (0..size).map(|index| ((index + seed) % 251) as u8).collect();
        Payload {
            topic,
            scratch: vec![0; topic.len() + STAMP],
            bodies: (0..BODIES).map(body).collect(),
        }
    }

    /// Contents of `size` bytes (more than 4096) alone, for what numbers its messages itself.
    pub(super) fn bodies(size: usize) -> Self {
        Payload::new(b"", size + STAMP)
    }

    /// The contents of message `number` of large ones.
    pub(super) fn body(&self, number: u64) -> Bytes {
        self.bodies[number as usize % self.bodies.len()].clone()
    }

    /// Whether these are the contents of message `number` of large ones; looks at a sample, every 64th time at all.
    pub(super) fn is_body(&self, body: &[u8], number: u64) -> bool {
        same(body, &self.bodies[number as usize % self.bodies.len()], number)
    }

    /// Message `number`.
    pub(super) fn message(&mut self, number: u64) -> Message {
        let front = self.stamp(number, mix(number));
        match self.bodies.len() {
            0 => Message::from(front),
            _ => Message::from([front, Frame::from(self.body(number))]),
        }
    }

    /// The message after the last of `count`.
    pub(super) fn end(&mut self, count: u64) -> Message {
        Message::from(self.stamp(END, count))
    }

    /// Reads a message and checks its contents; large ones by a sample, every 64th whole.
    pub(super) fn check(&self, message: &Message) -> Result<Said, String> {
        let damaged = || format!("damaged: {message:?}");
        let front = message.get(0).ok_or_else(damaged)?;
        let stamp = front.strip_prefix(self.topic).ok_or_else(damaged)?;
        let (number, rest) = stamp.split_first_chunk().ok_or_else(damaged)?;
        let (check, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (number, check) = (u64::from_le_bytes(*number), u64::from_le_bytes(*check));
        if number == END {
            return Ok(Said::End(check));
        }
        let good = check == mix(number)
            && rest == &self.scratch[self.topic.len() + STAMP..]
            && match self.bodies.len() {
                0 => message.len() == 1,
                _ => message.len() == 2 && self.is_body(&message[1], number),
            };
        if good {
            Ok(Said::Number(number))
        } else {
            Err(damaged())
        }
    }

    fn stamp(&mut self, number: u64, check: u64) -> Frame {
        let (topic, rest) = self.scratch.split_at_mut(self.topic.len());
        topic.copy_from_slice(self.topic);
        rest[..8].copy_from_slice(&number.to_le_bytes());
        rest[8..STAMP].copy_from_slice(&check.to_le_bytes());
        Frame::copy_from_slice(&self.scratch)
    }
}

fn same(body: &[u8], expected: &[u8], number: u64) -> bool {
    if body.len() != expected.len() {
        return false;
    }
    if number.is_multiple_of(64) {
        return body == expected;
    }
    // A window somewhere else in every message.
    let begin = mix(number) as usize % expected.len();
    let end = expected.len().min(begin + 256);
    body[begin..end] == expected[begin..end]
}

/// A number that looks like no other (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Counts good messages, and notes the first thing that is wrong.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) fault: Option<String>,
}

impl Tally {
    /// Notes a message of an ordered sequence; true at its end.
    pub(super) fn note(&mut self, payload: &Payload, message: Option<&Message>) -> bool {
        let Some(message) = message else {
            self.fault.get_or_insert(format!(
                "lost: nothing more came after {} messages",
                self.messages
            ));
            return true;
        };
        match payload.check(message) {
            Ok(Said::Number(number)) => {
                if number != self.messages {
                    let expected = self.messages;
                    self.fault
                        .get_or_insert(format!("message {number} came in the place of {expected}"));
                }
                self.messages += 1;
                self.bytes += message.size() as u64;
                false
            }
            Ok(Said::End(count)) => {
                if count != self.messages {
                    self.fault
                        .get_or_insert(format!("lost: {} of {count} came", self.messages));
                }
                true
            }
            Err(damage) => {
                self.fault.get_or_insert(damage);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_messages_pass_and_damaged_ones_do_not() {
        for (topic, size) in [(&b""[..], 16), (b"news.", 128), (b"", 4096), (b"", 1 << 20)] {
            let mut payload = Payload::new(topic, size);
            for number in [0, 1, 63, 64, 1 << 40] {
                let message = payload.message(number);
                assert_eq!(message.size(), size);
                assert_eq!(payload.check(&message), Ok(Said::Number(number)));
                let mut bytes: Vec<Vec<u8>> = message.iter().map(|frame| frame.to_vec()).collect();
                if number % 64 == 0 {
                    *bytes.last_mut().and_then(|frame| frame.last_mut()).unwrap() ^= 1;
                } else {
                    bytes[0][topic.len()] ^= 1;
                }
                assert!(
                    payload.check(&bytes.into_iter().collect()).is_err(),
                    "{size} {number}"
                );
            }
            let end = payload.end(7);
            assert_eq!(payload.check(&end), Ok(Said::End(7)));
        }
    }

    #[test]
    fn losses_and_swaps_are_noticed() {
        let mut payload = Payload::new(b"", 16);
        let good: Vec<Message> = (0..3).map(|number| payload.message(number)).collect();
        let end = payload.end(3);
        let run = |messages: &[&Message]| {
            let mut tally = Tally::default();
            assert!(messages.iter().any(|message| tally.note(&payload, Some(message))));
            tally
        };
        assert_eq!(run(&[&good[0], &good[1], &good[2], &end]).fault, None);
        assert!(run(&[&good[0], &good[2], &end]).fault.is_some());
        assert!(run(&[&good[0], &good[1], &end]).fault.is_some());
        assert!(run(&[&good[0], &good[0], &good[2], &end]).fault.is_some());
        let mut tally = Tally::default();
        assert!(tally.note(&payload, None) && tally.fault.is_some());
    }
}
