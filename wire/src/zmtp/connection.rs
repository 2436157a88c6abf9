//! One connection to one peer, from the first byte to the last.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use flexbond_transport::Frame;

use super::command;
use super::frame_codec::Framing;
use super::handshake::{Complete, Handshake, Outcome};
use super::heartbeat::{Pongs, Pulse, Stall};
use super::input::Input;
use super::mechanism::Transform;
use super::{Batch, Config, Event, PeerInfo, ProtocolError, Randomness, Transmit, Verdict, Version};

/// One connection to one peer: bytes in, events out; messages in, bytes out.
///
/// It does no I/O and reads no clock. Whoever drives it
///
/// 1. reads from the peer into [`read_buffer`](Connection::read_buffer), then calls
///    [`handle_read`](Connection::handle_read) and [`poll_event`](Connection::poll_event) until it returns `None`;
/// 2. writes what [`transmit`](Connection::transmit) holds after every call, since any of them may queue an answer;
/// 3. calls [`handle_timeout`](Connection::handle_timeout) when [`poll_timeout`](Connection::poll_timeout) has
///    passed. Read first: a sign of life that is waiting in the operating system counts.
///
/// After an error nothing more is read, but what was queued before (an ERROR command, say) should still be written.
///
/// The [crate documentation](crate) has an example.
pub struct Connection {
    pub(super) config: Arc<Config>,
    phase: Phase,
    pub(super) framing: Framing,
    pub(super) input: Input,
    /// The parts of a message whose last one has not arrived, and their bytes together.
    pub(super) parts: Vec<Frame>,
    pub(super) parts_size: usize,
    /// What the messages need that [`poll_messages`](Connection::poll_messages) made since somebody asked.
    pub(super) decoded: usize,
    /// How much that may be, with what is incomplete; and whether it has become more.
    pub(super) allowed: usize,
    pub(super) is_held: bool,
    pub(super) transform: Option<Box<dyn Transform>>,
    pub(super) transmit: Transmit,
    /// The messages in the transmit queue as they were before they were encoded anew, with an empty one for each
    /// command among them. Nothing, if they need not be.
    pub(super) originals: Batch,
    pub(super) pulse: Pulse,
    handshake_by: Option<Instant>,
    /// When the key of a cookie that is with the peer is forgotten, and the handshake over.
    cookie_by: Option<Instant>,
    /// Where in the transmit queue the last PING ends.
    last_ping: u64,
    stall: Stall,
    pub(super) pongs: Pongs,
    pub(super) peer: Option<PeerInfo>,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<Handshake>),
    /// Ready, and the peer that cannot subscribe has still to be subscribed to everything.
    SubscribeAll,
    Ready,
    Dead(ProtocolError),
}

/// How long a CURVE server keeps the key of a cookie at most, as RFC 26 has it.
const COOKIE_LIFE: Duration = Duration::from_secs(60);

