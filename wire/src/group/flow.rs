//! How messages flow and are repaired: DATA, STATUS, SYNC, PARITY.
//!
//! A flow is what one member sends to a channel, or to one other member of it (point to point): segments numbered from
//! 0, with 64 bits that no session uses up.

use super::error::at_most;
use super::packet::Body;
use super::reader::{Reader, invalid};
use super::sink::Sink;
use super::{
    CHECKSUM_LEN, DecodeError, EncodeError, Header, Kind, List, MAX_GAPS, MAX_PARITY, MAX_SEGMENT, TAG_LEN,
    checksum,
};

const POINT_TO_POINT: u8 = 1;
const ANSWER: u8 = 2;
const REPAIR: u8 = 4;
const UNKNOWN: u8 = 2;
/// Bytes of a segment's body before its payload.
const FIXED: usize = 11;

/// A byte of flags with `bit` where `set`.
const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

/// A segment of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// The channel.
    pub channel: u16,
    /// Whether the flow is for the receiver alone.
    pub point_to_point: bool,
    /// Whether the sender wants a STATUS at once.
    pub answer: bool,
    /// Whether this was sent before.
    pub repair: bool,
    /// The segment's number in its flow.
    pub seq: u64,
    /// Its bytes, 1 to as many as the session agreed on, at most [`MAX_SEGMENT`].
    pub payload: &'a [u8],
}

impl Data<'_> {
    /// Bytes of a DATA datagram before its payload.
    pub const HEAD: usize = Header::LEN + FIXED;

    /// Bytes of a DATA datagram beside its payload.
    #[must_use]
    pub const fn overhead(sealed: bool) -> usize {
        Self::HEAD + if sealed { TAG_LEN } else { CHECKSUM_LEN }
    }
}

impl<'a> Data<'a> {
    /// Verifies a plain datagram and takes it apart, if it is a segment: what most are, and quicker than
    /// [`Packet::decode`](super::Packet::decode), which has more to tell apart. That one says what is wrong with a
    /// datagram for which this returns `None`.
    #[must_use]
    #[inline]
    pub fn decode(datagram: &'a [u8]) -> Option<(Header, Self)> {
        let envelope = Header::peek(datagram).ok()?;
        if envelope.sealed || envelope.kind != Kind::Data {
            return None;
        }
        let contents = checksum::verify(datagram).ok()?;
        let data = Data::read(&mut Reader::new(&contents[Header::LEN..])).ok()?;
        Some((envelope.header, data))
    }

    /// As [`decode`](Self::decode), of a datagram that lies in three places: its first [`HEAD`](Self::HEAD) bytes, its
    /// payload, and its checksum.
    ///
    /// ```
    /// use flexbond_wire::group::{Data, Header, Packet};
    ///
    /// let header = Header { session: 7, sender: 3, epoch: 2, number: 41 };
    /// let data = Data { channel: 5, point_to_point: false, answer: true, repair: false, seq: 9, payload: b"abc" };
    /// let mut datagram = bytes::BytesMut::new();
    /// Packet::Data(data).encode(&header, &mut datagram).unwrap();
    ///
    /// let (head, rest) = datagram.split_first_chunk().unwrap();
    /// let (payload, checksum) = rest.split_last_chunk().unwrap();
    /// assert_eq!(Data::decode_parts(head, payload, checksum), Some((header, data)));
    /// assert_eq!(Data::decode_parts(head, b"abd", checksum), None);
    /// ```
    #[must_use]
    #[inline]
    pub fn decode_parts(
        head: &[u8; Data::HEAD],
        payload: &'a [u8],
        checksum: &[u8; CHECKSUM_LEN],
    ) -> Option<(Header, Self)> {
        let envelope = Header::peek(head).ok()?;
        if envelope.sealed || envelope.kind != Kind::Data || payload_fits(payload, MAX_SEGMENT).is_err() {
            return None;
        }
        if !checksum::is_of_parts(head, payload, *checksum) {
            return None;
        }
        let data = Data::read_fixed(&mut Reader::new(&head[Header::LEN..])).ok()?;
        Some((envelope.header, Data { payload, ..data }))
    }

    /// All but the payload.
    #[inline]
    fn read_fixed(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let channel = body.u16()?;
        let flags = body.flags(POINT_TO_POINT | ANSWER | REPAIR)?;
        Ok(Data {
            channel,
            point_to_point: flags & POINT_TO_POINT != 0,
            answer: flags & ANSWER != 0,
            repair: flags & REPAIR != 0,
            seq: body.u64()?,
            payload: &[],
        })
    }
}

