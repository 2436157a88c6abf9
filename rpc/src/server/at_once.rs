//! Calls that end at once: where one thread does everything, no task is made for them.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use flexbond_transport::Message;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;
use tower::BoxError;

use super::session::Serves;
use crate::request::{Request, Response};

/// Time for handlers that are tried before other tasks get their turn: that of a few hundred small ones. The calls that
/// come behind get tasks, which take turns with everything else.
const TURN: Duration = Duration::from_micros(500);

/// Of this time, a turn of handlers whose calls are done leaves none worth having: others come first.
const ENOUGH: Duration = TURN.checked_div(2).unwrap();

/// So many calls are tried between two looks at the clock, where they are quick.
const LOOK: u32 = 4;

/// A call that takes longer is not: after it comes a look at the clock.
const QUICK: Duration = Duration::from_micros(50);

/// Whether handlers are tried where their calls come in, before they get tasks.
///
/// A task costs as much as all else that a small call needs. But a handler that blocks its thread would keep the
/// server from its connections: so only where there is no other thread on which it could block.
pub(super) struct Trial<S: Serves> {
    is_wanted: bool,
    /// When the calls came that are handled now.
    now: Instant,
    /// The last look at the clock.
    looked: Instant,
    /// Time of this turn that went to the calls before these.
    spent: Duration,
    /// Calls to be tried until the next look, and from there to the one after it.
    until_look: u32,
    stride: u32,
    is_over: bool,
    /// Where the next handler is tried: its memory serves one after the other, and goes with who is not done.
    place: Pin<Box<Option<S::Future>>>,
}

/// What came of it.
pub(super) enum Tried<S: Serves> {
    /// Its answer, if it wants one.
    Done(Option<Message>),
    /// It waits for something, or its service does: a task is to see to it.
    Begun(Begun<S::Future>),
    NotReady(Box<(S, Request)>),
}

/// The future of a handler that was polled and is not done.
#[derive(Debug)]
pub(super) struct Begun<F>(Pin<Box<Option<F>>>);

impl<F: Future> Future for Begun<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.0.as_mut().as_pin_mut() {
            Some(answering) => answering.poll(cx),
            // It was put there before this was made.
            None => Poll::Pending,
        }
    }
}

/// Whether the runtime that this is called on does everything in one thread.
pub(super) fn is_one_thread() -> bool {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    matches!(flavor, Ok(RuntimeFlavor::CurrentThread))
}

