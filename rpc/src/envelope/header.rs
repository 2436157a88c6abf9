//! The first frame of an envelope: 24 bytes that say what the message is.

use std::fmt;
use std::ops::BitOr;
use std::time::Duration;

use super::{DecodeError, EncodeError};

/// What a message is, and to which call it belongs. The [module](super) has the table of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// The encoding of the body.
    pub codec: Codec,
    /// What the caller wants; see [`Flags`].
    pub flags: Flags,
    /// A number whose meaning depends on the kind; 0 where it has none.
    pub count: u32,
    /// The caller's number for the call, unique among its calls that are under way.
    pub call: u64,
    /// How long the caller still waits, in whole microseconds; none for ever.
    ///
    /// When written, a fraction of a microsecond is rounded up (so that a deadline never turns into none), and more
    /// than 2⁶⁴−1 microseconds are written as that many.
    pub deadline: Option<Duration>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// A call that wants an answer.
    Request = 1,
    /// The answer.
    Response = 2,
    /// The answer when the call failed; the body says why.
    Error = 3,
    /// One item of a streamed answer or, from the caller, of streamed arguments.
    StreamItem = 4,
    /// The end of such a stream; none of its items is missing when their number equals the count.
    StreamEnd = 5,
    /// From who reads a stream: that many more items may come.
    Credit = 6,
    /// From the caller: the answer is no longer wanted.
    Cancel = 7,
    /// A call that wants no answer.
    OneWay = 8,
    /// Asks the other side to show that it takes calls.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
    /// From the server: it takes no more calls; those under way end.
    Draining = 11,
}

/// The encoding of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Bytes without further meaning.
    #[default]
    Raw,
    /// The postcard format.
    Postcard,
    /// JSON in UTF-8.
    Json,
    /// MessagePack, structures as maps with their names.
    MessagePack,
    /// An encoding that caller and callee agreed on, from 128 on.
    Application(u8),
}

/// What a caller wants besides the call itself.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Header {
    /// The version that this crate writes and reads.
    pub const VERSION: u8 = 1;

    /// The length of a header in bytes.
    pub const LEN: usize = 24;

    /// A header with neither flags, count nor deadline, for a raw body.
    #[must_use]
    pub fn new(kind: Kind, call: u64) -> Self {
        Header {
            kind,
            codec: Codec::Raw,
            flags: Flags::NONE,
            count: 0,
            call,
            deadline: None,
        }
    }

    /// The header's bytes.
    ///
    /// # Errors
    /// [`EncodeError::ReservedCodec`] for a [`Codec::Application`] below 128.
    pub fn encode(&self) -> Result<[u8; Self::LEN], EncodeError> {
        let mut bytes = [0; Self::LEN];
        bytes[0] = Self::VERSION;
        bytes[1] = self.kind as u8;
        bytes[2] = self.codec.number()?;
        bytes[3] = self.flags.0;
        bytes[4..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.call.to_be_bytes());
        bytes[16..24].copy_from_slice(&micros(self.deadline).to_be_bytes());
        Ok(bytes)
    }

    /// The number of the call, also of a header that cannot be read for its version, kind, codec or flags.
    pub(crate) fn call_of(bytes: &[u8; Self::LEN]) -> u64 {
        let mut call = [0; 8];
        call.copy_from_slice(&bytes[8..16]);
        u64::from_be_bytes(call)
    }

    /// Reads a header. A server does so first, to be able to answer a call whose other frames are unacceptable.
    ///
    /// # Errors
    /// [`DecodeError`] for a wrong length, and an unknown version, kind, codec or flag.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let len = bytes.len();
        let bytes: &[u8; Self::LEN] = bytes.try_into().map_err(|_| DecodeError::HeaderLength { len })?;
        let [version, kind, codec, flags, c0, c1, c2, c3, rest @ ..] = *bytes;
        if version != Self::VERSION {
            return Err(DecodeError::Version { version });
        }
        let (mut call, mut deadline) = ([0; 8], [0; 8]);
        call.copy_from_slice(&rest[..8]);
        deadline.copy_from_slice(&rest[8..]);
        Ok(Header {
            kind: Kind::from_number(kind).ok_or(DecodeError::Kind { kind })?,
            codec: Codec::from_number(codec).ok_or(DecodeError::Codec { codec })?,
            flags: Flags::from_bits(flags).ok_or(DecodeError::Flags { flags })?,
            count: u32::from_be_bytes([c0, c1, c2, c3]),
            call: u64::from_be_bytes(call),
            deadline: match u64::from_be_bytes(deadline) {
                0 => None,
                micros => Some(Duration::from_micros(micros)),
            },
        })
    }
}

fn micros(deadline: Option<Duration>) -> u64 {
    deadline.map_or(0, |left| {
        let micros = left.as_nanos().div_ceil(1000).max(1);
        u64::try_from(micros).unwrap_or(u64::MAX)
    })
}