impl<'a> Body<'a> for Data<'a> {
    #[inline]
    fn check(&self) -> Result<(), EncodeError> {
        payload_fits(self.payload, MAX_SEGMENT)
    }

    #[inline]
    fn write<S: Sink>(&self, out: &mut S) {
        let mut fixed = [0; FIXED];
        fixed[..2].copy_from_slice(&self.channel.to_be_bytes());
        fixed[2] =
            flag(self.point_to_point, POINT_TO_POINT) | flag(self.answer, ANSWER) | flag(self.repair, REPAIR);
        fixed[3..].copy_from_slice(&self.seq.to_be_bytes());
        out.put(&fixed);
        out.put(self.payload);
    }

    #[inline]
    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let fixed = Data::read_fixed(body)?;
        Ok(Data {
            payload: read_payload(body, MAX_SEGMENT)?,
            ..fixed
        })
    }
}

#[inline]
fn payload_fits(payload: &[u8], limit: usize) -> Result<(), EncodeError> {
    if payload.is_empty() {
        return Err(EncodeError::Empty { field: "payload" });
    }
    at_most("payload", payload.len(), limit)
}

/// The rest of the body, at least one byte.
#[inline]
fn read_payload<'a>(body: &mut Reader<'a>, limit: usize) -> Result<&'a [u8], DecodeError> {
    let len = body.len();
    if len == 0 {
        return Err(DecodeError::Truncated);
    }
    if len > limit {
        return Err(DecodeError::Length {
            field: "payload",
            len,
            limit,
        });
    }
    Ok(body.take_all())
}

/// What a receiver has of a flow, and what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// The channel.
    pub channel: u16,
    /// Whether the flow is for this receiver alone.
    pub point_to_point: bool,
    /// Whether the receiver does not know where the flow starts for it, and wants a SYNC.
    pub unknown: bool,
    /// The member whose flow it is.
    pub source: u32,
    /// Every segment below this was received.
    pub next: u64,
    /// The first segment that the receiver has no room for yet.
    pub edge: u64,
    /// What the receiver lacks below this it has asked for, now or before; it may not know of segments above.
    pub known: u64,
    /// How many segments above `next` were received.
    pub early: u32,
    /// The number of the newest datagram heard from the source, whatever its kind.
    pub echo: u64,
    /// How long ago that one came, in microseconds.
    pub echo_delay: u32,
    /// How many datagrams the receiver's own system has dropped so far; wraps.
    pub local_drops: u32,
    /// Segments between `next` and `known` that the receiver wants to be sent again, at most [`MAX_GAPS`] runs of them;
    /// not all that it lacks.
    pub missing: List<'a, Gap>,
}

/// A run of missing segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub start: u64,
    /// How many, at least one.
    pub len: u16,
}

impl Gap {
    /// Whether it has a segment, and ends within 64 bits.
    const fn is_sound(&self) -> bool {
        self.len > 0 && self.start.checked_add(self.len as u64).is_some()
    }

    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u64(self.start);
        out.put_u16(self.len);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let gap = Gap {
            start: body.u64()?,
            len: body.u16()?,
        };
        if !gap.is_sound() {
            return Err(invalid("gap length", gap.len));
        }
        Ok(gap)
    }
}

impl<'a> Body<'a> for Status<'a> {
    fn check(&self) -> Result<(), EncodeError> {
        at_most("missing", self.missing.len(), MAX_GAPS)?;
        match self.missing.iter().find(|gap| !gap.is_sound()) {
            Some(gap) => Err(EncodeError::Invalid {
                field: "gap length",
                value: gap.len.into(),
            }),
            None => Ok(()),
        }
    }

    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u8(flag(self.point_to_point, POINT_TO_POINT) | flag(self.unknown, UNKNOWN));
        out.put_u32(self.source);
        out.put_u64(self.next);
        out.put_u64(self.edge);
        out.put_u64(self.known);
        out.put_u32(self.early);
        out.put_u64(self.echo);
        out.put_u32(self.echo_delay);
        out.put_u32(self.local_drops);
        self.missing.write(out, Gap::write);
    }

    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let channel = body.u16()?;
        let flags = body.flags(POINT_TO_POINT | UNKNOWN)?;
        Ok(Status {
            channel,
            point_to_point: flags & POINT_TO_POINT != 0,
            unknown: flags & UNKNOWN != 0,
            source: body.u32()?,
            next: body.u64()?,
            edge: body.u64()?,
            known: body.u64()?,
            early: body.u32()?,
            echo: body.u64()?,
            echo_delay: body.u32()?,
            local_drops: body.u32()?,
            missing: List::read(body, "missing", MAX_GAPS, Gap::read)?,
        })
    }
}

