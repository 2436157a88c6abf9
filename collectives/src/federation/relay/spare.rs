//! Buffers of short messages that have gone, for those that come.

use bytes::{Bytes, BytesMut};

use super::entry::Entry;
use super::pieces::Content;
use crate::federation::core::few::Few;
use crate::federation::core::packet::SHORT;

/// How many buffers are kept, of at most twice [`SHORT`] bytes each.
const MOST: usize = 128;
/// How much larger than twice the content a buffer may be.
const SLACK: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Spare {
    buffers: Vec<BytesMut>,
}

impl Spare {
    /// A copy of something short, in a buffer of its own.
    pub(super) fn copy(&mut self, content: &[u8]) -> Bytes {
        // The buffer may be kept as long as the message, which counts for what it is.
        let fits =
            |buffer: &mut BytesMut| (content.len()..=2 * content.len() + SLACK).contains(&buffer.capacity());
        let Some(mut buffer) = self.buffers.pop_if(fits) else {
            return Bytes::copy_from_slice(content);
        };
        buffer.extend_from_slice(content);
        buffer.freeze()
    }

    /// Takes the buffer of a message that nobody needs any more.
    pub(super) fn keep(&mut self, mut entry: Entry) {
        if self.buffers.len() >= MOST {
            return;
        }
        let content = entry.pieces.pop_to(0).map(|piece| piece.content);
        if let Some(Content::Memory(Few::One(content))) = content
            && content.len() <= SHORT
            && let Ok(mut buffer) = content.try_into_mut()
            && buffer.capacity() <= 2 * SHORT
        {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_nobody_else_has_it() {
        let mut spare = Spare::default();
        let message = |content: Few<Bytes>, spare: &mut Spare| {
            let size = content.iter().map(|frame| frame.len() as u64).sum();
            let mut entry = Entry::new(None, 0, Few::One(size), size, Instant::now());
            assert!(entry.add(content, size, 0, spare));
            entry
        };
        let content = || Few::One(Bytes::from(vec![7; 100]));
        let entry = message(content(), &mut spare);
        let kept = match &entry.pieces.first().unwrap().content {
            Content::Memory(content) => content[0].clone(),
            content => panic!("{content:?}"),
        };
        spare.keep(entry);
        assert!(spare.buffers.is_empty(), "it is on its way");
        assert_eq!(kept[..], [7; 100]);
        let entry = message(content(), &mut spare);
        spare.keep(entry);
        assert_eq!(spare.buffers.len(), 1);
        // It would take more than it counts for, or has too little room.
        for len in [5, 101] {
            assert_eq!(spare.copy(&vec![8; len])[..], vec![8; len][..]);
            assert_eq!(spare.buffers.len(), 1);
        }
        assert_eq!(spare.copy(&[9; 99])[..], [9; 99]);
        assert!(spare.buffers.is_empty());
        // What is large is not kept, nor is more than so many.
        let entry = message(Few::One(Bytes::from(vec![7; SHORT + 1])), &mut spare);
        spare.keep(entry);
        assert!(spare.buffers.is_empty());
        let entries: Vec<_> = (0..MOST + 9).map(|_| message(content(), &mut spare)).collect();
        entries.into_iter().for_each(|entry| spare.keep(entry));
        assert_eq!(spare.buffers.len(), MOST);
    }
}
