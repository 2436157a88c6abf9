//! How a member takes part in a channel of its session: CHANNEL_JOIN, CHANNEL_REPLY, CHANNEL_LEAVE.

use super::DecodeError;
use super::packet::Body;
use super::reader::{Reader, invalid};
use super::sink::Sink;

/// What a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChannelKind {
    /// The session itself: everybody.
    Session = 0,
    /// Members that wait for each other.
    Barrier = 1,
    /// Members that hear what the others send.
    Broadcast = 2,
    /// Ranks that compute together.
    Communicator = 3,
}

impl ChannelKind {
    pub(super) fn from_number(number: u8) -> Result<Self, DecodeError> {
        Ok(match number {
            0 => ChannelKind::Session,
            1 => ChannelKind::Barrier,
            2 => ChannelKind::Broadcast,
            3 => ChannelKind::Communicator,
            other => return Err(invalid("channel kind", other)),
        })
    }
}

/// A member wants to take part in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelJoin {
    /// The member's number for this request; a repeat has the same.
    pub request: u32,
    /// The channel.
    pub channel: u16,
    /// What the member takes the channel for.
    pub kind: ChannelKind,
}

impl Body<'_> for ChannelJoin {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u32(self.request);
        out.put_u16(self.channel);
        out.put_u8(self.kind as u8);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(ChannelJoin {
            request: body.u32()?,
            channel: body.u16()?,
            kind: ChannelKind::from_number(body.u8()?)?,
        })
    }
}

/// The answer to a request to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelReply {
    /// The request's number.
    pub request: u32,
    /// The channel.
    pub channel: u16,
    /// Nothing when the member was accepted, or why it was not.
    pub refusal: Option<ChannelRefusal>,
    /// The first barrier round that the member takes part in; if this says that a group is over to which something was
    /// sent, the segment below which it must have everything; zero where neither means anything.
    pub first_round: u64,
}

/// Why a member may not take part in a channel. A number that this version does not know is read as
/// [`Other`](Self::Other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ChannelRefusal {
    /// There is no such channel. Trying later may help.
    Unknown = 1,
    /// The channel is of another kind.
    WrongKind = 2,
    /// The channel has as many members as it may.
    Full = 3,
    /// The channel is about to end; or, of a request that was granted before, it is over.
    Closing = 4,
    /// Something else.
    Other = 255,
}

impl ChannelRefusal {
    const fn from_number(number: u8) -> Self {
        match number {
            1 => ChannelRefusal::Unknown,
            2 => ChannelRefusal::WrongKind,
            3 => ChannelRefusal::Full,
            4 => ChannelRefusal::Closing,
            _ => ChannelRefusal::Other,
        }
    }
}

impl Body<'_> for ChannelReply {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u32(self.request);
        out.put_u16(self.channel);
        out.put_u8(u8::from(self.refusal.is_none()));
        out.put_u8(self.refusal.map_or(0, |refusal| refusal as u8));
        out.put_u64(self.first_round);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(ChannelReply {
            request: body.u32()?,
            channel: body.u16()?,
            refusal: match (body.u8()?, body.u8()?) {
                (1, 0) => None,
                (1, reason) => return Err(invalid("reason of an acceptance", reason)),
                (0, 0) => return Err(invalid("reason of a refusal", 0_u8)),
                (0, reason) => Some(ChannelRefusal::from_number(reason)),
                (other, _) => return Err(invalid("accepted", other)),
            },
            first_round: body.u64()?,
        })
    }
}

/// A member goes from a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelLeave {
    /// The member's number for this request.
    pub request: u32,
    /// The channel.
    pub channel: u16,
}

impl Body<'_> for ChannelLeave {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u32(self.request);
        out.put_u16(self.channel);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(ChannelLeave {
            request: body.u32()?,
            channel: body.u16()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_an_acceptance_or_has_a_reason() {
        let read = |accepted, reason| {
            let mut body = [0; 16];
            body[6..8].copy_from_slice(&[accepted, reason]);
            ChannelReply::read(&mut Reader::new(&body)).map(|reply| reply.refusal)
        };
        assert_eq!(read(1, 0), Ok(None));
        assert_eq!(read(0, 3), Ok(Some(ChannelRefusal::Full)));
        assert_eq!(read(0, 77), Ok(Some(ChannelRefusal::Other)));
        assert!(read(0, 0).is_err() && read(1, 1).is_err() && read(2, 0).is_err());
    }
}
