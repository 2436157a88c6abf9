//! Memory of large bodies that was used before, for those that come next.
//!
//! An allocator returns blocks of this size to the system and gets fresh ones, of which the system clears every page
//! when it is first touched: at 1 MiB that costs a receiver as much as all the rest. What is taken here comes back when
//! the last clone of it is dropped: of what has at most 4 MiB, 16 MiB are kept in the whole process. Of what has more, and
//! at most 128 MiB, one is: the last, until one of another size comes.
//!
//! ```
//! use flexbond_wire::spare;
//!
//! let mut buffer = spare::take(1 << 20);
//! buffer.resize(1 << 20, 7);
//! let address = buffer.as_ptr();
//! drop(spare::lend(buffer));
//! assert_eq!(spare::take(1 << 20).as_ptr(), address);
//! ```

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{iter, mem};

use bytes::{Bytes, BytesMut};

/// An empty buffer with room for `len` bytes, and up to a quarter more.
#[must_use]
pub fn take(len: usize) -> BytesMut {
    SPARE.take(len)
}

/// A buffer of `len` bytes that mean nothing, to be overwritten, with room for up to a quarter more.
///
/// ```
/// use flexbond_wire::spare;
///
/// assert_eq!(spare::take_filled(1 << 20).len(), 1 << 20);
/// ```
#[must_use]
pub fn take_filled(len: usize) -> BytesMut {
    SPARE.take_filled(len)
}

/// An empty buffer with room for `len` bytes, and up to a quarter more, if one is kept that is larger than the others.
pub(crate) fn take_large(len: usize) -> Option<BytesMut> {
    SPARE.take_large(len)
}

/// A body whose memory comes back when its last clone is dropped.
#[must_use]
pub fn lend(buffer: BytesMut) -> Bytes {
    Bytes::from_owner(Lent { buffer })
}

/// Takes back a buffer whose slices may still be with the application, to be used again when they are not.
pub(crate) fn retire(buffer: BytesMut) {
    RETIRED.retire(buffer);
}

/// An empty buffer with room for `len` bytes, if one that was retired is free. It was made with room for `len`, too.
pub(crate) fn reuse(len: usize) -> Option<BytesMut> {
    RETIRED.reuse(len)
}

/// Buffers whose slices may still be with the application, the oldest first: all of one size, and so none that can
/// never be of use.
struct Retired {
    buffers: Mutex<VecDeque<BytesMut>>,
}

static RETIRED: Retired = Retired::new();

impl Retired {
    /// What is kept at most: 16 MiB of buffers of 128 KiB.
    const MOST: usize = 128;
    /// How many are looked at. The oldest is most likely free, but may belong to who reads slowly.
    const LOOKS: usize = 4;

    const fn new() -> Self {
        Retired {
            buffers: Mutex::new(VecDeque::new()),
        }
    }

    fn retire(&self, buffer: BytesMut) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.push_back(buffer);
        let surplus = match buffers.len() > Self::MOST {
            true => buffers.pop_front(),
            false => None,
        };
        drop(buffers);
        drop(surplus);
    }

    fn reuse(&self, len: usize) -> Option<BytesMut> {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..Self::LOOKS.min(buffers.len()) {
            let mut buffer = buffers.pop_front()?;
            buffer.clear();
            if buffer.try_reclaim(len) {
                return Some(buffer);
            }
            buffers.push_back(buffer);
        }
        None
    }
}

/// A body that is with the application.
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

/// What the application has dropped.
static SPARE: Spare = Spare::new();

struct Spare {
    kept: Mutex<Kept>,
}

struct Kept {
    /// The last one given is the one most likely to be in a cache.
    buffers: VecDeque<BytesMut>,
    /// Their capacities together.
    bytes: usize,
    /// One that is larger than all of these.
    large: Option<BytesMut>,
}

impl Kept {
    /// A buffer of this capacity.
    fn find(&mut self, class: usize) -> Option<BytesMut> {
        let index = self
            .buffers
            .iter()
            .rposition(|buffer| buffer.capacity() == class)?;
        self.bytes -= class;
        self.buffers.remove(index)
    }

    /// The one given first, if there is too much.
    fn surplus(&mut self) -> Option<BytesMut> {
        let oldest = self.buffers.pop_front_if(|_| self.bytes > Spare::MOST)?;
        self.bytes -= oldest.capacity();
        Some(oldest)
    }
}

impl Spare {
    /// What is kept at most, in bytes, by the whole process.
    const MOST: usize = 16 << 20;
    /// Of what is larger, one is kept.
    const LARGEST: usize = Self::MOST / 4;
    /// And nothing that is larger than this.
    const HUGE: usize = 128 << 20;

    const fn new() -> Self {
        Spare {
            kept: Mutex::new(Kept {
                buffers: VecDeque::new(),
                bytes: 0,
                large: None,
            }),
        }
    }

