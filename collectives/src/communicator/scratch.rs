//! Buffers for what is on its way, kept for the next operation: fresh memory costs more than a small operation does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::element::{Element, fits};

/// How many buffers are kept.
const KEEP: usize = 32;
/// How long those that are kept may be together, in bytes.
const KEEP_BYTES: usize = 8 << 20;

const WORD: usize = size_of::<u128>();

/// Buffers that nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Free>);

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u128>>,
    // How many words they have together.
    words: usize,
}

/// A buffer, aligned for every element. Its content is left over from earlier uses.
#[derive(Debug)]
pub(crate) struct Scratch<'p> {
    pool: &'p Pool,
    words: Vec<u128>,
    len: usize,
}

impl Pool {
    /// A buffer of `len` bytes.
    pub(crate) fn take(&self, len: usize) -> Scratch<'_> {
        let need = len.div_ceil(WORD);
        let mut free = self.lock();
        let buffers = free.buffers.iter().enumerate();
        let fitting = buffers
            .filter(|(_, words)| words.len() >= need)
            .min_by_key(|(_, words)| words.len())
            .map(|(at, _)| at);
        let words = match fitting {
            Some(at) => {
                let words = free.buffers.swap_remove(at);
                free.words -= words.len();
                words
            }
            // Rounded up, so that it serves for somewhat longer ones as well; long ones are not kept anyway.
            None => vec![0; need.max(1).next_power_of_two().min(need.max(KEEP_BYTES / WORD))],
        };
        drop(free);
        Scratch {
            pool: self,
            words,
            len,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        // Nothing in here can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scratch<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    /// The whole buffer as elements; its length must be a multiple of theirs.
    pub(crate) fn elements<T: Element>(&self) -> &[T] {
        const { fits::<T>() };
        bytemuck::cast_slice(self.bytes())
    }

    /// The whole buffer as elements; its length must be a multiple of theirs.
    pub(crate) fn elements_mut<T: Element>(&mut self) -> &mut [T] {
        const { fits::<T>() };
        bytemuck::cast_slice_mut(self.bytes_mut())
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        let mut free = self.pool.lock();
        if free.buffers.len() < KEEP && (free.words + words.len()) * WORD <= KEEP_BYTES {
            free.words += words.len();
            free.buffers.push(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let pool = Pool::default();
        let at = {
            let mut scratch = pool.take(100);
            scratch.elements_mut::<u32>().fill(7);
            assert_eq!(scratch.elements::<u32>().len(), 25);
            scratch.bytes().as_ptr()
        };
        assert_eq!(pool.take(96).bytes().as_ptr(), at);
        assert_eq!(pool.take(0).bytes().len(), 0);
        drop(pool.take(KEEP_BYTES + 1));
        assert!(pool.lock().words * WORD <= KEEP_BYTES);
    }

    #[test]
    fn no_more_is_kept_than_said() {
        let pool = Pool::default();
        let many: Vec<_> = (0..3 * KEEP).map(|_| pool.take(10)).collect();
        drop(many);
        assert_eq!(pool.lock().buffers.len(), KEEP);
    }
}