/// Stands for no start in a [`FlowSync`].
const NO_START: u64 = u64::MAX;

/// How far a flow has come, so that a receiver finds out what it has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowSync {
    /// The channel.
    pub channel: u16,
    /// Whether the flow is for the receiver alone.
    pub point_to_point: bool,
    /// The first segment that is meant for the receiver, at most `u64::MAX - 1`; nothing when the packet goes to
    /// several, who know where they began.
    pub start: Option<u64>,
    /// The first segment that was not sent yet.
    pub next: u64,
}

impl Body<'_> for FlowSync {
    fn check(&self) -> Result<(), EncodeError> {
        match self.start {
            Some(NO_START) => Err(EncodeError::Invalid {
                field: "start",
                value: NO_START,
            }),
            _ => Ok(()),
        }
    }

    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u8(flag(self.point_to_point, POINT_TO_POINT));
        out.put_u64(self.start.unwrap_or(NO_START));
        out.put_u64(self.next);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(FlowSync {
            channel: body.u16()?,
            point_to_point: body.flags(POINT_TO_POINT)? != 0,
            start: Some(body.u64()?).filter(|start| *start != NO_START),
            next: body.u64()?,
        })
    }
}

/// What repairs any of several segments.
///
/// It is one of 32 parities of a Reed-Solomon code over 2 to 64 segments in the field of 2^16 elements: the one that
/// the crate `reed-solomon-simd` (Leopard-RS) computes for so many originals and 32 recoveries. What is coded of a
/// segment is its length (`u16`), its bytes, and zeros up to the length of the longest, made even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parity<'a> {
    /// The channel.
    pub channel: u16,
    /// Whether the flow is for the receiver alone.
    pub point_to_point: bool,
    /// Whether the sender wants a STATUS at once.
    pub answer: bool,
    /// The first segment that it covers.
    pub base: u64,
    /// How many segments it covers, at least one.
    pub count: u8,
    /// Which of the parities over these segments it is.
    pub index: u8,
    /// Its bytes, 1 to [`MAX_PARITY`].
    pub payload: &'a [u8],
}

impl<'a> Body<'a> for Parity<'a> {
    fn check(&self) -> Result<(), EncodeError> {
        if self.count == 0 {
            return Err(EncodeError::Invalid {
                field: "count",
                value: 0,
            });
        }
        payload_fits(self.payload, MAX_PARITY)
    }

    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u8(flag(self.point_to_point, POINT_TO_POINT) | flag(self.answer, ANSWER));
        out.put_u64(self.base);
        out.put_u8(self.count);
        out.put_u8(self.index);
        out.put(self.payload);
    }

    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let channel = body.u16()?;
        let flags = body.flags(POINT_TO_POINT | ANSWER)?;
        let parity = Parity {
            channel,
            point_to_point: flags & POINT_TO_POINT != 0,
            answer: flags & ANSWER != 0,
            base: body.u64()?,
            count: body.u8()?,
            index: body.u8()?,
            payload: read_payload(body, MAX_PARITY)?,
        };
        if parity.count == 0 {
            return Err(invalid("count", 0_u8));
        }
        Ok(parity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_have_segments_and_end() {
        for (start, len, sound) in [
            (5, 0, false),
            (5, 1, true),
            (u64::MAX - 1, 1, true),
            (u64::MAX, 1, false),
            (u64::MAX - 100, 101, false),
        ] {
            let gap = Gap { start, len };
            let mut bytes = bytes::BytesMut::new();
            gap.write(&mut bytes);
            assert_eq!(Gap::read(&mut Reader::new(&bytes)).is_ok(), sound, "{gap:?}");
        }
    }

    #[test]
    fn payloads_are_neither_empty_nor_too_long() {
        let long = vec![0; MAX_PARITY + 1];
        for (len, sound) in [
            (0, false),
            (1, true),
            (MAX_SEGMENT, true),
            (MAX_SEGMENT + 1, false),
        ] {
            assert_eq!(payload_fits(&long[..len], MAX_SEGMENT).is_ok(), sound);
            assert_eq!(
                read_payload(&mut Reader::new(&long[..len]), MAX_SEGMENT).is_ok(),
                sound
            );
        }
    }
}
