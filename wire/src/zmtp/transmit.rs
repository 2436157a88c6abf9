//! The bytes on their way to the peer: small ones gathered in one arena, large ones shared.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use flexbond_transport::Frame;

/// The bytes on their way to the peer.
///
/// Frames below 4 KiB are copied beside their headers into one arena, so that a batch of small messages is one slice
/// for the operating system. Larger ones are never copied: they are handed out as slices of their own.
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
#[derive(Debug, Default)]
pub struct Transmit {
    arena: Vec<u8>,
    /// How much of the arena was sent.
    head: usize,
    shared: VecDeque<Shared>,
    len: usize,
    total: u64,
}

/// A large body that goes out when the arena was sent up to `at`.
#[derive(Debug)]
struct Shared {
    at: usize,
    body: Bytes,
}

impl Transmit {
    /// Bodies of this many bytes and more are shared, not copied.
    const SHARE_FROM: usize = 4 << 10;
    /// An arena that a burst made larger than this is given back once it was sent.
    const KEEP: usize = 256 << 10;
    /// The front of the arena is reclaimed when this much of it, and at least half, was sent.
    const COMPACT_FROM: usize = 64 << 10;

    /// The bytes queued and not yet sent.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything was sent.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes ever queued.
    #[must_use]
    #[inline]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The bytes ever sent: [`total`](Transmit::total) less [`len`](Transmit::len).
    #[must_use]
    #[inline]
    pub fn sent(&self) -> u64 {
        self.total - self.len as u64
    }

    /// Points `out` at the next bytes to send, in order, and returns how many of its slices were set.
    ///
    /// Together they are the whole queue when `out` is long enough.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut head = self.head;
        for shared in &self.shared {
            if head < shared.at {
                if filled == out.len() {
                    return filled;
                }
                out[filled] = IoSlice::new(&self.arena[head..shared.at]);
                filled += 1;
                head = shared.at;
            }
            if filled == out.len() {
                return filled;
            }
            out[filled] = IoSlice::new(&shared.body);
            filled += 1;
        }
        if head < self.arena.len() && filled < out.len() {
            out[filled] = IoSlice::new(&self.arena[head..]);
            filled += 1;
        }
        filled
    }

    /// Takes note that the first `n` bytes of [`slices`](Transmit::slices) were sent.
    ///
    /// # Panics
    /// When `n` is more than [`len`](Transmit::len).
    pub fn advance(&mut self, n: usize) {
        // Bytes that were never queued cannot have been sent: the caller mixed up its queues.
        assert!(n <= self.len, "more bytes sent than were queued");
        self.len -= n;
        let mut rest = n;
        while rest > 0 {
            let until = self.shared.front().map_or(self.arena.len(), |shared| shared.at);
            if self.head < until {
                let step = rest.min(until - self.head);
                self.head += step;
                rest -= step;
            } else if let Some(front) = self.shared.front_mut() {
                if rest < front.body.len() {
                    front.body.advance(rest);
                    break;
                }
                rest -= front.body.len();
                self.shared.pop_front();
            }
        }
        if self.len == 0 {
            self.arena.clear();
            self.head = 0;
            if self.arena.capacity() > Self::KEEP {
                self.arena.shrink_to(Self::KEEP);
            }
        } else if self.head >= Self::COMPACT_FROM && self.head >= self.arena.len() - self.head {
            self.arena.drain(..self.head);
            for shared in &mut self.shared {
                shared.at -= self.head;
            }
            self.head = 0;
        }
    }

    /// Queues a copy of `bytes`.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.arena.extend_from_slice(bytes);
        self.account(bytes.len());
    }

    /// Queues a frame's header, then its body: a copy of a short one, a reference to a long one.
    #[inline]
    pub(crate) fn put_frame(&mut self, header: &[u8], body: &Frame) {
        let payload = body.as_slice();
        if payload.len() < Self::SHARE_FROM {
            self.arena.reserve(header.len() + payload.len());
            self.arena.extend_from_slice(header);
            self.arena.extend_from_slice(payload);
        } else {
            self.arena.extend_from_slice(header);
            self.shared.push_back(Shared {
                at: self.arena.len(),
                body: body.clone().into_bytes(),
            });
        }
        self.account(header.len() + payload.len());
    }

    #[inline]
    fn account(&mut self, added: usize) {
        self.len += added;
        self.total += added as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(transmit: &mut Transmit, step: usize, slots: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !transmit.is_empty() {
            let mut slices = vec![IoSlice::new(&[]); slots];
            let filled = transmit.slices(&mut slices);
            let gathered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = gathered.len().min(step);
            out.extend_from_slice(&gathered[..taken]);
            transmit.advance(taken);
        }
        out
    }

    #[test]
    fn order_survives_every_step_and_slot_count() {
        for step in [97, 4096, 5000, 1 << 20] {
            for slots in [1, 2, 3, 64] {
                let mut transmit = Transmit::default();
                let mut expected = Vec::new();
                for (index, len) in [0, 5, 4095, 4096, 9000, 3, 4096, 0].into_iter().enumerate() {
                    let body = vec![index as u8; len];
                    let header = [0xf0, index as u8];
                    expected.extend_from_slice(&header);
                    expected.extend_from_slice(&body);
                    transmit.put_frame(&header, &Frame::from(body));
                }
                assert_eq!(transmit.len(), expected.len());
                assert_eq!(
                    drain(&mut transmit, step, slots),
                    expected,
                    "step {step}, {slots} slots"
                );
                assert_eq!(transmit.sent(), expected.len() as u64);
                assert_eq!(transmit.total(), transmit.sent());
            }
        }
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let body = Frame::from(vec![1; 1 << 20]);
        let mut transmit = Transmit::default();
        transmit.put_frame(&[0], &body);
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(transmit.slices(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), body.as_ptr());
    }

    #[test]
    fn memory_is_reused_and_given_back() {
        let mut transmit = Transmit::default();
        let body = Frame::from(vec![7; 1000]);
        for _ in 0..1000 {
            transmit.put_frame(&[0, 0], &body);
        }
        assert!(transmit.arena.capacity() > Transmit::KEEP);
        transmit.advance(transmit.len());
        assert!(transmit.arena.capacity() <= Transmit::KEEP);

        // Never quite drained: the arena must not grow with the bytes that passed through it.
        transmit.put(&[0; 100]);
        for _ in 0..10_000 {
            transmit.put_frame(&[0, 0], &body);
            transmit.advance(1002);
        }
        assert!(
            transmit.arena.capacity() <= Transmit::KEEP,
            "{}",
            transmit.arena.capacity()
        );
        assert_eq!(transmit.len(), 100);
    }
}
