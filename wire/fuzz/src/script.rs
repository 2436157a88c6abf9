//! An input as a series of choices.

use flexbond_transport::Message;

/// What is left of an input: zeros, once there is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// Whether there is nothing left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// Two bytes, the first one the higher.
    pub fn word(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// So many bytes, or what there is.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind their length, which is a word.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = self.word();
        self.take(len)
    }

    /// A message: how many frames it has, up to 31, and these, each behind its length.
    pub fn message(&mut self) -> Message {
        let count = self.byte() % 32;
        (0..count).map(|_| self.bytes().to_vec()).collect()
    }
}
