//! The half of a connection that sends: messages, subscriptions and commands, in the order and the form they need.

use flexbond_transport::Message;

use super::command;
use super::frame_codec::{Framing, command_header, put_command};
use super::{Batch, Connection, ProtocolError, Version};

impl Connection {
    /// Queues a message, whole. One without frames queues nothing.
    ///
    /// # Panics
    /// Before [`Event::Ready`](super::Event::Ready): how to encode the message is not known yet.
    pub fn send(&mut self, message: &Message) {
        self.check_ready();
        if !message.is_empty() {
            if self.encodes_anew() {
                self.originals.push(&mut message.clone());
            }
            self.encode(message.clone());
        }
    }

    /// Queues messages, whole, and leaves `batch` empty.
    ///
    /// On a SUB or XSUB, messages of one frame that begin with 1 or 0 start or end a subscription, as
    /// [`send_subscription`](Connection::send_subscription) does.
    ///
    /// # Panics
    /// Before [`Event::Ready`](super::Event::Ready), as [`send`](Connection::send).
    pub fn send_batch(&mut self, batch: &mut Batch) {
        self.check_ready();
        if !self.encodes_anew() {
            return self.transmit.messages.append(batch);
        }
        while let Some(message) = batch.front() {
            // As it is: bodies that are counted once for all who have them still are.
            batch.move_front(1, &mut self.originals);
            match message.frames() {
                [frame] if self.config.socket_type.subscribes() && matches!(**frame, [0 | 1, ..]) => {
                    self.encode_subscription(frame[0] == 1, &frame[1..]);
                }
                _ => self.encode(message),
            }
        }
    }

    /// The queue of messages on their way, if it has the form of a [`Batch`]: whoever adds to it saves
    /// [`send_batch`](Connection::send_batch) the way. `None`: messages have to be encoded anew for this peer.
    ///
    /// # Panics
    /// Before [`Event::Ready`](super::Event::Ready), as [`send`](Connection::send).
    pub fn outgoing(&mut self) -> Option<&mut Batch> {
        self.check_ready();
        if self.encodes_anew() {
            return None;
        }
        Some(&mut self.transmit.messages)
    }

    /// How many messages and subscriptions were sent whole since the last call.
    pub fn take_written(&mut self) -> usize {
        let completed = self.transmit.take_completed();
        if !self.encodes_anew() {
            return completed;
        }
        (0..completed)
            .filter(|_| {
                self.originals
                    .pop_front()
                    .is_some_and(|message| !message.is_empty())
            })
            .count()
    }

    /// The bytes held for the peer: those [on their way](Connection::transmit) and, where each message is protected by a
    /// copy that is sealed, the messages themselves, which another connection may have to send again.
    #[must_use]
    pub fn held(&self) -> usize {
        let sealed = self.transform.is_some();
        self.transmit.len() + if sealed { self.originals.size() } else { 0 }
    }

    /// Of these, at most, those of bodies that other batches share; see [`Batch::share`].
    #[must_use]
    pub fn held_shared(&self) -> usize {
        match self.encodes_anew() {
            true => self.originals.shared_size(),
            false => self.transmit.shared_size(),
        }
    }

    /// Takes back the messages and subscriptions that were not sent whole, for another connection. The queue of this
    /// one is useless from then on: the peer may have got the first half of a message.
    pub fn take_unsent(&mut self) -> Batch {
        if !self.encodes_anew() {
            return self.transmit.take_unsent();
        }
        self.take_written();
        self.transmit.take_unsent();
        let mut unsent = Batch::default();
        while let Some(message) = self.originals.front() {
            match message.is_empty() {
                true => self.originals.drop_front(1),
                false => self.originals.move_front(1, &mut unsent),
            }
        }
        unsent
    }

    /// Whether what a [`Batch`] holds is not what this connection sends.
    fn encodes_anew(&self) -> bool {
        self.framing != Framing::V2 || self.transform.is_some() || self.config.socket_type.subscribes()
    }

    fn check_ready(&self) {
        // The driver is told when it may send.
        assert!(
            self.peer.is_some(),
            "message sent before the handshake was complete"
        );
    }

    /// Encodes a message, which is among the originals if they are kept.
    fn encode(&mut self, mut message: Message) {
        if !self.may_seal(message.len()) {
            return;
        }
        let last = message.len().saturating_sub(1);
        for (index, frame) in message.frames_mut().iter_mut().enumerate() {
            let more = index < last;
            let messages = &mut self.transmit.messages;
            match &mut self.transform {
                None => messages.put_part(self.framing, more, frame),
                Some(transform) => messages.put_sealed(self.framing, transform.overhead(), frame, |sealed| {
                    transform.seal(more, false, sealed);
                }),
            }
        }
        self.transmit.messages.end_message();
    }

    /// Whether so many frames can still be protected, if they have to be. If not, the connection is over: what does
    /// not go out stays among the originals, for the next one.
    fn may_seal(&mut self, frames: usize) -> bool {
        let used_up = match &self.transform {
            None => false,
            // Once one message had to stay behind, so have those that follow.
            Some(transform) => transform.remaining() < frames as u64 || self.is_dead(),
        };
        if used_up {
            self.kill(&ProtocolError::NoncesUsedUp);
        }
        !used_up
    }

    /// Queues the start or the end of a subscription, in order with the messages: as a command for peers of 3.1 and
    /// later, as a message of 01 or 00 and the topic for older ones.
    ///
    /// # Panics
    /// Before [`Event::Ready`](super::Event::Ready), as [`send`](Connection::send).
    pub fn send_subscription(&mut self, subscribe: bool, topic: &[u8]) {
        self.check_ready();
        if self.encodes_anew() {
            self.originals.push(&mut subscription_message(subscribe, topic));
        }
        self.encode_subscription(subscribe, topic);
    }

    fn encode_subscription(&mut self, subscribe: bool, topic: &[u8]) {
        if self.version() < Version::V3_1 {
            return self.encode(subscription_message(subscribe, topic));
        }
        let command = command::subscription(subscribe, topic);
        self.put_command_in_order(&command);
    }

    /// Queues a command and returns where it will end, in bytes ever sent.
    pub(super) fn put_command(&mut self, body: &[u8]) -> u64 {
        if self.transform.is_some() {
            // Nonces rise with what is sealed: it cannot overtake messages.
            self.originals.push(&mut Message::new());
            self.put_command_in_order(body);
            return self.transmit.total();
        }
        put_command(body, &mut self.transmit);
        self.transmit.control_end()
    }

    fn put_command_in_order(&mut self, body: &[u8]) {
        if !self.may_seal(1) {
            return;
        }
        let messages = &mut self.transmit.messages;
        match &mut self.transform {
            None => command_header(body.len(), |header| {
                messages.put_raw(header);
                messages.put_raw(body);
            }),
            Some(transform) => messages.put_sealed(self.framing, transform.overhead(), body, |sealed| {
                transform.seal(false, true, sealed);
            }),
        }
        messages.end_message();
    }
}

/// The start or the end of a subscription, as peers before 3.1 have it.
fn subscription_message(subscribe: bool, topic: &[u8]) -> Message {
    let mut message = Vec::with_capacity(1 + topic.len());
    message.push(u8::from(subscribe));
    message.extend_from_slice(topic);
    Message::from(message)
}
