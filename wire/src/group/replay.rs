//! Which numbers of a sender have been seen: each counts once, and very old ones not at all.

const WORDS: usize = 16;

/// Remembers which of the last 1024 numbers of one sender have come (RFC 4303, section 3.4.3, and RFC 6479).
///
/// Look with [`is_fresh`](Self::is_fresh) before a datagram is opened, and [`accept`](Self::accept) it only once its
/// trailer has proven it genuine: a forged number would push the window past the true ones.
///
/// ```
/// use flexbond_wire::group::ReplayWindow;
///
/// let mut window = ReplayWindow::new();
/// assert!(window.accept(5) && window.accept(3));
/// assert!(!window.accept(5), "seen before");
/// assert!(window.accept(1027) && window.is_fresh(4));
/// assert!(window.accept(5000) && !window.is_fresh(3976), "too old to tell");
/// assert_eq!(window.newest(), 5000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayWindow {
    newest: u64,
    // The bit of a number is number % WIDTH; it is clear while the number was not seen.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// How many numbers, the newest included, it tells apart.
    pub const WIDTH: u64 = 64 * WORDS as u64;

    /// A window that has seen nothing: every number is fresh.
    #[must_use]
    pub const fn new() -> Self {
        ReplayWindow {
            newest: 0,
            seen: [0; WORDS],
        }
    }

    /// The highest number that was accepted, 0 before the first.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether `number` was neither accepted before nor is too old to tell.
    #[inline]
    #[must_use]
    pub const fn is_fresh(&self, number: u64) -> bool {
        if number > self.newest {
            return true;
        }
        let (word, bit) = place(number);
        self.newest - number < Self::WIDTH && self.seen[word] & bit == 0
    }

    /// Takes note of `number`; `false`, and nothing changes, when it is not fresh.
    #[inline]
    pub const fn accept(&mut self, number: u64) -> bool {
        if !self.is_fresh(number) {
            return false;
        }
        if number > self.newest {
            self.advance(number);
        }
        let (word, bit) = place(number);
        self.seen[word] |= bit;
        true
    }

    /// Makes `number` the newest, and forgets those that fall out of the window.
    const fn advance(&mut self, number: u64) {
        if number - self.newest >= Self::WIDTH {
            self.seen = [0; WORDS];
            self.newest = number;
        }
        while self.newest < number {
            self.newest += 1;
            let (word, bit) = place(self.newest);
            self.seen[word] &= !bit;
        }
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        ReplayWindow::new()
    }
}

const fn place(number: u64) -> (usize, u64) {
    ((number / 64) as usize % WORDS, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_the_last_number_count_once() {
        let mut window = ReplayWindow::new();
        assert!(window.accept(0));
        assert!(!window.accept(0));
        assert!(window.accept(u64::MAX));
        assert!(!window.accept(u64::MAX) && !window.accept(0));
        assert!(window.accept(u64::MAX - 1023));
        assert!(!window.accept(u64::MAX - 1024));
    }

    #[test]
    fn a_jump_of_the_windows_width_forgets_everything() {
        for jump in [1023, 1024, 1025] {
            let mut window = ReplayWindow::new();
            assert!(window.accept(100) && window.accept(100 + jump));
            for number in 101..100 + jump {
                let recent = 100 + jump - number < ReplayWindow::WIDTH;
                assert_eq!(window.accept(number), recent, "{number} after a jump of {jump}");
            }
            assert!(!window.accept(100));
        }
    }
}
