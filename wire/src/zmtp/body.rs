//! A large body on its way into its final place, and the memory it goes to.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use flexbond_transport::Frame;

use super::frame_codec::Header;

/// The body of a frame that is received into a buffer of its own.
#[derive(Debug)]
pub(crate) struct Body {
    header: Header,
    buffer: BytesMut,
    len: usize,
}

impl Body {
    /// Bodies of this many bytes and more get a buffer of their own.
    pub(crate) const FROM: usize = 128 << 10;
    /// The first capacity of such a buffer; it doubles when full, so that a length that is a lie costs no more than
    /// this and twice what really arrived.
    pub(crate) const FIRST: usize = 4 << 20;

    /// A body of `len` bytes of which the first have `arrived`.
    pub(crate) fn new(header: Header, len: usize, arrived: &[u8]) -> Self {
        let mut buffer = if len <= Self::FIRST {
            SPARE.take(len)
        } else {
            BytesMut::with_capacity(Self::FIRST.max(arrived.len()))
        };
        buffer.extend_from_slice(arrived);
        Body { header, buffer, len }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.buffer.len() >= self.len
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

    /// Splits off what is beyond the body: the start of the next frame.
    pub(crate) fn take_beyond(&mut self) -> Option<BytesMut> {
        (self.buffer.len() > self.len).then(|| self.buffer.split_off(self.len))
    }

    /// The whole body. The memory comes back to [`SPARE`] with the frame's last clone.
    pub(crate) fn finish(self) -> (Header, Frame) {
        let Body { header, buffer, len } = self;
        let bytes = if len <= Self::FIRST {
            Bytes::from_owner(Lent { buffer })
        } else {
            buffer.freeze()
        };
        (header, Frame::from(bytes))
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

/// The memory of a body that is with the application.
struct Lent {
    buffer: BytesMut,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        SPARE.give(mem::take(&mut self.buffer));
    }
}

/// Memory of large bodies that the application has dropped, for those that arrive next.
///
/// An allocator returns blocks of this size to the system and gets fresh ones, of which the system clears every page
/// when it is first touched: at 1 MiB that costs a receiver as much as all the rest.
static SPARE: Spare = Spare {
    buffers: Mutex::new(VecDeque::new()),
};

struct Spare {
    /// The last one given is the one most likely to be in a cache.
    buffers: Mutex<VecDeque<BytesMut>>,
}

impl Spare {
    /// What is kept at most, in bytes, by the whole process.
    const MOST: usize = 16 << 20;

    /// The capacity that is allocated for `len` bytes, at most a quarter more, so that bodies of similar sizes can
    /// share.
    fn class(len: usize) -> usize {
        let step = (len.next_power_of_two() / 8).max(1);
        len.next_multiple_of(step)
    }

    /// An empty buffer for `len` bytes.
    fn take(&self, len: usize) -> BytesMut {
        let class = Self::class(len);
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = buffers.iter().rposition(|buffer| buffer.capacity() == class);
        let found = found.and_then(|index| buffers.remove(index));
        drop(buffers);
        found.unwrap_or_else(|| BytesMut::with_capacity(class))
    }

    /// Keeps the memory of `buffer`, in place of what was given first when it is too much.
    fn give(&self, mut buffer: BytesMut) {
        let class = Self::class(buffer.len());
        buffer.clear();
        // What `limit` gave up.
        let _ = buffer.try_reclaim(class);
        if buffer.capacity() != class {
            return;
        }
        let mut surplus = Vec::new();
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.push_back(buffer);
        let mut kept: usize = buffers.iter().map(BytesMut::capacity).sum();
        while kept > Self::MOST {
            let Some(oldest) = buffers.pop_front() else {
                break;
            };
            kept -= oldest.capacity();
            surplus.push(oldest);
        }
        drop(buffers);
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_at_most_a_quarter_larger() {
        for len in (Body::FROM..Body::FIRST)
            .step_by(777)
            .chain([Body::FROM, Body::FIRST])
        {
            let class = Spare::class(len);
            assert!(class >= len && class <= len + len / 4, "{len}: {class}");
            assert_eq!(Spare::class(class), class);
        }
    }

    #[test]
    fn memory_comes_back_whole_and_within_the_limit() {
        let spare = Spare {
            buffers: Mutex::new(VecDeque::new()),
        };
        let len = 1_000_000;
        let mut buffer = spare.take(len);
        let address = buffer.as_ptr();
        limit(&mut buffer, len);
        assert_eq!(buffer.capacity(), len);
        buffer.resize(len, 7);
        assert_eq!(buffer.as_ptr(), address);
        spare.give(buffer);
        let again = spare.take(len - 1000);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        for size in [300_000, 3_000_000, 4_000_000, 200_000]
            .into_iter()
            .cycle()
            .take(40)
        {
            let mut buffer = BytesMut::with_capacity(Spare::class(size));
            buffer.resize(size, 1);
            spare.give(buffer);
        }
        let kept: usize = spare.buffers.lock().unwrap().iter().map(BytesMut::capacity).sum();
        assert!((Spare::MOST / 2..=Spare::MOST).contains(&kept), "{kept}");
    }

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
