//! The bytes on their way to the peer: messages, and what the protocol itself has to say.

use std::fmt;
use std::io::IoSlice;

use zeroize::{Zeroize, Zeroizing};

use super::Batch;

/// The bytes on their way to the peer.
///
/// A [`Batch`] of messages, so that many small ones are one slice for the operating system and large bodies are
/// handed out as slices of their own, without a copy. What the protocol has to say goes between two messages, as soon
/// as the one under way has left.
///
/// Nothing here limits the queue: whoever calls [`Connection::send`](super::Connection::send) watches
/// [`len`](Transmit::len) and stops in time.
///
/// ```
/// use std::io::{IoSlice, Write};
/// use std::sync::Arc;
/// use std::time::Instant;
/// use flexbond_wire::zmtp::{Config, Connection, SocketType};
///
/// let mut connection = Connection::new(Arc::new(Config::new(SocketType::Push)), Instant::now());
/// let transmit = connection.transmit();
/// assert_eq!(transmit.len(), 10, "the first part of the greeting");
///
/// let mut socket = Vec::new();
/// while !transmit.is_empty() {
///     let mut slices = [IoSlice::new(&[]); 16];
///     let filled = transmit.slices(&mut slices);
///     let written = socket.write_vectored(&slices[..filled])?;
///     transmit.advance(written);
/// }
/// assert_eq!(socket, b"\xff\0\0\0\0\0\0\0\x01\x7f");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct Transmit {
    /// What the protocol has to say, and how much of it was sent. A HELLO of PLAIN has the password in clear: the memory is
    /// wiped once all of it has left.
    control: Zeroizing<Vec<u8>>,
    control_sent: usize,
    pub(super) messages: Batch,
    /// How much of the first message was sent.
    partial: usize,
    /// Messages that were sent whole since somebody asked.
    completed: usize,
    sent: u64,
}

impl Transmit {
    /// The bytes queued and not yet sent.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.messages.size() - self.partial + self.control_len()
    }

    /// Whether everything was sent.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of these, at most, those of bodies that other batches share; see [`Batch::share`].
    #[must_use]
    pub fn shared_size(&self) -> usize {
        self.messages.shared_size()
    }

    /// The bytes ever queued.
    #[must_use]
    #[inline]
    pub fn total(&self) -> u64 {
        self.sent + self.len() as u64
    }

    /// The bytes ever sent: [`total`](Transmit::total) less [`len`](Transmit::len).
    #[must_use]
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Points `out` at the next bytes to send, in order, and returns how many of its slices were set.
    ///
    /// Together they are the whole queue when `out` is long enough.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let whole = self.messages.size();
        if self.control_len() == 0 {
            return self.messages.slices(self.partial, whole, out, 0);
        }
        let first = self.before_control() + self.partial;
        let mut filled = self.messages.slices(self.partial, first, out, 0);
        if filled < out.len() {
            out[filled] = IoSlice::new(&self.control[self.control_sent..]);
            filled += 1;
        }
        self.messages.slices(first, whole, out, filled)
    }

    /// Takes note that the first `n` bytes of [`slices`](Transmit::slices) were sent.
    ///
    /// # Panics
    /// When `n` is more than [`len`](Transmit::len).
    pub fn advance(&mut self, n: usize) {
        // Bytes that were never queued cannot have been sent: the caller mixed up its queues.
        assert!(n <= self.len(), "more bytes sent than were queued");
        self.sent += n as u64;
        let mut rest = n;
        if self.control_len() > 0 {
            let before = rest.min(self.before_control());
            self.advance_messages(before);
            rest -= before;
            let control = if self.partial == 0 {
                rest.min(self.control_len())
            } else {
                0
            };
            self.control_sent += control;
            rest -= control;
            if self.control_len() == 0 {
                self.control.zeroize();
                self.control_sent = 0;
            }
        }
        self.advance_messages(rest);
    }

    /// Where, in bytes ever sent, the control bytes queued so far will end.
    pub(super) fn control_end(&self) -> u64 {
        self.sent + (self.before_control() + self.control_len()) as u64
    }

    /// Queues a copy of `bytes`, which belong to no message.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if self.control.capacity() - self.control.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.control.extend_from_slice(bytes);
    }

    /// Makes room for so many control bytes. Those that are there already are wiped where they were.
    #[cold]
    fn grow(&mut self, more: usize) {
        let len = self.control.len();
        let mut larger = Zeroizing::new(Vec::with_capacity((len + more).next_power_of_two().max(128)));
        larger.extend_from_slice(&self.control);
        self.control = larger;
    }

    /// The messages that were not sent whole. What was sent of the first one will be sent again.
    pub(super) fn take_unsent(&mut self) -> Batch {
        self.partial = 0;
        std::mem::take(&mut self.messages)
    }

    /// How many messages were sent whole since the last call.
    pub(super) fn take_completed(&mut self) -> usize {
        std::mem::take(&mut self.completed)
    }

    fn control_len(&self) -> usize {
        self.control.len() - self.control_sent
    }

    /// The bytes of the message under way that go before the control bytes.
    fn before_control(&self) -> usize {
        if self.partial == 0 {
            0
        } else {
            self.messages.first() - self.partial
        }
    }

    fn advance_messages(&mut self, n: usize) {
        if n > 0 {
            let before = self.messages.messages();
            self.partial += n;
            self.partial -= self.messages.drop_within(self.partial);
            self.completed += before - self.messages.messages();
        }
    }
}

