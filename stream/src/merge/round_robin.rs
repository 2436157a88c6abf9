//! Whose turn it is: one message of each input, in order, without being stuck on a silent one.

use std::time::{Duration, Instant};

/// In which order messages of several inputs are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Message 1 of input 1, message 1 of input 2, …, message 2 of input 1, …, however long that takes: an input that is
    /// silent holds up all others.
    Strict,
    /// The same, but an input that has brought nothing for this long when its turn comes is passed over, and not waited
    /// for again before it has brought a message. Zero never waits: whoever has a message is next, in turn.
    SkipSilent(Duration),
}

/// Passes over what is silent for a second.
impl Default for Order {
    fn default() -> Self {
        Order::SkipSilent(Duration::from_secs(1))
    }
}

/// Decides whose turn it is. No I/O, no clock.
///
/// ```
/// use std::time::{Duration, Instant};
/// use flexbond_stream::merge::{Order, RoundRobin};
///
/// let mut turns = RoundRobin::new(2, Order::SkipSilent(Duration::from_secs(1)));
/// let now = Instant::now();
/// // Only input 1 has anything: input 0 is waited for, and then is not.
/// let mut look = |input| (input == 1).then_some("message");
/// assert_eq!(turns.poll(now, &mut look), None);
/// assert_eq!(turns.poll_timeout(), Some(now + Duration::from_secs(1)));
/// assert_eq!(turns.poll(now + Duration::from_secs(1), &mut look), Some((1, "message")));
/// assert_eq!(turns.poll(now + Duration::from_secs(1), &mut look), Some((1, "message")));
/// ```
#[derive(Clone, Debug)]
pub struct RoundRobin {
    inputs: Vec<Input>,
    next: usize,
    order: Order,
    /// When it was polled first.
    start: Option<Instant>,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Input {
    silent: bool,
    /// When it brought its last message.
    heard: Option<Instant>,
    ended: bool,
}

impl RoundRobin {
    /// Begins with input 0.
    #[must_use]
    pub fn new(inputs: usize, order: Order) -> Self {
        RoundRobin {
            inputs: vec![Input::default(); inputs],
            next: 0,
            order,
            start: None,
            deadline: None,
        }
    }

    /// The next message and whose it is: `look` is asked for the inputs whose turn it is, one after the other, and must
    /// say `None` at once where there is nothing. `None` when nothing can be given before that changes, or before
    /// [`poll_timeout`](Self::poll_timeout).
    pub fn poll<T>(&mut self, now: Instant, mut look: impl FnMut(usize) -> Option<T>) -> Option<(usize, T)> {
        self.deadline = None;
        let start = *self.start.get_or_insert(now);
        let count = self.inputs.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let input = &mut self.inputs[index];
            if input.ended {
                continue;
            }
            if let Some(found) = look(index) {
                input.silent = false;
                self.next = (index + 1) % count;
                input.heard = Some(now);
                return Some((index, found));
            }
            if input.silent {
                continue;
            }
            let Order::SkipSilent(wait) = self.order else {
                return None;
            };
            let since = input.heard.unwrap_or(start);
            if now.saturating_duration_since(since) < wait {
                self.deadline = since.checked_add(wait);
                return None;
            }
            input.silent = true;
        }
        None
    }

    /// When to poll again if nothing comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Leaves an input out from now on.
    pub fn end(&mut self, input: usize) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.ended = true;
        }
    }

    /// Whether no input is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inputs.iter().all(|input| input.ended)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn take(queues: &mut [VecDeque<u32>]) -> impl FnMut(usize) -> Option<u32> {
        |input| queues[input].pop_front()
    }

    #[test]
    fn messages_come_in_turn() {
        for order in [Order::Strict, Order::default()] {
            let mut turns = RoundRobin::new(3, order);
            let mut queues: Vec<VecDeque<u32>> = vec![(0..5).collect(); 3];
            let now = Instant::now();
            for message in 0..5 {
                for input in 0..3 {
                    assert_eq!(turns.poll(now, take(&mut queues)), Some((input, message)));
                }
            }
            assert_eq!(turns.poll(now, take(&mut queues)), None);
        }
    }

    #[test]
    fn a_strict_turn_waits_for_ever() {
        let mut turns = RoundRobin::new(2, Order::Strict);
        let mut queues: Vec<VecDeque<u32>> = vec![VecDeque::new(), (0..5).collect()];
        let now = Instant::now();
        assert_eq!(turns.poll(now, take(&mut queues)), None);
        assert_eq!(turns.poll(now + 1000 * SECOND, take(&mut queues)), None);
        assert_eq!(turns.poll_timeout(), None);
        queues[0].push_back(7);
        assert_eq!(turns.poll(now, take(&mut queues)), Some((0, 7)));
        assert_eq!(turns.poll(now, take(&mut queues)), Some((1, 0)));
    }

    #[test]
    fn silent_inputs_are_waited_for_once_and_take_part_again() {
        let mut turns = RoundRobin::new(4, Order::SkipSilent(SECOND));
        let mut queues: Vec<VecDeque<u32>> = vec![VecDeque::new(); 4];
        queues[3].extend(0..10);
        let start = Instant::now();
        assert_eq!(turns.poll(start, take(&mut queues)), None);
        assert_eq!(turns.poll_timeout(), Some(start + SECOND));
        // Three silent ones cost one second together.
        let now = start + SECOND;
        for message in 0..9 {
            assert_eq!(turns.poll(now, take(&mut queues)), Some((3, message)));
        }
        queues[1].extend([100, 101]);
        assert_eq!(turns.poll(now, take(&mut queues)), Some((1, 100)));
        assert_eq!(turns.poll(now, take(&mut queues)), Some((3, 9)));
        assert_eq!(turns.poll(now, take(&mut queues)), Some((1, 101)));
        // Input 3 has just brought something, so it is waited for; nobody else has anything.
        assert_eq!(turns.poll(now, take(&mut queues)), None);
        assert_eq!(turns.poll_timeout(), Some(now + SECOND));
        assert_eq!(turns.poll(now + SECOND, take(&mut queues)), None);
        assert_eq!(turns.poll_timeout(), None, "all of them are silent now");
    }

    #[test]
    fn what_has_ended_is_not_waited_for() {
        let mut turns = RoundRobin::new(2, Order::Strict);
        let mut queues: Vec<VecDeque<u32>> = vec![VecDeque::new(), [1, 2].into()];
        turns.end(0);
        let now = Instant::now();
        assert_eq!(turns.poll(now, take(&mut queues)), Some((1, 1)));
        assert_eq!(turns.poll(now, take(&mut queues)), Some((1, 2)));
        turns.end(1);
        assert!(turns.is_over());
        assert_eq!(turns.poll(now, take(&mut queues)), None);
        assert!(RoundRobin::new(0, Order::Strict).is_over());
    }
}
