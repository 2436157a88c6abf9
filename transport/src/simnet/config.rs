//! What a simulated network is like.

use std::num::NonZeroU64;
use std::time::Duration;

/// How many bytes each packet counts for where packets are kept, beside its own.
pub const PACKET_OVERHEAD: usize = 64;

/// What a simulated network is like. The [paths](Path) can be changed later.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// What happens between two hosts for which nothing else is said. Default: nothing, and no time passes.
    pub path: Path,
    /// How many bytes wait at a socket, and at a paused host; what comes beyond is dropped. Default 4 MiB.
    pub recv_buffer: usize,
    /// How many bytes are under way in the whole network; what is sent beyond is dropped. Default 256 MiB.
    pub in_flight: usize,
    /// How many packets of equal size a [`SimSocket`](super::SimSocket) splits and joins, as GSO and GRO do. Default
    /// 1: not at all.
    pub segments: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: Path::default(),
            recv_buffer: 4 << 20,
            in_flight: 256 << 20,
            segments: 1,
        }
    }
}

impl Config {
    /// Sets [`path`](field@Self::path).
    #[must_use]
    pub fn path(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// Sets [`recv_buffer`](field@Self::recv_buffer), in bytes.
    #[must_use]
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = bytes;
        self
    }

    /// Sets [`in_flight`](field@Self::in_flight), in bytes.
    #[must_use]
    pub fn in_flight(mut self, bytes: usize) -> Self {
        self.in_flight = bytes;
        self
    }

    /// Sets [`segments`](field@Self::segments); 0 is 1.
    #[must_use]
    pub fn segments(mut self, segments: usize) -> Self {
        self.segments = segments.max(1);
        self
    }
}

/// What happens to packets on the way from one host to another, in this direction. A packet to a multicast group takes
/// the path to each member, and each has its own luck.
///
/// In this order: too large a packet is dropped; it waits in the queue of the line (`rate`), or is dropped there; it is
/// lost, corrupted, delayed, and duplicated. Probabilities are those of one packet, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Path {
    /// The probability that a packet is lost. Default 0.
    pub loss: f64,
    /// The probability that it arrives twice, with two delays. Default 0.
    pub duplication: f64,
    /// The probability that it takes [`reorder_delay`](field@Self::reorder_delay) longer, so that later packets
    /// overtake it. All others arrive in the order in which they were sent. Default 0.
    pub reordering: f64,
    /// How much longer a reordered packet takes. Default 10 ms.
    pub reorder_delay: Duration,
    /// The probability that one byte of it is changed, in one to eight of its bits. Default 0.
    pub corruption: f64,
    /// How long a packet takes at least. Default 0.
    pub delay: Duration,
    /// How much longer it takes at most, at random. A packet waits for those before it all the same. Default 0.
    pub jitter: Duration,
    /// How many bytes pass in a second. Default: any number.
    pub rate: Option<NonZeroU64>,
    /// How many bytes wait for the line when it has a rate; what comes beyond is dropped. A packet always finds room
    /// in an empty queue. Default 256 KiB.
    pub queue: usize,
    /// How many bytes the largest packet has that gets through. Default 65,507.
    pub mtu: usize,
}

impl Default for Path {
    fn default() -> Self {
        Path {
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            reorder_delay: Duration::from_millis(10),
            corruption: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            queue: 256 << 10,
            mtu: crate::Transmit::MAX_LEN,
        }
    }
}

impl Path {
    /// Sets [`loss`](field@Self::loss).
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Self {
        self.loss = probability;
        self
    }

    /// Sets [`duplication`](field@Self::duplication).
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Self {
        self.duplication = probability;
        self
    }

    /// Sets [`reordering`](field@Self::reordering) and [`reorder_delay`](field@Self::reorder_delay).
    #[must_use]
    pub fn reordering(mut self, probability: f64, delay: Duration) -> Self {
        self.reordering = probability;
        self.reorder_delay = delay;
        self
    }

    /// Sets [`corruption`](field@Self::corruption).
    #[must_use]
    pub fn corruption(mut self, probability: f64) -> Self {
        self.corruption = probability;
        self
    }

    /// Sets [`delay`](field@Self::delay).
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets [`jitter`](field@Self::jitter).
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets [`rate`](field@Self::rate), in bytes per second, and [`queue`](field@Self::queue), in bytes. A rate of 0 is
    /// no limit.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: u64, queue: usize) -> Self {
        self.rate = NonZeroU64::new(bytes_per_second);
        self.queue = queue;
        self
    }

    /// Sets [`mtu`](field@Self::mtu), in bytes.
    #[must_use]
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }
}