impl Connection {
    /// Starts, and queues the first ten bytes of the greeting.
    ///
    /// `config` must have passed [`Config::validate`].
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Connection::start(config, None, now)
    }

    /// As [`new`](Connection::new), for a mechanism that needs chance: CURVE. The others do without.
    #[must_use]
    pub fn with_randomness(config: Arc<Config>, randomness: Randomness, now: Instant) -> Self {
        Connection::start(config, Some(randomness), now)
    }

    fn start(config: Arc<Config>, randomness: Option<Randomness>, now: Instant) -> Self {
        let mut transmit = Transmit::default();
        let handshake = Handshake::start(&config, randomness, &mut transmit);
        let handshake_by = config
            .handshake_timeout
            .and_then(|timeout| now.checked_add(timeout));
        Connection {
            config,
            phase: Phase::Handshake(Box::new(handshake)),
            framing: Framing::V2,
            input: Input::new(),
            parts: Vec::new(),
            parts_size: 0,
            decoded: 0,
            allowed: usize::MAX,
            is_held: false,
            transform: None,
            transmit,
            originals: Batch::default(),
            pulse: Pulse::new(now),
            handshake_by,
            cookie_by: None,
            last_ping: 0,
            stall: Stall::new(now),
            pongs: Pongs::default(),
            peer: None,
        }
    }

    /// Where the driver reads the peer's next bytes: to be appended, whatever else the buffer holds left alone.
    ///
    /// It always has spare capacity: a rolling buffer of 4 KiB that grows to 128 KiB with the traffic, or, while a
    /// body of 32 KiB or more arrives, exactly the rest of what is allocated for that body.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        self.input.space()
    }

    /// What [`read_buffer`](Connection::read_buffer) returned last, with room for at most so many bytes (and for one at least),
    /// where memory is scarce.
    #[inline]
    pub fn read_buffer_within(&mut self, most: usize) -> &mut BytesMut {
        self.input.space_within(most)
    }

    /// Bytes were appended to [`read_buffer`](Connection::read_buffer): a sign of life.
    pub fn handle_read(&mut self, now: Instant) {
        self.pulse.handle_read(now);
        self.input.handle_read();
    }

    /// The next event; `None` when more bytes are needed (or the verdict that was asked for).
    ///
    /// # Errors
    /// Why the connection is dead, from then on at every call. [`transmit`](Connection::transmit) may still hold an
    /// ERROR command for the peer.
    #[inline]
    pub fn poll_event(&mut self, now: Instant) -> Result<Option<Event>, ProtocolError> {
        let polled = match self.receives_plain() {
            true => self.poll_frames(),
            false => self.poll_slowly(now),
        };
        if let Err(error) = &polled {
            self.kill(error);
        }
        polled
    }

    /// Whether what comes now are frames that nothing protects.
    #[inline]
    pub(super) fn receives_plain(&self) -> bool {
        self.transform.is_none() && matches!(self.phase, Phase::Ready)
    }

    #[cold]
    fn poll_slowly(&mut self, now: Instant) -> Result<Option<Event>, ProtocolError> {
        match &mut self.phase {
            Phase::Dead(error) => Err(error.clone()),
            Phase::Ready => self.poll_sealed(),
            Phase::SubscribeAll => {
                self.phase = Phase::Ready;
                Ok(Some(Event::Subscription {
                    subscribe: true,
                    topic: Frame::new(),
                }))
            }
            Phase::Handshake(handshake) => {
                let outcome = handshake.advance(&self.config, &mut self.input, &mut self.transmit)?;
                self.cookie_by = match handshake.holds_cookie_key() {
                    true => self.cookie_by.or(now.checked_add(COOKIE_LIFE)),
                    false => None,
                };
                match outcome {
                    None => Ok(None),
                    Some(Outcome::Authenticate(credentials)) => Ok(Some(Event::Authenticate(credentials))),
                    Some(Outcome::Complete(complete)) => Ok(Some(self.complete(complete, now))),
                }
            }
        }
    }

    fn complete(&mut self, complete: Complete, now: Instant) -> Event {
        self.framing = complete.framing;
        self.transform = complete.transform;
        self.handshake_by = None;
        self.phase = if complete.subscribe_all {
            Phase::SubscribeAll
        } else {
            Phase::Ready
        };
        if complete.peer.version >= Version::V3_1
            && let Some(heartbeat) = &self.config.heartbeat
        {
            self.pulse.start(now, heartbeat);
        }
        self.peer = Some(complete.peer.clone());
        Event::Ready(complete.peer)
    }

    /// Answers [`Event::Authenticate`]: the handshake goes on, or [`poll_event`](Connection::poll_event) returns
    /// [`ProtocolError::Denied`] and an ERROR command waits in the transmit queue.
    ///
    /// Poll again afterwards: bytes that arrived meanwhile are waiting. Without a question it does nothing.
    pub fn handle_verdict(&mut self, verdict: Verdict) {
        if let Phase::Handshake(handshake) = &mut self.phase
            && let Err(error) = handshake.handle_verdict(verdict, &self.config, &mut self.transmit)
        {
            self.kill(&error);
        }
    }

    /// The peer, once the handshake is complete.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.peer.as_ref()
    }

    /// Whether the handshake was completed. Stays true when the connection dies afterwards.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.peer.is_some()
    }

    /// Whether the peer has sent a first command that the security mechanism took. A CURVE server takes one only from
    /// who knows its public key. Peers below 3.0 have no such commands: for them it is true with
    /// [`is_ready`](Self::is_ready).
    #[must_use]
    pub fn heard_command(&self) -> bool {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.heard_command,
            _ => self.is_ready(),
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(self.phase, Phase::Dead(_))
    }

    pub(super) fn version(&self) -> Version {
        self.peer.as_ref().map_or(Version::V1_0, |peer| peer.version)
    }

    /// The bytes to write to the peer.
    #[inline]
    pub fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }

    /// When [`handle_timeout`](Connection::handle_timeout) must be called; `None` when nothing is awaited.
    ///
    /// Ask again after every other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Dead(_) => None,
            _ => [self.handshake_by, self.cookie_by, self.pulse.poll_timeout()]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    /// Time passed: may queue a PING. Calling it too early does nothing.
    ///
    /// # Errors
    /// The handshake took too long, or the peer is silent for too long. The connection is dead.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        if let Phase::Dead(error) = &self.phase {
            return Err(error.clone());
        }
        let heartbeat = self.config.heartbeat.as_ref();
        if let Some(patience) = self.pulse.patience(heartbeat)
            && let Some(more) = self
                .stall
                .look(now, &self.transmit, self.config.stall_timeout, patience)
        {
            self.pulse.excuse(now, more);
        }
        let deadlines = [self.handshake_by, self.cookie_by];
        let due = if deadlines.into_iter().flatten().any(|deadline| deadline <= now) {
            Err(ProtocolError::HandshakeTimeout)
        } else {
            self.pulse.handle_timeout(now, heartbeat)
        };
        match (due, heartbeat) {
            // A PING that has not even left need not be doubled.
            (Ok(true), Some(heartbeat)) if self.transmit.sent() >= self.last_ping => {
                let ping = command::ping(heartbeat);
                self.last_ping = self.put_command(&ping);
                Ok(())
            }
            (Ok(_), _) => Ok(()),
            (Err(error), _) => {
                self.kill(&error);
                Err(error)
            }
        }
    }

    /// The driver stops reading, because nobody takes the messages: the peer's silence no longer counts. PINGs go on,
    /// so that the peer does not give us up.
    pub fn pause(&mut self) {
        self.pulse.pause();
    }

    /// The driver reads again: the peer gets its full time to show life.
    pub fn resume(&mut self, now: Instant) {
        self.pulse.resume(now);
    }

    #[cold]
    pub(super) fn kill(&mut self, error: &ProtocolError) {
        if !matches!(self.phase, Phase::Dead(_)) {
            self.phase = Phase::Dead(error.clone());
            self.input = Input::new();
            self.parts = Vec::new();
            self.parts_size = 0;
        }
    }
}

