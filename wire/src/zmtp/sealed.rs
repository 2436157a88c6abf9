//! The half of a connection that receives, where a mechanism protects what is received.

use bytes::{Buf, BytesMut};
use flexbond_transport::Frame;

use super::frame_codec::Header;
use super::{Config, Connection, Event, ProtocolError};
use crate::spare;

/// A frame as it came, to be opened where it is.
pub(crate) struct Sealed {
    pub(crate) buffer: BytesMut,
    /// The buffer is from [`spare`], and goes back there.
    pub(crate) lent: bool,
}

impl Sealed {
    /// What is behind the first `overhead` bytes.
    fn into_body(self, overhead: usize) -> Frame {
        let Sealed { mut buffer, lent } = self;
        if buffer.len() - overhead <= Frame::INLINE {
            return Frame::copy_from_slice(&buffer[overhead..]);
        }
        if lent {
            return Frame::from(spare::lend(buffer).slice(overhead..));
        }
        buffer.advance(overhead);
        Frame::from(buffer)
    }
}

impl Connection {
    /// As [`poll_frames`](Connection::poll_frames), for frames that a mechanism protects.
    pub(super) fn poll_sealed(&mut self) -> Result<Option<Event>, ProtocolError> {
        loop {
            if self.holds() {
                return Ok(None);
            }
            let Some(transform) = &mut self.transform else {
                return Ok(None);
            };
            let overhead = transform.overhead();
            let (config, parts_size) = (&*self.config, self.parts_size);
            let next = self
                .input
                .next_sealed(self.framing, |header| check(config, parts_size, overhead, header))?;
            let Some(mut sealed) = next else {
                return Ok(None);
            };
            let (more, command) = transform.open(&mut sealed.buffer)?;
            // Whoever opens it has seen that it is long enough.
            let body = sealed.into_body(overhead);
            let inner = Header {
                more,
                command,
                len: 0,
                body: body.len() as u64,
            };
            super::receiving::check(config, self.parts.len(), parts_size, &inner)?;
            let event = if command {
                self.handle_command(&body)?
            } else {
                self.handle_part(more, body)
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }
}

/// Refuses a frame that is too long, whatever is in it, before its body is allocated.
fn check(config: &Config, parts_size: usize, overhead: usize, header: &Header) -> Result<(), ProtocolError> {
    let body = header.body.saturating_sub(overhead as u64);
    let size = body.saturating_add(parts_size as u64);
    if size > config.max_message_size as u64 && body > config.max_command_size as u64 {
        return Err(ProtocolError::MessageTooLarge {
            size,
            limit: config.max_message_size,
        });
    }
    Ok(())
}
