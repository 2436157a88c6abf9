//! A receive buffer: packets in the order of their arrival, up to a number of bytes.

use std::collections::VecDeque;

use super::{Delivery, PACKET_OVERHEAD};

/// Packets in the order of their arrival, up to a number of bytes.
#[derive(Debug, Default)]
pub(super) struct Stash {
    queue: VecDeque<Delivery>,
    bytes: usize,
}

impl Stash {
    /// Keeps a packet if there is room for it among `limit` bytes; whether it was kept.
    pub(super) fn push(&mut self, delivery: Delivery, limit: usize) -> bool {
        let bytes = self.bytes + room_of(&delivery);
        let fits = bytes <= limit;
        if fits {
            self.bytes = bytes;
            self.queue.push_back(delivery);
        }
        fits
    }

    pub(super) fn front(&self) -> Option<&Delivery> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        self.bytes -= room_of(&delivery);
        Some(delivery)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

/// How much room a packet takes where packets are kept.
pub(super) fn room_of(delivery: &Delivery) -> usize {
    delivery.bytes.len() + PACKET_OVERHEAD
}
