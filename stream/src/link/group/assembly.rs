//! Messages that come in pieces, put together.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use flexbond_session::group::{MemberId, Part};

use super::framing::{self, FramingError};

/// The messages that are on their way in pieces, one of each sender at most.
///
/// All of them together have no more bytes than one message may have: what is begun beside is left out.
#[derive(Debug)]
pub(super) struct Assembly {
    open: BTreeMap<MemberId, Open>,
    /// Bytes that those have which are open, once they are whole.
    promised: u64,
    /// Bytes that those may have.
    limit: u64,
}

#[derive(Debug)]
struct Open {
    bytes: BytesMut,
    announced: u64,
}

/// What a piece has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// Nothing yet, or a further piece of what is left out.
    Nothing,
    /// All of a message.
    Whole(Bytes),
    /// The end of a message of which the rest will not come.
    Cut,
    /// Something that is left out, as it came so far.
    Refused(FramingError, Bytes),
}

impl Assembly {
    /// Memory for a message before any of it has come, at most.
    const FIRST: u64 = 16 << 20;

    /// `limit` is what one message may have at most, laid out.
    pub(super) fn new(limit: u64) -> Self {
        Assembly {
            open: BTreeMap::new(),
            promised: 0,
            limit,
        }
    }

    /// A piece has come.
    pub(super) fn push(&mut self, from: MemberId, part: Part, piece: Bytes) -> Brought {
        match part {
            Part::Whole => Brought::Whole(piece),
            Part::First => self.begin(from, piece),
            Part::More | Part::Last => self.go_on(from, part == Part::Last, &piece),
            Part::Cut => match self.close(from) {
                Some(_) => Brought::Cut,
                None => Brought::Nothing,
            },
        }
    }

    /// The session is over: nothing goes on. Returns how many messages were not whole.
    pub(super) fn clear(&mut self) -> usize {
        self.promised = 0;
        std::mem::take(&mut self.open).len()
    }

    fn begin(&mut self, from: MemberId, piece: Bytes) -> Brought {
        self.close(from);
        let announced = match framing::announced(&piece) {
            Ok(announced) => announced,
            Err(error) => return Brought::Refused(error, piece),
        };
        let (size, limit, others) = (announced, self.limit, self.promised);
        if size > limit {
            return Brought::Refused(FramingError::TooLarge { size, limit }, piece);
        }
        if size > limit.saturating_sub(others) {
            let error = FramingError::NoRoom { size, others, limit };
            return Brought::Refused(error, piece);
        }
        if announced < piece.len() as u64 {
            return Brought::Refused(Self::length(announced, &piece), piece);
        }
        // What was announced may never come.
        let mut bytes = BytesMut::with_capacity(announced.min(Self::FIRST) as usize);
        bytes.extend_from_slice(&piece);
        self.promised += announced;
        self.open.insert(from, Open { bytes, announced });
        Brought::Nothing
    }

    fn go_on(&mut self, from: MemberId, last: bool, piece: &[u8]) -> Brought {
        let Some(open) = self.open.get_mut(&from) else {
            return Brought::Nothing;
        };
        if open.bytes.len() as u64 + piece.len() as u64 > open.announced {
            let came = open.bytes.len() as u64 + piece.len() as u64;
            let announced = open.announced;
            let bytes = self.close(from).unwrap_or_default();
            return Brought::Refused(FramingError::Length { announced, came }, bytes);
        }
        open.bytes.extend_from_slice(piece);
        if !last {
            return Brought::Nothing;
        }
        // Whether it is as long as it should be is asked when it is read.
        self.close(from).map_or(Brought::Nothing, Brought::Whole)
    }

    fn close(&mut self, from: MemberId) -> Option<Bytes> {
        let open = self.open.remove(&from)?;
        self.promised -= open.announced;
        Some(open.bytes.freeze())
    }

    fn length(announced: u64, piece: &Bytes) -> FramingError {
        FramingError::Length {
            announced,
            came: piece.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use flexbond_transport::Message;

    use super::*;

    const A: MemberId = MemberId::COORDINATOR;

    fn body(len: usize) -> Bytes {
        framing::encode(&Message::from(vec![7; len]), 0)
    }

    #[test]
    fn pieces_become_a_message() {
        let whole = body(1000);
        let mut assembly = Assembly::new(2000);
        assert_eq!(
            assembly.push(A, Part::First, whole.slice(..100)),
            Brought::Nothing
        );
        assert_eq!(
            assembly.push(A, Part::More, whole.slice(100..500)),
            Brought::Nothing
        );
        assert_eq!(
            assembly.push(A, Part::Last, whole.slice(500..)),
            Brought::Whole(whole.clone())
        );
        assert_eq!(assembly.promised, 0);
        assert_eq!(
            assembly.push(A, Part::Whole, whole.clone()),
            Brought::Whole(whole)
        );
    }

    #[test]
    fn what_will_not_come_is_let_go() {
        let whole = body(1000);
        let mut assembly = Assembly::new(2000);
        assembly.push(A, Part::First, whole.slice(..100));
        assert_eq!(assembly.push(A, Part::Cut, Bytes::new()), Brought::Cut);
        assert_eq!(assembly.push(A, Part::Cut, Bytes::new()), Brought::Nothing);
        assert_eq!((assembly.promised, assembly.clear()), (0, 0));
        assembly.push(A, Part::First, whole.slice(..100));
        assert_eq!((assembly.clear(), assembly.promised), (1, 0));
    }

    #[test]
    fn nobody_makes_more_room_than_there_may_be() {
        let whole = body(1000);
        let mut assembly = Assembly::new(whole.len() as u64 - 1);
        let brought = assembly.push(A, Part::First, whole.slice(..100));
        assert!(matches!(
            brought,
            Brought::Refused(FramingError::TooLarge { .. }, _)
        ));
        // The rest of it says nothing any more.
        assert_eq!(assembly.push(A, Part::Last, whole.slice(100..)), Brought::Nothing);
        let brought = assembly.push(A, Part::First, Bytes::from_static(b"hello"));
        assert!(matches!(brought, Brought::Refused(FramingError::Foreign, _)));
    }

    #[test]
    fn more_than_was_announced_is_refused() {
        let whole = body(100);
        let mut assembly = Assembly::new(2000);
        assembly.push(A, Part::First, whole.slice(..50));
        let brought = assembly.push(A, Part::More, body(1000));
        assert!(matches!(
            brought,
            Brought::Refused(FramingError::Length { .. }, _)
        ));
        assert_eq!(assembly.promised, 0);
    }
}
