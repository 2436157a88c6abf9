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

/// So many calls are tried between two looks at the clock.
const LOOK: u32 = 4;

/// Whether handlers are tried where their calls come in, before they get tasks.
///
/// A task costs as much as all else that a small call needs. But a handler that blocks its thread would keep the
/// server from its connections: so only where there is no other thread on which it could block.
#[derive(Debug)]
pub(super) struct Trial {
    is_wanted: bool,
    /// When the calls came that are handled now.
    now: Instant,
    tried: u32,
    is_over: bool,
}

/// What came of it.
pub(super) enum Tried<S: Serves> {
    /// Its answer, if it wants one.
    Done(Option<Message>),
    /// It waits for something, or its service does: a task is to see to it.
    Begun(Pin<Box<S::Future>>),
    NotReady(Box<(S, Request)>),
}

impl Trial {
    /// For the runtime that this is called on.
    pub(super) fn new() -> Self {
        let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
        Trial {
            is_wanted: matches!(flavor, Ok(RuntimeFlavor::CurrentThread)),
            now: Instant::now(),
            tried: 0,
            is_over: false,
        }
    }

    /// Other tasks had their turn, and calls came.
    pub(super) fn renew(&mut self) {
        self.now = Instant::now();
        self.tried = 0;
        self.is_over = false;
    }

    /// When the calls came that are handled now.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Whether the next handler is tried.
    pub(super) fn is_on(&mut self) -> bool {
        // Not at each call: that took some 3 % of a small one.
        self.tried += 1;
        if self.is_wanted && self.tried.is_multiple_of(LOOK) && self.now.elapsed() > TURN {
            self.is_over = true;
        }
        self.is_wanted && !self.is_over
    }
}

/// Begins a call and looks once whether it is done; if so, `finish` makes its answer. The panic of whatever panics is the
/// error.
pub(super) fn try_now<S: Serves>(
    mut service: S,
    request: Request,
    finish: impl FnOnce(Result<Response, BoxError>) -> Option<Message>,
) -> std::thread::Result<Tried<S>> {
    std::panic::catch_unwind(AssertUnwindSafe(move || {
        // Whatever waits is polled again by its task before anything else: nobody need be woken here.
        let mut cx = Context::from_waker(Waker::noop());
        match service.poll_ready(&mut cx) {
            Poll::Pending => return Tried::NotReady(Box::new((service, request))),
            Poll::Ready(Err(error)) => return Tried::Done(finish(Err(error.into()))),
            Poll::Ready(Ok(())) => {}
        }
        let mut answering = Box::pin(service.call(request));
        match answering.as_mut().poll(&mut cx) {
            Poll::Pending => Tried::Begun(answering),
            Poll::Ready(answered) => {
                drop(answering);
                Tried::Done(finish(answered.map_err(Into::into)))
            }
        }
    }))
}
