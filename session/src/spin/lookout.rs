//! Looking for those who poll several things at once, such as a driver.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::forecast::{Forecast, Outcome};
use super::post::{Post, has_processors};

/// Whether a task that polls several things looks again for a moment, or sleeps until it is woken.
///
/// As [`Spin::Auto`](crate::socket::Spin::Auto), but from within a poll, and for whatever the task waits for: where what
/// comes has come soon, it looks for 100 µs at most; where it comes later, it sleeps at once. What was tried in vain is
/// tried more and more rarely, so who waits for long needs no processor. Before each look, the other tasks of the thread
/// run, and then other threads that want its processor.
///
/// It looks only where the runtime has one thread: with several, tokio wakes another one for each look.
pub struct Lookout {
    /// Whether looking makes sense where this is; none before that was asked.
    makes_sense: Option<bool>,
    forecast: Forecast,
    state: State,
    /// What looking has gained, less what it has cost in vain.
    gained: Duration,
    who: usize,
}

/// What has happened in one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Nothing.
    Nothing,
    /// Something was sent, to which there may be an answer: the wait begins anew.
    Out,
    /// What was waited for has come.
    In,
}

/// A wait.
enum State {
    /// None has begun.
    Fresh,
    /// One that looks, and since when.
    Looking { since: Instant, post: Post },
    /// One that sleeps.
    Asleep { since: Instant },
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").finish_non_exhaustive()
    }
}

impl Default for Lookout {
    fn default() -> Self {
        Self::new()
    }
}

impl Lookout {
    /// It looks for so long, at most: one answer may take several times as long as another.
    const LIMIT: Duration = Forecast::LONGEST;
    /// What a look that finds something gains, at least: nobody had to be woken.
    const GAIN: Duration = Duration::from_micros(10);
    /// No more than this may be lost: as long as another thread that takes the processor has it, for one turn.
    const MOST_GAINED: Duration = Duration::from_millis(4);

