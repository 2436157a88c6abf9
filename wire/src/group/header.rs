//! The 28 bytes that every datagram starts with.

use super::{CHECKSUM_LEN, DecodeError, MAX_DATAGRAM, TAG_LEN};

const MAGIC: u16 = 0x4642;
const VERSION: u8 = 1;
/// The bit of the version byte that says sealed.
const SEALED: u8 = 0x80;
/// The bit of it that says that a sealed datagram is for one receiver alone.
const FOR_ONE: u8 = 0x40;

/// Where a datagram comes from: what its header says beside its kind.
///
/// ```
/// use flexbond_wire::group::{Header, Kind, Packet};
///
/// let header = Header { session: 7, sender: 3, epoch: 2, number: 41 };
/// let mut datagram = bytes::BytesMut::new();
/// Packet::Leave.encode(&header, &mut datagram).unwrap();
///
/// let envelope = Header::peek(&datagram).unwrap();
/// assert_eq!((envelope.header, envelope.kind, envelope.sealed), (header, Kind::Leave, false));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The session; 0 in a JOIN, whose sender does not know it yet.
    pub session: u64,
    /// The member who sends: [`COORDINATOR`](Self::COORDINATOR), a member's id, or
    /// [`NOT_A_MEMBER`](Self::NOT_A_MEMBER).
    pub sender: u32,
    /// The epoch of the session's view that the sender is in.
    pub epoch: u32,
    /// Grows with every datagram of this sender, whatever its kind and receiver, and never repeats within a session:
    /// it drives the replay window, is the nonce of a sealed datagram, and is echoed to measure round trips.
    pub number: u64,
}

/// What a look at a datagram's start tells, before anything of it was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Envelope {
    /// The kind of the packet inside.
    pub kind: Kind,
    /// Whether it takes a key to open.
    pub sealed: bool,
    /// Whether it is sealed for one receiver, and nobody else can open it. Never of a plain one.
    pub for_one: bool,
    /// The rest of the header.
    pub header: Header,
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 28;
    /// The sender id of the coordinator.
    pub const COORDINATOR: u32 = 0;
    /// The sender id of somebody who is not a member yet.
    pub const NOT_A_MEMBER: u32 = u32::MAX;

    /// Reads the header and nothing else: which session, sender and key a datagram belongs to. Its claims are only as
    /// good as the trailer, which this does not look at.
    ///
    /// # Errors
    /// When the datagram is foreign, of another version, of an unknown kind, too short for its header and trailer, or
    /// longer than [`MAX_DATAGRAM`].
    #[inline]
    pub fn peek(datagram: &[u8]) -> Result<Envelope, DecodeError> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(DecodeError::TooLong {
                len: datagram.len(),
                limit: MAX_DATAGRAM,
            });
        }
        let (bytes, rest) = datagram
            .split_first_chunk::<{ Header::LEN }>()
            .ok_or(DecodeError::Truncated)?;
        let [magic0, magic1, version, kind, rest_of_header @ ..] = *bytes;
        let magic = u16::from_be_bytes([magic0, magic1]);
        if magic != MAGIC {
            return Err(DecodeError::Foreign { magic });
        }
        let sealed = version & SEALED != 0;
        let for_one = sealed && version & FOR_ONE != 0;
        // Nothing protects a plain datagram's flag: there it is a version that does not exist.
        let version = version & if sealed { !(SEALED | FOR_ONE) } else { u8::MAX };
        if version != VERSION {
            return Err(DecodeError::Version { version });
        }
        let kind = Kind::try_from(kind)?;
        if rest.len() < if sealed { TAG_LEN } else { CHECKSUM_LEN } {
            return Err(DecodeError::Truncated);
        }
        Ok(Envelope {
            kind,
            sealed,
            for_one,
            header: Header::from_bytes(rest_of_header),
        })
    }

    #[inline]
    fn from_bytes(bytes: [u8; 24]) -> Self {
        let [
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
            m0,
            m1,
            m2,
            m3,
            e0,
            e1,
            e2,
            e3,
            n0,
            n1,
            n2,
            n3,
            n4,
            n5,
            n6,
            n7,
        ] = bytes;
        Header {
            session: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            sender: u32::from_be_bytes([m0, m1, m2, m3]),
            epoch: u32::from_be_bytes([e0, e1, e2, e3]),
            number: u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
        }
    }

    #[inline]
    pub(super) fn to_bytes(self, kind: Kind, sealed: bool) -> [u8; Header::LEN] {
        let mut bytes = [0; Header::LEN];
        bytes[..2].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[2] = VERSION | if sealed { SEALED } else { 0 };
        bytes[3] = kind as u8;
        bytes[4..20].copy_from_slice(&self.origin());
        bytes[20..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Says in a header that was written as a sealed datagram's whether it is for one receiver alone.
    #[cfg(feature = "group-crypto")]
    #[inline]
    pub(super) fn mark(header: &mut [u8], for_one: bool) {
        header[2] = VERSION | SEALED | if for_one { FOR_ONE } else { 0 };
    }

    /// Bytes 4 to 19 of the header: session, sender, epoch.
    #[inline]
    pub(super) fn origin(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.session.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.sender.to_be_bytes());
        bytes[12..].copy_from_slice(&self.epoch.to_be_bytes());
        bytes
    }
}

