//! What comes from the members of a session, for fuzzers. Only there in builds for fuzzing and for tests.

use bytes::Bytes;
use flexbond_session::group::{MemberId, Part};
use flexbond_transport::Message;

use super::assembly::{Assembly, Brought};
use super::framing::{self, FramingError};

/// Bytes that a message may have.
const LIMIT: usize = 1 << 12;

/// Goes through `data` as pieces of messages, each behind what it is and its length.
///
/// # Panics
/// When what was read is written otherwise, or more is kept than may be.
pub fn parts(data: &[u8]) {
    let longest = framing::longest(LIMIT);
    let mut assembly = Assembly::new(longest);
    let mut rest = data;
    while let [what, high, low, after @ ..] = rest {
        let len = usize::from(*high) << 8 | usize::from(*low);
        let (piece, after) = after.split_at(len.min(after.len()));
        rest = after;
        let part = [Part::Whole, Part::First, Part::More, Part::Last, Part::Cut][usize::from(*what) % 5];
        match assembly.push(MemberId::COORDINATOR, part, Bytes::copy_from_slice(piece)) {
            Brought::Whole(body) => read(&body),
            Brought::Refused(error, body) => {
                assert!(body.len() as u64 <= longest.max(piece.len() as u64));
                assert_ne!(error, FramingError::Parts { parts: 1 });
            }
            Brought::Nothing | Brought::Cut => {}
        }
    }
    assert!(assembly.clear() <= 1);
    in_pieces(data);
}

fn read(body: &Bytes) {
    let number = framing::number_of(body);
    if let Ok(message) = framing::decode(body, LIMIT) {
        assert!(message.size() <= LIMIT);
        let number = number.expect("it is one");
        let again = framing::encode(&message, number);
        assert_eq!((again.len(), &again), (framing::encoded_len(&message), body));
    }
}

/// A message arrives, wherever it is cut.
fn in_pieces(data: &[u8]) {
    let Some((&[count, at], rest)) = data.split_first_chunk() else {
        return;
    };
    let rest = &rest[..rest.len().min(LIMIT)];
    let part = rest.len().div_ceil(usize::from(count % 16).max(1)).max(1);
    let mut message: Message = rest.chunks(part).map(<[u8]>::to_vec).collect();
    if message.is_empty() {
        message = Message::from("");
    }
    let body = framing::encode(&message, 9);
    assert!(body.len() as u64 <= framing::longest(message.size()));
    let cut = (usize::from(at) * 7).clamp(framing::PREFIX, body.len());
    let mut assembly = Assembly::new(framing::longest(LIMIT));
    let first = assembly.push(MemberId::COORDINATOR, Part::First, body.slice(..cut));
    assert_eq!(first, Brought::Nothing);
    let last = assembly.push(MemberId::COORDINATOR, Part::Last, body.slice(cut..));
    assert_eq!(last, Brought::Whole(body.clone()));
    assert_eq!(framing::decode(&body, LIMIT), Ok(message));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_does_no_harm(data in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..300)) {
            parts(&data);
        }
    }
}
