//! The parts of a message as one message of a session.
//!
//! A session carries bytes; a message of a stream has parts. They are laid out so, all numbers little-endian:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | `66 62 70 02`: "fbp" and the version of this layout |
//! | 4 | 4 | how many parts there are, 1 to 65,536 |
//! | 8 | 8 | bytes of all this, these 24 included |
//! | 16 | 8 | its number: one more than that of the message before it, of the same sender |
//! | 24 | 8 for each part | bytes of the part |
//!
//! Then come the parts in this order, each at the next offset that 16 divides, so that numbers in them can be read where
//! they are. What lies between two parts is zero. Nothing comes after the last part.

use bytes::{BufMut, Bytes, BytesMut};
use flexbond_transport::{Frame, Message};
use thiserror::Error;

/// Parts of a message, at most: as many as sockets take.
pub(crate) const MAX_PARTS: usize = 65_536;
/// Bytes before the lengths of the parts.
pub(crate) const PREFIX: usize = 24;

const MAGIC: [u8; 4] = *b"fbp\x02";
/// What the offset of each part can be divided by.
const ALIGNMENT: usize = 16;
const PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];

/// What is wrong with bytes that should be the parts of a message. They are dropped; nothing else is affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FramingError {
    /// They do not begin as a message of a stream does: another program sends in this session.
    #[error("not a message of a stream")]
    Foreign,
    /// There are more or fewer bytes than they say themselves.
    #[error("{came} bytes came where {announced} were announced")]
    Length {
        /// How many bytes there should be.
        announced: u64,
        /// How many there are.
        came: u64,
    },
    /// It has no part, or too many.
    #[error("{parts} parts, which is not 1 to 65,536")]
    Parts {
        /// How many parts it is said to have.
        parts: u32,
    },
    /// A part does not end where it should.
    #[error("part {part} reaches beyond the end")]
    Beyond {
        /// Which one; the header is 0.
        part: usize,
    },
    /// Bytes that belong to no part are not as they have to be.
    #[error("there is something behind part {part}")]
    Between {
        /// The last part before it; the header is 0.
        part: usize,
    },
    /// Larger than this end takes
    /// ([`ConnectOptions::max_message_size`](field@crate::ConnectOptions::max_message_size)).
    #[error("{size} bytes are more than the {limit} that are taken")]
    TooLarge {
        /// Bytes of its parts, or of all of it where they are not known yet.
        size: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// It began while so much of other sources' messages was on its way that there is no room for it. All that come in
    /// pieces at the same time may have as many bytes as one of them
    /// ([`ConnectOptions::max_message_size`](field@crate::ConnectOptions::max_message_size)).
    #[error(
        "{size} bytes began beside {others} of other sources, together more than the {limit} that are taken at once; \
         raise the largest message size, or have the sources send one after the other"
    )]
    NoRoom {
        /// Bytes of all of it.
        size: u64,
        /// Bytes of those that had begun before.
        others: u64,
        /// The most that is taken at once.
        limit: u64,
    },
}

/// Bytes that a message takes, laid out.
pub(crate) fn encoded_len(message: &Message) -> usize {
    let frames = message.frames();
    frames.iter().fold(PREFIX + 8 * frames.len(), |end, frame| {
        end.next_multiple_of(ALIGNMENT) + frame.len()
    })
}

/// The most that a message takes whose parts have `size` bytes together.
pub(crate) fn longest(size: usize) -> u64 {
    (size as u64).saturating_add((PREFIX + MAX_PARTS * (8 + ALIGNMENT)) as u64)
}

/// Lays a message out. It has 1 to [`MAX_PARTS`] parts.
pub(crate) fn encode(message: &Message, number: u64) -> Bytes {
    let len = encoded_len(message);
    let mut body = BytesMut::with_capacity(len);
    body.put_slice(&MAGIC);
    // At most 65,536, as the caller has seen to.
    body.put_u32_le(message.len() as u32);
    body.put_u64_le(len as u64);
    body.put_u64_le(number);
    for frame in message.frames() {
        body.put_u64_le(frame.len() as u64);
    }
    for frame in message.frames() {
        let gap = body.len().next_multiple_of(ALIGNMENT) - body.len();
        body.put_slice(&PADDING[..gap]);
        body.put_slice(frame);
    }
    body.freeze()
}

/// How many bytes all of it has, as its first bytes say.
///
/// # Errors
/// [`FramingError`].
pub(crate) fn announced(begin: &[u8]) -> Result<u64, FramingError> {
    if begin.len() < PREFIX || begin[..4] != MAGIC {
        return Err(FramingError::Foreign);
    }
    Ok(number(begin, 8))
}

/// Which message of its sender it is, as its first bytes say; `None` if they are not those of a message.
pub(crate) fn number_of(begin: &[u8]) -> Option<u64> {
    announced(begin).is_ok().then(|| number(begin, 16))
}

