//! What makes the messages of one format.

use crate::transport::Message;

/// Where an image stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the series, from one.
    pub(super) series: u64,
    /// Its number in the series, from zero.
    pub(super) frame: u64,
    /// Its number since the beginning, from zero.
    pub(super) number: u64,
}

/// Makes the messages of one format. What costs time was done when it was made.
pub(super) trait Source {
    /// The message that begins a series of so many images, where that is known.
    fn begin(&mut self, _series: u64, _images: Option<u64>) -> Option<Message> {
        None
    }

    /// The message of an image, a pulse, or whatever else has a number.
    fn image(&mut self, place: Place) -> Message;

    /// The message that ends a series.
    fn end(&mut self, _series: u64) -> Option<Message> {
        None
    }

    /// Bytes of an image's data as they travel, of a pulse's whole message; on average where they differ.
    fn size(&self) -> usize;
}

/// One of several things that take turns.
pub(super) fn in_turn<T>(things: &[T], number: u64) -> &T {
    // Sources have at least one; the remainder is smaller than their number.
    &things[(number % things.len() as u64) as usize]
}