/// Without the bytes themselves, which may be secret.
impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmit")
            .field("len", &self.len())
            .field("messages", &self.messages.messages())
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use flexbond_transport::Message;

    use super::*;

    fn next(transmit: &Transmit, limit: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = transmit.slices(&mut slices);
        let mut bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        bytes.truncate(limit);
        bytes
    }

    #[test]
    fn control_goes_between_two_messages_wherever_the_first_one_was_cut() {
        for cut in 0..=12 {
            let mut transmit = Transmit::default();
            for text in ["one", "two", "six"] {
                transmit.messages.push(&mut Message::from(text));
            }
            let mut out = next(&transmit, cut);
            transmit.advance(cut);
            transmit.put(b"!!");
            assert_eq!(transmit.len(), 15 + 2 - cut);
            let control_end = transmit.control_end();
            let mut seen = None;
            while !transmit.is_empty() {
                let byte = next(&transmit, 1);
                transmit.advance(1);
                out.extend(byte);
                if out.ends_with(b"!!") {
                    seen = Some(transmit.sent());
                }
            }
            let expected: &[u8] = match cut {
                0 => b"!!\0\x03one\0\x03two\0\x03six",
                1..=5 => b"\0\x03one!!\0\x03two\0\x03six",
                6..=10 => b"\0\x03one\0\x03two!!\0\x03six",
                _ => b"\0\x03one\0\x03two\0\x03six!!",
            };
            assert_eq!(out, expected, "cut after {cut}");
            assert_eq!(seen, Some(control_end), "cut after {cut}");
            assert_eq!(transmit.take_completed(), 3);
        }
    }

    #[test]
    fn one_large_step_passes_messages_and_control_alike() {
        let mut transmit = Transmit::default();
        transmit.messages.push(&mut Message::from("one"));
        transmit.advance(2);
        transmit.put(b"!!");
        transmit.messages.push(&mut Message::from("two"));
        assert_eq!(next(&transmit, 99), b"one!!\0\x03two");
        transmit.advance(4);
        assert_eq!(next(&transmit, 99), b"!\0\x03two");
        transmit.advance(3);
        assert_eq!(next(&transmit, 99), b"two");
    }

    #[test]
    fn what_was_cut_comes_back_whole() {
        let mut transmit = Transmit::default();
        for text in ["one", "two"] {
            transmit.messages.push(&mut Message::from(text));
        }
        transmit.advance(7);
        assert_eq!(transmit.take_completed(), 1);
        let mut unsent = transmit.take_unsent();
        assert_eq!(unsent.pop_front(), Some(Message::from("two")));
        assert!(transmit.is_empty());
    }
}
