//! The half of a connection that receives: of frames it makes messages, subscriptions and answers.

use std::collections::VecDeque;
use std::time::Instant;

use flexbond_transport::{Frame, Message};

use super::command::{self, Command};
use super::frame_codec::{Framing, Header};
use super::handshake::check_command;
use super::{Config, Connection, Event, ProtocolError, Version};

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
            && self.receives_plain()
    }

    /// The bytes in the messages that [`poll_messages`](Self::poll_messages) made since the last call, together with what
    /// lists of parts take ([`Message::footprint`]).
    pub fn take_decoded(&mut self) -> usize {
        std::mem::take(&mut self.decoded)
    }

    /// The bytes held of what has not arrived as a whole or was not decoded yet: the parts of a message so far, what they
    /// cost each, as much as there is of a body of 32 KiB or more, and what was read and is not decoded.
    #[must_use]
    #[inline]
    pub fn incomplete(&self) -> usize {
        let parts = self.parts_size + self.parts.len() * size_of::<Frame>();
        parts + self.input.body_len() + self.input.bytes().len()
    }

    /// How much of what is [incomplete](Self::incomplete) was read and is not decoded: it may hold whole messages.
    #[must_use]
    #[inline]
    pub fn undecoded(&self) -> usize {
        self.input.bytes().len()
    }

    /// Whether what is read next is of a body that has a buffer of its own: of one of 32 KiB or more.
    #[must_use]
    #[inline]
    pub fn receives_body(&self) -> bool {
        self.input.receives_body()
    }

    /// Lets decoding go on until what [`poll_messages`](Self::poll_messages) made and what is [incomplete](Self::incomplete)
    /// need so many `bytes` together. Parts need more than they came with, for each has a place in a list: without a limit,
    /// 128 KiB of empty ones become 4 MiB. Nothing else is held up, and never for ever: it is asked for again before each
    /// round of decoding, with at least [`incomplete`](Self::incomplete) and some kilobytes.
    pub fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
        self.is_held = false;
    }

    /// Whether decoding has stopped because of [`allow`](Self::allow), though there may be more to decode.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether the next part of a message has to wait for more to be [allowed](Self::allow).
    #[inline]
    pub(super) fn holds(&mut self) -> bool {
        if self.parts.is_empty() {
            return false;
        }
        self.is_held = self.decoded + self.incomplete() > self.allowed;
        self.is_held
    }

    /// Takes frames of every kind until they make an event.
    pub(super) fn poll_frames(&mut self) -> Result<Option<Event>, ProtocolError> {
        loop {
            if self.holds() {
                return Ok(None);
            }
            let (config, parts, parts_size) = (&*self.config, self.parts.len(), self.parts_size);
            let next = self
                .input
                .next_frame(self.framing, |header| check(config, parts, parts_size, header))?;
            let Some((header, frame)) = next else {
                return Ok(None);
            };
            if header.command {
                if let Some(event) = self.handle_command(&frame)? {
                    return Ok(Some(event));
                }
            } else if let Some(event) = self.handle_part(header.more, frame) {
                return Ok(Some(event));
            }
        }
    }

    /// Takes one part of a message; the last one completes it.
    #[inline]
    pub(super) fn handle_part(&mut self, more: bool, frame: Frame) -> Option<Event> {
        if more {
            self.parts_size += frame.len();
            self.parts.push(frame);
            return None;
        }
        if !self.parts.is_empty() {
            self.parts_size = 0;
            self.parts.push(frame);
            return Some(Event::Message(Message::from(std::mem::take(&mut self.parts))));
        }
        if self.config.socket_type.publishes()
            && let [first @ (0 | 1), ..] = *frame
        {
            return Some(Event::Subscription {
                subscribe: first == 1,
                topic: tail(&frame, 1),
            });
        }
        Some(Event::Message(Message::from(frame)))
    }

    /// Takes a command. Those of libzmq come at any time, even between the parts of a message.
    #[cold]
    pub(super) fn handle_command(&mut self, frame: &Frame) -> Result<Option<Event>, ProtocolError> {
        if self.version() < Version::V3_0 {
            // ZMTP 2.0 has no commands; libzmq drops what looks like one.
            return Ok(None);
        }
        let command = Command::parse(frame)?;
        match command.name {
            command::PING => self.handle_ping(command.body)?,
            command::ERROR => return Err(command.peer_error()),
            command::SUBSCRIBE | command::CANCEL => {
                return Ok(Some(Event::Subscription {
                    subscribe: command.name == command::SUBSCRIBE,
                    topic: tail(frame, 1 + command.name.len()),
                }));
            }
            // PONG was a sign of life when it was read. What is unknown is for later versions.
            _ => {}
        }
        Ok(None)
    }

    fn handle_ping(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let (ttl, context) = body
            .split_first_chunk()
            .ok_or(ProtocolError::malformed("PING without a time to live"))?;
        self.pulse.handle_ping(u16::from_be_bytes(*ttl));
        if self.pongs.has_room(self.transmit.sent()) {
            let end = self.put_command(&command::pong(context));
            self.pongs.handle_queued(end);
        }
        Ok(())
    }
}

/// Refuses a frame by its header, before its body is allocated.
#[inline]
pub(super) fn check(
    config: &Config,
    parts: usize,
    parts_size: usize,
    header: &Header,
) -> Result<(), ProtocolError> {
    if header.command {
        return check_command(config.max_command_size, header);
    }
    let size = header.body.saturating_add(parts_size as u64);
    if size > config.max_message_size as u64 {
        return Err(ProtocolError::MessageTooLarge {
            size,
            limit: config.max_message_size,
        });
    }
    if parts >= config.max_frames {
        return Err(ProtocolError::TooManyFrames {
            limit: config.max_frames,
        });
    }
    Ok(())
}

/// The frame without its first `skip` bytes; a long one is not copied.
fn tail(frame: &Frame, skip: usize) -> Frame {
    match frame.as_shared() {
        Some(bytes) => Frame::from(bytes.slice(skip..)),
        None => Frame::copy_from_slice(&frame[skip..]),
    }
}
