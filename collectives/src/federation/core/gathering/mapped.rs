//! Memory that the system gives in pages, as large as they come, and that is used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use memmap2::{Advice, MmapMut};

/// How long memory is kept for the next message, at least; and not twice as long.
const KEPT: Duration = Duration::from_secs(10);

/// The memory of the last large message that the program does not need any more: until one of about its size comes, and
/// not for long.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    map: Option<MmapMut>,
    /// When it was first seen here, after it was given.
    seen: Option<Instant>,
}

impl Kept {
    /// Gives memory back to the system that nobody has needed for a while.
    pub(crate) fn look(&self, now: Instant) {
        let mut last = self.last();
        let old = match last.seen {
            Some(seen) if now.saturating_duration_since(seen) >= KEPT => last.map.take(),
            None if last.map.is_some() => {
                last.seen = Some(now);
                None
            }
            _ => None,
        };
        drop(last);
        drop(old);
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, len: usize) -> Option<MmapMut> {
        let fits = |map: &mut MmapMut| (len..=len + len / 4).contains(&map.len());
        self.last().map.take_if(fits)
    }

    fn give(&self, map: MmapMut) {
        let mut last = self.last();
        last.seen = None;
        let before = last.map.replace(map);
        // Returned to the system while nobody waits for the lock.
        drop(last);
        drop(before);
    }
}

/// Addresses for all bytes of a part, and memory for those that are written.
#[derive(Debug)]
pub(super) struct Mapped {
    map: MmapMut,
    len: usize,
    home: Weak<Kept>,
}

impl Mapped {
    /// None where the system has not so many addresses, or counts them as memory.
    pub(super) fn new(len: usize, kept: &Arc<Kept>) -> Option<Self> {
        if let Some(again) = Self::again(len, kept) {
            return Some(again);
        }
        let map = MmapMut::map_anon(len).ok()?;
        // Where it knows no huge pages, small ones do.
        let _ = map.advise(Advice::HugePage);
        Some(Self::empty(map, kept))
    }

    /// The memory of the last one, if it is free and fits.
    pub(super) fn again(len: usize, kept: &Arc<Kept>) -> Option<Self> {
        Some(Self::empty(kept.take(len)?, kept))
    }

    fn empty(map: MmapMut, kept: &Arc<Kept>) -> Self {
        Mapped {
            map,
            len: 0,
            home: Arc::downgrade(kept),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn add(&mut self, piece: &[u8]) {
        let end = self.len + piece.len();
        self.map[self.len..end].copy_from_slice(piece);
        self.len = end;
    }

    pub(super) fn freeze(self) -> Bytes {
        let Mapped { map, len, home } = self;
        let map = Some(map);
        Bytes::from_owner(Lent { map, len, home })
    }
}

/// A part that is with the program.
struct Lent {
    /// There until it is dropped.
    map: Option<MmapMut>,
    len: usize,
    home: Weak<Kept>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.map.as_ref().map_or(&[], |map| &map[..self.len])
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(map), Some(home)) = (self.map.take(), self.home.upgrade()) {
            home.give(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_for_the_next_and_not_for_long() {
        let kept = Arc::<Kept>::default();
        let now = Instant::now();
        let address = |mapped: Mapped| mapped.freeze().as_ptr();
        let first = address(Mapped::new(1000, &kept).unwrap());
        assert!(kept.take(2000).is_none() && kept.take(700).is_none());
        assert_eq!(address(Mapped::new(900, &kept).unwrap()), first);
        for (after, is_kept) in [(0, true), (9, true), (10, false)] {
            kept.look(now + Duration::from_secs(after));
            assert_eq!(kept.last().map.is_some(), is_kept, "{after} s");
        }
        // Once used, it is new again.
        drop(Mapped::new(1000, &kept).unwrap().freeze());
        kept.look(now + Duration::from_secs(20));
        drop(Mapped::new(1000, &kept).unwrap().freeze());
        kept.look(now + Duration::from_secs(31));
        assert!(kept.last().map.is_some());
        let last = Mapped::new(1000, &kept).unwrap().freeze();
        drop(kept);
        assert!(last.is_empty());
    }
}