/// The message that was laid out so. Its larger parts share `body`; nothing is copied but what is short.
///
/// # Errors
/// [`FramingError`].
pub(crate) fn decode(body: &Bytes, limit: usize) -> Result<Message, FramingError> {
    let announced = announced(body)?;
    let came = body.len() as u64;
    if announced != came {
        return Err(FramingError::Length { announced, came });
    }
    let parts = u32::from_le_bytes([body[4], body[5], body[6], body[7]]);
    let count = parts as usize;
    if count == 0 || count > MAX_PARTS {
        return Err(FramingError::Parts { parts });
    }
    let mut end = PREFIX + 8 * count;
    if end > body.len() {
        return Err(FramingError::Beyond { part: 0 });
    }
    let mut frames = Vec::with_capacity(count);
    let mut size = 0_u64;
    for part in 0..count {
        let begin = end.next_multiple_of(ALIGNMENT);
        let after = usize::try_from(number(body, PREFIX + 8 * part))
            .ok()
            .and_then(|len| begin.checked_add(len))
            .filter(|after| *after <= body.len())
            .ok_or(FramingError::Beyond { part })?;
        if body[end..begin].iter().any(|byte| *byte != 0) {
            return Err(FramingError::Between {
                part: part.saturating_sub(1),
            });
        }
        size += (after - begin) as u64;
        frames.push(Frame::from(body.slice(begin..after)));
        end = after;
    }
    if end != body.len() {
        return Err(FramingError::Between { part: count - 1 });
    }
    let limit = limit as u64;
    if size > limit {
        return Err(FramingError::TooLarge { size, limit });
    }
    Ok(Message::from(frames))
}

/// The number at an offset that is there.
fn number(bytes: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(parts: Vec<Vec<u8>>) -> Message {
        Message::from(parts.into_iter().map(Frame::from).collect::<Vec<_>>())
    }

    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..12)
    }

    #[test]
    fn the_layout_is_as_documented() {
        let body = encode(&message(vec![b"{}".to_vec(), vec![7; 3]]), 0x0908);
        let mut expected = b"fbp\x02\x02\0\0\0\x43\0\0\0\0\0\0\0\x08\x09\0\0\0\0\0\0".to_vec();
        expected.extend(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        expected.extend(b"{}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\x07\x07");
        assert_eq!(body, expected);
        assert_eq!(number_of(&body), Some(0x0908));
        assert_eq!(number_of(&body[..PREFIX - 1]), None);
        assert_eq!(number_of(b"something else, and long enough"), None);
    }

    #[test]
    fn large_parts_are_slices_and_aligned() {
        let body = encode(&message(vec![vec![1; 77], vec![2; 5000], vec![3; 100]]), 0);
        let decoded = decode(&body, 1 << 20).unwrap();
        for (frame, value) in decoded.frames().iter().zip(1..) {
            let offset = frame.as_ptr() as usize - body.as_ptr() as usize;
            assert!(offset < body.len() && offset.is_multiple_of(16));
            assert!(frame.iter().all(|byte| *byte == value));
        }
    }

    #[test]
    fn what_is_malformed_is_told() {
        let body = encode(&message(vec![vec![1; 20], vec![2; 40]]), 0);
        let broken = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = body.to_vec();
            change(&mut bytes);
            decode(&bytes.into(), 100)
        };
        let len = body.len() as u64;
        for (expected, found) in [
            (FramingError::Foreign, broken(&|bytes| bytes.clear())),
            (FramingError::Foreign, broken(&|bytes| bytes[3] = 1)),
            (
                FramingError::Length {
                    announced: len,
                    came: len - 1,
                },
                broken(&|bytes| bytes.truncate(bytes.len() - 1)),
            ),
            (FramingError::Parts { parts: 0 }, broken(&|bytes| bytes[4] = 0)),
            (
                FramingError::Parts { parts: 0x1_0002 },
                broken(&|bytes| bytes[6] = 1),
            ),
            (FramingError::Beyond { part: 0 }, broken(&|bytes| bytes[5] = 255)),
            (FramingError::Beyond { part: 0 }, broken(&|bytes| bytes[31] = 255)),
            (FramingError::Beyond { part: 1 }, broken(&|bytes| bytes[32] = 41)),
            (FramingError::Between { part: 1 }, broken(&|bytes| bytes[32] = 39)),
            (FramingError::Between { part: 0 }, broken(&|bytes| bytes[24] = 19)),
        ] {
            assert_eq!(found.unwrap_err(), expected);
        }
        assert_eq!(
            decode(&body, 59).unwrap_err(),
            FramingError::TooLarge { size: 60, limit: 59 }
        );
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(parts in parts()) {
            let sent = message(parts);
            let body = encode(&sent, 7);
            prop_assert_eq!(body.len(), encoded_len(&sent));
            prop_assert!(body.len() as u64 <= longest(sent.size()));
            prop_assert_eq!(announced(&body), Ok(body.len() as u64));
            prop_assert_eq!(decode(&body, sent.size()).unwrap(), sent);
        }

        #[test]
        fn nothing_that_is_cut_is_taken_for_a_message(parts in parts(), cut in any::<prop::sample::Index>()) {
            let body = encode(&message(parts), 7);
            let cut = cut.index(body.len());
            prop_assert!(decode(&body.slice(..cut), 1 << 20).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes.into(), 1 << 20);
        }

        /// Only one encoding of a message is taken, whatever is changed in it.
        #[test]
        fn a_changed_byte_is_no_other_encoding(parts in parts(), place in any::<prop::sample::Index>(), to in any::<u8>()) {
            let body = encode(&message(parts), 7);
            let mut changed = body.to_vec();
            changed[place.index(body.len())] = to;
            if let Ok(decoded) = decode(&changed.clone().into(), 1 << 20) {
                let number = number_of(&changed).expect("it is a message");
                prop_assert_eq!(encode(&decoded, number), changed);
            }
        }
    }
}