/// How far it is and how much waits, never what: that may be a password, or what came sealed.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            Phase::Handshake(_) => "handshake",
            Phase::SubscribeAll | Phase::Ready => "ready",
            Phase::Dead(_) => "dead",
        };
        f.debug_struct("Connection")
            .field("phase", &phase)
            .field("mechanism", &self.config.security.name())
            .field("input", &self.input)
            .field("parts", &self.parts.len())
            .field("parts_size", &self.parts_size)
            .field("transmit", &self.transmit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use flexbond_transport::Message;

    use super::*;
    use crate::zmtp::SocketType;

    /// Stands for a mechanism that protects frames: flags inside, every byte turned over.
    #[derive(Debug)]
    struct Mirror(u64);

    impl Transform for Mirror {
        fn overhead(&self) -> usize {
            1
        }

        fn remaining(&self) -> u64 {
            self.0
        }

        fn seal(&mut self, more: bool, command: bool, frame: &mut [u8]) {
            self.0 -= 1;
            frame[0] = u8::from(more) | u8::from(command) << 1;
            frame.iter_mut().for_each(|byte| *byte = !*byte);
        }

        fn open(&mut self, frame: &mut [u8]) -> Result<(bool, bool), ProtocolError> {
            frame.iter_mut().for_each(|byte| *byte = !*byte);
            let flags = frame
                .first()
                .ok_or(ProtocolError::malformed("sealed frame without flags"))?;
            Ok((flags & 1 != 0, flags & 2 != 0))
        }
    }

    fn carry(from: &mut Connection, to: &mut Connection, now: Instant) -> Result<Vec<Event>, ProtocolError> {
        let mut slices = [std::io::IoSlice::new(&[]); 32];
        let filled = from.transmit.slices(&mut slices);
        for slice in &slices[..filled] {
            to.read_buffer().extend_from_slice(slice);
            to.handle_read(now);
        }
        let len = from.transmit.len();
        from.transmit.advance(len);
        let mut events = Vec::new();
        while let Some(event) = to.poll_event(now)? {
            events.push(event);
        }
        Ok(events)
    }

    /// Two ends that may seal so many frames.
    fn mirrored(kinds: [SocketType; 2], frames: u64, now: Instant) -> [Connection; 2] {
        let mut ends = kinds.map(|kind| Connection::new(Arc::new(Config::new(kind)), now));
        let [one, other] = &mut ends;
        while !(one.is_ready() && other.is_ready()) {
            carry(one, other, now).expect("content");
            carry(other, one, now).expect("content");
        }
        ends.map(|mut end| {
            end.transform = Some(Box::new(Mirror(frames)));
            end
        })
    }

    #[test]
    fn a_message_that_cannot_be_sealed_whole_ends_the_connection_and_comes_back() {
        let now = Instant::now();
        let [mut push, mut pull] = mirrored([SocketType::Push, SocketType::Pull], 3, now);
        push.send(&Message::from(["a", "b"]));
        push.send(&Message::from(["c", "d"]));
        push.send(&Message::from("e"));
        assert_eq!(push.poll_event(now), Err(ProtocolError::NoncesUsedUp));
        let arrived = carry(&mut push, &mut pull, now);
        assert_eq!(arrived, Ok(vec![Event::Message(Message::from(["a", "b"]))]));
        assert_eq!(push.take_written(), 1);
        let mut unsent = push.take_unsent();
        assert_eq!(unsent.pop_front(), Some(Message::from(["c", "d"])));
        assert_eq!(unsent.pop_front(), Some(Message::from("e")));
        assert_eq!(unsent.pop_front(), None);
    }

    #[test]
    fn a_dead_connection_holds_nothing_of_a_message_in_part() {
        let now = Instant::now();
        let [_, mut pull] = mirrored([SocketType::Push, SocketType::Pull], 0, now);
        pull.transform = None;
        pull.read_buffer().extend_from_slice(&[1, 3, b'a', b'b', b'c']);
        pull.handle_read(now);
        assert_eq!(pull.poll_event(now), Ok(None));
        assert!(pull.incomplete() >= 3);
        pull.read_buffer().extend_from_slice(&[4, 0]);
        pull.handle_read(now);
        assert_eq!(
            pull.poll_event(now),
            Err(ProtocolError::malformed("empty command"))
        );
        assert_eq!(pull.incomplete(), 0);
    }

    #[test]
    fn a_transform_sees_every_frame() {
        let now = Instant::now();
        let [mut publisher, mut subscriber] = mirrored([SocketType::Pub, SocketType::Sub], 99, now);
        let (publisher, subscriber) = (&mut publisher, &mut subscriber);
        let message = Message::from(["a", "", "c"]);
        publisher.send(&message);
        publisher.put_command(b"\x04PING\0\0tick");
        subscriber.send_subscription(true, b"topic");
        assert_eq!(
            carry(publisher, subscriber, now),
            Ok(vec![Event::Message(message)])
        );
        let expected = Event::Subscription {
            subscribe: true,
            topic: Frame::from("topic"),
        };
        assert_eq!(
            carry(subscriber, publisher, now),
            Ok(vec![expected]),
            "and the PONG says nothing"
        );
        subscriber.read_buffer().extend_from_slice(&[0, 0]);
        subscriber.handle_read(now);
        let error = subscriber.poll_event(now);
        assert_eq!(error, Err(ProtocolError::malformed("sealed frame without flags")));
    }
}