    /// One that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Lookout {
            makes_sense: None,
            forecast: Forecast::new(),
            state: State::Fresh,
            gained: Duration::ZERO,
            // Odd, and so no address of anybody else who looks.
            who: 2 * NEXT.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// The end of a poll in which so much has happened, and after which there is nothing to do: returns whether the task
    /// looks again, and lets it be woken for that when all others have had their turn.
    ///
    /// Whatever is waited for has to wake the task, too.
    pub fn rest(&mut self, cx: &mut Context<'_>, moved: Moved) -> bool {
        let makes_sense = *self.makes_sense.get_or_insert_with(|| {
            has_processors()
                && Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() == 1)
        });
        if !makes_sense || !self.looks(Instant::now(), moved) {
            return false;
        }
        std::thread::yield_now();
        // Tokio's own: it makes the runtime ask the system for events before the task is woken.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        true
    }

    /// Whether it looks, after so much has happened until now.
    fn looks(&mut self, now: Instant, moved: Moved) -> bool {
        let since = match &self.state {
            State::Fresh => None,
            State::Looking { since, .. } | State::Asleep { since } => Some(*since),
        };
        let is_over = self.judge(now, moved);
        if moved == Moved::In
            && let Some(since) = since
        {
            self.forecast.waited(now.saturating_duration_since(since));
        }
        match (&self.state, moved) {
            (State::Looking { since, .. }, Moved::Nothing) if is_over => {
                let since = *since;
                self.leave();
                self.state = State::Asleep { since };
            }
            (State::Looking { .. } | State::Asleep { .. }, Moved::Nothing) => {}
            _ => {
                self.leave();
                let bet = self.forecast.bet().zip(Post::take(self.who, now));
                self.state = match bet {
                    Some((_, post)) => State::Looking { since: now, post },
                    None => State::Asleep { since: now },
                };
            }
        }
        match &self.state {
            State::Looking { post, .. } => {
                post.look(now);
                true
            }
            _ => false,
        }
    }

    /// Whether it has looked for long enough, and what that says.
    fn judge(&mut self, now: Instant, moved: Moved) -> bool {
        let State::Looking { since, .. } = &self.state else {
            return false;
        };
        let time = now.saturating_duration_since(*since);
        // Between two looks somebody else had the processor.
        let is_displaced = time >= 2 * Self::LIMIT;
        if moved == Moved::In && !is_displaced {
            self.gained = (self.gained + Self::GAIN).min(Self::MOST_GAINED);
            self.forecast.ended(Outcome::Won);
            return true;
        }
        if time < Self::LIMIT {
            return false;
        }
        match self.gained.checked_sub(time) {
            Some(left) => self.gained = left,
            None => {
                self.gained = Duration::ZERO;
                self.forecast.ended(match is_displaced {
                    true => Outcome::Displaced,
                    false => Outcome::Lost,
                });
            }
        }
        true
    }

    fn leave(&mut self) {
        if let State::Looking { post, .. } = std::mem::replace(&mut self.state, State::Fresh) {
            post.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    const LONG: Duration = Duration::from_millis(10);
    const STEP: Duration = Duration::from_micros(10);

    /// One wait that lasts so long, with a look at each step: how many looks that were.
    fn wait(lookout: &mut Lookout, now: &mut Instant, time: Duration) -> u32 {
        let (end, mut looks) = (*now + time, 0);
        while *now < end {
            *now += STEP;
            looks += u32::from(*now < end && lookout.looks(*now, Moved::Nothing));
        }
        looks + u32::from(lookout.looks(*now, Moved::In))
    }

    #[test]
    fn where_waits_are_short_each_of_them_looks() {
        let (mut lookout, mut now) = (Lookout::new(), Instant::now());
        lookout.looks(now, Moved::In);
        for _ in 0..1000 {
            assert!(wait(&mut lookout, &mut now, 4 * STEP) > 2);
        }
    }

    #[test]
    fn who_waits_for_long_looks_hardly_ever() {
        let (mut lookout, mut now) = (Lookout::new(), Instant::now());
        for _ in 0..100 {
            wait(&mut lookout, &mut now, LONG);
        }
        let looks: u32 = (0..10_000).map(|_| wait(&mut lookout, &mut now, LONG)).sum();
        assert_eq!(looks, 0);
        // And again when something comes soon.
        let looks: u32 = (0..100).map(|_| wait(&mut lookout, &mut now, 4 * STEP)).sum();
        assert!(looks > 100, "{looks}");
    }

    #[test]
    fn what_is_woken_without_end_while_nothing_comes_does_not_look_on() {
        let (mut lookout, mut now) = (Lookout::new(), Instant::now());
        lookout.looks(now, Moved::In);
        let looks = (0..10_000).filter(|_| {
            now += STEP;
            lookout.looks(now, Moved::Nothing)
        });
        assert!(looks.count() < 20);
    }

    #[test]
    fn an_answer_is_waited_for_from_when_something_was_sent() {
        let (mut lookout, mut now) = (Lookout::new(), Instant::now());
        let mut looks = 0;
        for round in 0..1000 {
            // A program computes for long, sends, and is answered at once.
            for _ in 0..10 {
                now += LONG / 10;
                lookout.looks(now, Moved::Nothing);
            }
            let looks_on = lookout.looks(now, Moved::Out);
            looks += u32::from(looks_on && round >= 100);
            now += STEP;
            lookout.looks(now, Moved::In);
        }
        assert!(looks > 0);
    }

    #[test]
    fn where_others_need_the_processor_it_hardly_looks_unless_it_has_gained_more() {
        let (mut lookout, mut now) = (Lookout::new(), Instant::now());
        let mut displaced = 0;
        lookout.looks(now, Moved::In);
        for _ in 0..10_000 {
            // Each look takes as long as another thread's turn.
            if lookout.looks(now, Moved::Nothing) {
                displaced += 1;
                now += 100 * STEP;
            }
            now += STEP;
            lookout.looks(now, Moved::In);
        }
        assert!(displaced < 20, "{displaced}");
        // Once in a thousand is no reason to sleep.
        let (mut lookout, mut looks) = (Lookout::new(), 0);
        for round in 1..=10_000 {
            looks += u32::from(lookout.looks(now, Moved::In));
            now += if round % 1000 == 0 { 100 * STEP } else { STEP };
        }
        assert!(looks > 9_900, "{looks}");
    }

    #[test]
    fn only_one_of_a_thread_looks() {
        let (mut one, mut other, now) = (Lookout::new(), Lookout::new(), Instant::now());
        assert!(one.looks(now, Moved::In));
        assert!(!other.looks(now, Moved::In));
    }

    #[tokio::test]
    async fn the_task_is_polled_again_after_others() {
        if !has_processors() {
            return;
        }
        let (mut lookout, mut looks) = (Lookout::new(), 0);
        poll_fn(|cx| {
            looks += 1;
            match looks < 2 && lookout.rest(cx, Moved::In) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
        assert_eq!(looks, 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn with_several_threads_it_sleeps() {
        let looks = poll_fn(|cx| Poll::Ready(Lookout::new().rest(cx, Moved::In))).await;
        assert!(!looks);
    }
}