    /// The capacity that is allocated for `len` bytes, at most a quarter more, so that bodies of similar sizes can
    /// share.
    fn class(len: usize) -> usize {
        let step = (len.next_power_of_two() / 8).max(1);
        len.next_multiple_of(step)
    }

    /// An empty buffer for `len` bytes.
    fn take(&self, len: usize) -> BytesMut {
        let class = Self::class(len);
        let mut buffer = self.find(class).unwrap_or_else(|| BytesMut::with_capacity(class));
        buffer.clear();
        buffer
    }

    /// The large one, if it is of about this size.
    fn take_large(&self, len: usize) -> Option<BytesMut> {
        let mut kept = self.kept();
        let fits = |buffer: &mut BytesMut| (len..=len + len / 4).contains(&buffer.capacity());
        let mut buffer = kept.large.take_if(fits)?;
        drop(kept);
        buffer.clear();
        Some(buffer)
    }

    /// A buffer of `len` bytes.
    fn take_filled(&self, len: usize) -> BytesMut {
        let class = Self::class(len);
        // What the system has just cleared need not be cleared again.
        let mut buffer = self.find(class).unwrap_or_else(|| BytesMut::zeroed(class));
        buffer.resize(len, 0);
        buffer
    }

    /// A buffer of this capacity that was given, with what it held.
    fn find(&self, class: usize) -> Option<BytesMut> {
        self.kept().find(class)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the memory of `buffer`, in place of what was given first when it is too much.
    fn give(&self, mut buffer: BytesMut) {
        let class = Self::class(buffer.len());
        if class > Self::LARGEST {
            if buffer.capacity() <= Self::HUGE {
                // Freed while nobody waits for the lock.
                let before = self.kept().large.replace(buffer);
                drop(before);
            }
            return;
        }
        // What `limit` gave up.
        let _ = buffer.try_reclaim(class - buffer.len());
        if buffer.capacity() != class {
            return;
        }
        let mut kept = self.kept();
        kept.bytes += class;
        kept.buffers.push_back(buffer);
        let surplus: Vec<_> = iter::from_fn(|| kept.surplus()).collect();
        drop(kept);
        // Freed while nobody waits for the lock.
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_at_most_a_quarter_larger() {
        for len in (1 << 15..4 << 20).step_by(777).chain([1 << 15, 4 << 20]) {
            let class = Spare::class(len);
            assert!(class >= len && class <= len + len / 4, "{len}: {class}");
            assert_eq!(Spare::class(class), class);
        }
    }

    #[test]
    fn a_retired_buffer_is_used_again_once_its_slices_are_gone() {
        let retired = Retired::new();
        let mut buffer = BytesMut::with_capacity(1000);
        let address = buffer.as_ptr();
        buffer.resize(1000, 7);
        let slices = [buffer.split_to(400).freeze(), buffer.split_to(600).freeze()];
        retired.retire(buffer);
        assert!(retired.reuse(1000).is_none());
        let [first, last] = slices;
        drop(first);
        assert!(retired.reuse(1000).is_none());
        assert!(last.iter().all(|&byte| byte == 7));
        drop(last);
        let again = retired.reuse(1000).expect("it is free");
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        assert!(again.capacity() >= 1000);
        assert!(retired.reuse(1000).is_none());
        for _ in 0..Retired::MOST + 3 {
            retired.retire(BytesMut::new());
        }
        assert_eq!(retired.buffers.lock().unwrap().len(), Retired::MOST);
    }

    #[test]
    fn of_what_is_large_the_last_one_is_kept_for_its_like() {
        let spare = Spare::new();
        let large = |len: usize| {
            let mut buffer = BytesMut::with_capacity(len);
            buffer.resize(len, 1);
            buffer
        };
        assert!(spare.take_large(10 << 20).is_none());
        spare.give(large(20 << 20));
        let last = large(10 << 20);
        let address = last.as_ptr();
        spare.give(last);
        assert!(spare.take_large(5 << 20).is_none(), "half of it would be wasted");
        assert!(spare.take_large(11 << 20).is_none(), "it is too small");
        let again = spare.take_large(9 << 20).expect("it is about that size");
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        assert!(spare.take_large(9 << 20).is_none(), "there is one");
        spare.give(large(Spare::HUGE + 1));
        assert!(spare.kept().large.is_none());
    }

    #[test]
    fn memory_comes_back_whole_and_within_the_limit() {
        let spare = Spare::new();
        let len = 1_000_000;
        let mut buffer = spare.take(len);
        let address = buffer.as_ptr();
        drop(buffer.split_off(len));
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
        let kept = spare.kept();
        assert!(
            (Spare::MOST / 2..=Spare::MOST).contains(&kept.bytes),
            "{}",
            kept.bytes
        );
        assert_eq!(
            kept.buffers.iter().map(BytesMut::capacity).sum::<usize>(),
            kept.bytes
        );
    }
}
