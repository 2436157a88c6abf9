//! How somebody becomes a member: JOIN, RETRY, REJECT, ACCEPT.

use std::fmt;
use std::net::SocketAddr;

use super::error::at_most;
use super::packet::Body;
use super::reader::{Reader, invalid};
use super::sink::Sink;
use super::{
    CHECKSUM_LEN, DecodeError, EncodeError, Header, Kind, MAX_NAME, MAX_SEGMENT, MAX_TEXT, MIN_JOIN, checksum,
};

/// Random bytes that tie an answer to its question. Whoever asks draws new ones for every attempt.
pub type Nonce = [u8; 16];

/// What a coordinator gives to an address, to be shown by whoever really is there. What is in it is the coordinator's
/// own affair: it should be able to verify one without having kept it.
pub type Cookie = [u8; 32];

/// Somebody wants to become a member. Padded to [`MIN_JOIN`], always plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join<'a> {
    /// Returned by every answer.
    pub nonce: Nonce,
    /// From the coordinator's RETRY; none at first.
    pub cookie: Option<Cookie>,
    /// What the member wants to be called, at most [`MAX_NAME`] bytes.
    pub name: &'a str,
    /// How many bytes of incomplete and undelivered messages the member can hold.
    pub recv_budget: u64,
    /// That the joiner has the pre-shared key, where there is one: see `PresharedKey::prove`.
    pub proof: Option<[u8; 32]>,
}

impl Join<'_> {
    /// The nonce of a JOIN in another version of the format, which [`Packet::decode`](super::Packet::decode) refuses
    /// with [`DecodeError::Version`]: what the REJECT that says so needs. `None` when the datagram is anything else.
    #[must_use]
    pub fn nonce_of_other_version(datagram: &[u8]) -> Option<Nonce> {
        let is_newer = matches!(Header::peek(datagram), Err(DecodeError::Version { .. }));
        if !is_newer || datagram.len() < MIN_JOIN || datagram[3] != Kind::Join as u8 {
            return None;
        }
        let contents = checksum::verify(datagram).ok()?;
        contents[Header::LEN..].first_chunk().copied()
    }

    /// Everything before the proof, which is what the proof is made over.
    pub(super) fn write_claim<S: Sink>(&self, out: &mut S) {
        out.put(&self.nonce);
        out.put_sized(self.cookie.as_ref().map_or(&[], |cookie| &cookie[..]));
        out.put_sized(self.name.as_bytes());
        out.put_u64(self.recv_budget);
    }

    const fn content_len(&self) -> usize {
        let cookie = if self.cookie.is_some() { 32 } else { 0 };
        let proof = if self.proof.is_some() { 32 } else { 0 };
        16 + 1 + cookie + 1 + self.name.len() + 8 + 1 + proof
    }
}

/// Bytes of a JOIN's body, padding included.
const MIN_JOIN_BODY: usize = MIN_JOIN - Header::LEN - CHECKSUM_LEN;

impl<'a> Body<'a> for Join<'a> {
    fn check(&self) -> Result<(), EncodeError> {
        at_most("name", self.name.len(), MAX_NAME)
    }

    fn write<S: Sink>(&self, out: &mut S) {
        self.write_claim(out);
        out.put_sized(self.proof.as_ref().map_or(&[], |proof| &proof[..]));
        out.put(&[0; MIN_JOIN_BODY][self.content_len()..]);
    }

    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if body.len() < MIN_JOIN_BODY {
            return Err(DecodeError::ShortJoin {
                len: body.len() + Header::LEN + CHECKSUM_LEN,
            });
        }
        let join = Join {
            nonce: body.array()?,
            cookie: body.sized_option("cookie length")?,
            name: body.text("name", MAX_NAME)?,
            recv_budget: body.u64()?,
            proof: body.sized_option("proof length")?,
        };
        if body.take_all().iter().any(|byte| *byte != 0) {
            return Err(DecodeError::Padding);
        }
        Ok(join)
    }
}

/// The joiner shall ask again, with this cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The one of the JOIN.
    pub nonce: Nonce,
    /// To be sent back.
    pub cookie: Cookie,
}

impl Body<'_> for Retry {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put(&self.nonce);
        out.put(&self.cookie);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Retry {
            nonce: body.array()?,
            cookie: body.array()?,
        })
    }
}

/// The joiner is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject<'a> {
    /// The one of the JOIN.
    pub nonce: Nonce,
    /// Why.
    pub reason: RejectReason,
    /// Why, in words for the user; at most [`MAX_TEXT`] bytes.
    pub text: &'a str,
}