impl<S: Serves> Trial<S> {
    /// For the runtime that this is called on.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Trial {
            is_wanted: is_one_thread(),
            now,
            looked: now,
            spent: Duration::ZERO,
            until_look: 1,
            stride: 1,
            is_over: false,
            place: Box::pin(None),
        }
    }

    /// Calls came. Others have not had their turn for that.
    pub(super) fn begin(&mut self) {
        self.now = Instant::now();
        self.looked = self.now;
        self.until_look = self.stride;
    }

    /// The calls that came are handled. True if it is others' turn before more are.
    pub(super) fn end(&mut self) -> bool {
        if !self.is_wanted {
            return false;
        }
        self.spent += self.now.elapsed();
        self.spent >= ENOUGH
    }

    /// Other tasks had their turn.
    pub(super) fn renew(&mut self) {
        self.spent = Duration::ZERO;
        self.is_over = false;
    }

    /// When the calls came that are handled now.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// What the clock said last: behind calls that are not quick, that is now.
    pub(super) fn looked(&self) -> Instant {
        self.looked
    }

    /// Whether the next handler is tried.
    pub(super) fn is_on(&mut self) -> bool {
        if !self.is_wanted || self.is_over {
            return false;
        }
        // Not at each call: that took some 3 % of a small one.
        if self.until_look == 0 {
            self.look();
        }
        self.until_look = self.until_look.saturating_sub(1);
        !self.is_over
    }

    fn look(&mut self) {
        let before = std::mem::replace(&mut self.looked, Instant::now());
        self.stride = match self.looked - before > QUICK * self.stride {
            // The next ones are likely to be of its kind.
            true => 1,
            false => (2 * self.stride).min(LOOK),
        };
        self.until_look = self.stride;
        self.is_over = self.spent + (self.looked - self.now) > TURN;
    }

    /// Begins a call and looks once whether it is done; if so, `finish` makes its answer. The panic of whatever panics is
    /// the error.
    pub(super) fn try_now(
        &mut self,
        mut service: S,
        request: Request,
        finish: impl FnOnce(Result<Response, BoxError>) -> Option<Message>,
    ) -> std::thread::Result<Tried<S>> {
        let place = &mut self.place;
        let tried = std::panic::catch_unwind(AssertUnwindSafe(move || {
            // Whatever waits is polled again by its task before anything else: nobody need be woken here.
            let mut cx = Context::from_waker(Waker::noop());
            match service.poll_ready(&mut cx) {
                Poll::Pending => return Tried::NotReady(Box::new((service, request))),
                Poll::Ready(Err(error)) => return Tried::Done(finish(Err(error.into()))),
                Poll::Ready(Ok(())) => {}
            }
            place.set(Some(service.call(request)));
            match place
                .as_mut()
                .as_pin_mut()
                .map(|answering| answering.poll(&mut cx))
            {
                None | Some(Poll::Pending) => Tried::Begun(Begun(std::mem::replace(place, Box::pin(None)))),
                Some(Poll::Ready(answered)) => {
                    place.set(None);
                    Tried::Done(finish(answered.map_err(Into::into)))
                }
            }
        }));
        if tried.is_err() {
            // What it left there may panic again when it is dropped.
            let left = std::mem::replace(&mut self.place, Box::pin(None));
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(left)));
        }
        tried
    }
}

#[cfg(test)]
mod tests {
    use super::super::methods::Methods;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn handlers_that_take_their_time_end_the_trial_until_others_had_their_turn() {
        let mut trial = Trial::<Methods>::new();
        trial.begin();
        assert!((0..100).all(|_| trial.is_on()));
        assert!(!trial.end());
        tokio::time::advance(2 * TURN).await;
        // What was waited for is no time of handlers.
        trial.begin();
        assert!(trial.is_on());
        tokio::time::advance(2 * TURN).await;
        let tried = (0..100).filter(|_| trial.is_on()).count();
        assert!(tried < LOOK as usize, "{tried}");
        assert!(trial.end());
        trial.begin();
        assert!(!trial.is_on(), "nobody else had a turn");
        trial.renew();
        trial.begin();
        assert!(trial.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn behind_calls_that_are_not_quick_the_clock_is_looked_at_each_time() {
        let mut trial = Trial::<Methods>::new();
        trial.begin();
        assert!((0..10).all(|_| trial.is_on()));
        tokio::time::advance(5 * QUICK).await;
        let calls = (0..LOOK).take_while(|_| trial.is_on() && trial.looked() < Instant::now());
        assert!(calls.count() < LOOK as usize, "one is seen that is not quick");
        for _ in 0..2 {
            tokio::time::advance(2 * QUICK).await;
            assert!(trial.is_on());
            assert_eq!(trial.looked(), Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_calls_of_many_connections_are_one_turn() {
        let mut trial = Trial::<Methods>::new();
        let mut batches = 0;
        loop {
            trial.begin();
            batches += 1;
            tokio::time::advance(TURN / 8).await;
            if trial.end() {
                break;
            }
        }
        assert_eq!(batches, 4);
    }

    #[test]
    fn there_are_no_trials_where_calls_could_block_on_other_threads() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build();
        let runtime = runtime.expect("a runtime");
        let mut trial = runtime.block_on(async { Trial::<Methods>::new() });
        assert!(!trial.is_on());
    }
}
