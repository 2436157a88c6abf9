//! The half of a connection that receives, many messages at a time, and the memory that it holds.

use std::collections::VecDeque;
use std::time::Instant;

use flexbond_transport::{Frame, Message};

use super::connection::Phase;
use super::frame_codec::Framing;
use super::{Connection, Event, ProtocolError};

impl Connection {
    /// As [`poll_event`](Connection::poll_event), but plain messages go straight into `messages` while there are fewer
    /// than `limit` in it; returns the first event that is something else. `None`: more bytes are needed, or there is
    /// no room.
    ///
    /// # Errors
    /// As [`poll_event`](Connection::poll_event). `messages` keeps what came before.
    pub fn poll_messages(
        &mut self,
        now: Instant,
        messages: &mut VecDeque<Message>,
        limit: usize,
    ) -> Result<Option<Event>, ProtocolError> {
        while messages.len() < limit {
            if self.takes_singles() {
                self.decoded += self
                    .input
                    .take_singles(self.config.max_message_size, messages, limit);
                if messages.len() >= limit {
                    break;
                }
            }
            match self.poll_event(now)? {
                Some(Event::Message(message)) => {
                    self.decoded += message.footprint();
                    messages.push_back(message);
                }
                other => return Ok(other),
            }
        }
        Ok(None)
    }

    /// Whether a frame that is neither a command nor followed by more is a message as it is.
    fn takes_singles(&self) -> bool {
        self.framing == Framing::V2
            && self.parts.is_empty()
            && !self.config.socket_type.publishes()
            && self.transform.is_none()
            && matches!(self.phase, Phase::Ready)
    }

    /// The bytes in the messages that [`poll_messages`](Self::poll_messages) made since the last call, together with what
    /// lists of parts take ([`Message::footprint`]).
    pub fn take_decoded(&mut self) -> usize {
        std::mem::take(&mut self.decoded)
    }

    /// The bytes held of a message that has not arrived as a whole: its parts so far, what they cost each, and as much as
    /// there is of a body of 32 KiB or more. Smaller bodies are in the [read buffer](Self::read_buffer), which has its
    /// own limit.
    #[must_use]
    pub fn incomplete(&self) -> usize {
        self.parts_size + self.parts.len() * size_of::<Frame>() + self.input.body_len()
    }
}
