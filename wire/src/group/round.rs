//! How a barrier goes: ARRIVE, RELEASE, ABORT.

use super::error::at_most;
use super::packet::Body;
use super::reader::Reader;
use super::sink::Sink;
use super::{DecodeError, EncodeError, List, MAX_FAILED};

/// A member has come to a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrive {
    /// The channel.
    pub channel: u16,
    /// Which use of the barrier this is.
    pub round: u64,
}

impl Body<'_> for Arrive {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u64(self.round);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Arrive {
            channel: body.u16()?,
            round: body.u64()?,
        })
    }
}

/// Everybody has come to a barrier: go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The channel.
    pub channel: u16,
    /// Which use of the barrier this is.
    pub round: u64,
}

impl Body<'_> for Release {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u64(self.round);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Release {
            channel: body.u16()?,
            round: body.u64()?,
        })
    }
}

/// A barrier will never be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort<'a> {
    /// The channel.
    pub channel: u16,
    /// Which use of the barrier this is.
    pub round: u64,
    /// The members that failed, at most [`MAX_FAILED`] of them.
    pub failed: List<'a, u32>,
}

impl<'a> Body<'a> for Abort<'a> {
    fn check(&self) -> Result<(), EncodeError> {
        at_most("failed", self.failed.len(), MAX_FAILED)
    }

    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u64(self.round);
        self.failed.write(out, |member, out| out.put_u32(*member));
    }

    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Abort {
            channel: body.u16()?,
            round: body.u64()?,
            failed: List::read(body, "failed", MAX_FAILED, read_member)?,
        })
    }
}

fn read_member(body: &mut Reader<'_>) -> Result<u32, DecodeError> {
    body.u32()
}