/// Why a joiner is not admitted. A number that this version does not know is read as [`Other`](Self::Other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum RejectReason {
    /// The session has as many members as it may. Trying later may help.
    Full = 1,
    /// The proof was made with another key.
    WrongKey = 2,
    /// The session has a key, and the joiner gave no proof.
    NeedsKey = 3,
    /// The session has no key, and the joiner gave a proof.
    NoKey = 4,
    /// The coordinator speaks another version of the format.
    Version = 5,
    /// The session is about to end.
    Closing = 6,
    /// The joiner's receive budget is below what the session needs.
    BudgetTooSmall = 7,
    /// The joiner was admitted with this nonce before, and is a member no more; perhaps it never heard that it was one.
    /// It may join with another nonce.
    Spent = 8,
    /// Something else; the text says more.
    Other = 255,
}

impl RejectReason {
    const fn from_number(number: u8) -> Self {
        match number {
            1 => RejectReason::Full,
            2 => RejectReason::WrongKey,
            3 => RejectReason::NeedsKey,
            4 => RejectReason::NoKey,
            5 => RejectReason::Version,
            6 => RejectReason::Closing,
            7 => RejectReason::BudgetTooSmall,
            8 => RejectReason::Spent,
            _ => RejectReason::Other,
        }
    }
}

impl<'a> Body<'a> for Reject<'a> {
    fn check(&self) -> Result<(), EncodeError> {
        at_most("text", self.text.len(), MAX_TEXT)
    }

    fn write<S: Sink>(&self, out: &mut S) {
        out.put(&self.nonce);
        out.put_u8(self.reason as u8);
        out.put_sized(self.text.as_bytes());
    }

    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Reject {
            nonce: body.array()?,
            reason: RejectReason::from_number(body.u8()?),
            text: body.text("text", MAX_TEXT)?,
        })
    }
}

/// The joiner is a member now. Always plain: what needs protection is bound to the wrapped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// The one of the JOIN.
    pub nonce: Nonce,
    /// The new member's id.
    pub member: u32,
    /// Where the session multicasts, if it does.
    pub multicast: Option<SocketAddr>,
    /// The longest payload of DATA, 1 to [`MAX_SEGMENT`] bytes.
    pub segment: u16,
    /// A sign of life is due this often, in milliseconds.
    pub heartbeat: u32,
    /// Who was silent for so many milliseconds is dead.
    pub dead_after: u32,
    /// The longest message, in bytes.
    pub max_message: u64,
    /// The coordinator's memory for messages, in bytes: it takes no longer one, whatever others take.
    pub recv_budget: u64,
    /// The session's key, where it has one.
    pub key: Option<WrappedKey>,
    /// The coordinator's share of what the key is wrapped with: new random bytes for every joiner.
    pub server_nonce: Nonce,
}

impl Accept {
    /// Everything before the key, which is what wrapping the key protects.
    pub(super) fn write_terms<S: Sink>(&self, out: &mut S) {
        out.put(&self.nonce);
        out.put_u32(self.member);
        out.put_optional_address(self.multicast);
        out.put_u16(self.segment);
        out.put_u32(self.heartbeat);
        out.put_u32(self.dead_after);
        out.put_u64(self.max_message);
        out.put_u64(self.recv_budget);
    }
}

fn is_segment(segment: u16) -> bool {
    (1..=MAX_SEGMENT).contains(&usize::from(segment))
}

impl Body<'_> for Accept {
    fn check(&self) -> Result<(), EncodeError> {
        if !is_segment(self.segment) {
            return Err(EncodeError::Invalid {
                field: "segment",
                value: self.segment.into(),
            });
        }
        Ok(())
    }

    fn write<S: Sink>(&self, out: &mut S) {
        self.write_terms(out);
        out.put_option(self.key.as_ref().map(|key| &key.0[..]));
        out.put(&self.server_nonce);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let accept = Accept {
            nonce: body.array()?,
            member: body.u32()?,
            multicast: body.optional_address()?,
            segment: body.u16()?,
            heartbeat: body.u32()?,
            dead_after: body.u32()?,
            max_message: body.u64()?,
            recv_budget: body.u64()?,
            key: body.option("key flag")?.map(WrappedKey),
            server_nonce: body.array()?,
        };
        if !is_segment(accept.segment) {
            return Err(invalid("segment", accept.segment));
        }
        Ok(accept)
    }
}

/// A session's key as it travels: encrypted for one member, and authenticated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey(pub [u8; 48]);

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_numbers_and_unknown_ones_are_read() {
        for number in 0..=255 {
            let reason = RejectReason::from_number(number);
            let known = (1..=8).contains(&number) || number == 255;
            assert_eq!(reason as u8 == number, known, "{number}");
            assert!(known || reason == RejectReason::Other);
        }
    }
}
