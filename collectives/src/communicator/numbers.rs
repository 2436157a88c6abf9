//! The numbers of a communicator's operations, and below which all of them have ended here.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// After so many operations what is left over from them is thrown away: rarely, as that searches the fabric's store.
const TIDY_EVERY: u32 = 64;

/// Gives out numbers in the order of calls. They wrap around.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u32,
    // In no order; as many as there are operations in flight.
    active: Vec<u32>,
    ended: u32,
}

impl Numbers {
    /// The next number, for an operation that is called now.
    pub(crate) fn begin(&self) -> u32 {
        let mut state = self.lock();
        let number = state.next;
        state.next = number.wrapping_add(1);
        state.active.push(number);
        number
    }

    /// Ends an operation. Now and then, and always after one that failed, gives the number below which nothing is in
    /// flight any more.
    pub(crate) fn end(&self, number: u32, has_failed: bool) -> Option<u32> {
        let mut state = self.lock();
        if let Some(at) = state.active.iter().position(|active| *active == number) {
            state.active.swap_remove(at);
        }
        state.ended += 1;
        if !has_failed && state.ended < TIDY_EVERY {
            return None;
        }
        state.ended = 0;
        // The oldest is the one that is furthest behind, also where numbers have wrapped around.
        let next = state.next;
        let oldest = state
            .active
            .iter()
            .max_by_key(|number| next.wrapping_sub(**number));
        Some(oldest.copied().unwrap_or(next))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_is_not_thrown_away() {
        let numbers = Numbers(Mutex::new(State {
            next: u32::MAX - 1,
            ..State::default()
        }));
        let [a, b, c] = [(); 3].map(|()| numbers.begin());
        assert_eq!((a, b, c), (u32::MAX - 1, u32::MAX, 0));
        assert_eq!(numbers.end(b, true), Some(a));
        assert_eq!(numbers.end(a, false), None);
        assert_eq!(numbers.end(c, true), Some(1));
        let told = (0..3 * TIDY_EVERY).filter_map(|_| numbers.end(numbers.begin(), false));
        assert_eq!(told.count(), 3);
    }
}
