//! One connection to one peer.
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use flexbond_transport::Message;

use super::{Config, Event, PeerInfo, ProtocolError, Transmit, Verdict};

/// One connection to one peer.
#[derive(Debug)]
pub struct Connection {
    buffer: BytesMut,
    transmit: Transmit,
}

impl Connection {
    /// Starts.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        let _ = (config, now);
        Connection {
            buffer: BytesMut::new(),
            transmit: Transmit::default(),
        }
    }
    /// Where the next bytes from the peer go.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(4096);
        &mut self.buffer
    }
    /// Bytes arrived.
    pub fn handle_read(&mut self, now: Instant) {
        let _ = now;
    }
    /// The next event.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn poll_event(&mut self, now: Instant) -> Result<Option<Event>, ProtocolError> {
        let _ = now;
        Ok(None)
    }
    /// Answers [`Event::Authenticate`].
    pub fn handle_verdict(&mut self, verdict: Verdict) {
        let _ = verdict;
    }
    /// The peer.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        None
    }
    /// Whether the handshake is complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        false
    }
    /// Queues a message.
    pub fn send(&mut self, message: &Message) {
        let _ = message;
    }
    /// Queues a subscription.
    pub fn send_subscription(&mut self, subscribe: bool, topic: &[u8]) {
        let _ = (subscribe, topic);
    }
    /// What is to be sent.
    pub fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }
    /// When to call [`Connection::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Time passed.
    ///
    /// # Errors
    /// The connection is dead.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let _ = now;
        Ok(())
    }
    /// The driver stops reading.
    pub fn pause(&mut self) {}
    /// The driver reads again.
    pub fn resume(&mut self, now: Instant) {
        let _ = now;
    }
}