/// What a packet is; byte 3 of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Somebody wants to become a member.
    Join = 1,
    /// The coordinator wants to see first that the address is real.
    Retry = 2,
    /// The coordinator does not admit the joiner.
    Reject = 3,
    /// The coordinator admits the joiner.
    Accept = 4,
    /// A member goes.
    Leave = 5,
    /// The end of a membership or of the session, and why.
    Goodbye = 6,
    /// A sign of life, and the round trip's measure.
    Heartbeat = 7,
    /// Who belongs to a channel, or a part of that list.
    View = 8,
    /// A whole view has arrived.
    ViewAck = 9,
    /// A member wants to take part in a channel.
    ChannelJoin = 10,
    /// The answer to that.
    ChannelReply = 11,
    /// A member goes from a channel.
    ChannelLeave = 12,
    /// A segment of a flow.
    Data = 13,
    /// What a receiver has of a flow, and what it lacks.
    Status = 14,
    /// How far a flow has come.
    Sync = 15,
    /// What repairs any of several segments.
    Parity = 16,
    /// A member has come to a barrier.
    Arrive = 17,
    /// Everybody has come to a barrier.
    Release = 18,
    /// A barrier will never be complete.
    Abort = 19,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 19] = [
        Kind::Join,
        Kind::Retry,
        Kind::Reject,
        Kind::Accept,
        Kind::Leave,
        Kind::Goodbye,
        Kind::Heartbeat,
        Kind::View,
        Kind::ViewAck,
        Kind::ChannelJoin,
        Kind::ChannelReply,
        Kind::ChannelLeave,
        Kind::Data,
        Kind::Status,
        Kind::Sync,
        Kind::Parity,
        Kind::Arrive,
        Kind::Release,
        Kind::Abort,
    ];

    /// Whether the kind belongs to the handshake, when the two sides share no key yet: such a datagram is always
    /// plain, and every other kind is sealed in a session that has a key.
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        matches!(self, Kind::Join | Kind::Retry | Kind::Reject | Kind::Accept)
    }

    /// Whether the kind runs between the coordinator and one member only. In a session that has a key, such a datagram
    /// is sealed with what only those two have: nobody can pass it on to another member, and it can be opened whatever
    /// has become of the session's key.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(
            self,
            Kind::Leave
                | Kind::Goodbye
                | Kind::View
                | Kind::ViewAck
                | Kind::ChannelJoin
                | Kind::ChannelReply
                | Kind::ChannelLeave
        )
    }
}

impl TryFrom<u8> for Kind {
    type Error = DecodeError;

    #[inline]
    fn try_from(kind: u8) -> Result<Self, DecodeError> {
        let index = usize::from(kind).wrapping_sub(1);
        Kind::ALL
            .get(index)
            .copied()
            .ok_or(DecodeError::UnknownKind { kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_numbers() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
            assert_eq!(Kind::try_from(kind as u8), Ok(kind));
            assert_eq!(kind.is_control(), matches!(index + 1, 5 | 6 | 8..=12));
        }
        for kind in [0, 20, 255] {
            assert_eq!(Kind::try_from(kind), Err(DecodeError::UnknownKind { kind }));
        }
    }

    #[test]
    fn foreign_bytes_are_told_from_other_versions() {
        let header = Header {
            session: 1,
            sender: 2,
            epoch: 3,
            number: 4,
        };
        let mut datagram = header.to_bytes(Kind::Data, true).to_vec();
        assert_eq!(Header::peek(&datagram), Err(DecodeError::Truncated));
        datagram.extend([0; TAG_LEN]);
        let envelope = Header::peek(&datagram).expect("long enough");
        assert!(envelope.sealed && !envelope.for_one && envelope.header == header);
        datagram[2] |= FOR_ONE;
        let envelope = Header::peek(&datagram).expect("a flag more");
        assert!(envelope.sealed && envelope.for_one && envelope.header == header);
        datagram[2] = VERSION | FOR_ONE;
        assert_eq!(
            Header::peek(&datagram),
            Err(DecodeError::Version { version: 0x41 }),
            "plain datagrams are for whoever they reach"
        );
        datagram[2] = 2;
        assert_eq!(Header::peek(&datagram), Err(DecodeError::Version { version: 2 }));
        datagram[0] = 0;
        assert_eq!(Header::peek(&datagram), Err(DecodeError::Foreign { magic: 0x42 }));
        datagram.resize(MAX_DATAGRAM + 1, 0);
        assert!(matches!(
            Header::peek(&datagram),
            Err(DecodeError::TooLong { .. })
        ));
    }
}