impl Kind {
    /// Whether messages of this kind name a method.
    #[must_use]
    pub fn has_method(self) -> bool {
        matches!(self, Kind::Request | Kind::OneWay)
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Kind::Request,
            2 => Kind::Response,
            3 => Kind::Error,
            4 => Kind::StreamItem,
            5 => Kind::StreamEnd,
            6 => Kind::Credit,
            7 => Kind::Cancel,
            8 => Kind::OneWay,
            9 => Kind::Ping,
            10 => Kind::Pong,
            11 => Kind::Draining,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Request => "request",
            Kind::Response => "response",
            Kind::Error => "error",
            Kind::StreamItem => "stream item",
            Kind::StreamEnd => "stream end",
            Kind::Credit => "credit",
            Kind::Cancel => "cancel",
            Kind::OneWay => "one-way call",
            Kind::Ping => "ping",
            Kind::Pong => "pong",
            Kind::Draining => "notice of the end",
        })
    }
}

impl Codec {
    // The first number that an application may use.
    const APPLICATION: u8 = 128;

    pub(super) fn number(self) -> Result<u8, EncodeError> {
        match self {
            Codec::Raw => Ok(0),
            Codec::Postcard => Ok(1),
            Codec::Json => Ok(2),
            Codec::MessagePack => Ok(3),
            Codec::Application(number @ Self::APPLICATION..) => Ok(number),
            Codec::Application(number) => Err(EncodeError::ReservedCodec { number }),
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Codec::Raw),
            1 => Some(Codec::Postcard),
            2 => Some(Codec::Json),
            3 => Some(Codec::MessagePack),
            Self::APPLICATION.. => Some(Codec::Application(number)),
            _ => None,
        }
    }
}

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// The caller wants the answer as a stream of items.
    pub const STREAM: Flags = Flags(1);
    /// The call may be repeated without harm.
    pub const IDEMPOTENT: Flags = Flags(2);
    /// Metadata follows the body. Set and cleared as there is some.
    pub const METADATA: Flags = Flags(4);
    /// The caller sends items after the call: arguments as a stream.
    pub const UPLOAD: Flags = Flags(8);
    /// In an error message: the work of the call had begun, whatever the kind of the failure says.
    pub const BEGUN: Flags = Flags(16);
    /// All that there are.
    const ALL: Flags = Flags(31);

    /// Whether all of `flags` are set.
    #[must_use]
    pub fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Flags(bits))
    }

    /// The same with `flag` set or cleared.
    pub(super) fn with(self, flag: Flags, on: bool) -> Self {
        match on {
            true => self | flag,
            false => Flags(self.0 & !flag.0),
        }
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (Flags::STREAM, "STREAM"),
            (Flags::IDEMPOTENT, "IDEMPOTENT"),
            (Flags::METADATA, "METADATA"),
            (Flags::UPLOAD, "UPLOAD"),
            (Flags::BEGUN, "BEGUN"),
        ];
        let set = named.into_iter().filter(|(flag, _)| self.contains(*flag));
        f.debug_set().entries(set.map(|(_, name)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(deadline: Option<Duration>) -> Option<Duration> {
        let mut header = Header::new(Kind::Request, 1);
        header.deadline = deadline;
        Header::decode(&header.encode().unwrap()).unwrap().deadline
    }

    #[test]
    fn a_deadline_is_rounded_up_and_never_becomes_none() {
        assert_eq!(written(None), None);
        assert_eq!(written(Some(Duration::ZERO)), Some(Duration::from_micros(1)));
        assert_eq!(
            written(Some(Duration::from_nanos(1001))),
            Some(Duration::from_micros(2))
        );
        assert_eq!(
            written(Some(Duration::MAX)),
            Some(Duration::from_micros(u64::MAX))
        );
    }

    #[test]
    fn unknown_values_are_named() {
        let good = Header::new(Kind::Ping, 0).encode().unwrap();
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            Header::decode(&bytes)
        };
        assert_eq!(with(0, 2), Err(DecodeError::Version { version: 2 }));
        assert_eq!(with(1, 0), Err(DecodeError::Kind { kind: 0 }));
        assert_eq!(with(1, 12), Err(DecodeError::Kind { kind: 12 }));
        assert_eq!(with(2, 4), Err(DecodeError::Codec { codec: 4 }));
        assert_eq!(with(2, 127), Err(DecodeError::Codec { codec: 127 }));
        assert_eq!(with(3, 32), Err(DecodeError::Flags { flags: 32 }));
        assert!(with(2, 128).is_ok());
        for len in [0, 23] {
            assert_eq!(
                Header::decode(&good[..len]),
                Err(DecodeError::HeaderLength { len })
            );
        }
    }

    #[test]
    fn a_reserved_codec_is_not_written() {
        let mut header = Header::new(Kind::Response, 1);
        header.codec = Codec::Application(1);
        assert_eq!(header.encode(), Err(EncodeError::ReservedCodec { number: 1 }));
    }
}
