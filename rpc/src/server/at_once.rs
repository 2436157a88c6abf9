//! Calls that end at once: where one thread does everything, no task is made for them.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;
use tower::BoxError;

use super::session::Serves;
use crate::envelope::Envelope;
use crate::failure::Failure;
use crate::request::{Request, Response};

/// Time for handlers that are tried before other tasks get their turn: that of a few hundred small ones. The calls that
/// come behind get tasks, which take turns with everything else.
const TURN: Duration = Duration::from_micros(500);

/// Whether handlers are tried where their calls come in, before they get tasks.
///
/// A task costs as much as all else that a small call needs. But a handler that blocks its thread would keep the
/// server from its connections: so only where there is no other thread on which it could block.
#[derive(Debug)]
pub(super) struct Trial {
    is_wanted: bool,
    until: Option<Instant>,
}

/// What came of it.
pub(super) enum Tried<S: Serves> {
    Done(Result<Envelope, Failure>),
    /// It waits for something, or its service does: a task is to see to it.
    Begun(Pin<Box<S::Future>>),
    NotReady(S, Request),
}

impl Trial {
    /// For the runtime that this is called on.
    pub(super) fn new() -> Self {
        let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
        Trial {
            is_wanted: matches!(flavor, Ok(RuntimeFlavor::CurrentThread)),
            until: None,
        }
    }

    /// Other tasks had their turn.
    pub(super) fn renew(&mut self) {
        self.until = None;
    }

    /// Whether the next handler is tried.
    pub(super) fn is_on(&mut self, now: Instant) -> bool {
        self.is_wanted && now < *self.until.get_or_insert(now + TURN)
    }
}

/// Begins a call and looks once whether it is done; if so, `finish` makes its answer. The panic of whatever panics is the
/// error.
pub(super) fn try_now<S: Serves>(
    mut service: S,
    request: Request,
    finish: impl FnOnce(Result<Response, BoxError>) -> Result<Envelope, Failure>,
) -> std::thread::Result<Tried<S>> {
    std::panic::catch_unwind(AssertUnwindSafe(move || {
        // Whatever waits is polled again by its task before anything else: nobody need be woken here.
        let mut cx = Context::from_waker(Waker::noop());
        match service.poll_ready(&mut cx) {
            Poll::Pending => return Tried::NotReady(service, request),
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
