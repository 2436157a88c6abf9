//! A large body on its way into its final place, and the memory it goes to.

use bytes::BytesMut;
use flexbond_transport::Frame;

use super::frame_codec::Header;
use crate::spare;

/// The body of a frame that is received into a buffer of its own.
pub(crate) struct Body {
    header: Header,
    buffer: BytesMut,
    len: usize,
}

impl Body {
    /// Bodies of this many bytes and more get a buffer of their own. In the rolling buffer, of 128 KiB, half of such a
    /// body is copied when the next buffer begins, and that is fresh memory: at 64 KiB m_stats takes twice the rate
    /// (3.4 instead of 1.6 GB/s); at 20 KiB the two reads that each body needs cost more.
    pub(crate) const FROM: usize = 32 << 10;
    /// The first capacity of such a buffer; it doubles when full, so that a length that is a lie costs no more than
    /// this and twice what really arrived.
    pub(crate) const FIRST: usize = 4 << 20;

    /// A body of `len` bytes of which the first have `arrived`.
    pub(crate) fn new(header: Header, len: usize, arrived: &[u8]) -> Self {
        let mut buffer = if len <= Self::FIRST {
            spare::take(len)
        } else {
            let first = || BytesMut::with_capacity(Self::FIRST.max(arrived.len()));
            spare::take_large(len).unwrap_or_else(first)
        };
        buffer.extend_from_slice(arrived);
        Body { header, buffer, len }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.buffer.len() >= self.len
    }

    /// How many bytes of it are here.
    pub(crate) fn arrived(&self) -> usize {
        self.buffer.len()
    }

    /// Where the next bytes of it go: with room for some, unless it is whole.
    pub(crate) fn space(&mut self) -> &mut BytesMut {
        let capacity = self.buffer.capacity();
        if self.buffer.len() == capacity && capacity < self.len {
            let next = capacity.saturating_mul(2).min(self.len);
            self.buffer.reserve(next - capacity);
        }
        limit(&mut self.buffer, self.len);
        &mut self.buffer
    }

    /// The same without making room.
    pub(crate) fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Splits off what is beyond the body: the start of the next frame.
    pub(crate) fn take_beyond(&mut self) -> Option<BytesMut> {
        (self.buffer.len() > self.len).then(|| self.buffer.split_off(self.len))
    }

    /// The whole body, to be changed where it is.
    pub(crate) fn into_buffer(self) -> BytesMut {
        self.buffer
    }

    /// The whole body. The memory comes back to [`spare`] with the frame's last clone.
    pub(crate) fn finish(self) -> (Header, Frame) {
        let Body { header, buffer, .. } = self;
        (header, Frame::from(spare::lend(buffer)))
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

/// Gives up the room beyond `len`, which would be filled with the next frame. The memory stays with the buffer.
fn limit(buffer: &mut BytesMut, len: usize) {
    if buffer.capacity() > len && buffer.len() <= len {
        drop(buffer.split_off(len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_the_memory_from_coming_back() {
        let header = Header {
            more: false,
            command: false,
            len: 9,
            body: 500_000,
        };
        let mut body = Body::new(header, 500_000, b"ab");
        body.space().resize(500_000, b'c');
        let (_, frame) = body.finish();
        let kept = frame.clone();
        drop(frame);
        let mut other = Body::new(header, 500_000, b"");
        other.space().resize(500_000, b'x');
        assert!(kept[2..].iter().all(|&byte| byte == b'c'));
    }
}
